"""Recent quantiles: what is old is forgotten, what is little says nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.machines.recent import RecentQuantile


def filled(n, *, at=0.0, seconds=0.1, q=0.95):
    recent = RecentQuantile(q, period=30.0, least=50)
    for _ in range(n):
        recent.record(seconds, at)
    return recent


def test_too_few_say_nothing() -> None:
    assert RecentQuantile(0.95).value(0.0) is None
    assert filled(49).value(1.0) is None
    assert filled(50).value(1.0) == pytest.approx(0.1, rel=0.02)


def test_one_in_twenty_is_slower() -> None:
    recent = filled(950, seconds=0.01)
    for _ in range(50):
        recent.record(1.0, 0.0)
    assert recent.value(0.1) == pytest.approx(0.01, rel=0.02)
    for _ in range(10):
        recent.record(1.0, 0.0)
    assert recent.value(0.2) == pytest.approx(0.01, rel=0.02)  # it is not worked out anew for each call
    assert recent.value(5.0) == pytest.approx(1.0, rel=0.02)


def test_another_quantile_of_the_same_latencies() -> None:
    recent = filled(80, seconds=0.01)
    for _ in range(20):
        recent.record(1.0, 0.0)
    assert recent.value(0.1) == pytest.approx(1.0, rel=0.02)
    recent.tune(0.5)
    assert recent.value(0.1) == pytest.approx(0.01, rel=0.02)


def test_what_is_old_is_forgotten() -> None:
    recent = filled(100, at=0.0, seconds=5.0)
    for at in (31.0, 40.0):
        for _ in range(50):
            recent.record(0.1, at)
    assert recent.value(41.0) == pytest.approx(5.0, rel=0.02)
    for _ in range(50):
        recent.record(0.1, 62.0)
    assert recent.value(62.0) == pytest.approx(0.1, rel=0.02)


def test_after_a_long_silence_nothing_is_known() -> None:
    recent = filled(100)
    assert recent.value(59.0) is not None
    assert recent.value(61.0) is None
    recent.record(0.2, 1000.0)
    assert recent.value(1000.0) is None  # and one call does not bring the old ones back


@given(
    st.lists(st.tuples(st.floats(1e-4, 100), st.floats(0, 20)), min_size=60, max_size=200),
    st.sampled_from([0.5, 0.9, 0.95, 0.999]),
)
def test_it_is_a_quantile_of_what_was_recorded_in_the_last_two_periods(steps, q) -> None:
    recent = RecentQuantile(q, period=30.0, least=1)
    now, seen = 0.0, []
    for seconds, pause in steps:
        now += pause
        recent.record(seconds, now)
        seen.append((now, seconds))
    now += 3.0
    value = recent.value(now)
    fresh = [seconds for at, seconds in seen if now - at <= 60.0]
    assert value is not None
    assert min(fresh) * 0.98 <= value <= max(fresh) * 1.02
