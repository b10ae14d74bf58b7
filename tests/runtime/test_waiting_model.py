"""Who waits in a mailbox, who is served next, and who has waited too long: an actor against a model of its queue.

Hypothesis plays arrivals, cancellations, ends of work, crashes, time, other bounds and other rules to an actor whose
messages end when the test says so. The model is a list that is filtered and sorted anew for each question, and knows
nothing of workers, heaps or tasks.
"""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.kernel import Asked
from support.stepwise import Stepwise

from switchgear.runtime import (
    Actor,
    ActorCrashed,
    ActorStopped,
    Backoff,
    Intensity,
    MailboxFull,
    MailboxOverdue,
    WhenFull,
    open_system,
)

RESTART = 0.3  # seconds from a crash to the next life: never at the same time as anything else


class Rule:
    """So long anybody may wait, and who is next; remembers when a queue began."""

    def __init__(self, allowed, newest_first):
        self.allowed, self.newest_first = allowed, newest_first
        self.begun = []

    def began(self, now):
        self.begun.append(now)

    def rule(self, now):
        return self.allowed, self.newest_first


class Hands(Actor):
    """Has each message in hand until its event is set, and crashes of it if it is among those ``fatal``."""

    def __init__(self, concurrency, seen):
        self.concurrency = concurrency
        self.seen = seen

    async def setup(self, ctx):
        self.seen.ctx = ctx

    async def handle(self, number):
        seen = self.seen
        seen.begun.append(number)
        seen.in_hand[number] = trio.Event()
        try:
            await seen.in_hand[number].wait()
        finally:
            del seen.in_hand[number]
        if number in seen.fatal:
            raise ValueError("crash")
        return number


class Model:
    def __init__(self, limit, capacity, when_full):
        self.limit, self.capacity, self.when_full = limit, capacity, when_full
        self.limit_of_a_life = limit  # at its beginning
        self.now, self.up_at = 0.0, 0.0
        self.max_wait, self.rule = math.inf, None
        self.all = []  # in order of arrival: number, at, place: "line", "queue", "hand", or how it ended
        self.order = []  # in which they came into a hand
        self.begun = []  # when a queue began, since there is a rule

    def at(self, *places):
        return [one for one in self.all if one.place in places]

    @property
    def allowed(self):
        return self.max_wait if self.rule is None else min(self.max_wait, self.rule.allowed)

    @property
    def up(self):
        return self.up_at <= self.now

    def full(self):
        return len(self.at("queue", "hand")) >= self.limit + self.capacity

    def arrive(self, number):
        one = SimpleNamespace(number=number, at=self.now, place="queue")
        waits = self.full() or self.at("line")
        nobody_waits = not self.at("line", "queue")
        if waits and self.when_full is WhenFull.FAIL:
            one.place = MailboxFull
        elif waits and self.when_full is WhenFull.WAIT:
            one.place = "line"
        elif waits and not self.at("queue"):
            one.place = ActorStopped
        elif waits:
            self.at("queue")[0].place = ActorStopped
        if one.place in ("line", "queue") and nobody_waits:
            self.begun.append(self.now)
        self.all.append(one)
        self.settle()

    def settle(self):
        """Room is used, and free hands."""
        for one in self.at("line"):
            if not self.full():
                one.place = "queue"
            elif self.when_full is WhenFull.DROP_OLDEST:
                one.place = "queue"
                self.at("queue")[0].place = ActorStopped
        newest_first = self.rule is not None and self.rule.newest_first
        for one in sorted(self.at("queue"), key=lambda one: one.number, reverse=newest_first):
            if len(self.at("hand")) < self.limit and self.up:
                one.place = "hand"
                self.order.append(one.number)

    def end(self, number, how):
        next(one for one in self.all if one.number == number).place = how
        self.settle()

    def crash(self):
        """Whoever is in a hand hears of it, and for a while there are no hands."""
        self.up_at = self.now + RESTART
        for one in self.at("hand"):
            one.place = ActorCrashed
        self.settle()

    def sleep(self, seconds):
        until = self.now + seconds
        while True:
            overdue = [one for one in self.at("line", "queue") if one.at + self.allowed <= until]
            if not self.up and self.up_at <= min([until, *(one.at + self.allowed for one in overdue[:1])]):
                self.now, self.limit = self.up_at, self.limit_of_a_life
            elif overdue:
                self.now = max(self.now, overdue[0].at + self.allowed)
                overdue[0].place, overdue[0].waited = MailboxOverdue, self.now - overdue[0].at
            else:
                break
            self.settle()
        self.now = until

    def limit_waiting(self, max_wait, rule):
        if self.max_wait == math.inf and self.rule is None:
            for one in self.at("line", "queue"):
                one.at = self.now
        waiting = self.at("line", "queue")
        self.max_wait, self.rule = max_wait, rule
        self.begun = [waiting[0].at] if rule is not None and waiting else []
        self.sleep(0)


waits = st.sampled_from([0.5, 1.0, 3.0])
limits, capacities, when_full = st.integers(1, 3), st.integers(0, 4), st.sampled_from([WhenFull.WAIT, *WhenFull])
whoever = st.integers(0, 20)


class Waiting(RuleBasedStateMachine):
    """The model and the actor, side by side."""

    @initialize(limit=limits, capacity=capacities, when_full=when_full)
    def begin(self, limit, capacity, when_full):
        self.model = Model(limit, capacity, when_full)
        self.seen = SimpleNamespace(begun=[], in_hand={}, fatal=set(), ctx=None)
        self.asked = {}
        self.play = Stepwise(self.main)

    async def main(self, play):
        model = self.model
        async with open_system() as self.system, trio.open_nursery() as self.nursery:
            restarts = {"intensity": Intensity(max_restarts=None), "backoff": Backoff(RESTART, factor=1.0, jitter=0.0)}
            await self.system.supervise("s", **restarts)
            make = partial(Hands, model.limit, self.seen)
            self.ref = await self.system.start(
                make, "a", under="/s", capacity=model.capacity, when_full=model.when_full
            )
            await play.serve()
            await self.system.stop("/s/a")

    @rule(how_many=st.integers(1, 4))
    def arrive(self, how_many):
        for _ in range(how_many):
            number = len(self.asked)
            self.asked[number] = Asked()
            self.play.run(self.ask, number)  # one by one: trio starts tasks in any order
            self.model.arrive(number)

    async def ask(self, number):
        self.nursery.start_soon(self.asked[number].run, self.ref, number)

    def one(self, whoever, *places):
        """The number of one of them."""
        there = self.model.at(*places)
        return there[whoever % len(there)].number

    @precondition(lambda self: self.model.at("line", "queue", "hand"))
    @rule(whoever=whoever)
    def cancel(self, whoever):
        number = self.one(whoever, "line", "queue", "hand")
        self.do(self.asked[number].scope.cancel)
        self.model.end(number, "cancelled")

    @precondition(lambda self: self.model.at("hand"))
    @rule(whoever=whoever)
    def finish(self, whoever):
        number = self.one(whoever, "hand")
        self.do(self.seen.in_hand[number].set)
        self.model.end(number, number)

    @precondition(lambda self: self.model.at("hand"))
    @rule(whoever=whoever)
    def crash(self, whoever):
        number = self.one(whoever, "hand")
        self.seen.fatal.add(number)
        self.do(self.seen.in_hand[number].set)
        self.model.crash()

    @rule(seconds=st.sampled_from([0.0, 0.25, 0.5, 1.0, 4.0]))
    def sleep(self, seconds):
        self.play.run(self.play.sleep, seconds)
        self.model.sleep(seconds)

    @precondition(lambda self: self.model.up)
    @rule(limit=limits, capacity=capacities, when_full=when_full)
    def resize(self, limit, capacity, when_full):
        self.do(partial(self.seen.ctx.resize, limit, capacity=capacity, when_full=when_full))
        self.model.limit, self.model.capacity, self.model.when_full = limit, capacity, when_full
        self.model.settle()

    @precondition(lambda self: self.model.up)
    @rule(max_wait=st.just(math.inf) | waits, rule=st.none() | st.builds(Rule, waits, st.booleans()))
    def limit_waiting(self, max_wait, rule):
        self.do(partial(self.seen.ctx.limit_waiting, max_wait, rule))
        self.model.limit_waiting(max_wait, rule)

    def do(self, move):
        async def moved():
            move()

        self.play.run(moved)

    @invariant()
    def compare(self):
        model, seen = self.model, self.seen
        assert seen.begun == model.order
        assert sorted(seen.in_hand) == [one.number for one in model.at("hand")]
        mailbox = self.play.look(self.ref.info).mailbox
        shed = model.at(MailboxOverdue)
        assert (mailbox.depth, mailbox.waiting) == (len(model.at("queue")), len(model.at("line")))
        assert mailbox.shed == len(shed)
        for one in model.all:
            ends = self.asked[one.number].ends
            if one.place in ("line", "queue", "hand"):
                assert not ends
            elif isinstance(one.place, type):
                assert [type(end) for end in ends] == [one.place]
            else:
                assert ends == [one.place]
        for one in shed:
            assert self.asked[one.number].end.waited == one.waited
        if model.rule is not None:
            assert model.rule.begun == model.begun

    def teardown(self):
        if hasattr(self, "play"):
            self.play.end()
            waiting = {one.number for one in self.model.at("line", "queue", "hand")}
            assert all(type(self.asked[number].end) is ActorStopped for number in waiting)
            assert all(len(asked.ends) == 1 for asked in self.asked.values())


TestWaiting = Waiting.TestCase
TestWaiting.settings = settings(max_examples=150, stateful_step_count=40)
