"""Backoff: exponential, clamped, and only then jittered. That it counts consecutive crashes: test_policy.py."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.runtime import Backoff


def test_doubles_up_to_the_maximum():
    backoff = Backoff(initial=0.5, maximum=3.0, jitter=0.0)
    assert [backoff.delay(crashes, random.Random(0)) for crashes in (1, 2, 3, 4, 5, 1000, 10**9)] == [
        0.5,
        1.0,
        2.0,
        3.0,
        3.0,
        3.0,
        3.0,
    ]


def test_jitter_is_taken_after_the_clamp():
    """Else all who have reached the maximum come back in the same moment."""
    backoff = Backoff(initial=1.0, maximum=8.0, jitter=0.25)
    rng = random.Random(0)
    delays = {backoff.delay(50, rng) for _ in range(100)}
    assert len(delays) == 100
    assert 6.0 <= min(delays) < 6.2
    assert 7.8 < max(delays) <= 8.0


@given(
    crashes=st.integers(1, 5000),
    jitter=st.floats(0, 1),
    factor=st.floats(1, 10),
    initial=st.floats(0, 100),
    maximum=st.floats(0, 100),
)
def test_stays_in_its_bounds(crashes, jitter, factor, initial, maximum):
    backoff = Backoff(initial=initial, factor=factor, maximum=maximum, jitter=jitter)
    delay = backoff.delay(crashes, random.Random(crashes))
    assert min(initial, maximum) * (1 - jitter) * 0.999 <= delay <= maximum


@pytest.mark.parametrize(
    "bad", [{"initial": -1.0}, {"factor": 0.5}, {"maximum": math.nan}, {"jitter": 1.5}, {"reset_after": -1.0}]
)
def test_impossible_values_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Backoff(**bad)
