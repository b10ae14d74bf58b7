"""Rise and fall against the whole history of checks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.instance import HealthStatus
from switchgear.actors.machines.health import HealthTracker

UNKNOWN, HEALTHY, UNHEALTHY = HealthStatus.UNKNOWN, HealthStatus.HEALTHY, HealthStatus.UNHEALTHY


@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.booleans(), max_size=40))
def test_so_many_in_a_row_change_its_mind(rise, fall, checks):
    tracker = HealthTracker(rise, fall)
    assert (tracker.status, tracker.since) == (UNKNOWN, None)
    status, since = UNKNOWN, None
    for n, ok in enumerate(checks):
        history = checks[: n + 1]
        if status is UNKNOWN:
            expected = HEALTHY if ok else UNHEALTHY
        elif status is UNHEALTHY and history[-rise:] == [True] * rise:
            expected = HEALTHY
        elif status is HEALTHY and history[-fall:] == [False] * fall:
            expected = UNHEALTHY
        else:
            expected = status
        assert tracker.observe(ok, float(n)) == (expected is not status)
        if expected is not status:
            status, since = expected, float(n)
        assert (tracker.status, tracker.since) == (status, since)


@pytest.mark.parametrize(("ok", "status"), [(True, HEALTHY), (False, UNHEALTHY)])
def test_the_first_check_decides(ok, status):
    tracker = HealthTracker(rise=5, fall=5)
    assert tracker.observe(ok, 3.0)
    assert (tracker.status, tracker.since) == (status, 3.0)


@pytest.mark.parametrize("ok", [True, False])
def test_a_decisive_one_needs_no_others(ok):
    tracker = HealthTracker(rise=9, fall=9)
    tracker.observe(not ok, 0.0)
    assert not tracker.observe(ok, 1.0)
    assert tracker.observe(ok, 2.0, decisive=True)
    assert tracker.status is (HEALTHY if ok else UNHEALTHY)
    assert not tracker.observe(ok, 3.0, decisive=True)


def test_one_that_flaps_keeps_its_status():
    tracker = HealthTracker(rise=2, fall=2)
    tracker.observe(True, 0.0)
    assert not any(tracker.observe(bool(n % 2), float(n)) for n in range(100))
