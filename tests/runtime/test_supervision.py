"""The shell of supervision in virtual time: what the policy decides is done, and nobody is forgotten on the way."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from support.kernel import (
    appends,
    ask_soon,
    crash,
    doer,
    forever,
    shielded,
    sleeps,
    system_and_events,
)

from switchgear.runtime import (
    ActorCrashed,
    ActorStopped,
    Backoff,
    Intensity,
    Restart,
    StartFailed,
    State,
    Strategy,
    SupervisorGaveUp,
    open_system,
)
from switchgear.runtime.words import Add, Exited

QUICK = Backoff(initial=1.0, jitter=0.0)


def writes(log, name, **options):
    """A factory of actors that log when they are set up and torn down."""

    async def setup(actor):
        log.append(f"+{name}")

    async def teardown(actor):
        log.append(f"-{name}")

    return doer(setup=setup, teardown=teardown, **options)


async def crashes(ref):
    with pytest.raises(ActorCrashed):
        await ref.ask(crash)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, "-b +b"),
        (Strategy.ONE_FOR_ALL, "-b -c -a +a +b +c"),
        (Strategy.REST_FOR_ONE, "-b -c +b +c"),
    ],
)
async def test_strategies(autojump_clock, strategy, expected):
    log = []
    async with open_system() as system:
        await system.supervise("s", strategy=strategy, backoff=QUICK)
        refs = [await system.start(writes(log, name), name, under="/s") for name in "abc"]
        assert log == ["+a", "+b", "+c"]
        await crashes(refs[1])
        await trio.sleep(5)
        assert " ".join(log[3:]) == expected
        assert [await ref.ask("alive") for ref in refs] == ["alive"] * 3
        seen = [system.tree().find(ref.path).restarts for ref in refs]
        assert seen == [expected.count(f"+{name}") for name in "abc"]
        log.clear()
    assert log == ["-c", "-b", "-a"]


@pytest.mark.parametrize(("restart", "lives"), [(Restart.TRANSIENT, True), (Restart.TEMPORARY, False)])
async def test_restart_types(autojump_clock, restart, lives):
    async with system_and_events() as (system, log):
        ref = await system.start(doer(), "a", restart=restart)
        await crashes(ref)
        if lives:
            assert await ref.ask("x") == "x"
        else:
            with pytest.raises(ActorStopped):
                await ref.ask("x")
            assert system.tree().find("/a") is None
            assert [event.reason for event in log.all("ActorStopped")] == ["it has ended"]
            await system.start(doer(), "a")  # the name is free again


async def test_backoff_waits_and_messages_wait_with_it(autojump_clock):
    async with system_and_events(seed=1) as (system, log):
        await system.supervise("s", backoff=Backoff(initial=1, jitter=0), intensity=Intensity(max_restarts=None))
        ref = await system.start(doer(), "a", under="/s")
        for _ in range(4):
            await crashes(ref)
        await ref.ask("x")
        assert [event.delay for event in log.all("ActorRestarting")] == [1, 2, 4, 8]
        assert trio.current_time() == 15
        await trio.sleep(31)
        await crashes(ref)
        assert await ref.ask("x") == "x"
        assert log.all("ActorRestarting")[-1].crashes == 1
        await crashes(ref)
        await trio.testing.wait_all_tasks_blocked()
        info = system.tree().find("/s/a")
        assert (info.state, info.restarts, info.uptime) == (State.WAITING, 5, 0)  # the sixth has not begun


async def test_grace_period_then_cancel(autojump_clock):
    log = []
    async with open_system() as system:
        ref = await system.start(writes(log, "a"), "a", grace=3)
        await ref.tell(forever)
        await trio.testing.wait_all_tasks_blocked()
        await system.stop("/a")
        assert trio.current_time() == 3
        assert log == ["+a", "-a"]


async def test_who_shields_himself_is_named_for_as_long_as_he_does(autojump_clock):
    async with system_and_events() as (system, log):
        ref = await system.start(doer(), "a", grace=2)
        await ref.tell(shielded(19))
        await trio.testing.wait_all_tasks_blocked()
        await system.stop("/a")
        assert trio.current_time() == 19
        assert [(event.path, event.waited, event.at) for event in log.all("ActorStuck")] == [
            ("/a", 5, 7),
            ("/a", 10, 12),
            ("/a", 15, 17),
        ]


async def test_who_shields_himself_is_named_when_all_is_cancelled(autojump_clock, caplog):
    """Found by reading: under a cancelled block the supervisor waited without a word."""
    with trio.CancelScope() as scope:
        async with open_system() as system:
            ref = await system.start(doer(), "a")
            await system.start(doer(), "b")
            await ref.tell(shielded(12))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert trio.current_time() == 12
    assert [record.message for record in caplog.records if "Stuck" in record.message] == [
        "/a ActorStuck waited=5.0",
        "/a ActorStuck waited=10.0",
    ]


async def test_start_failure_has_its_cause_and_leaves_nothing(autojump_clock):
    async def setup(actor):
        actor.ctx.start_soon(forever, actor)
        raise ValueError("no such host")

    log = []

    async def teardown(actor):
        log.append("torn down")

    def factory():
        raise OSError("no factory")

    async with system_and_events() as (system, events):
        with pytest.raises(StartFailed, match="did not become ready") as caught:
            await system.start(doer(setup=setup, teardown=teardown), "a")
        assert isinstance(caught.value.__cause__, ExceptionGroup)
        assert "no such host" in events.all("ActorCrashed")[0].traceback
        assert log == ["torn down"]
        with pytest.raises(StartFailed) as caught:
            await system.start(factory, "a")
        assert isinstance(caught.value.__cause__, OSError)
        assert system.tree().children == ()


async def test_start_timeout(autojump_clock):
    log = []

    async def naughty(actor):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            log.append("swallowed")

    async with open_system() as system:
        for setup in (forever, naughty):
            with pytest.raises(StartFailed) as caught:
                await system.start(doer(setup=setup), "a", start_timeout=7)
            assert str(caught.value.__cause__) == "/a: it was not ready after 7 s"
        assert trio.current_time() == 14
        await system.start(doer(), "a", start_timeout=7)
        await trio.sleep(8)
        assert system.tree().find("/a").uptime == 8


async def test_a_restart_that_fails_is_tried_again_and_requests_are_served_meanwhile(autojump_clock):
    attempts = []

    async def setup(actor):
        attempts.append(trio.current_time())
        if 1 < len(attempts) < 5:
            raise ValueError("not yet")

    async with open_system(intensity=Intensity(max_restarts=None)) as system:
        await system.supervise("s", backoff=QUICK)
        ref = await system.start(doer(setup=setup), "a", under="/s")
        await crashes(ref)
        other = await system.start(doer(), "b", under="/s")
        await crashes(other)
        assert await other.ask("x") == "x"
        assert trio.current_time() == 1
        assert await ref.ask("y") == "y"
        assert attempts == [0, 1, 3, 7, 15]


async def test_names(autojump_clock):
    async with open_system() as system:
        await system.start(doer(), "a")
        for bad in ("", "x/y"):
            with pytest.raises(ValueError, match="no slash"):
                await system.start(doer(), bad)
        with pytest.raises(ValueError, match="there is a child 'a' already"):
            await system.start(doer(), "a")
        for under in ("/nowhere", "/a", "/a/b"):
            with pytest.raises(ValueError, match="no supervisor"):
                await system.start(doer(), "b", under=under)
        for path in ("/b", "/a/b", "/nowhere/b", "/"):
            with pytest.raises(KeyError):
                await system.stop(path)


async def test_remove_while_starting(autojump_clock):
    async with system_and_events() as (system, log):
        errors = []

        async def start():
            try:
                await system.start(doer(setup=forever), "a")
            except StartFailed as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            await trio.testing.wait_all_tasks_blocked()
            await system.stop("/a")
        assert len(errors) == 1
        assert trio.current_time() == 0
        assert log.kinds() == [("/a", "ActorStopped")]


def removes_when(supervisor, kind, name):
    """Remove a child in the very moment in which an event of that kind is posted to its supervisor."""
    post = supervisor._post

    def post_both(event):
        post(event)
        if isinstance(event, kind):
            supervisor._post = post
            supervisor._remove_nowait(supervisor._children[name])

    supervisor._post = post_both


async def test_stop_of_a_life_that_has_not_begun(autojump_clock):
    """Found by reading: the stop was lost, and the actor went on for its whole grace period, or for ever."""
    log = []
    async with open_system() as system:
        removes_when(system.root, Add, "a")
        with pytest.raises(StartFailed):
            await system.start(writes(log, "a"), "a")
        removes_when(system.root, Add, "s")
        with pytest.raises(StartFailed):
            await system.supervise("s")
        assert (log, trio.current_time(), system.tree().children) == ([], 0, ())


async def test_two_removals_at_once_and_a_cancelled_one(autojump_clock):
    """Found by reading: the second one crashed the supervisor."""
    async with open_system() as system:
        ref = await system.start(doer(), "a", grace=4)
        other = await system.start(doer(), "b")
        await ref.tell(sleeps(2))
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.stop, "/a")
            nursery.start_soon(system.stop, "/a/")
            with trio.move_on_after(1):
                await system.stop("/a")
        assert trio.current_time() == 2
        assert await other.ask("x") == "x"
        assert system.tree().find("/").restarts == 0


async def test_remove_in_the_tick_in_which_the_supervisor_ends(autojump_clock):
    """Found by reading: the request was never read, and whoever waited span for ever without letting time pass."""
    async with open_system() as system:
        await system.supervise("s", intensity=Intensity(max_restarts=0), backoff=QUICK)
        ref = await system.start(doer(), "a", under="/s")
        removes_when(system.root.below("s"), Exited, "a")
        await crashes(ref)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ActorStopped):
            await ref.ask("x")
        await trio.sleep(10)
        assert system.tree().find("/s").children == ()
        assert system.tree().find("/s").state is State.RUNNING


async def test_removing_a_supervisor_stops_and_buries_all_below(autojump_clock):
    log = []
    async with system_and_events() as (system, events):
        await system.supervise("s")
        await system.supervise("t", under="/s")
        refs = [await system.start(writes(log, name), name, under="/s/t") for name in "ab"]
        other = await system.start(writes(log, "c"), "c", under="/s")
        async with trio.open_nursery() as nursery:
            waiting = [await ask_soon(nursery, ref, forever) for ref in (*refs, other)]
            queued = [await ask_soon(nursery, ref, "x") for ref in (*refs, other)]
            await system.stop("/s")
        assert {type(asked.end) for asked in (*waiting, *queued)} == {ActorStopped}
        assert log == ["+a", "+b", "+c", "-c", "-b", "-a"]
        for ref in (*refs, other):
            with pytest.raises(ActorStopped):
                await ref.ask("x")
        with pytest.raises(ValueError, match="no supervisor"):
            await system.start(doer(), "d", under="/s/t")
        stopped = [event.path for event in events.all("ActorStopped")]
        assert sorted(stopped) == ["/s", "/s/c", "/s/t", "/s/t/a", "/s/t/b"]
        assert len(stopped) == len(set(stopped))


async def test_cancelling_a_start_removes_what_was_starting(autojump_clock):
    log = []

    async def setup(actor):
        await trio.sleep(5)

    async with open_system() as system:
        with trio.move_on_after(1):
            await system.start(doer(setup=setup, teardown=sleeps(0)), "a")
        await trio.testing.wait_all_tasks_blocked()
        assert system.tree().children == ()
        await system.start(writes(log, "a"), "a")
        assert trio.current_time() == 1


async def test_giving_up_escalates_with_the_whole_history(autojump_clock):
    log = []
    async with system_and_events() as (system, events):
        await system.supervise("s", intensity=Intensity(max_restarts=2, within=10), backoff=Backoff(initial=0))
        a = await system.start(writes(log, "a"), "a", under="/s")
        b = await system.start(writes(log, "b"), "b", under="/s")
        async with trio.open_nursery() as nursery:
            await crashes(a)
            await a.ask("again")
            await crashes(b)
            in_hand = await ask_soon(nursery, b, forever)
            queued = await ask_soon(nursery, b, "queued")
            await crashes(a)
            # refs are good, and what was queued is handled, after the supervisor's own restart
            assert await a.ask("alive") == "alive"
        assert isinstance(in_hand.end, ActorStopped)
        assert queued.end == "queued"
        (event,) = events.all("ActorCrashed", path="/s")
        assert event.error == "SupervisorGaveUp: /s: more than 2 restarts in 10 s, the last of ValueError: crash"
        assert event.traceback.count("| ValueError: crash") == 3
        assert system.tree().find("/s").restarts == 1
        assert log == ["+a", "+b", "-a", "+a", "-b", "+b", "-a", "-b", "+a", "+b"]


async def test_the_root_giving_up_cancels_the_block(autojump_clock):
    log = []
    with pytest.raises(SupervisorGaveUp) as caught:  # noqa: PT012 (the whole block fails)
        async with open_system(intensity=Intensity(max_restarts=0)) as system:
            await system.supervise("s", intensity=Intensity(max_restarts=0))
            ref = await system.start(writes(log, "a"), "a", under="/s")
            await ref.tell(crash)
            try:
                await trio.sleep_forever()
            finally:
                log.append("block")
    error = caught.value
    assert error.path == "/"
    (crash_of_s,) = error.history
    assert (crash_of_s.name, crash_of_s.error.path) == ("s", "/s")
    assert [crash.name for crash in crash_of_s.error.history] == ["a"]
    assert isinstance(error.__cause__, ExceptionGroup)
    assert sorted(log) == ["+a", "-a", "block"]


async def test_the_blocks_own_error_comes_out_as_it_is(autojump_clock):
    log = []
    with pytest.raises(KeyError, match="mine"):  # noqa: PT012
        async with open_system() as system:
            await system.start(writes(log, "a"), "a")
            raise KeyError("mine")
    assert log == ["+a", "-a"]
    with pytest.raises(SupervisorGaveUp) as caught:  # noqa: PT012 (the whole block fails)
        async with open_system(intensity=Intensity(max_restarts=0)) as system:
            ref = await system.start(doer(), "a")
            try:
                await ref.tell(crash)
                await trio.sleep_forever()
            finally:
                raise KeyError("while being cancelled")
    assert "KeyError" in caught.value.__notes__[0]


async def test_add_to_a_supervisor_that_is_restarting_or_has_gone(autojump_clock):
    async def slow(actor):
        await trio.sleep(3)

    async with open_system() as system:
        await system.supervise("s", intensity=Intensity(max_restarts=0), backoff=QUICK)
        ref = await system.start(doer(), "a", under="/s")
        await ref.tell(crash)
        late = await system.start(doer(setup=slow), "late", under="/s")  # its supervisor is about to give up
        assert await late.ask("x") == "x"
        await ref.tell(crash)
        await trio.sleep(0.01)
        assert system.tree().find("/s").state is State.WAITING
        with pytest.raises(StartFailed):  # and one that cannot start does not take the new life down
            await system.start(doer(setup=crash), "bad", under="/s")
        assert await ref.ask("x") == "x"
        # removed between two lives
        await ref.tell(crash)
        await trio.sleep(0.01)
        assert system.tree().find("/s").state is State.WAITING
        await system.stop("/s/a")
        assert await late.ask("y") == "y"
        assert [child.path for child in system.tree().find("/s").children] == ["/s/late"]
        supervisor = system.root.below("s")
        await system.stop("/s")
        with pytest.raises(StartFailed, match="did not become ready"):
            await supervisor.add("x", late._cell, Restart.PERMANENT, 1.0)
    with pytest.raises(StartFailed):
        await system.start(doer(), "after the end")
    with pytest.raises(KeyError):
        await system.stop("/after the end")


async def test_add_while_the_supervisor_is_being_stopped(autojump_clock):
    async with open_system() as system:
        await system.supervise("s")
        ref = await system.start(doer(), "a", under="/s")
        await ref.tell(sleeps(2))
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.stop, "/s")
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(1) as scope:
                await system.start(doer(), "given up", under="/s")
            assert scope.cancelled_caught
            with pytest.raises(StartFailed):
                await system.start(doer(), "b", under="/s")
            assert trio.current_time() == 2


async def test_snapshot_hand_over(autojump_clock):
    seen = []
    fail = []

    async def setup(actor):
        seen.append(actor.ctx.previous)
        actor.count = (actor.ctx.previous or 0) + 1
        if fail:
            fail.pop()
            raise ValueError("setup")

    def snapshot(actor):
        if actor.count == 4:
            raise ValueError("snapshot")
        return actor.count

    async with system_and_events(intensity=Intensity(max_restarts=None)) as (system, log):
        ref = await system.start(doer(setup=setup, snapshot=snapshot), "a")
        await crashes(ref)
        await ref.ask("x")
        fail.append(1)
        await crashes(ref)  # and then the setup fails: it knows nothing better than its predecessor
        await ref.ask("x")
        assert seen == [None, 1, 2, 2]
        await crashes(ref)
        await ref.ask("x")
        await crashes(ref)
        await ref.ask("x")
        assert seen[4:] == [3, None]
        assert [event.error for event in log.all("StopFailed")] == ["ValueError('snapshot')"]


async def test_snapshot_is_handed_over_when_a_sibling_takes_it_along_and_over_its_supervisors_end(autojump_clock):
    seen = []

    async def setup(actor):
        seen.append(actor.ctx.previous)

    def snapshot(actor):
        return len(seen)

    async with open_system() as system:
        await system.supervise("s", strategy=Strategy.ONE_FOR_ALL, intensity=Intensity(max_restarts=1))
        a = await system.start(doer(), "a", under="/s")
        await system.start(doer(setup=setup, snapshot=snapshot), "b", under="/s")
        for _ in range(2):
            await crashes(a)
            await trio.sleep(5)
        assert seen == [None, 1, 2]
        assert system.tree().find("/s").restarts == 1


async def test_teardown_runs_after_a_cancel_and_is_bounded_by_the_grace_period(autojump_clock):
    async def teardown(actor):
        await trio.sleep(2)
        log.append(trio.current_time())
        await trio.sleep_forever()

    log = []
    async with open_system() as outside:
        receive = outside.events.subscribe()
        async with receive:
            with trio.CancelScope() as scope:
                async with open_system() as system:
                    await system.start(doer(teardown=teardown), "a", grace=3)
                    scope.cancel()
    assert log == [2]
    assert trio.current_time() == 3


async def test_errors_of_teardown_are_reported_and_hurt_nobody(autojump_clock):
    async def raises(actor):
        raise ValueError("in teardown")

    async def too_long(actor):
        await trio.sleep_forever()

    async with system_and_events() as (system, log):
        ref = await system.start(doer(teardown=raises), "a")
        await system.start(doer(teardown=too_long), "b", grace=2)
        await crashes(ref)
        assert await ref.ask("next life") == "next life"
        await system.stop("/a")
        await system.stop("/b")
        failed = log.all("StopFailed")
        assert [(event.path, event.error) for event in failed] == [
            ("/a", "ValueError('in teardown')"),
            ("/a", "ValueError('in teardown')"),
            ("/b", "TimeoutError('teardown was not done after 2 s, and has been cut off')"),
        ]
        assert "in teardown" in failed[0].traceback


async def test_crash_during_the_stop_is_reported_and_no_restart(autojump_clock):
    async def crash_in_cleanup(actor):
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in cleanup")

    async with system_and_events() as (system, log):
        ref = await system.start(doer(), "a", grace=1)
        await ref.tell(crash_in_cleanup)
        await trio.testing.wait_all_tasks_blocked()
        await system.stop("/a")
        assert [event.error for event in log.all("StopFailed")] == ["ValueError: in cleanup"]
        assert not log.all("ActorRestarting", "ActorCrashed")


async def test_background_tasks_live_as_long_as_the_actor(autojump_clock):
    log = []

    async def background(actor, name):
        try:
            await trio.sleep(10)
            raise ValueError(name)
        finally:
            log.append((name, trio.current_time()))

    async def setup(actor):
        actor.ctx.start_soon(background, actor, f"life {actor.ctx.restarts}")

    late = []

    async def teardown(actor):
        try:
            actor.ctx.start_soon(background, actor, "too late")
        except ActorStopped as error:
            late.append(error)

    async with open_system() as system:
        await system.supervise("s", backoff=QUICK)
        ref = await system.start(doer(setup=setup, teardown=teardown), "a", under="/s")
        async with trio.open_nursery() as nursery:
            asked = await ask_soon(nursery, ref, forever)
        assert isinstance(asked.end, ActorCrashed)
        assert str(asked.end.__cause__) == "life 0"
        assert await ref.ask("x") == "x"
        await system.stop("/s/a")
        assert log == [("life 0", 10), ("life 1", 11)]
        assert len(late) == 2


async def test_a_supervisors_children_have_each_their_own_time_to_start(autojump_clock):
    """Found by reading: a supervisor with many slow children was cut off after 30 s, at every restart."""

    async def slow(actor):
        await trio.sleep(20)

    async with open_system() as system:
        await system.supervise("s", intensity=Intensity(max_restarts=0), backoff=QUICK)
        refs = [await system.start(doer(setup=slow), name, under="/s") for name in "abc"]
        await crashes(refs[0])
        assert [await ref.ask("x") for ref in refs] == ["x"] * 3
        assert trio.current_time() > 120
        assert system.tree().find("/s").restarts == 1


async def test_order_is_kept_over_lives(autojump_clock):
    done = []
    async with open_system(intensity=Intensity(max_restarts=None)) as system:
        ref = await system.start(doer(), "a")
        for number in range(30):
            ref.tell_nowait(crash if number % 7 == 3 else appends(done, number))
        await ref.ask("x")
        assert done == [number for number in range(30) if number % 7 != 3]
