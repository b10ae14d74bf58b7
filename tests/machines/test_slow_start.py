"""Slow start against its formula, replayed over the whole history."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.machines.slow_start import SlowStart

steps = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 3.0, 9.0, 30.0]), st.frozensets(st.sampled_from("abcd"))))


def share(window, come, now):
    """Envoy's formula."""
    return 1.0 if come is None or now - come >= window else min(1.0, max(0.1, max(now - come, 1.0) / window))


@given(st.sampled_from([0.5, 1.0, 8.0, 60.0]), steps)
def test_who_comes_to_others_gets_more_and_more(window, history):
    slow, now, come, before = SlowStart(window), 100.0, {}, frozenset()
    for seconds, there in history:
        now += seconds
        slow.update(there, now)
        for name in there - before:
            come[name] = now if there & before else None
        before = there
        for name in there:
            assert slow.share(name, now) == pytest.approx(share(window, come[name], now))
        starting = {name for name in there if come[name] is not None and now - come[name] < window}
        assert set(slow.starting) == starting
        assert slow.due == (pytest.approx(now + window / 20) if starting else math.inf)


def test_the_shares_that_envoy_gives_in_a_minute():
    slow = SlowStart(60.0)
    slow.update(frozenset("a"), 0.0)
    slow.update(frozenset("ab"), 0.0)
    assert [slow.share("b", now) for now in (0.0, 6.0, 15.0, 30.0, 60.0)] == [0.1, 0.1, 0.25, 0.5, 1.0]
    assert slow.share("a", 0.0) == 1.0


def test_without_a_window_nobody_starts_slowly():
    slow = SlowStart(None)
    slow.update(frozenset("a"), 0.0)
    slow.update(frozenset("ab"), 1.0)
    assert (slow.share("b", 1.0), slow.due) == (1.0, math.inf)


def test_a_window_that_is_taken_away_gives_all_at_once():
    slow = SlowStart(60.0)
    slow.update(frozenset("a"), 0.0)
    slow.update(frozenset("ab"), 1.0)
    slow.window = None
    slow.update(frozenset("ab"), 2.0)
    assert (slow.share("b", 2.0), slow.due) == (1.0, math.inf)
