"""Any tree, any trouble: asks end exactly once, order is kept, restarts stay within bounds, and no task is left.

Hypothesis makes a tree of supervisors and a schedule of asks, tells, crashes, removals, additions, cancellations and
timeouts, and plays it in virtual time. What is checked holds for every schedule, so there is no model here: the
ledger below only remembers what was sent and what came of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernel import Asked

from switchgear.runtime import (
    Actor,
    ActorCrashed,
    ActorError,
    ActorStopped,
    AskTimeout,
    Backoff,
    Event,
    Intensity,
    MailboxFull,
    MailboxOverdue,
    Restart,
    StartFailed,
    Strategy,
    SupervisorGaveUp,
    WhenFull,
    open_system,
)

LONG = 10_000.0  # seconds: more than any schedule takes, so whoever waits longer hangs


@dataclasses.dataclass(frozen=True)
class Work:
    sender: int
    number: int
    seconds: float
    ending: str  # "reply" | "crash" | "declared" | "shield"


class Declared(Exception):
    pass


class Worker(Actor):
    errors = (Declared,)

    def __init__(self, name, concurrency, ledger, setup_seconds, fails, max_wait):
        self.name, self.concurrency, self.ledger = name, concurrency, ledger
        self.setup_seconds, self.fails, self.max_wait = setup_seconds, fails, max_wait

    async def setup(self, ctx):
        ctx.limit_waiting(self.max_wait)
        await trio.sleep(self.setup_seconds)
        if self.fails and ctx.rng.random() < self.fails:
            raise ValueError("setup")
        self.ledger.alive.add(self)

    async def teardown(self):
        self.ledger.alive.discard(self)
        await trio.sleep(self.setup_seconds)

    async def handle(self, work):
        self.ledger.begun.append((self.name, work))
        with trio.CancelScope(shield=work.ending == "shield"):
            await trio.sleep(work.seconds)
        if work.ending == "crash":
            raise ValueError("crash")
        if work.ending == "declared":
            raise Declared
        return work


@dataclasses.dataclass
class Ledger:
    begun: list = dataclasses.field(default_factory=list)
    asked: list = dataclasses.field(default_factory=list)
    alive: set = dataclasses.field(default_factory=set)


seconds = st.sampled_from([0.0, 0.25, 1.0, 3.0])
supervisors = st.lists(
    st.tuples(
        st.integers(0, 10),  # under which of those before
        st.sampled_from(Strategy),
        st.sampled_from([0, 1, 5]),
        st.sampled_from(Restart),
    ),
    max_size=4,
)
actors = st.lists(
    st.tuples(
        st.integers(0, 10),
        st.sampled_from([Restart.PERMANENT, *Restart]),
        st.sampled_from([1, 1, 3]),  # concurrency
        st.sampled_from([1, 3, 100]),  # capacity
        st.sampled_from(WhenFull),
        st.sampled_from([0.0, 1.0]),  # of setup and teardown
        st.sampled_from([0.0, 0.0, 0.5]),  # how often setup fails
        st.sampled_from([math.inf, math.inf, 1.0]),  # how long a message may wait
    ),
    min_size=1,
    max_size=6,
)
works = st.tuples(
    st.just("work"),
    st.integers(0, 10),  # to whom
    st.integers(0, 2),  # from whom
    seconds,
    st.sampled_from(["reply", "reply", "reply", "crash", "declared", "shield"]),
    st.sampled_from(["ask", "ask", "tell", "nowait"]),
    st.sampled_from([None, None, 0.0, 0.5, 2.0]),  # timeout
    st.sampled_from([None, None, 0.0, 0.5, 2.0]),  # cancelled after
)
pauses = st.tuples(st.just("pause"), seconds)
troubles = st.one_of(
    st.tuples(st.just("stop actor"), st.integers(0, 10)),
    st.tuples(st.just("stop supervisor"), st.integers(1, 10)),
    st.tuples(st.just("start actor"), actors.map(lambda made: made[0])),
)
steps = st.sampled_from([*[works] * 8, *[pauses] * 3, troubles]).flatmap(lambda kind: kind)
schedules = st.lists(steps, min_size=10, max_size=60)


class Play:
    """One tree and one schedule."""

    def __init__(self, ledger, nursery, system):
        self.ledger, self.nursery, self.system = ledger, nursery, system
        self.paths = ["/"]
        self.refs = []
        self.number = 0
        self.intensity = {}

    async def build(self, supervisors, actors):
        for number, (under, strategy, restarts, restart) in enumerate(supervisors):
            self.nursery.start_soon(self.supervise, under, f"s{number}", strategy, restarts, restart)
            await trio.testing.wait_all_tasks_blocked()
        for made in actors:
            self.start(made)
        await trio.sleep(5)  # most are up by then

    async def supervise(self, under, name, strategy, restarts, restart):
        intensity = Intensity(max_restarts=restarts, within=5.0)
        above = self.paths[under % len(self.paths)]
        path = await self.system.supervise(
            name,
            under=above,
            strategy=strategy,
            intensity=intensity,
            backoff=Backoff(initial=0.25, maximum=2.0),
            restart=restart,
        )
        self.paths.append(path)
        self.intensity[path] = intensity

    def start(self, made):
        under, restart, concurrency, capacity, when_full, setup, fails, max_wait = made
        name = f"a{self.number}"
        self.number += 1
        path = self.paths[under % len(self.paths)]

        def factory():
            return Worker(name, concurrency, self.ledger, setup, fails, max_wait)

        async def start():
            try:
                ref = await self.system.start(
                    factory, name, under=path, restart=restart, capacity=capacity, when_full=when_full, grace=2.0
                )
            except (StartFailed, ValueError):
                return
            self.refs.append((ref, name, concurrency, when_full))

        self.nursery.start_soon(start)

    async def perform(self, step):
        match step:
            case ("pause", duration):
                await trio.sleep(duration)
            case ("stop actor", which) if self.refs:
                self.nursery.start_soon(self.stop, self.refs[which % len(self.refs)][0].path)
            case ("stop supervisor", which) if len(self.paths) > 1:
                self.nursery.start_soon(self.stop, self.paths[1 + which % (len(self.paths) - 1)])
            case ("start actor", made):
                self.start(made)
            case ("work", which, *work) if self.refs:
                await self.send(self.refs[which % len(self.refs)], *work)

    async def stop(self, path):
        with trio.fail_after(LONG):
            with contextlib.suppress(KeyError):  # it has gone already
                await self.system.stop(path)

    async def send(self, to, sender, duration, ending, how, timeout, cancelled_after):
        ref, *_ = to
        self.number += 1
        work = Work(sender, self.number, duration, ending)
        try:
            if how == "ask":
                asked = Asked()
                self.ledger.asked.append((asked, work, timeout, cancelled_after))
                if cancelled_after is not None:
                    asked.scope.deadline = trio.current_time() + cancelled_after
                self.nursery.start_soon(asked.run, ref, work, timeout)
                await trio.testing.wait_all_tasks_blocked()  # so that "before" and "after" mean something
            elif how == "nowait":
                ref.tell_nowait(work)
            else:
                with trio.move_on_after(1):
                    await ref.tell(work)
        except MailboxFull:
            pass


def check_asks(ledger):
    for asked, work, timeout, cancelled_after in ledger.asked:
        end = asked.end  # there is one, and one only
        if isinstance(end, Work):
            assert end is work
            assert work.ending in ("reply", "shield")
        elif isinstance(end, AskTimeout):
            assert timeout is not None
        elif end == "cancelled":
            assert cancelled_after is not None or timeout is None
        elif isinstance(end, Declared):
            assert work.ending == "declared"
        else:
            assert isinstance(end, (ActorCrashed, ActorStopped, MailboxFull, MailboxOverdue)), end


def check_order(ledger, refs):
    """Nothing is handled twice, and with one message in hand at a time all are handled in the order of sending."""
    for _, name, concurrency, _ in refs:
        numbers = [work.number for who, work in ledger.begun if who == name]
        assert len(numbers) == len(set(numbers))
        if concurrency == 1:
            assert numbers == sorted(numbers)


def check_intensity(events, intensity):
    """No supervisor that has not given up has seen more restarts in its window than it allows."""
    for path, limit in intensity.items():
        ours = [event for event in events if event.path.rpartition("/")[0] == path]
        times = [event.at for event in ours if type(event).__name__ == "ActorRestarting"]
        ends = [event.at for event in events if event.path == path and type(event).__name__ == "ActorCrashed"]
        for at in times:
            recent = [time for time in times if at - limit.within < time <= at]
            fresh_starts = [time for time in ends if at - limit.within <= time <= at]
            assert len(recent) <= limit.max_restarts * (1 + len(fresh_starts))


async def play(supervisors, actors, schedule, ending, seed):
    ledger, events = Ledger(), []
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.fail_after(LONG):
        async with trio.open_nursery() as outside:
            with trio.CancelScope() as whole:
                try:
                    async with open_system(seed=seed, intensity=Intensity(max_restarts=50, within=5.0)) as system:
                        system.events.publish = recorder(system.events.publish, events)
                        actors_of = Play(ledger, outside, system)
                        await actors_of.build(supervisors, actors)
                        for step in schedule:
                            await actors_of.perform(step)
                        if ending == "cancel":
                            whole.cancel()
                            await trio.lowlevel.checkpoint()
                        if ending == "error":
                            raise KeyError("the block")
                        if ending == "wait":
                            await trio.sleep(100)
                except (SupervisorGaveUp, KeyError):
                    pass
        # every ask, start and stop has ended, for the nursery has
        assert trio.current_time() < LONG
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert not ledger.alive  # every setup has had its teardown
    check_asks(ledger)
    check_order(ledger, actors_of.refs)
    check_intensity(events, actors_of.intensity)
    for ref, *_ in actors_of.refs:
        cell = ref._cell
        left = cell.mailbox.statistics()
        assert (cell.pending, left.depth, left.waiting) == (0, 0, 0)
        with pytest.raises(ActorError):
            await ref.ask("late")


def recorder(publish, events):
    def record(event: Event):
        events.append(msgspec.structs.replace(event, at=trio.current_time()))
        publish(event)

    return record


@settings(max_examples=300)
@given(
    supervisors=supervisors,
    actors=actors,
    schedule=schedules,
    ending=st.sampled_from(["end", "wait", "cancel", "error"]),
    seed=st.integers(0, 3),
)
def test_whatever_happens(supervisors, actors, schedule, ending, seed):
    trio.run(play, supervisors, actors, schedule, ending, seed, clock=trio.testing.MockClock(autojump_threshold=0))
