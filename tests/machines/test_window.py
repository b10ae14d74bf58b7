"""What a breaker counts, against lists of all that has ever been counted."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import switchgear as sg
from switchgear.actors.machines.window import window

CONFIGS = st.one_of(
    st.builds(
        sg.BreakerConfig,
        trip=st.just("rate"),
        window_calls=st.integers(5, 12),
        minimum_calls=st.integers(1, 5),
        failure_rate=st.sampled_from([0.2, 0.5, 1.0]),
        slow_rate=st.sampled_from([None, 0.3, 1.0]),
    ),
    st.builds(
        sg.BreakerConfig,
        trip=st.just("rate"),
        monitoring_period=st.sampled_from([1.0, 10.0, 60.0]),
        minimum_calls=st.integers(1, 5),
        failure_rate=st.sampled_from([0.2, 0.5, 1.0]),
        slow_rate=st.sampled_from([None, 0.3, 1.0]),
    ),
    st.builds(sg.BreakerConfig, trip=st.just("consecutive"), failure_threshold=st.integers(1, 5)),
    st.builds(sg.BreakerConfig, failure_threshold=st.integers(1, 5), monitoring_period=st.sampled_from([1.0, 10.0])),
)


class Windows(RuleBasedStateMachine):
    @initialize(config=CONFIGS, start=st.sampled_from([0.0, 7.3, 1e6]))
    def begin(self, config, start) -> None:
        self.config, self.window = config, window(config)
        self.now = start
        self.calls = []  # (when, failed, slow)

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.3, 1.0, 7.0, 100.0, 1e9]))
    def time_passes(self, seconds) -> None:
        self.now += seconds

    @rule(calls=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8))
    def calls_end(self, calls) -> None:
        for failed, slow in calls:
            self.calls.append((self.now, failed, slow and not failed))
            assert (self.window.record(failed, slow and not failed, self.now) is not None) == self.expected()

    def live(self):
        """Those in the window."""
        if self.config.window_calls is not None:
            return self.calls[-self.config.window_calls :]
        width = self.config.monitoring_period / 10
        latest = max((int(at / width) for at, _, _ in self.calls), default=0)
        return [call for call in self.calls if int(call[0] / width) > latest - 10]

    def expected(self):
        """Is it to open after this call?"""
        config = self.config
        if config.trip == "failures":
            times = [at for at, failed, _ in self.calls if failed and self.now - at <= config.monitoring_period]
            return self.calls[-1][1] and len(times) >= config.failure_threshold
        if config.trip == "consecutive":
            return len(self.calls) >= config.failure_threshold and all(
                failed for _, failed, _ in self.calls[-config.failure_threshold :]
            )
        calls = self.live()
        if len(calls) < config.minimum_calls:
            return False
        failures, slow = sum(call[1] for call in calls), sum(call[2] for call in calls)
        return failures >= config.failure_rate * len(calls) or (
            config.slow_rate is not None and slow >= config.slow_rate * len(calls)
        )

    @rule()
    def everything_is_forgotten(self) -> None:
        self.window.clear()
        self.calls = []

    @rule()
    def another_goes_on(self) -> None:
        """Of the same configuration: it knows the same."""
        heir = window(self.config)
        heir.restore(pickle.loads(pickle.dumps(self.window.snapshot())))
        self.window = heir

    @invariant()
    def it_counts_what_the_model_counts(self) -> None:
        if hasattr(self, "window") and self.config.trip == "rate":
            calls = self.live()
            assert self.window.counts() == (len(calls), sum(call[1] for call in calls), sum(call[2] for call in calls))


TestWindows = Windows.TestCase


def filled(config, n, *, failed=True):
    one = window(config)
    for _ in range(n):
        one.record(failed, False, 100.0)
    return one


def test_a_smaller_ring_takes_over_the_latest() -> None:
    old = sg.BreakerConfig(trip="rate", window_calls=50)
    one = filled(old, 40)
    for _ in range(20):
        one.record(False, False, 100.0)
    heir = window(sg.BreakerConfig(trip="rate", window_calls=30))
    heir.restore(one.snapshot())
    assert heir.counts() == (30, 10, 0)


def test_a_shorter_time_takes_over_what_is_young_enough() -> None:
    one = window(sg.BreakerConfig(trip="rate", monitoring_period=100.0))
    for at in range(100):
        one.record(True, False, float(at))
    heir = window(sg.BreakerConfig(trip="rate", monitoring_period=20.0))
    heir.restore(one.snapshot())
    assert heir.counts().calls == 20


@pytest.mark.parametrize("trip", ["failures", "consecutive", "rate"])
@pytest.mark.parametrize("other", ["failures", "consecutive", "rate"])
def test_one_of_another_kind_begins_anew(trip, other) -> None:
    one = filled(sg.BreakerConfig(trip=trip), 3)
    heir = window(sg.BreakerConfig(trip=other))
    heir.restore(one.snapshot())
    assert heir.counts().failures == (3 if trip == other else 0)
