"""An ask ends exactly once, whatever happens: one story for each way in which it can end."""

from __future__ import annotations

import contextvars
import gc
import math

import pytest
import trio
import trio.lowlevel
import trio.testing
from support.kernel import (
    Declared,
    alive,
    appends,
    ask_soon,
    crash,
    declared,
    doer,
    forever,
    shielded,
    sleeps,
    system_and_events,
)

from switchgear.runtime import (
    Actor,
    ActorCrashed,
    ActorStopped,
    AskLoop,
    AskTimeout,
    MailboxFull,
    Restart,
    State,
    Strategy,
    WhenFull,
    open_system,
)
from switchgear.runtime.envelope import Ask


def info(system, ref):
    return system.tree().find(ref.path)


async def test_reply_and_declared_error_are_answers_and_the_actor_lives(autojump_clock):
    async with system_and_events() as (system, log):
        ref = await system.start(doer(), "a")
        assert await ref.ask("echo") == "echo"
        assert await ref.ask(None) is None
        with pytest.raises(Declared, match="declared"):
            await ref.ask(declared)
        assert await ref.ask("still there", timeout=1) == "still there"
        assert log.kinds() == [("/a", "ActorStarted")]
        seen = info(system, ref)
        assert (seen.handled, seen.in_flight, seen.restarts, seen.late) == (4, 0, 0, 0)
        assert repr(ref) == "<Ref /a running>"


async def test_an_actor_without_a_handler_crashes_of_its_first_message(autojump_clock):
    async with open_system() as system:
        ref = await system.start(Actor, "a")
        with pytest.raises(ActorCrashed) as caught:
            await ref.ask("anything")
        assert isinstance(caught.value.__cause__, TypeError)


async def test_explicit_timeout_cancels_the_handler_and_says_where_it_was(autojump_clock):
    async with open_system() as system:
        ref = await system.start(doer(), "a")
        async with trio.open_nursery() as nursery:
            first = await ask_soon(nursery, ref, forever, timeout=3)
            second = await ask_soon(nursery, ref, sleeps(1, "second"), timeout=2)
            third = await ask_soon(nursery, ref, sleeps(1, "third"), timeout=30)
        assert (
            str(first.end) == "/a: no reply to function in 3 s (while being handled; 1 queued)"
        )  # the second has gone
        assert str(second.end) == "/a: no reply to function in 2 s (in the queue; 2 queued)"
        assert third.end == "third"
        assert (first.at, second.at, third.at) == (3, 2, 4)  # the second was never begun
        assert isinstance(first.end, AskTimeout)
        with pytest.raises(AskTimeout):
            await ref.ask("no time at all", timeout=0)
        assert await ref.ask("again", timeout=math.inf) == "again"


async def test_deadline_of_the_callers_own_scope(autojump_clock):
    async with open_system() as system:
        ref = await system.start(doer(), "a")
        with trio.move_on_after(3) as scope:
            await ref.ask(forever, timeout=5)
        assert scope.cancelled_caught
        assert trio.current_time() == 3
        with pytest.raises(trio.TooSlowError), trio.fail_after(2):
            await ref.ask(forever)
        with trio.move_on_after(9) as scope, pytest.raises(AskTimeout):
            await ref.ask(forever, timeout=1)  # the earlier of both
        assert await ref.ask("next") == "next"
        assert info(system, ref).late == 0


async def test_the_handler_sees_its_callers_deadline(autojump_clock):
    async def deadline(actor):
        return actor.ctx.deadline

    async with open_system() as system:
        ref = await system.start(doer(), "a")
        assert await ref.ask(deadline) == math.inf
        assert await ref.ask(deadline, timeout=4) == 4
        with trio.fail_after(3):
            assert await ref.ask(deadline, timeout=4) == 3
            assert await ref.ask(deadline, timeout=2) == 2


async def test_a_deadline_that_is_moved_while_the_message_is_queued(autojump_clock):
    async def deadline(actor):
        return actor.ctx.deadline

    async with open_system() as system:
        ref = await system.start(doer(), "a")
        async with trio.open_nursery() as nursery:
            await ask_soon(nursery, ref, sleeps(5))
            later, sooner = await ask_soon(nursery, ref, "x"), await ask_soon(nursery, ref, "y")
            later.scope.deadline, sooner.scope.deadline = 99, 2
            moved = trio.CancelScope(deadline=4)
            seen = []

            async def caller():
                with moved:
                    seen.append(await ref.ask(deadline, timeout=50))

            nursery.start_soon(caller)
            await trio.sleep(3)
            moved.deadline = 60
        assert (later.end, sooner.end) == ("x", "cancelled")
        assert seen == [50]  # where the scope's deadline is now cannot be seen from here; the timeout's can


async def test_cancelled_while_queued_is_dropped_before_any_work(autojump_clock):
    done = []
    async with open_system() as system:
        ref = await system.start(doer(), "a")
        async with trio.open_nursery() as nursery:
            first = await ask_soon(nursery, ref, sleeps(5))
            second = await ask_soon(nursery, ref, appends(done, "second"))
            third = await ask_soon(nursery, ref, appends(done, "third"))
            second.scope.cancel()
            await second.done.wait()
            assert trio.current_time() == 0
        assert (first.end, second.end, third.end) == (None, "cancelled", "third")
        assert done == ["third"]


async def test_cancelled_while_running_cancels_the_handler_at_once(autojump_clock):
    seen = []

    async def work(actor):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            seen.append(trio.current_time())
            raise

    async with open_system() as system:
        ref = await system.start(doer(), "a")
        async with trio.open_nursery() as nursery:
            asked = await ask_soon(nursery, ref, work)
            await trio.sleep(2)
            asked.scope.cancel()
            await asked.done.wait()
            assert await ref.ask("alive") == "alive"
        assert (asked.end, seen) == ("cancelled", [2])
        assert info(system, ref).restarts == 0
        with trio.CancelScope() as scope:
            scope.cancel()
            await ref.ask(appends(seen, "never"))  # cancelled before it asked
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [2]


async def test_a_crash_ends_the_ask_in_hand_and_what_is_queued_is_for_the_next_life(autojump_clock):
    done = []
    async with system_and_events() as (system, log):
        ref = await system.start(doer(), "a")
        async with trio.open_nursery() as nursery:
            running = await ask_soon(nursery, ref, sleeps(1))
            crashing = await ask_soon(nursery, ref, crash)
            queued = [await ask_soon(nursery, ref, appends(done, number)) for number in range(5)]
            await ref.tell(appends(done, "told"))
        assert running.end is None
        assert isinstance(crashing.end, ActorCrashed)
        assert str(crashing.end) == "/a: crashed: ValueError"
        assert isinstance(crashing.end.__cause__, ValueError)
        assert crashing.at == 1
        assert [asked.end for asked in queued] == [0, 1, 2, 3, 4]
        assert done == [0, 1, 2, 3, 4, "told"]
        assert [kind for _, kind in log.kinds()] == ["ActorStarted", "ActorCrashed", "ActorRestarting", "ActorStarted"]
        seen = info(system, ref)
        assert (seen.restarts, seen.handled, seen.state) == (1, 8, State.RUNNING)


async def test_a_crash_ends_everything_in_hand_with_its_cause(autojump_clock):
    async with open_system() as system:
        ref = await system.start(doer(concurrency=3), "a")
        async with trio.open_nursery() as nursery:
            others = [await ask_soon(nursery, ref, forever), await ask_soon(nursery, ref, shielded(9, "late"))]
            crashing = await ask_soon(nursery, ref, crash)
        for asked in (*others, crashing):
            assert isinstance(asked.end, ActorCrashed)
            assert isinstance(asked.end.__cause__, ValueError)
            assert asked.at == 0  # also him whose handler shields itself
        assert await ref.ask("next life", timeout=20) == "next life"
        assert info(system, ref).late == 1


async def test_an_error_beside_cancelled_is_a_crash_for_all_in_hand(autojump_clock):
    """Found by reading: a group of Cancelled and an error is no Exception, so the others were told of a stop."""

    async def fails_while_cancelled(actor):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forever, actor)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in cleanup")

    async with open_system() as system:
        ref = await system.start(doer(concurrency=2), "a")
        async with trio.open_nursery() as nursery:
            other = await ask_soon(nursery, ref, forever)
            with trio.move_on_after(1):
                await ref.ask(fails_while_cancelled)
        assert isinstance(other.end, ActorCrashed)
        assert [str(leaf) for leaf in other.end.__cause__.exceptions] == ["in cleanup"]


async def test_restart_with_a_sibling(autojump_clock):
    done = []
    async with open_system() as system:
        await system.supervise("s", strategy=Strategy.ONE_FOR_ALL)
        a = await system.start(doer(), "a", under="/s")
        b = await system.start(doer(), "b", under="/s")
        async with trio.open_nursery() as nursery:
            in_hand = await ask_soon(nursery, b, forever)
            queued = await ask_soon(nursery, b, appends(done, "queued"))
            with pytest.raises(ActorCrashed):
                await a.ask(crash)
        assert isinstance(in_hand.end, ActorStopped)
        assert "restarted with a sibling" in str(in_hand.end)
        assert queued.end == "queued"


async def test_stop_ends_what_is_queued_and_in_hand_at_once(autojump_clock):
    done = []
    async with system_and_events() as (system, log):
        ref = await system.start(doer(concurrency=2), "a", grace=5)
        async with trio.open_nursery() as nursery:
            in_hand = [await ask_soon(nursery, ref, forever), await ask_soon(nursery, ref, shielded(3, "late"))]
            queued = await ask_soon(nursery, ref, "never", timeout=99)
            ref.tell_nowait(appends(done, "told"))
            await trio.sleep(1)
            await system.stop("/a")
        assert [type(asked.end) for asked in (*in_hand, queued)] == [ActorStopped] * 3
        assert {asked.at for asked in (*in_hand, queued)} == {1}
        assert trio.current_time() == 3  # for the shielded one
        (letter,) = log.all("DeadLetter")
        assert (letter.path, letter.message, letter.reason) == ("/a", "function", "it was stopped")
        assert (done, system.dead_letters) == ([], 1)
        # asked after the stop: at once
        with pytest.raises(ActorStopped, match="it has stopped"):
            await ref.ask("late", timeout=9)
        await ref.tell("late")
        ref.tell_nowait("late")
        assert system.dead_letters == 3
        assert trio.current_time() == 3
        assert len(system.expiries) <= 1
        assert repr(ref) == "<Ref /a stopped>"


async def test_a_tell_in_hand_may_end_in_the_grace_period(autojump_clock):
    done = []
    async with open_system() as system:
        ref = await system.start(doer(), "a", grace=5)
        await ref.tell(appends(done, "short", 4))
        await trio.testing.wait_all_tasks_blocked()
        await system.stop("/a")
        assert (done, trio.current_time()) == (["short", "short done"], 4)
        ref = await system.start(doer(), "a", grace=5)
        await ref.tell(appends(done, "long", 6))
        await trio.testing.wait_all_tasks_blocked()
        await system.stop("/a")
        assert (done[2:], trio.current_time()) == (["long"], 9)


async def test_never_started(autojump_clock):
    """Asked while `setup` runs, which then fails: the refs of such an actor come from its context."""
    refs = []

    async def setup(actor):
        refs.append(actor.ctx.ref)
        await trio.sleep(1)
        raise ValueError("no")

    async with open_system() as system:
        async with trio.open_nursery() as nursery:

            async def start():
                with pytest.raises(Exception, match="did not become ready"):
                    await system.start(doer(setup=setup), "a")

            nursery.start_soon(start)
            await trio.testing.wait_all_tasks_blocked()
            asked = await ask_soon(nursery, refs[0], "x")
        assert isinstance(asked.end, ActorStopped)
        assert asked.at == 1


async def test_who_asks_himself_is_told_at_once(autojump_clock):
    async def ask_myself(actor):
        with pytest.raises(AskLoop, match="itself waiting"):
            await actor.ctx.ref.ask("x")
        return "fine"

    async def setup(actor):
        await ask_myself(actor)

    async with system_and_events() as (system, log):
        ref = await system.start(doer(setup=setup), "a")
        assert await ref.ask(ask_myself) == "fine"
        await ref.tell(ask_myself)
        assert await ref.ask("x") == "x"
        two = await system.start(doer(concurrency=2), "two")

        async def ask_myself_once(actor):
            return await actor.ctx.ref.ask("y")

        assert await two.ask(ask_myself_once) == "y"  # there is a place for the answer
        await system.stop("/two")
        assert not log.all("ActorCrashed", "StopFailed")
        assert trio.current_time() == 0


async def test_who_asks_himself_after_his_caller_has_gone_is_told_too(autojump_clock):
    """Found by reading: a message that is called off is still in hand, and a shielded cleanup would wait for ever."""
    told = []

    async def cleans_up(actor):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True), pytest.raises(AskLoop):
                await actor.ctx.ref.ask("x")
            told.append(trio.current_time())

    async with open_system() as system:
        ref = await system.start(doer(), "a")
        with pytest.raises(AskTimeout):
            await ref.ask(cleans_up, timeout=2)
        assert await ref.ask("x") == "x"
        assert told == [2]


async def test_teardown_that_asks_itself_before_a_restart_is_told_at_once(autojump_clock):
    """Found by reading: it waited for the next life until its grace was over."""
    errors = []

    async def teardown(actor):
        try:
            await actor.ctx.ref.ask("x")
        except AskLoop as error:
            errors.append(type(error))

    async with open_system() as system:
        ref = await system.start(doer(teardown=teardown), "a")
        with pytest.raises(ActorCrashed):
            await ref.ask(crash)
        assert await ref.ask("next") == "next"
        assert trio.current_time() < 1
    assert errors == [AskLoop, AskLoop]


async def test_a_asks_b_asks_a(autojump_clock):
    async with open_system() as system:
        a = await system.start(doer(), "a")
        b = await system.start(doer(concurrency=8), "b")

        def asks(ref, message):
            async def ask(actor):
                return await ref.ask(message)

            return ask

        with pytest.raises(ActorCrashed) as caught:
            await a.ask(asks(b, asks(a, "x")))
        assert caught.value.path == "/a"
        inner = caught.value.__cause__
        assert isinstance(inner, ActorCrashed)
        assert isinstance(inner.__cause__, AskLoop)
        assert await a.ask(asks(b, "no loop")) == "no loop"
        assert trio.current_time() < 1


async def test_a_background_task_may_ask_its_own_actor(autojump_clock):
    replies = []

    async def background(actor):
        replies.append(await actor.ctx.ref.ask("x"))

    async def start(actor):
        actor.ctx.start_soon(background, actor)
        await trio.sleep(1)

    async with open_system() as system:
        ref = await system.start(doer(), "a")
        await ref.ask(start)
        await ref.ask("y")
        assert replies == ["x"]


async def test_ask_within_the_handler_of_a_tell(autojump_clock):
    replies = []
    async with open_system() as system:
        a, b = await system.start(doer(), "a"), await system.start(doer(), "b")

        async def ask_b(actor):
            replies.append(await b.ask("from b"))

        await a.tell(ask_b)
        await a.ask("after it")
        assert replies == ["from b"]


async def test_full_mailbox_wait(autojump_clock):
    done = []
    async with open_system() as system:
        ref = await system.start(doer(), "a", capacity=1)
        async with trio.open_nursery() as nursery:
            await ask_soon(nursery, ref, sleeps(5))
            await ask_soon(nursery, ref, appends(done, 1))
            in_time = await ask_soon(nursery, ref, appends(done, 2), timeout=9)
            too_late = await ask_soon(nursery, ref, appends(done, 3), timeout=4)
            gone = await ask_soon(nursery, ref, appends(done, 4))
            nursery.start_soon(ref.tell, appends(done, 5))
            await trio.testing.wait_all_tasks_blocked()
            gone.scope.cancel()
            statistics = info(system, ref).mailbox
            assert (statistics.depth, statistics.waiting) == (1, 3)  # who is cancelled is gone at once
            with pytest.raises(MailboxFull, match="holds its 1 messages"):
                ref.tell_nowait("no room")
        assert (in_time.end, gone.end, done) == (2, "cancelled", [1, 2, 5])
        assert isinstance(too_late.end, AskTimeout)
        assert (too_late.at, gone.at) == (4, 0)
        assert await ref.ask("x") == "x"
        statistics = info(system, ref).mailbox
        assert (statistics.accepted, statistics.refused, statistics.waiting) == (5, 3, 0)


async def test_waiting_for_room_when_the_actor_stops(autojump_clock):
    async with open_system() as system:
        ref = await system.start(doer(), "a", capacity=1)
        async with trio.open_nursery() as nursery:
            asked = [await ask_soon(nursery, ref, sleeps(5), timeout=50) for _ in range(4)]
            nursery.start_soon(ref.tell, "x")
            await trio.testing.wait_all_tasks_blocked()
            await system.stop("/a")
        assert [type(one.end) for one in asked] == [ActorStopped] * 4
        assert trio.current_time() == 0
        assert system.dead_letters == 1


async def test_full_mailbox_fail(autojump_clock):
    async with open_system() as system:
        ref = await system.start(doer(), "a", capacity=1, when_full=WhenFull.FAIL)
        async with trio.open_nursery() as nursery:
            first, second = await ask_soon(nursery, ref, sleeps(5, 1)), await ask_soon(nursery, ref, 2)
            for send in (ref.ask, ref.tell):
                with pytest.raises(MailboxFull):
                    await send("x")
            with pytest.raises(MailboxFull):
                ref.tell_nowait("x")
        assert (first.end, second.end) == (1, 2)
        assert info(system, ref).mailbox.refused == 3


async def test_full_mailbox_drop_oldest(autojump_clock):
    done = []
    async with open_system() as system:
        ref = await system.start(doer(), "a", capacity=2, when_full=WhenFull.DROP_OLDEST)
        async with trio.open_nursery() as nursery:
            await ask_soon(nursery, ref, sleeps(5))
            oldest = await ask_soon(nursery, ref, "oldest")
            for number in range(4):
                ref.tell_nowait(appends(done, number))
        assert isinstance(oldest.end, ActorStopped)
        assert "oldest" in str(oldest.end)
        await ref.ask("x")
        assert (done, system.dead_letters) == ([2, 3], 2)


async def test_a_message_in_the_hands_of_an_idle_worker_is_kept_when_the_life_ends(autojump_clock):
    """It was handed over in the tick of the crash; it is the first of the next life. After a stop it ends at once."""
    done = []
    async with open_system() as system:
        for final in (False, True):
            ref = await system.start(doer(concurrency=2), f"a{final}", capacity=1, when_full=WhenFull.DROP_OLDEST)
            async with trio.open_nursery() as nursery:
                await ask_soon(nursery, ref, "x")  # an idle worker
                cell = ref._cell
                ref.tell_nowait(appends(done, "handed over"))
                if final:
                    nursery.start_soon(system.stop, ref.path)
                    cell.stop(final=True)
                    await trio.testing.wait_all_tasks_blocked()
                    assert system.dead_letters == 1
                else:
                    cell._life._crashing(ValueError("x"))
                    cell._life.stop("end", starting=True)
                    await trio.lowlevel.checkpoint()
                    ref.tell_nowait(appends(done, "queued"))
                    await trio.sleep(1)
                    await ref.ask("y")
                    assert done == ["handed over", "queued"]


async def test_drop_oldest_makes_room_though_the_oldest_was_put_back(autojump_clock):
    """Found by reading: what was put back takes no room in the channel, and the newest was refused."""
    async with open_system() as system:
        ref = await system.start(doer(), "a", capacity=1, when_full=WhenFull.DROP_OLDEST)
        await ref.ask("x")
        cell = ref._cell
        cell._life.stop("for the test", starting=False)
        ref.tell_nowait("handed over")
        await trio.testing.wait_all_tasks_blocked()
        cell.mailbox.statistics()
        ref.tell_nowait("fills the channel")
        ref.tell_nowait("makes room")
        assert ref._cell.pending == ref._cell.mailbox.statistics().depth


async def test_a_small_mailbox_starves_no_worker(autojump_clock):
    """Found by reading: those who waited for room were not counted when workers were hired."""
    async with open_system() as system:
        ref = await system.start(doer(concurrency=10), "a", capacity=1)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ref.ask, sleeps(1))
        assert trio.current_time() == 1


async def test_resize(autojump_clock):
    """Found by reading: what was queued already waited for the next message to hire a worker for it."""

    async def resize(actor):
        await trio.sleep(1)
        actor.ctx.resize(5)

    async with open_system() as system:
        ref = await system.start(doer(), "a", capacity=2)
        async with trio.open_nursery() as nursery:
            await ask_soon(nursery, ref, resize)
            for _ in range(4):
                nursery.start_soon(ref.ask, sleeps(1))
        assert trio.current_time() == 2


async def test_without_a_queue_only_idle_workers_take_messages(autojump_clock):
    async with open_system() as system:
        ref = await system.start(doer(concurrency=2), "a", capacity=0, when_full=WhenFull.FAIL)
        drop = await system.start(doer(), "b", capacity=0, when_full=WhenFull.DROP_OLDEST)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(ref.ask, sleeps(1))
            nursery.start_soon(drop.ask, sleeps(1))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(MailboxFull):
                await ref.ask("x")
            with pytest.raises(ActorStopped, match="no room"):
                await drop.ask("x")
        assert await ref.ask("x") == "x"
        assert await drop.ask("x") == "x"


async def test_concurrency_bounds_what_is_in_hand(autojump_clock):
    async with open_system() as system:
        ref = await system.start(doer(concurrency=3), "a")
        async with trio.open_nursery() as nursery:
            for _ in range(7):
                nursery.start_soon(ref.ask, sleeps(1))
            await trio.sleep(0.5)
            seen = info(system, ref)
            assert (seen.in_flight, seen.mailbox.depth) == (3, 4)
        assert trio.current_time() == 3


async def test_late_replies_are_dropped_and_counted(autojump_clock):
    async def late_error(actor):
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        raise Declared

    async with system_and_events() as (system, log):
        ref = await system.start(doer(concurrency=2), "a")
        for message in (shielded(2, "late"), late_error):
            with pytest.raises(AskTimeout):
                await ref.ask(message, timeout=1)
        await trio.sleep(5)
        assert info(system, ref).late == 2
        await ref.tell(declared)
        await trio.sleep(1)
        (letter,) = log.all("DeadLetter")
        assert letter.reason == "its handler answered Declared, and nobody asked"
        assert not log.all("ActorCrashed")


async def test_ten_thousand_timeouts_leave_nothing(autojump_clock):
    async with open_system() as system:
        ref = await system.start(doer(), "a", capacity=20_000)
        gc.collect()
        before = alive(Ask)
        gc.disable()  # what is left behind in cycles counts as left behind
        try:

            async def ask():
                with pytest.raises(AskTimeout):
                    await ref.ask(forever, timeout=1)

            async with trio.open_nursery() as nursery:
                for _ in range(10_000):
                    nursery.start_soon(ask)
            assert trio.current_time() == 1
            assert await ref.ask("x") == "x"
            seen = info(system, ref)
            assert (seen.mailbox.depth, seen.in_flight, seen.mailbox.waiting) == (0, 0, 0)
            assert len(system.expiries) == 0
            assert alive(Ask) - before < 10
        finally:
            gc.enable()


async def test_timeouts_that_were_not_needed_do_not_pile_up(autojump_clock):
    async with open_system() as system:
        ref = await system.start(doer(), "a")
        for _ in range(5000):
            await ref.ask("x", timeout=3600)
        assert len(system.expiries) <= 1001


async def test_a_caller_outside_when_the_runtime_ends(autojump_clock):
    async with trio.open_nursery() as nursery:
        async with open_system() as system:
            ref = await system.start(doer(), "a")
            waiting = [await ask_soon(nursery, ref, forever, timeout=timeout) for timeout in (None, 99)]
        for asked in waiting:
            await asked.done.wait()
            assert isinstance(asked.end, ActorStopped)
        with pytest.raises(ActorStopped):
            await ref.ask("x", timeout=1)
        assert trio.current_time() == 0


async def test_a_caller_outside_when_the_block_is_cancelled(autojump_clock):
    """Found by reading: a tell in the very tick could meet a closed nursery and get trio's RuntimeError."""
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with open_system() as system:
                ref = await system.start(doer(concurrency=9), "a")
                waiting = [await ask_soon(nursery, ref, forever) for _ in range(3)]

                async def teller():
                    while not waiting[0].ends or len(waiting[0].ends) < 1:
                        ref.tell_nowait("x")
                        await trio.lowlevel.cancel_shielded_checkpoint()

                nursery.start_soon(teller)
                scope.cancel()
                await trio.sleep_forever()
        for asked in waiting:
            await asked.done.wait()
            assert isinstance(asked.end, ActorStopped)
        assert ref._cell.pending == ref._cell.mailbox.statistics().depth == 0


async def test_workers_do_not_inherit_their_first_callers_context(autojump_clock):
    """Found by reading: a tracing span of the first caller would have been everybody's."""
    variable = contextvars.ContextVar("variable", default="nobody's")

    async def read(actor):
        return variable.get()

    async with open_system() as system:
        ref = await system.start(doer(), "a")
        variable.set("the caller's")
        assert await ref.ask(read) == "nobody's"


async def test_workers_let_others_run_now_and_then(autojump_clock):
    async with open_system() as system:
        ref = await system.start(doer(), "a", restart=Restart.TEMPORARY)
        done = []
        for number in range(200):
            ref.tell_nowait(appends(done, number))
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert 0 < len(done) < 200
        await ref.ask("x")
        assert done == list(range(200))


@pytest.mark.parametrize("capacity", [-1, math.inf])
async def test_an_impossible_capacity_is_refused(capacity):
    async with open_system() as system:
        with pytest.raises(ValueError, match="capacity"):
            await system.start(doer(), "a", capacity=capacity)


async def test_an_impossible_concurrency_is_refused():
    async with open_system() as system:
        with pytest.raises(Exception, match="did not become ready") as caught:
            await system.start(doer(concurrency=0), "a")
        assert "concurrency" in str(caught.value.__cause__)
