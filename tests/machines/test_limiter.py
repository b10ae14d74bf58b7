"""The limiter: in order, as fast as the bucket allows and no faster, and nobody is lost."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from switchgear.actors.machines.bucket import TokenBucket
from switchgear.actors.machines.limiter import Limiter


class LimiterMachine(RuleBasedStateMachine):
    """Against a list of who waits, and a log of all grants. Times and rates are exact in binary."""

    @initialize(rate=st.sampled_from([0.5, 1.0, 4.0]), burst=st.integers(1, 4))
    def begin(self, rate, burst):
        self.rate, self.burst = rate, burst
        self.limiter = Limiter(TokenBucket(rate, burst))
        self.now = 1000.0
        self.waiting = []
        self.granted = []  # (waiter, number of its entry in used)
        self.used = {}  # all grants that were not given back: number -> when
        self.number = 0

    def use(self):
        self.number += 1
        self.used[self.number] = self.now
        return self.number

    def tokens(self):
        """What is there, from nothing but the log: the least that any window up to now leaves."""
        times = list(self.used.values())
        left = [self.burst - (len(times) - i) + self.rate * (self.now - when) for i, when in enumerate(times)]
        return min([self.burst, *left])

    @rule(seconds=st.integers(0, 40))
    def time_passes(self, seconds):
        self.now += seconds / 16

    @rule()
    def somebody_comes(self):
        expected = self.limiter.wait_time(self.now)
        assert expected == max(0.0, (len(self.waiting) + 1 - self.tokens()) / self.rate)
        there = self.tokens() >= 1
        waiter = self.limiter.enter(self.now)
        if waiter is None:
            assert there
            assert not self.waiting
            assert expected == 0
            self.use()
        else:
            assert self.waiting or not there
            self.waiting.append(waiter)

    @rule()
    def the_pump_runs(self):
        expected = []
        while self.waiting and self.tokens() >= 1:
            waiter = self.waiting.pop(0)
            expected.append(waiter)
            self.granted.append((waiter, self.use()))
        assert self.limiter.pump(self.now) == expected

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def somebody_leaves_the_queue(self, data):
        waiter = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        waiter.cancel(self.now)
        waiter.cancel(self.now)

    @precondition(lambda self: self.waiting)
    @rule()
    def somebody_is_granted_and_leaves_at_once(self):
        if self.tokens() >= 1:
            granted = self.limiter.pump(self.now)
            self.waiting = self.waiting[len(granted) :]
            granted[-1].cancel(self.now)
            granted[-1].cancel(self.now)
            for waiter in granted[:-1]:
                self.granted.append((waiter, self.use()))

    @invariant()
    def nobody_is_forgotten(self):
        if hasattr(self, "limiter"):
            assert len(self.limiter) == len(self.waiting)
            due = self.limiter.due(self.now)
            assert due == (self.now + max(0.0, (1 - self.tokens()) / self.rate) if self.waiting else None)

    def teardown(self):
        """Whatever happened: from here on all who wait are served, in order, each when it is due."""
        if not hasattr(self, "limiter"):
            return
        served = []
        while (due := self.limiter.due(self.now)) is not None:
            self.now = due
            granted = self.limiter.pump(self.now)
            assert granted
            served += granted
        assert served == self.waiting
        assert len(self.limiter) == 0


TestLimiterMachine = LimiterMachine.TestCase
TestLimiterMachine.settings = settings(max_examples=120, stateful_step_count=40)


@given(
    rate=st.floats(1e-2, 1e6),
    burst=st.integers(1, 50),
    start=st.floats(0, 1e9),
    steps=st.lists(
        st.tuples(st.sampled_from(["come", "pump", "leave", "repent", "stall"]), st.floats(0, 20)), max_size=80
    ),
)
def test_a_late_pump_never_exceeds_the_rate(rate, burst, start, steps):
    limiter = Limiter(TokenBucket(rate, burst))
    now, waiting, grants = start, [], {}
    for what, units in steps:
        if what == "come":
            waiter = limiter.enter(now)
            if waiter is None:
                grants[object()] = now
            else:
                waiting.append(waiter)
        elif what == "pump":
            for waiter in limiter.pump(now):
                assert waiter is waiting.pop(0)
                grants[waiter] = now
        elif what == "leave" and waiting:
            waiting.pop(int(units) % len(waiting)).cancel(now)
        elif what == "repent":  # some time after the grant
            for waiter in [one for one in grants if hasattr(one, "cancel")][:1]:
                waiter.cancel(now)
                del grants[waiter]
        else:
            now += units / rate
    times = list(grants.values())
    for i, first in enumerate(times):
        for j in range(i, len(times)):
            # 1e9 s and a rate of 1e6: the clock itself has only 1.2e-7 s of resolution there
            noise = 1e-6 * burst + 4 * math.ulp(now) * rate * (j - i + 1)
            assert j - i + 1 <= burst + rate * (times[j] - first) + noise


@given(rate=st.floats(1e-2, 1e6), burst=st.integers(1, 20), start=st.floats(0, 1e9), n=st.integers(1, 50))
@settings(max_examples=200)
def test_whoever_sleeps_until_it_is_due_gets_on(rate, burst, start, n):
    """In a clock that jumps to the deadline, a due time of now with nothing to grant would be an endless loop."""
    limiter = Limiter(TokenBucket(rate, burst))
    now = start
    waiters = [waiter for _ in range(burst + n) if (waiter := limiter.enter(now))]
    served, rounds = [], 0
    while (due := limiter.due(now)) is not None:
        rounds += 1
        granted = limiter.pump(due)
        assert granted or due > now
        served += granted
        now = due
    assert served == waiters
    assert rounds <= 4 * (burst + n)


def test_the_estimate_counts_tokens_that_wait_to_be_pumped():
    """A pump that is late must not make a newcomer believe that its turn comes after its deadline."""
    limiter = Limiter(TokenBucket(1.0, 10))
    for _ in range(13):
        limiter.enter(0.0)
    assert len(limiter) == 3
    assert limiter.wait_time(0.0) == 4.0
    assert limiter.wait_time(10.0) == 0.0


def test_a_cancelled_waiter_costs_nobody_a_turn():
    limiter = Limiter(TokenBucket(1.0, 1))
    assert limiter.enter(0.0) is None
    first, second, third = (limiter.enter(0.0) for _ in range(3))
    first.cancel(0.5)
    assert limiter.due(0.5) == 1.0
    assert limiter.pump(1.0) == [second]
    second.cancel(1.0)
    assert limiter.due(1.0) == 1.0
    assert limiter.pump(1.0) == [third]
    assert limiter.due(1.0) is None


def test_thousands_that_leave_are_swept():
    limiter = Limiter(TokenBucket(1.0, 1))
    limiter.enter(0.0)
    waiters = [limiter.enter(0.0) for _ in range(5000)]
    for waiter in waiters[1:]:
        waiter.cancel(0.0)
    assert len(limiter) == 1
    assert len(limiter._queue) <= 2
    assert limiter.pump(1.0) == [waiters[0]]


def test_newcomers_do_not_overtake():
    limiter = Limiter(TokenBucket(1.0, 1))
    limiter.enter(0.0)
    waiter = limiter.enter(0.0)
    late = limiter.enter(100.0)  # a token is there, but it is not this one's
    assert late is not None
    assert limiter.pump(100.0) == [waiter]
