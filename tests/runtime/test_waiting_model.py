"""Who waits in a mailbox, who is served next, and who has waited too long: an actor against a model of its queue.

Hypothesis plays arrivals, cancellations, ends of work, time, other bounds and other rules to an actor whose messages
end when the test says so. The model is a few lists that are filtered and sorted anew for each question, and knows
nothing of workers, heaps or tasks.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernel import Asked

from switchgear.runtime import Actor, ActorStopped, MailboxFull, MailboxOverdue, WhenFull, open_system


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
    """Has each message in hand until its event among ``in_hand`` is set."""

    def __init__(self, concurrency):
        self.concurrency = concurrency
        self.begun, self.in_hand = [], {}

    async def setup(self, ctx):
        self.ctx = ctx

    async def handle(self, number):
        self.begun.append(number)
        self.in_hand[number] = trio.Event()
        try:
            await self.in_hand[number].wait()
        finally:
            del self.in_hand[number]
        return number


class Model:
    def __init__(self, limit, capacity, when_full):
        self.limit, self.capacity, self.when_full = limit, capacity, when_full
        self.now = 0.0
        self.max_wait, self.rule = math.inf, None
        self.all = []  # in order of arrival: number, at, place: "line", "queue", "hand", or how it ended
        self.order = []  # in which they came into a hand
        self.begun = []  # when a queue began, since there is a rule

    def at(self, *places):
        return [one for one in self.all if one.place in places]

    @property
    def allowed(self):
        return self.max_wait if self.rule is None else min(self.max_wait, self.rule.allowed)

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
            if len(self.at("hand")) < self.limit:
                one.place = "hand"
                self.order.append(one.number)

    def end(self, number, how):
        next(one for one in self.all if one.number == number).place = how
        self.settle()

    def sleep(self, seconds):
        until = self.now + seconds
        while late := [one for one in self.at("line", "queue") if one.at + self.allowed <= until]:
            self.now = max(self.now, late[0].at + self.allowed)
            late[0].place, late[0].waited = MailboxOverdue, self.now - late[0].at
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


class Play:
    """The model and the actor, side by side."""

    def __init__(self, nursery, system, model):
        self.nursery, self.system, self.model = nursery, system, model
        self.asked = {}
        self.actor = Hands(model.limit)

    async def start(self):
        capacity, when_full = self.model.capacity, self.model.when_full
        self.ref = await self.system.start(lambda: self.actor, "a", capacity=capacity, when_full=when_full)

    async def perform(self, step):
        model = self.model
        match step:
            case ("arrive", how_many):
                for _ in range(how_many):
                    number = len(self.asked)
                    asked = self.asked[number] = Asked()
                    self.nursery.start_soon(asked.run, self.ref, number)
                    await trio.testing.wait_all_tasks_blocked()  # trio starts tasks in any order
                    model.arrive(number)
            case ("cancel", which) if waiting := model.at("line", "queue", "hand"):
                number = waiting[which % len(waiting)].number
                self.asked[number].scope.cancel()
                model.end(number, "cancelled")
            case ("finish", which) if in_hand := model.at("hand"):
                number = in_hand[which % len(in_hand)].number
                self.actor.in_hand[number].set()
                model.end(number, number)
            case ("sleep", seconds):
                await trio.sleep(seconds)
                model.sleep(seconds)
            case ("resize", limit, capacity, when_full):
                self.actor.ctx.resize(limit, capacity=capacity, when_full=when_full)
                model.limit, model.capacity, model.when_full = limit, capacity, when_full
                model.settle()
            case ("limit", max_wait, None):
                self.actor.ctx.limit_waiting(max_wait)
                model.limit_waiting(max_wait, None)
            case ("limit", max_wait, (allowed, newest_first)):
                rule = Rule(allowed, newest_first)
                self.actor.ctx.limit_waiting(max_wait, rule)
                model.limit_waiting(max_wait, rule)
        await trio.testing.wait_all_tasks_blocked()
        self.compare()

    def compare(self):
        model = self.model
        assert self.actor.begun == model.order
        assert sorted(self.actor.in_hand) == [one.number for one in model.at("hand")]
        seen = self.system.tree().find("/a").mailbox
        shed = model.at(MailboxOverdue)
        assert (seen.depth, seen.waiting, seen.shed) == (len(model.at("queue")), len(model.at("line")), len(shed))
        for one in model.all:
            ends = self.asked[one.number].ends
            if one.place in ("line", "queue", "hand"):
                assert not ends
            elif isinstance(one.place, type):
                assert type(ends[0]) is one.place
            else:
                assert ends == [one.place]
        for one in shed:
            assert self.asked[one.number].end.waited == one.waited
        if model.rule is not None:
            assert model.rule.begun == model.begun


waits = st.sampled_from([0.5, 1.0, 3.0])
bounds = (st.integers(1, 3), st.integers(0, 4), st.sampled_from([WhenFull.WAIT, *WhenFull]))
indices = st.integers(0, 20)
steps = st.sampled_from(
    [
        *[st.tuples(st.just("arrive"), st.integers(1, 4))] * 6,
        *[st.tuples(st.just("cancel"), indices)] * 3,
        *[st.tuples(st.just("finish"), indices)] * 3,
        *[st.tuples(st.just("sleep"), st.sampled_from([0.0, 0.25, 0.5, 1.0, 4.0]))] * 4,
        st.tuples(st.just("resize"), *bounds),
        *[st.tuples(st.just("limit"), st.just(math.inf) | waits, st.none() | st.tuples(waits, st.booleans()))] * 2,
    ]
).flatmap(lambda kind: kind)


async def play(limit, capacity, when_full, steps):
    async with open_system() as system, trio.open_nursery() as nursery:
        both = Play(nursery, system, Model(limit, capacity, when_full))
        await both.start()
        for step in steps:
            await both.perform(step)
        await system.stop("/a")
    assert all(len(asked.ends) == 1 for asked in both.asked.values())


@settings(max_examples=300)
@given(*bounds, st.lists(steps, min_size=15, max_size=40))
def test_whoever_waits_is_where_the_model_says(limit, capacity, when_full, steps):
    trio.run(play, limit, capacity, when_full, steps, clock=trio.testing.MockClock(autojump_threshold=0))
