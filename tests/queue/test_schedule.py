"""The schedule against a model that keeps every call in one list and looks through all of it each time."""

import math
import random
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from switchgear.actors.config import QueueFallback
from switchgear.actors.queue.records import Bury, Call, Contents, Entry, Lease, Postpone, Put, Remove, Removed, Revive
from switchgear.actors.queue.schedule import Failure, Schedule

NOW = 1_000.0
AGAIN = Failure("503", final=False, counts=True)


def call(service="a", *, at=NOW, body=b"12345"):
    return Call(service, "r", "POST", "/", (), body, None, None, 1.0, at)


class ScheduleMachine(RuleBasedStateMachine):
    """Each rule writes as the actor does: what it decides is told as made, at once or (attempts) later."""

    @initialize(
        concurrency=st.integers(1, 3), attempts=st.integers(1, 4), age=st.sampled_from([50.0, 400.0]),
        room=st.integers(3, 12),
    )  # fmt: skip
    def begin(self, concurrency, attempts, age, room):
        self.policy = QueueFallback(
            max_attempts=attempts, base_delay=2.0, max_delay=30.0, max_age=age, max_items=room, max_bytes=55,
            concurrency=concurrency,
        )  # fmt: skip
        self.now = NOW
        self.last = 0
        self.calls = {}
        self.held = {"a": -math.inf, "b": -math.inf}
        self.there = {"a": True, "b": True}
        self.schedule = Schedule(random.Random(0))
        for service in "ab":
            self.schedule.configure(service, self.policy)

    # ---- the model

    def line(self, service):
        return [one for _, one in sorted(self.calls.items()) if one.service == service and not one.dead]

    def to_do(self, service):
        """What may be begun now: (id, whether it is given up)."""
        if not self.there[service]:
            return []
        found = []
        for one in self.line(service)[: self.policy.concurrency]:
            if one.leased:
                continue
            given_up = self.now >= one.since + self.policy.max_age or one.attempts >= self.policy.max_attempts
            if given_up or (one.due <= self.now and self.held[service] <= self.now):
                found.append((one.id, given_up))
        return found

    # ---- what happens

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0, 15.0, 60.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def time_passes_until_something_is_due(self):
        due = self.schedule.due()
        if due < math.inf:
            self.now = max(self.now, due)
            assert self.schedule.ready(self.now)

    @rule(service=st.sampled_from("aab"), sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4))
    def calls_come(self, service, sizes):
        for size in sizes:
            self.a_call_comes(service, size, fails=False)

    @rule(service=st.sampled_from("aab"), size=st.integers(0, 60), fails=st.booleans())
    def a_call_comes(self, service, size, fails):
        new = call(service, at=self.now, body=b"x" * size)
        there = [one for one in self.calls.values() if one.service == service]
        full = self.there[service] and (
            len(there) >= self.policy.max_items or sum(one.size for one in there) + new.size > self.policy.max_bytes
        )
        refused = self.schedule.reserve(service, new.size)
        assert (refused is not None) == full
        if full:
            return
        if not fails:
            put = Put(new, self.schedule.first_due(service, self.now))
            if self.there[service]:
                assert self.now + 1.0 <= put.due <= self.now + 2.0
            self.last += 1
            self.schedule.made(put, self.last)
            self.calls[self.last] = SimpleNamespace(
                id=self.last, service=service, size=new.size, since=self.now, due=put.due, attempts=0, leased=False,
                dead=False,
            )  # fmt: skip
        self.schedule.unreserve(service, new.size)

    @rule(service=st.sampled_from("ab"), seconds=st.sampled_from([-1.0, 0.5, 20.0]))
    def the_breaker_holds_it(self, service, seconds):
        self.schedule.hold(service, self.now + seconds)
        self.held[service] = self.now + seconds

    @rule(service=st.sampled_from("ab"))
    def the_breaker_closes(self, service):
        self.schedule.release(service, self.now)
        self.held[service] = -math.inf
        if self.there[service]:
            for one in self.line(service)[: self.policy.concurrency]:
                if not one.leased:
                    one.due = min(one.due, self.now)

    @rule(service=st.sampled_from("ab"), there=st.integers(0, 3).map(bool), concurrency=st.integers(1, 3))
    def a_service_comes_or_goes(self, service, there, concurrency):
        values = {name: getattr(self.policy, name) for name in self.policy.__struct_fields__}
        self.policy = QueueFallback(**values | {"concurrency": concurrency})
        self.there[service], self.held[service] = there, -math.inf
        for name, is_there in self.there.items():
            self.schedule.configure(name, self.policy if is_there else None)
            self.held[name] = -math.inf

    @precondition(lambda self: self.calls)
    @rule(ends=st.lists(st.sampled_from([None, "delivered", "fails", "fails", "refused", "unsent"]), max_size=6))
    def much_happens(self, ends):
        """Rounds of what mostly happens, so that calls grow old enough for the rest."""
        for end in ends:
            self.time_passes_until_something_is_due()
            for service in "ab":
                self.what_is_due_is_taken(service, survives=True)
            for one in [one for one in self.calls.values() if one.leased and end is not None]:
                if end == "delivered":
                    self.delivered(one)
                else:
                    self.failed(one, final=end == "refused", counts=end != "unsent", wait=None)

    @precondition(lambda self: any(self.to_do(service) for service in "ab"))
    @rule(service=st.sampled_from("ab"), survives=st.booleans())
    def what_is_due_is_taken(self, service, survives):
        expected = self.to_do(service)
        assert (service in self.schedule.ready(self.now)) == bool(expected)
        taken = self.schedule.take(service, self.now)
        assert [(entry.id, reason is not None) for entry, reason in taken] == expected
        assert self.schedule.take(service, self.now) == []
        for entry, reason in taken:
            one = self.calls[entry.id]
            if reason is not None:
                self.schedule.made(Bury(entry.id, entry.attempts, reason), None)
                one.dead = True
            elif survives:
                one.leased, one.entry = True, entry
                one.attempts += 1
                assert entry.attempts == one.attempts
                self.schedule.made(Lease(entry.id, entry.attempts, self.now + 60), call(service))
            else:  # the store could not be written
                self.schedule.put_back(entry, self.now + 3.0)
                one.due = self.now + 3.0

    def under_way(self, data):
        return data.draw(st.sampled_from([one for one in self.calls.values() if one.leased]))

    @precondition(lambda self: any(one.leased for one in self.calls.values()))
    @rule(data=st.data())
    def one_is_delivered(self, data):
        self.delivered(self.under_way(data))

    def delivered(self, one):
        del self.calls[one.id]
        self.schedule.made(Remove(one.id), [Removed(one.id, one.service, one.size, dead=False)])

    @precondition(lambda self: any(one.leased for one in self.calls.values()))
    @rule(data=st.data(), final=st.booleans(), counts=st.booleans(), wait=st.sampled_from([None, -5.0, 7.0]))
    def one_fails(self, data, final, counts, wait):
        self.failed(self.under_way(data), final=final, counts=counts, wait=wait)

    def failed(self, one, *, final, counts, wait):
        failure = Failure("why", final=final, counts=counts, retry_at=None if wait is None else self.now + wait)
        change = self.schedule.failed(one.entry, failure, self.now)
        one.attempts -= not counts
        one.leased = False
        over = one.attempts >= self.policy.max_attempts and self.there[one.service]
        assert isinstance(change, Bury if final or over else Postpone)
        assert change.attempts == one.attempts
        self.schedule.made(change, None)
        if isinstance(change, Bury):
            one.dead = True
            assert "why" in change.error
            return
        one.due = change.due
        if wait == 7.0:
            assert change.due == self.now + 7.0
        elif self.there[one.service]:
            assert self.now + 1.0 <= change.due <= self.now + 30.0

    @precondition(lambda self: any(one.dead for one in self.calls.values()))
    @rule(data=st.data())
    def somebody_retries_a_dead_letter(self, data):
        self.retried(data.draw(st.sampled_from([one for one in self.calls.values() if one.dead])))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def somebody_retries_one(self, data):
        self.retried(data.draw(st.sampled_from(list(self.calls.values()))))

    def retried(self, one):
        if one.leased:
            self.schedule.made(Revive(one.id, self.now), [])
            return
        was_dead, one.dead, one.due = one.dead, False, self.now
        if was_dead:
            one.since, one.attempts = self.now, 0
        entry = Entry(one.id, one.service, one.size, one.since, one.due, one.attempts)
        self.schedule.made(Revive(one.id, self.now), [(entry, was_dead)])

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def somebody_drops_one(self, data):
        one = self.calls.pop(data.draw(st.sampled_from(sorted(self.calls))))
        self.schedule.made(Remove(one.id), [Removed(one.id, one.service, one.size, one.dead)])

    @precondition(lambda self: self.calls)
    @rule()
    def the_process_dies(self):
        waiting = []
        for _, one in sorted(self.calls.items()):
            if one.leased:
                one.leased, one.due = False, self.now
            if not one.dead:
                waiting.append(Entry(one.id, one.service, one.size, one.since, one.due, one.attempts))
        dead = {}
        for one in self.calls.values():
            if one.dead:
                count, size = dead.get(one.service, (0, 0))
                dead[one.service] = (count + 1, size + one.size)
        self.schedule = Schedule(random.Random(1))
        for service, there in self.there.items():
            self.schedule.configure(service, self.policy if there else None)
            self.held[service] = -math.inf
        self.schedule.load(Contents(waiting, dead))

    # ---- what always holds

    @invariant()
    def the_sums_are_right(self):
        stats = self.schedule.stats()
        assert set(stats) == {one.service for one in self.calls.values()}
        for service, seen in stats.items():
            mine = [one for one in self.calls.values() if one.service == service]
            assert seen.dead == sum(one.dead for one in mine)
            assert seen.leased == sum(one.leased for one in mine)
            assert seen.ready == len(mine) - seen.dead - seen.leased
            assert seen.bytes == sum(one.size for one in mine)
            assert seen.oldest == min((one.since for one in mine if not one.dead), default=None)

    @invariant()
    def it_is_woken_when_there_is_something_to_do_and_not_before(self):
        assert (self.schedule.due() <= self.now) == any(self.to_do(service) for service in self.there)


TestSchedule = ScheduleMachine.TestCase
TestSchedule.settings = settings(max_examples=250, stateful_step_count=50)


# ---- by name


def schedule_with(*calls, **policy):
    schedule = Schedule(random.Random(0))
    schedule.configure("a", QueueFallback(**policy))
    for number, one in enumerate(calls, 1):
        schedule.made(Put(one, NOW), number)
    return schedule


def tried(schedule, now=NOW):
    return [entry.id for entry, _ in schedule.take("a", now)]


def test_one_at_a_time_in_order_also_while_the_first_waits_for_another_attempt() -> None:
    schedule = schedule_with(call(), call(), base_delay=10.0)
    ((first, _),) = schedule.take("a", NOW)
    assert tried(schedule) == []
    change = schedule.failed(first, AGAIN, NOW)
    schedule.made(change, None)
    assert tried(schedule, NOW + 4.9) == []
    assert tried(schedule, NOW + 10) == [1]
    schedule.made(Remove(1), [Removed(1, "a", 6, dead=False)])
    assert tried(schedule, NOW + 10) == [2]


def test_with_more_at_once_one_that_fails_holds_up_only_its_own_place() -> None:
    schedule = schedule_with(call(), call(), call(), concurrency=2)
    (first, _), (second, _) = schedule.take("a", NOW)
    schedule.made(schedule.failed(first, AGAIN, NOW), None)
    assert tried(schedule) == []
    schedule.made(Remove(second.id), [Removed(2, "a", 6, dead=False)])
    assert tried(schedule) == [3]


def test_waits_grow_to_their_bound_and_are_jittered() -> None:
    schedule = schedule_with(call(), base_delay=1.0, max_delay=60.0, max_attempts=100)
    waits = []
    now = NOW
    for _ in range(12):
        ((entry, _),) = schedule.take("a", now)
        change = schedule.failed(entry, AGAIN, now)
        schedule.made(change, None)
        waits.append(change.due - now)
        now = change.due
    assert all(min(60.0, 2.0**n) / 2 <= wait <= min(60.0, 2.0**n) for n, wait in enumerate(waits))
    assert len({wait for wait in waits if wait > 30.0}) > 4


def test_a_breaker_that_closes_makes_waits_short_again() -> None:
    schedule = schedule_with(call(), base_delay=1.0, max_delay=300.0)
    ((entry, _),) = schedule.take("a", NOW)
    entry.tries = 30  # refusals of our own guards, say
    change = schedule.failed(entry, Failure("CIRCUIT_OPEN", final=False, counts=False), NOW)
    assert change.due >= NOW + 150
    schedule.made(change, None)
    schedule.release("a", NOW + 1)
    ((entry, _),) = schedule.take("a", NOW + 1)
    assert schedule.failed(entry, AGAIN, NOW + 1).due <= NOW + 2


def test_what_killed_the_process_again_and_again_is_given_up() -> None:
    schedule = Schedule(random.Random(0))
    schedule.configure("a", QueueFallback(max_attempts=3))
    schedule.load(Contents([Entry(1, "a", 5, NOW, NOW, attempts=3), Entry(2, "a", 5, NOW, NOW)], {}))
    ((entry, reason),) = schedule.take("a", NOW)
    assert (entry.id, reason) == (1, "3 attempts, and of the last it is not known how it ended")


@pytest.mark.parametrize(
    ("bounds", "why"),
    [
        ({"max_items": 1}, "it holds 1 calls, which is max_items; 1 of them are dead letters"),
        ({"max_bytes": 11}, "it holds 6 bytes, and 6 more are over max_bytes (11)"),
    ],
)
def test_it_says_why_there_is_no_room(bounds, why) -> None:
    schedule = schedule_with(call(), **bounds)
    schedule.made(Bury(1, 1, "400"), None)
    assert schedule.reserve("a", 6) == why


def test_outcomes_of_what_is_not_there_any_more_change_nothing() -> None:
    schedule = schedule_with(call())
    ((entry, _),) = schedule.take("a", NOW)
    schedule.made(Remove(1), [Removed(1, "a", 6, dead=False)])
    schedule.made(Postpone(1, 1, NOW, "503"), None)
    schedule.made(Bury(1, 1, "503"), None)
    schedule.made(Lease(1, 1, NOW), None)
    schedule.made(Revive(1, NOW), [(entry, False)])
    assert schedule.stats() == {}
    assert schedule.due() == math.inf
