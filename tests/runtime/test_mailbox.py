"""The figures of a mailbox, and wall time. How it behaves when it is full: test_ask.py."""

from __future__ import annotations

import time

import pytest
import trio
from support.kernel import ask_soon, doer, forever

from switchgear.runtime import MailboxStatistics, open_system
from switchgear.runtime.wall import wall_time


async def test_statistics(autojump_clock):
    async with open_system() as system:
        ref = await system.start(doer(), "a", capacity=2)

        def statistics():
            return system.tree().find("/a").mailbox

        assert statistics() == MailboxStatistics(depth=0, capacity=2, waiting=0, accepted=0, refused=0)
        async with trio.open_nursery() as nursery:
            asked = [await ask_soon(nursery, ref, forever) for _ in range(6)]
            assert statistics() == MailboxStatistics(depth=2, capacity=2, waiting=3, accepted=3, refused=0)
            for one in reversed(asked):
                one.scope.cancel()
        await ref.ask("x")
        assert statistics() == MailboxStatistics(depth=0, capacity=2, waiting=0, accepted=4, refused=3)
        with pytest.raises(AttributeError):
            statistics().depth = 3


async def test_wall_time_moves_with_trios_clock(autojump_clock):
    before = time.time()
    start = wall_time()
    assert before - 1 <= start <= time.time() + 1
    await trio.sleep(3600)
    assert wall_time() == pytest.approx(start + 3600)
