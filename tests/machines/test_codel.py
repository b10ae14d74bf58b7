"""CoDel: how long one may have waited who is served now, and who is next."""

from __future__ import annotations

from switchgear.actors.machines.codel import CoDel


def test_a_queue_that_was_empty_a_moment_ago_is_a_burst():
    codel = CoDel(0.005, 0.1)
    codel.began(10.0)
    assert codel.rule(10.0) == codel.rule(10.099) == (0.1, False)


def test_a_queue_that_has_not_been_empty_for_an_interval_is_overload():
    codel = CoDel(0.005, 0.1)
    codel.began(10.0)
    assert codel.rule(10.125) == codel.rule(99.0) == (0.005, True)
    codel.began(99.0)
    assert codel.rule(99.05) == (0.1, False)


def test_where_nobody_has_waited_yet_there_is_no_overload():
    assert CoDel(0.005, 0.1).rule(10.0) == (0.1, False)
