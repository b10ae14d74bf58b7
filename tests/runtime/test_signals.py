"""KeyboardInterrupt and SystemExit end the program, Cancelled passes, and groups keep every leaf."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import trio
import trio.testing
from support.kernel import doer, forever, sleeps, system_and_events

from switchgear.runtime import ActorCrashed, ActorError, Intensity, SupervisorGaveUp, open_system


def leaves(error):
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in leaves(one)]
    return [error]


def run(main):
    """What comes out of a program, in virtual time."""
    with pytest.raises(BaseException) as caught:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return caught.value


@pytest.fixture(params=[KeyboardInterrupt, SystemExit])
def ends(request):
    return request.param


@pytest.fixture(params=["handler of an ask", "handler of a tell", "setup", "teardown", "background", "snapshot"])
def place(request):
    return request.param


def test_raised_in_an_actor_deep_in_the_tree(place, ends):
    async def raises(actor):
        raise ends("now")

    def raises_at_once(actor):
        raise ends("now")

    async def background(actor):
        actor.ctx.start_soon(raises, actor)

    options = {
        "setup": {"setup": raises},
        "teardown": {"teardown": raises},
        "background": {"setup": background},
        "snapshot": {"snapshot": raises_at_once},
    }.get(place, {})

    async def main():
        async with open_system() as system:
            await system.supervise("s")
            await system.supervise("t", under="/s")
            other = await system.start(doer(), "other", under="/s")
            await other.tell(sleeps(100))
            ref = await system.start(doer(**options), "a", under="/s/t")
            if place == "handler of an ask":
                await ref.ask(raises)
            elif place == "handler of a tell":
                await ref.tell(raises)
            elif place in ("teardown", "snapshot"):
                await system.stop("/s/t/a")
            await trio.sleep_forever()

    *others, last = leaves(run(main))
    assert type(last) is ends
    assert all(isinstance(other, ActorError) for other in others)  # what the block was told, if it asked just then


def test_raised_in_the_block(ends):
    log = []

    async def teardown(actor):
        log.append("torn down")

    async def main():
        async with open_system() as system:
            ref = await system.start(doer(teardown=teardown), "a")
            await ref.tell(forever)
            raise ends("now")

    error = run(main)
    assert type(error) is ends  # as it is, not in a group
    assert log == ["torn down"]


def test_raised_in_a_nursery_of_the_block(ends):
    async def main():
        async def raises():
            raise ends("now")

        async with open_system() as system:
            await system.start(doer(), "a")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(raises)
                nursery.start_soon(trio.sleep_forever)

    error = run(main)
    assert isinstance(error, BaseExceptionGroup)
    assert [type(leaf) for leaf in leaves(error)] == [ends]


def test_raised_in_the_block_that_is_being_cancelled(ends):
    """Found by reading: it became a note on the other error, or gave way to Cancelled."""

    async def main():
        async with open_system(intensity=Intensity(max_restarts=0)) as system:
            ref = await system.start(doer(), "a")

            async def crash(actor):
                raise ValueError("crash")

            try:
                await ref.tell(crash)
                await trio.sleep_forever()
            finally:
                raise ends("now")

    assert [type(leaf) for leaf in leaves(run(main))] == [SupervisorGaveUp, ends]

    async def cancelled():
        with trio.CancelScope() as scope:
            async with open_system():
                scope.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    raise ends("now")

    assert type(run(cancelled)) is ends


def test_raised_beside_an_error_reports_the_error_and_ends_the_program(ends, caplog):
    async def both(actor):
        raise BaseExceptionGroup("both", [ValueError("the error"), ends("now")])

    async def main():
        async with open_system() as system:
            ref = await system.start(doer(), "a")
            await ref.tell(both)
            await trio.sleep_forever()

    assert [type(leaf) for leaf in leaves(run(main))] == [ends]
    assert "ValueError: the error" in caplog.text


async def test_cancelled_is_never_swallowed(autojump_clock):
    with trio.CancelScope() as scope:
        async with open_system() as system:
            await system.supervise("s")
            ref = await system.start(doer(), "a", under="/s")
            scope.cancel()
            await ref.ask(forever)
    assert scope.cancelled_caught
    with trio.CancelScope() as scope:
        async with open_system():
            pass
        scope.cancel()
        async with open_system():
            pytest.fail("it was cancelled before it began")  # pragma: no cover
    assert scope.cancelled_caught


async def test_cancelled_while_the_runtime_ends(autojump_clock):
    with trio.move_on_after(3) as scope:
        async with open_system() as system:
            ref = await system.start(doer(), "a", grace=10)
            await ref.tell(forever)
            await trio.testing.wait_all_tasks_blocked()
    assert scope.cancelled_caught
    assert trio.current_time() == 3


async def test_groups_keep_every_leaf(autojump_clock):
    async def group(actor):
        async def raises(error):
            raise error

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(raises, ValueError(f"leaf {number}"))
            async with trio.open_nursery() as inner:
                inner.start_soon(raises, KeyError("leaf 3"))

    async with system_and_events() as (system, log):
        ref = await system.start(doer(), "a")
        with pytest.raises(ActorCrashed) as caught:
            await ref.ask(group)
        assert sorted(str(leaf.args[0]) for leaf in leaves(caught.value.__cause__)) == [f"leaf {n}" for n in range(4)]
        await trio.testing.wait_all_tasks_blocked()
        (event,) = log.all("ActorCrashed")
        assert all(f"leaf {number}" in event.traceback for number in range(4))
        assert "(and 3 more)" in event.error

    with pytest.raises(SupervisorGaveUp) as gave_up:  # noqa: PT012 (the whole block fails)
        async with open_system(intensity=Intensity(max_restarts=0)) as system:
            ref = await system.start(doer(), "a")
            await ref.tell(group)
            await trio.sleep_forever()
    assert sorted(str(leaf.args[0]) for leaf in leaves(gave_up.value.__cause__)) == [f"leaf {n}" for n in range(4)]


async def test_a_traceback_of_ten_thousand_lines_is_cut(autojump_clock):
    async def huge(actor):
        raise ValueError("x" * 100_000)

    async with system_and_events() as (system, log):
        ref = await system.start(doer(), "a")
        with pytest.raises(ActorCrashed):
            await ref.ask(huge)
        await trio.testing.wait_all_tasks_blocked()
        (event,) = log.all("ActorCrashed")
        assert len(event.traceback) < 21_000
        assert event.traceback.endswith("characters more)")


PROGRAM = """
import trio
from switchgear.runtime import Actor, open_system

class Waits(Actor):
    async def handle(self, message):
        print("ready", flush=True)
        await trio.sleep_forever()
    async def teardown(self):
        print("torn down", flush=True)

async def main():
    async with open_system() as system:
        await system.supervise("s")
        ref = await system.start(Waits, "a", under="/s")
        await ref.ask("x")

trio.run(main)
"""


def test_control_c_ends_a_real_program():
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert out == "torn down\n"
    assert "KeyboardInterrupt" in err
    assert process.returncode not in (0, None)
