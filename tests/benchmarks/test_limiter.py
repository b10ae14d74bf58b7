"""The figures of the limiter benchmark are those that its words promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.limiter import BURST, RATE, excess, most_within

times = st.lists(st.floats(0, 0.02, allow_nan=False), max_size=3 * BURST // 2)


@given(times)
def test_the_excess_is_that_of_the_worst_window(granted):
    granted.sort()
    windows = [
        last - first + 1 - BURST - RATE * (granted[last] - granted[first])
        for last in range(len(granted))
        for first in range(last + 1)
    ]
    worst = max(windows, default=0)
    assert excess(granted) == pytest.approx(max(worst, 0), abs=0.01)


def test_a_burst_is_allowed_and_one_more_is_not():
    assert excess([1.0] * BURST) == 0
    assert excess([1.0] * (BURST + 1)) == 1
    assert excess([1.0] * BURST + [1.0 + 1 / RATE]) == 0


@given(times, st.floats(0.001, 0.02))
def test_the_most_in_a_window(granted, window):
    expected = max((sum(0 <= other - start <= window for other in granted) for start in granted), default=0)
    assert most_within(granted, window) == expected
