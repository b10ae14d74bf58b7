"""The soak sees what it is there to see."""

from __future__ import annotations

import random

import pytest
import trio
from support.service import running

from benchmarks.soak.__main__ import main
from benchmarks.soak.callers import Caller, CancelAtStep, Tally


async def soaked(step):
    tally, knife = Tally(), CancelAtStep()
    trio.lowlevel.add_instrument(knife)
    async with running(step) as (_, upstream):
        caller = Caller(upstream.runtime, ("svc",), random.Random(1), tally, knife)
        for _ in range(50):
            await caller.call()
    trio.lowlevel.remove_instrument(knife)
    return tally


async def test_an_answer_in_the_wrong_hands_is_seen() -> None:
    tally = await soaked((200, {}, b"xxx\nsomebody else"))
    assert tally.calls == 50
    assert any("was given" in what for what in tally.broken)


async def test_ones_own_answers_are_in_order() -> None:
    def honest(request):
        return 200, {}, b"x\n" + request.headers["x-request-id"].encode()

    tally = await soaked(honest)
    assert tally.calls == 50
    assert tally.outcomes["answered"] > 10
    assert not tally.broken


def test_the_command_says_what_happened(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "1", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    assert "seed 3" in printed
    assert printed.endswith("0 broken\n")
