"""Other ways to trip than the first one, open times that grow, and operators."""

from __future__ import annotations

import math
import pickle
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import switchgear as sg
from switchgear.actors.machines.breaker import TRANSITIONS, BreakerState

CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, FORCED_CLOSED, OBSERVING = BreakerState
RATE = sg.BreakerConfig(trip="rate", failure_rate=0.5, minimum_calls=4, window_calls=10, reset_timeout=10.0)
SLOW = sg.BreakerConfig(trip="rate", slow_rate=0.5, slow_after=2.0, minimum_calls=4, reset_timeout=10.0)
GROWS = sg.BreakerConfig(
    failure_threshold=1, reset_timeout=10.0, reset_multiplier=2.0, max_reset_timeout=60.0, stable_after=100.0
)


def calls(breaker, *, failures=0, successes=0, now=0.0, seconds=0.0):
    for _ in range(successes):
        breaker.try_acquire(now).success(now + seconds)
    for _ in range(failures):
        permit = breaker.try_acquire(now)
        if permit is not None:
            permit.failure(now + seconds)


def test_a_rate_says_nothing_of_few_calls() -> None:
    breaker = sg.CircuitBreaker(RATE)
    calls(breaker, failures=3)
    assert breaker.state is CLOSED
    calls(breaker, failures=1)
    assert breaker.state is OPEN


def test_a_rate_forgets_what_is_no_longer_in_its_window() -> None:
    breaker = sg.CircuitBreaker(RATE)
    calls(breaker, successes=2)
    calls(breaker, failures=1)
    calls(breaker, successes=10)
    calls(breaker, failures=4)
    assert breaker.state is CLOSED
    calls(breaker, failures=1)
    assert breaker.state is OPEN


def test_slow_successes_open_it_and_a_slow_trial_does_again() -> None:
    told = []
    breaker = sg.CircuitBreaker(SLOW, on_change=lambda *change: told.append(change[2]))
    calls(breaker, successes=2)
    calls(breaker, successes=2, seconds=3.0)
    assert breaker.state is OPEN
    assert told == ["2 of 4 calls took more than 2 s"]
    breaker.try_acquire(13.0).success(16.0)
    assert breaker.state is OPEN
    assert told[2:] == ["a trial was slow"]
    breaker.try_acquire(26.0).success(27.0)
    assert breaker.state is CLOSED


def test_a_slow_trial_whose_place_has_gone_to_another_says_nothing() -> None:
    breaker = sg.CircuitBreaker(SLOW)
    calls(breaker, successes=4, seconds=3.0)
    late = breaker.try_acquire(13.0)
    other = breaker.try_acquire(23.0)
    late.success(24.0)
    assert breaker.state is HALF_OPEN
    other.success(24.0)
    assert breaker.state is CLOSED


def test_in_a_row_means_without_a_success_between() -> None:
    breaker = sg.CircuitBreaker(sg.BreakerConfig(3, trip="consecutive"))
    for _ in range(5):
        calls(breaker, failures=2)
        calls(breaker, successes=1)
    assert breaker.state is CLOSED
    for now in (1e3, 1e6, 1e9):  # however long it takes
        calls(breaker, failures=1, now=now)
    assert breaker.state is OPEN


# ---- open times


def trip_again(breaker, now):
    """Fail the trial that is due, and say for how long it is open then."""
    now = breaker.retry_at(now) or now
    breaker.try_acquire(now).failure(now)
    return breaker.retry_at(now) - now, now


def test_the_open_time_grows_up_to_its_cap() -> None:
    breaker, now, times = sg.CircuitBreaker(GROWS), 0.0, []
    for _ in range(6):
        took, now = trip_again(breaker, now)
        times.append(took)
    assert times == [10, 20, 40, 60, 60, 60]
    assert breaker.figures.trips == 6
    assert breaker.figures.open_for == 60


@pytest.mark.parametrize(("closed_for", "then"), [(99.0, 20.0), (100.0, 10.0)])
def test_it_begins_anew_when_it_was_stable(closed_for, then) -> None:
    breaker = sg.CircuitBreaker(GROWS)
    trip_again(breaker, 0.0)
    breaker.try_acquire(10.0).success(10.0)
    assert trip_again(breaker, 10.0 + closed_for)[0] == then


@given(st.integers(0, 1000), st.integers(1, 12))
def test_jitter_comes_after_the_clamp_and_not_to_the_first(seed, times) -> None:
    breaker, now = sg.CircuitBreaker(GROWS, rng=Random(seed)), 0.0
    for trip in range(times):
        took, now = trip_again(breaker, now)
        most = min(60.0, 10.0 * 2.0**trip)
        assert took == pytest.approx(most) if trip == 0 else most * 0.8 - 1e-6 <= took <= most + 1e-6


def test_at_the_cap_it_still_differs() -> None:
    breaker, now, times = sg.CircuitBreaker(GROWS, rng=Random(1)), 0.0, set()
    for _ in range(10):
        took, now = trip_again(breaker, now)
        times.add(took)
    assert len(times) == 10


def test_a_thousand_trips_overflow_nothing() -> None:
    config = sg.BreakerConfig(1, 10.0, reset_multiplier=100.0, max_reset_timeout=1e6, stable_after=1e12)
    breaker, now = sg.CircuitBreaker(config), 0.0
    for _ in range(1000):
        took, now = trip_again(breaker, now)
    assert took == pytest.approx(1e6)


# ---- operators


def test_forced_open_lets_nothing_through_and_goes_on_by_trials() -> None:
    breaker = sg.CircuitBreaker(RATE)
    breaker.force(FORCED_OPEN, 0.0)
    assert breaker.try_acquire(1e9) is None
    assert breaker.retry_at(1e9) == math.inf
    breaker.force(None, 1e9)
    assert breaker.state is HALF_OPEN
    breaker.try_acquire(1e9).success(1e9)
    assert breaker.state is CLOSED


def test_forced_closed_lets_everything_through_and_counts_nothing() -> None:
    breaker = sg.CircuitBreaker(sg.BreakerConfig(3))
    breaker.force(FORCED_CLOSED, 0.0)
    calls(breaker, failures=100)
    assert (breaker.state, breaker.retry_at(0.0)) == (FORCED_CLOSED, None)
    breaker.force(None, 0.0)
    calls(breaker, failures=2)
    assert breaker.state is CLOSED


def test_observing_tells_what_it_would_do() -> None:
    told = []
    breaker = sg.CircuitBreaker(sg.BreakerConfig(3), on_change=lambda *change: told.append(change))
    breaker.force(OBSERVING, 0.0)
    calls(breaker, failures=7)
    assert breaker.state is OBSERVING
    assert told == [
        (CLOSED, OBSERVING, "by an operator", 0.0),
        (OBSERVING, OBSERVING, "it would open: 3 failures in 0 s", 0.0),
        (OBSERVING, OBSERVING, "it would open: 3 failures in 0 s", 0.0),
    ]
    breaker.force(None, 1.0)
    calls(breaker, failures=2, now=1.0)  # with the one that it has counted while it observed
    assert breaker.state is OPEN


def test_to_leave_alone_what_is_left_alone_changes_nothing() -> None:
    told = []
    breaker = sg.CircuitBreaker(RATE, on_change=lambda *change: told.append(change))
    breaker.force(None, 0.0)
    breaker.force(FORCED_OPEN, 0.0)
    breaker.force(FORCED_OPEN, 0.0)
    assert len(told) == 1


@pytest.mark.parametrize("state", [FORCED_OPEN, FORCED_CLOSED, OBSERVING])
@pytest.mark.parametrize("enabled", [True, False])
def test_an_operators_word_outlives_a_snapshot(state, enabled) -> None:
    breaker = sg.CircuitBreaker(RATE)
    breaker.force(state, 0.0)
    heir = sg.CircuitBreaker(sg.BreakerConfig(enabled=enabled))
    heir.restore(pickle.loads(pickle.dumps(breaker.snapshot())))
    assert heir.state is state


@pytest.mark.parametrize("how", ["success", "failure", "cancel"])
def test_calls_of_before_an_operators_word_say_nothing_after_it(how) -> None:
    breaker = sg.CircuitBreaker(sg.BreakerConfig(1))
    old = breaker.try_acquire(0.0)
    breaker.force(FORCED_OPEN, 0.0)
    breaker.force(None, 0.0)
    getattr(old, how)(0.0)
    assert breaker.state is HALF_OPEN


# ---- all together

CONFIGS = st.builds(
    sg.BreakerConfig,
    failure_threshold=st.integers(1, 4),
    reset_timeout=st.sampled_from([1.0, 10.0]),
    half_open_max_requests=st.integers(1, 3),
    trip=st.sampled_from(["failures", "consecutive", "rate"]),
    minimum_calls=st.integers(1, 4),
    window_calls=st.sampled_from([None, 5, 10]),
    slow_rate=st.sampled_from([None, 0.5]),
    reset_multiplier=st.sampled_from([1.0, 2.0]),
)


class AnyBreaker(RuleBasedStateMachine):
    """What holds in every mode: the table of transitions, the number of trials, and that it finds its way back."""

    @initialize(config=CONFIGS, seed=st.integers(0, 100))
    def begin(self, config, seed) -> None:
        self.config, self.now, self.permits, self.changes = config, 0.0, [], []
        self.breaker = sg.CircuitBreaker(config, on_change=self.changed, rng=Random(seed))

    def changed(self, old, new, reason, now) -> None:
        assert reason
        assert now == self.now
        self.changes.append((old, new))

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 6.0, 11.0, 700.0]))
    def time_passes(self, seconds) -> None:
        self.now += seconds

    @rule(n=st.integers(1, 6))
    def calls_come(self, n) -> None:
        for _ in range(n):
            waits = self.breaker.retry_at(self.now)
            permit = self.breaker.try_acquire(self.now)
            assert (permit is None) == (waits is not None)
            if permit is not None:
                self.permits.append((permit, self.breaker.state))

    @rule(data=st.data(), how=st.sampled_from(["success", "failure", "failure", "cancel"]), n=st.integers(1, 4))
    def calls_end(self, data, how, n) -> None:
        for _ in range(min(n, len(self.permits))):
            permit, _ = self.permits.pop(data.draw(st.integers(0, len(self.permits) - 1)))
            getattr(permit, how)(self.now)

    @rule(to=st.sampled_from([None, FORCED_OPEN, FORCED_CLOSED, OBSERVING, None]))
    def an_operator_speaks(self, to) -> None:
        before = self.breaker.state
        self.breaker.force(to, self.now)
        expected = {FORCED_OPEN: HALF_OPEN, FORCED_CLOSED: CLOSED, OBSERVING: CLOSED}.get(before, before)
        assert self.breaker.state is (expected if to is None else to)
        self.changes.clear()

    @rule()
    def a_mended_service_is_called_again(self) -> None:
        if self.breaker.state is FORCED_OPEN:
            return
        for _ in range(50):
            self.now = self.breaker.retry_at(self.now) or self.now
            permit = self.breaker.try_acquire(self.now)
            assert permit is not None
            permit.success(self.now)
        assert self.breaker.state in {CLOSED, FORCED_CLOSED, OBSERVING}

    @invariant()
    def no_more_trials_than_there_may_be(self) -> None:
        if hasattr(self, "breaker") and self.breaker.state is HALF_OPEN:
            assert len(self.breaker._trials) <= self.config.half_open_max_requests

    @invariant()
    def only_what_is_in_the_table_happens(self) -> None:
        known = {(old, new) for old, _, new in TRANSITIONS} | {(OBSERVING, OBSERVING)}
        assert set(getattr(self, "changes", ())) <= known


TestAnyBreaker = AnyBreaker.TestCase
TestAnyBreaker.settings = settings(max_examples=150, stateful_step_count=40)


def test_a_window_that_can_never_hold_enough_is_refused() -> None:
    with pytest.raises(sg.ConfigError, match="minimum_calls: must not be more than window_calls"):
        sg.BreakerConfig(trip="rate", window_calls=10)
