"""A handler that blocks the thread is named, with its line. The only test of the kernel in real time."""

from __future__ import annotations

import inspect
import time

import pytest
import trio
from support.kernel import doer

from switchgear.runtime import open_system
from switchgear.runtime.events import LoopBlocked
from switchgear.runtime.lag import _culprit


async def block(actor):
    time.sleep(0.3)  # noqa: ASYNC251 (the sin itself)


async def block_later(actor):
    actor.ctx.start_soon(block, actor)


@pytest.mark.parametrize("place", ["handler", "setup", "background", "outside"])
async def test_who_blocks_the_loop_is_named(place):
    async with open_system(blocked_after=0.05) as system, system.events.subscribe() as receive:
        options = {"setup": {"setup": block}, "background": {"setup": block_later}}.get(place, {})
        with trio.fail_after(30):
            ref = await system.start(doer(**options), "a")
            if place == "handler":
                await ref.ask(block)
            elif place == "outside":
                await block(None)
            while not isinstance(event := await receive.receive(), LoopBlocked):
                pass
    assert event.path == ("/" if place == "outside" else "/a")
    line = inspect.getsourcelines(block)[1] + 1
    assert event.where.endswith(f"test_lag.py:{line} in block")
    assert event.seconds > 0


async def test_a_loop_that_is_never_idle_but_never_blocks_is_let_alone():
    async with open_system(blocked_after=0.05) as system, system.events.subscribe() as receive:
        with trio.move_on_after(0.2):
            while True:
                await trio.lowlevel.checkpoint()
        with pytest.raises(trio.WouldBlock):
            receive.receive_nowait()


async def test_it_can_be_switched_off_and_is_off_in_virtual_time(autojump_clock):
    async with open_system(blocked_after=None), open_system():
        await trio.sleep(1)


def test_a_thread_without_a_frame():
    assert _culprit(None) == ("/", "?")
