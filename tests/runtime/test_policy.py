"""Each rule of supervision by one example, as Erlang's `supervisor` has it where it has the same rule."""

from __future__ import annotations

import math
import random

import pytest

from switchgear.runtime import Backoff, Intensity, Policy, Restart, Strategy
from switchgear.runtime.words import (
    Add,
    Begin,
    Booted,
    Delayed,
    Ended,
    Exited,
    Forgotten,
    Ready,
    Remove,
    Shutdown,
    Start,
    Stop,
    Tick,
)

ERROR = ValueError("crash")
ALL, ONE, REST = Strategy.ONE_FOR_ALL, Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE


def make(children="abc", strategy=ONE, restart=Restart.PERMANENT, max_restarts=5, within=30.0, **backoff):
    options = {"initial": 1.0, "jitter": 0.0, "reset_after": 30.0} | backoff
    return Policy(
        [(name, restart) for name in children],
        strategy=strategy,
        intensity=Intensity(max_restarts=max_restarts, within=within),
        backoff=Backoff(**options),
        rng=random.Random(0),
    )


def up(*args, **kwargs):
    """A policy whose children are all up at time 0."""
    policy = make(*args, **kwargs)
    actions = policy.step(Begin(), 0.0)
    while isinstance(actions[-1], Start):
        actions = policy.step(Ready(actions[-1].name), 0.0)
    assert actions == [Booted()]
    return policy


def test_starts_one_after_the_other_and_is_ready_after_the_last():
    policy = make("abc")
    assert policy.step(Begin(), 0.0) == [Start("a")]
    assert policy.due == math.inf  # busy
    assert policy.step(Tick(), 0.0) == []
    assert policy.step(Ready("a"), 1.0) == [Start("b")]
    assert policy.step(Ready("b"), 2.0) == [Start("c")]
    assert policy.step(Ready("c"), 3.0) == [Booted()]
    assert make("").step(Begin(), 0.0) == [Booted()]


def test_a_failed_start_at_boot_undoes_those_before_and_names_the_child():
    policy = make("abc")
    policy.step(Begin(), 0.0)
    policy.step(Ready("a"), 0.0)
    policy.step(Ready("b"), 0.0)
    assert policy.step(Exited("c", ERROR), 1.0) == [Stop("b", final=False)]
    assert policy.step(Exited("b"), 2.0) == [Stop("a", final=False)]
    (ended,) = policy.step(Exited("a"), 3.0)
    assert ended.failed == "c"
    assert [(crash.name, crash.error) for crash in ended.history] == [("c", ERROR)]
    assert policy.step(Tick(), 99.0) == []


def test_stops_from_right_to_left_one_at_a_time():
    policy = up("abc")
    assert policy.step(Shutdown(), 1.0) == [Stop("c", final=True)]
    assert policy.step(Tick(), 2.0) == []
    assert policy.step(Exited("c", ERROR), 2.0) == [Stop("b", final=True)]  # reported by the shell, but no crash
    assert policy.step(Exited("a"), 3.0) == []  # before its turn
    assert policy.step(Exited("b"), 4.0) == [Ended()]


@pytest.mark.parametrize(
    ("restart", "error", "restarts"),
    [
        (Restart.PERMANENT, None, True),
        (Restart.PERMANENT, ERROR, True),
        (Restart.TRANSIENT, None, False),
        (Restart.TRANSIENT, ERROR, True),
        (Restart.TEMPORARY, None, False),
        (Restart.TEMPORARY, ERROR, False),
    ],
)
def test_restart_types(restart, error, restarts):
    policy = up("a", restart=restart)
    actions = policy.step(Exited("a", error), 1.0)
    assert actions == ([Delayed("a", 2.0, 1)] if restarts else [Forgotten("a")])
    assert policy.step(Tick(), 2.0) == ([Start("a")] if restarts else [])


def test_temporary_children_are_forgotten_even_when_a_sibling_took_them_down():
    policy = make("a", strategy=ALL)
    policy.step(Begin(), 0.0)
    policy.step(Ready("a"), 0.0)
    policy.step(Add("t", Restart.TEMPORARY), 0.0)
    policy.step(Ready("t"), 0.0)
    assert policy.step(Exited("a", ERROR), 1.0)[1] == Stop("t", final=True)
    assert policy.step(Exited("t"), 1.0) == [Forgotten("t")]


def test_a_temporary_child_that_ends_during_the_shutdown_is_not_there_in_the_next_life():
    """Found by reading: it became DOWN like its siblings, and the supervisor's next life would have started it."""
    policy = up("ab", restart=Restart.TEMPORARY)
    policy.step(Shutdown(final=False), 1.0)
    assert policy.step(Exited("a", ERROR), 1.0) == [Forgotten("a")]
    assert policy.step(Exited("b"), 1.0) == [Forgotten("b"), Ended()]


def test_the_window_slides_exactly():
    policy = up("a", max_restarts=2, within=10.0, initial=0.5, reset_after=0.0)
    for at in (0.0, 1.0):
        assert isinstance(policy.step(Exited("a", ERROR), at)[0], Delayed)
        policy.step(Tick(), at + 0.5)
        policy.step(Ready("a"), at + 0.5)
    # the third at 10.0: the one at 0.0 is as old as the window, and no longer in it
    assert isinstance(policy.step(Exited("a", ERROR), 10.0)[0], Delayed)
    policy.step(Tick(), 10.5)
    policy.step(Ready("a"), 10.5)
    (ended,) = policy.step(Exited("a", ERROR), 10.75)
    assert [crash.at for crash in ended.history] == [1.0, 10.0, 10.75]


def test_with_intensity_zero_the_first_crash_ends_it_and_with_none_no_crash_does():
    assert isinstance(up("a", max_restarts=0).step(Exited("a", ERROR), 0.0)[0], Ended)
    policy = up("a", max_restarts=None, initial=0.0)
    for _ in range(100):
        assert isinstance(policy.step(Exited("a", ERROR), 0.0)[0], Delayed)


@pytest.mark.parametrize(("strategy", "stopped"), [(ONE, ""), (ALL, "edca"), (REST, "edc")])
def test_one_crash_costs_one_restart_and_takes_along_whom_the_strategy_says(strategy, stopped):
    policy = up("abcde", strategy=strategy, max_restarts=1)
    actions = policy.step(Exited("b", ERROR), 0.0)
    assert actions.pop(0) == Delayed("b", 1.0, 1)
    for name in stopped:
        assert actions == [Stop(name, final=False)]
        actions = policy.step(Exited(name), 0.5)
    assert actions == []
    assert policy.due == 1.0
    actions = policy.step(Tick(), 1.0)
    for name in sorted(stopped + "b"):
        assert actions == [Start(name)]
        actions = policy.step(Ready(name), 1.0)
    assert actions == []


def test_what_kills_a_whole_group_at_once_costs_one_restart():
    """Ten siblings lose their common connection: Erlang restarts the group once; so must we, not give up."""
    names = "abcdefghij"
    policy = up(names, strategy=ALL, max_restarts=1)
    for name in names:
        policy.step(Exited(name, ERROR), 0.0)
    assert policy.due == 1.0
    assert policy.step(Tick(), 1.0) == [Start("a")]


def test_a_failed_restart_is_queued_with_backoff_and_others_are_served_meanwhile():
    policy = up("ab")
    assert policy.step(Exited("a", ERROR), 0.0) == [Delayed("a", 1.0, 1)]
    assert policy.step(Tick(), 1.0) == [Start("a")]
    assert policy.step(Exited("a", ERROR), 1.0) == [Delayed("a", 3.0, 2)]
    assert policy.step(Exited("b", ERROR), 1.5) == [Delayed("b", 2.5, 1)]
    assert policy.step(Tick(), 2.5) == [Start("b")]
    assert policy.step(Add("c"), 2.5) == [Start("c")]
    assert policy.step(Shutdown(), 2.75) == [Stop("c", final=True)]


def test_every_failed_restart_counts():
    policy = up("a", max_restarts=2, initial=0.0)
    policy.step(Exited("a", ERROR), 0.0)
    policy.step(Exited("a", ERROR), 0.0)
    (ended,) = policy.step(Exited("a", ERROR), 0.0)
    assert len(ended.history) == 3


def test_rest_for_one_goes_on_from_the_child_that_failed():
    policy = up("abc", strategy=REST)
    policy.step(Exited("a", ERROR), 0.0)
    policy.step(Exited("c"), 0.0)
    policy.step(Exited("b"), 0.0)
    assert policy.step(Tick(), 1.0) == [Start("a")]
    assert policy.step(Ready("a"), 1.0) == [Start("b")]
    assert policy.step(Exited("b", ERROR), 1.0) == [Delayed("b", 2.0, 1)]  # and a is left alone
    assert policy.step(Tick(), 2.0) == [Start("b")]
    assert policy.step(Ready("b"), 2.0) == [Start("c")]


def test_one_for_all_begins_again_when_a_restart_fails():
    policy = up("abc", strategy=ALL)
    policy.step(Exited("a", ERROR), 0.0)
    policy.step(Exited("c"), 0.0)
    policy.step(Exited("b"), 0.0)
    assert policy.step(Tick(), 1.0) == [Start("a")]
    assert policy.step(Ready("a"), 1.0) == [Start("b")]
    assert policy.step(Exited("b", ERROR), 1.0) == [Delayed("b", 2.0, 1), Stop("a", final=False)]
    assert policy.step(Exited("a"), 1.0) == []
    assert policy.step(Tick(), 2.0) == [Start("a")]


def test_a_second_crash_to_the_left_joins_the_stops_in_order():
    policy = up("abcd", strategy=REST)
    assert policy.step(Exited("c", ERROR), 0.0) == [Delayed("c", 1.0, 1), Stop("d", final=False)]
    assert policy.step(Exited("a", ERROR), 0.25) == [Delayed("a", 1.25, 1)]
    assert policy.step(Exited("d"), 0.5) == [Stop("b", final=False)]
    assert policy.step(Exited("b"), 0.5) == []
    policy = up("abcde", strategy=ALL)
    assert policy.step(Exited("c", ERROR), 0.0)[1] == Stop("e", final=False)
    assert policy.step(Add("f"), 0.0) == []
    assert policy.step(Exited("e"), 0.0) == [Stop("d", final=False)]


def test_a_start_that_is_under_way_is_stopped_when_a_sibling_takes_it_along():
    policy = up("ab", strategy=REST)
    policy.step(Exited("b", ERROR), 0.0)
    assert policy.step(Tick(), 1.0) == [Start("b")]
    assert policy.step(Exited("a", ERROR), 1.0) == [Delayed("a", 2.0, 1), Stop("b", final=False)]
    assert policy.step(Ready("b"), 1.0) == []  # too late
    assert policy.step(Exited("b"), 1.0) == []
    assert policy.step(Tick(), 2.0) == [Start("a")]


def test_removal_is_no_restart_and_waits_for_nobody():
    policy = up("abc", max_restarts=0)
    assert policy.step(Remove("a"), 0.0) == [Stop("a", final=True)]
    assert policy.step(Exited("a", ERROR), 0.0) == [Forgotten("a")]
    policy = up("abc", strategy=ALL)
    assert policy.step(Exited("b", ERROR), 0.0)[1:] == [Stop("c", final=False)]
    assert policy.step(Remove("a"), 0.0) == [Stop("a", final=True)]  # c is still stopping
    assert policy.step(Remove("c"), 0.0) == [Stop("c", final=True)]
    assert policy.step(Remove("b"), 0.0) == [Forgotten("b")]  # it was waiting for its backoff


def test_two_removals_of_one_child_and_one_that_comes_too_late():
    """Found by reading: the second was a KeyError, and a crash of the supervisor."""
    policy = up("ab")
    policy.step(Remove("a"), 0.0)
    policy.step(Remove("a"), 0.0)
    assert policy.step(Exited("a"), 0.0) == [Forgotten("a")]
    assert policy.step(Remove("a"), 0.0) == []
    assert policy.step(Remove("never there"), 0.0) == []


def test_a_child_added_at_run_time_that_does_not_start_is_forgotten_and_nobody_else_suffers():
    policy = up("a", max_restarts=0)
    assert policy.step(Add("b"), 0.0) == [Start("b")]
    assert policy.step(Exited("b", ERROR), 0.0) == [Forgotten("b", ERROR)]
    assert policy.step(Shutdown(), 0.0) == [Stop("a", final=True)]
    assert policy.step(Add("c"), 0.0) == []  # too late


def test_a_child_added_during_the_boot_does_not_fail_the_boot():
    """Found by reading: it undid the whole supervisor, for a child that nobody depended on yet."""
    policy = make("a")
    assert policy.step(Begin(), 0.0) == [Start("a")]
    assert policy.step(Add("b"), 0.0) == []
    assert policy.step(Ready("a"), 0.0) == [Start("b")]
    assert policy.step(Exited("b", ERROR), 0.0) == [Forgotten("b", ERROR), Booted()]


def test_the_count_of_crashes_starts_again_after_a_healthy_life():
    policy = up("a", max_restarts=None, reset_after=10.0)
    assert policy.step(Exited("a", ERROR), 0.0) == [Delayed("a", 1.0, 1)]
    policy.step(Tick(), 1.0)
    policy.step(Ready("a"), 1.0)
    assert policy.step(Exited("a", ERROR), 10.75) == [Delayed("a", 12.75, 2)]
    policy.step(Tick(), 12.75)
    policy.step(Ready("a"), 12.75)
    assert policy.step(Exited("a", ERROR), 22.75) == [Delayed("a", 23.75, 1)]


def test_time_that_a_child_was_down_is_not_healthy_life():
    """Found by reading: a child taken along counted as up until it was ready again."""
    policy = up("ab", strategy=REST, max_restarts=None, initial=8.0, reset_after=10.0)
    policy.step(Exited("b", ERROR), 0.0)
    policy.step(Tick(), 8.0)
    policy.step(Ready("b"), 8.0)
    policy.step(Exited("a", ERROR), 9.0)  # b was up for a second
    policy.step(Exited("b"), 9.0)
    policy.step(Tick(), 17.0)
    assert policy.step(Ready("a"), 18.5) == [Start("b")]
    assert policy.step(Exited("b", ERROR), 18.5)[0].crashes == 2


def test_reasons_to_end_that_come_later_do_not_replace_the_first():
    policy = up("ab", max_restarts=0)
    assert policy.step(Exited("a", ERROR), 0.0) == [Stop("b", final=False)]
    assert policy.step(Shutdown(), 0.0) == []
    (ended,) = policy.step(Exited("b"), 0.0)
    assert [crash.name for crash in ended.history] == ["a"]


def test_children_waiting_for_their_backoff_are_down_at_once_in_a_shutdown():
    policy = up("ab")
    policy.step(Exited("a", ERROR), 0.0)
    policy.step(Exited("b", ERROR), 0.0)
    assert policy.step(Shutdown(), 0.0) == [Ended()]


def test_ten_times_as_many_children_cost_about_ten_times_as_much():
    """Counted in steps, not in time: each child takes one step up and one step down, and each gives one action."""
    policy = up([f"c{number}" for number in range(5000)], restart=Restart.TEMPORARY)
    actions = policy.step(Shutdown(), 0.0)
    for number in reversed(range(5000)):
        assert actions[-1] == Stop(f"c{number}", final=True)
        actions = policy.step(Exited(f"c{number}"), 0.0)
    assert actions == [Forgotten("c0"), Ended()]


@pytest.mark.parametrize("bad", [{"max_restarts": -1}, {"within": 0.0}, {"within": math.inf}, {"within": math.nan}])
def test_an_impossible_intensity_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Intensity(**bad)
