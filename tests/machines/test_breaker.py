"""The breaker against a model that keeps every failure and every permit in plain lists, and the complaints by name."""

import pickle
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from switchgear.actors.config import BreakerConfig
from switchgear.actors.machines.breaker import BreakerState, CircuitBreaker

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
CONFIG = BreakerConfig(failure_threshold=3, reset_timeout=10.0, monitoring_period=60.0, half_open_max_requests=2)


class Model:
    """What the design says, in the most naive way: all that ever happened is kept and looked through each time."""

    def __init__(self, config):
        self.config = config
        self.state = CLOSED
        self.epoch = 0
        self.opened = None
        self.failures = []  # (epoch, when)
        self.trials = []  # of this epoch: [when it began, None | "success" | "failure" | "cancel" | "lost"]
        self.changes = []

    def lose_old_trials(self, now):
        for trial in self.trials:
            if trial[1] is None and now >= trial[0] + self.config.reset_timeout:
                trial[1] = "lost"

    def places(self):
        taken = [trial for trial in self.trials if trial[1] in {None, "success"}]
        return self.config.half_open_max_requests - len(taken)

    def go(self, state):
        self.changes.append((self.state, state))
        self.state = state
        self.epoch += 1
        self.trials = []

    def acquire(self, now):
        """A ticket, or None."""
        if not self.config.enabled:
            return SimpleNamespace(epoch=self.epoch, trial=None, settled=False)
        if self.state is OPEN and now >= self.opened + self.config.reset_timeout:
            self.go(HALF_OPEN)
        if self.state is OPEN:
            return None
        trial = None
        if self.state is HALF_OPEN:
            self.lose_old_trials(now)
            if self.places() <= 0:  # fewer than none: a trial whose place was given away has succeeded
                return None
            trial = [now, None]
            self.trials.append(trial)
        return SimpleNamespace(epoch=self.epoch, trial=trial, settled=False)

    def settle(self, ticket, how, now):
        if ticket.settled:
            return
        ticket.settled = True
        if ticket.epoch != self.epoch or not self.config.enabled:
            return
        if self.state is HALF_OPEN:
            if ticket.trial[1] == "lost" and how != "success":
                return
            ticket.trial[1] = how
            if how == "failure":
                self.opened = now
                self.go(OPEN)
            elif [trial[1] for trial in self.trials].count("success") == self.config.half_open_max_requests:
                self.failures = []
                self.go(CLOSED)
        elif self.state is CLOSED and how == "failure":
            self.failures.append(now)
            recent = [when for when in self.failures if now - when <= self.config.monitoring_period]
            if len(recent) >= self.config.failure_threshold:
                self.opened = now
                self.go(OPEN)

    def retry_at(self, now):
        if not self.config.enabled or self.state is CLOSED:
            return None
        if self.state is OPEN:
            at = self.opened + self.config.reset_timeout
            return at if at > now else None
        self.lose_old_trials(now)
        if self.places() > 0:
            return None
        return min(trial[0] for trial in self.trials if trial[1] is None) + self.config.reset_timeout


class BreakerMachine(RuleBasedStateMachine):
    @initialize(
        threshold=st.integers(1, 4), reset=st.integers(1, 12), period=st.integers(1, 20), trials=st.integers(1, 3),
        enabled=st.sampled_from([True, True, True, True, False]),
    )  # fmt: skip
    def begin(self, threshold, reset, period, trials, enabled):
        self.config = BreakerConfig(threshold, float(reset), float(period), trials, enabled)
        self.now = 1000.0
        self.changes = []
        self.breaker = CircuitBreaker(
            self.config, on_change=lambda old, new, _why, _now: self.changes.append((old, new))
        )
        self.model = Model(self.config)
        self.calls = []

    @rule(seconds=st.sampled_from([0.25, 1.0, 1.0, 3.0, 10.0, 12.0, 50.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def time_passes_until_a_retry_makes_sense(self):
        at = self.breaker.retry_at(self.now)
        if at is not None:
            assert at > self.now
            self.now = at
            assert self.breaker.retry_at(self.now) is None

    @rule(n=st.integers(1, 5))
    def calls_come(self, n):
        for _ in range(n):
            permit, ticket = self.breaker.try_acquire(self.now), self.model.acquire(self.now)
            assert (permit is None) == (ticket is None)
            if permit is not None:
                self.calls.append((permit, ticket))

    @rule(n=st.integers(1, 4), how=st.sampled_from(["failure", "success"]))
    def quick_calls_come(self, n, how):
        for _ in range(n):
            self.calls_come(n=1)
            if self.calls:
                self.settle(len(self.calls) - 1, how)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), how=st.sampled_from(["success", "failure", "failure", "cancel"]), keep=st.booleans())
    def a_call_ends(self, data, how, keep):
        index = data.draw(st.integers(0, len(self.calls) - 1))
        self.settle(index, how, keep=keep)

    def settle(self, index, how, *, keep=False):
        permit, ticket = self.calls[index]
        if not keep:  # else it may be settled once more, later
            del self.calls[index]
        getattr(permit, how)(self.now)
        self.model.settle(ticket, how, self.now)

    @precondition(lambda self: self.breaker.state is HALF_OPEN and self.calls)
    @rule(how=st.sampled_from(["success", "failure", "cancel"]))
    def a_trial_ends_after_its_place_was_given_up(self, how):
        """By chance alone it would take too many steps to get here."""
        self.now += self.config.reset_timeout
        self.they_agree()
        self.settle(len(self.calls) - 1, how)

    @rule(luck=st.integers(0, 15))
    def an_incarnation_follows(self, luck):
        """Calls in flight belong to the one before: they change nothing in this one."""
        if luck:
            return  # rare: it forgets all that is under way, and few steps would be left that settle anything
        next_breaker = CircuitBreaker(self.config, on_change=self.breaker._on_change)
        next_breaker.restore(pickle.loads(pickle.dumps(self.breaker.snapshot())))
        self.breaker = next_breaker
        if self.model.state is HALF_OPEN:
            self.model.state = OPEN
        self.model.epoch += 1
        self.model.trials = []
        self.calls = []

    @invariant()
    def they_agree(self):
        if hasattr(self, "model"):
            assert self.breaker.state is self.model.state
            assert self.breaker.retry_at(self.now) == self.model.retry_at(self.now)
            assert self.changes == self.model.changes


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=250, stateful_step_count=40)


def opened(config=CONFIG, now=0.0, **options):
    breaker = CircuitBreaker(config, **options)
    for _ in range(config.failure_threshold):
        breaker.try_acquire(now).failure(now)
    assert breaker.state is OPEN
    return breaker


def test_opens_at_the_threshold_within_the_period_and_not_before():
    breaker = CircuitBreaker(CONFIG)
    for now in (0.0, 1.0, 61.0):  # the first is out of the window by a hair when the third comes
        breaker.try_acquire(now).failure(now)
    assert breaker.state is CLOSED
    breaker.try_acquire(61.0).failure(61.0)
    assert breaker.state is OPEN


def test_a_failure_as_old_as_the_period_still_counts():
    breaker = CircuitBreaker(CONFIG)
    for now in (0.0, 1.0, 60.0):
        breaker.try_acquire(now).failure(now)
    assert breaker.state is OPEN


def test_successes_between_failures_do_not_forgive_them():
    breaker = CircuitBreaker(CONFIG)
    for now in range(3):
        breaker.try_acquire(now).success(now)
        breaker.try_acquire(now).failure(now)
    assert breaker.state is OPEN


def test_a_stampede_at_half_open_gets_exactly_as_many_places_as_there_are():
    breaker = opened()
    assert [breaker.try_acquire(9.999) for _ in range(10)] == [None] * 10
    admitted = [permit for _ in range(1000) if (permit := breaker.try_acquire(10.0))]
    assert len(admitted) == 2
    assert breaker.state is HALF_OPEN


def test_a_success_does_not_make_room_for_more_trials_than_are_needed():
    breaker = opened()
    first, _second = breaker.try_acquire(10.0), breaker.try_acquire(10.0)
    first.success(11.0)
    assert breaker.try_acquire(11.0) is None


def test_all_trials_must_succeed():
    breaker = opened()
    first, second = breaker.try_acquire(10.0), breaker.try_acquire(10.0)
    first.success(11.0)
    assert breaker.state is HALF_OPEN
    second.success(12.0)
    assert breaker.state is CLOSED
    for _ in range(2):  # and it has forgotten the failures that opened it
        breaker.try_acquire(12.0).failure(12.0)
    assert breaker.state is CLOSED


def test_one_failed_trial_opens_it_again_for_the_whole_reset_timeout():
    breaker = opened()
    first, second = breaker.try_acquire(10.0), breaker.try_acquire(10.0)
    first.success(11.0)
    second.failure(12.0)
    assert breaker.state is OPEN
    assert breaker.retry_at(12.0) == 22.0


def test_a_cancelled_trial_gives_its_place_back():
    breaker = opened()
    for _ in range(20):
        breaker.try_acquire(10.0).cancel(10.0)
    assert breaker.state is HALF_OPEN
    assert breaker.retry_at(10.0) is None
    assert breaker.try_acquire(10.0) is not None


def test_a_trial_that_never_settles_does_not_hold_it_half_open_for_ever():
    breaker = opened()
    lost = [breaker.try_acquire(10.0), breaker.try_acquire(12.0)]
    assert breaker.retry_at(13.0) == 20.0
    assert breaker.try_acquire(19.999) is None
    third = breaker.try_acquire(20.0)
    assert third is not None
    assert breaker.try_acquire(20.0) is None  # the second is still in time
    lost[0].cancel(20.5)  # its place is another's by now
    assert breaker.try_acquire(20.5) is None
    lost[1].success(21.0)
    assert breaker.state is HALF_OPEN
    third.success(21.0)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("trials", [1, 2, 5])
def test_a_healthy_service_that_is_slower_than_the_reset_timeout_gets_its_breaker_closed(trials):
    config = BreakerConfig(failure_threshold=1, reset_timeout=5.0, half_open_max_requests=trials)
    breaker = opened(config)
    under_way = []
    for now in range(30):  # a call each second, answered after six
        while under_way and under_way[0][0] <= now:
            under_way.pop(0)[1].success(now)
        if permit := breaker.try_acquire(now):
            under_way.append((now + 6, permit))
    assert breaker.state is CLOSED


def test_a_success_that_comes_late_counts_and_makes_no_room():
    breaker = opened()
    late = breaker.try_acquire(10.0)
    second, third = breaker.try_acquire(20.0), breaker.try_acquire(20.0)
    late.success(21.0)
    late.success(21.0)
    assert breaker.state is HALF_OPEN
    second.cancel(21.0)
    assert breaker.try_acquire(21.0) is None  # one has succeeded, one is under way
    third.success(22.0)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("how", ["success", "failure", "cancel"])
def test_a_trial_that_was_given_up_neither_opens_it_nor_makes_room_when_it_comes_back(how):
    breaker = opened()
    lost = breaker.try_acquire(10.0)
    later = [breaker.try_acquire(20.0), breaker.try_acquire(20.0)]
    getattr(lost, how)(20.0)
    assert breaker.state is HALF_OPEN
    assert breaker.try_acquire(20.0) is None  # nor does it make room
    for permit in later:
        permit.success(21.0)
    assert breaker.state is CLOSED


def test_settled_twice_is_settled_once():
    breaker = CircuitBreaker(CONFIG)
    permit = breaker.try_acquire(0.0)
    for _ in range(10):
        permit.failure(0.0)
    assert breaker.state is CLOSED

    breaker = opened()
    permit = breaker.try_acquire(10.0)
    permit.success(10.0)
    permit.success(10.0)
    permit.failure(10.0)
    assert breaker.state is HALF_OPEN


def test_results_of_an_earlier_generation_change_nothing():
    breaker = CircuitBreaker(CONFIG)
    slow = [breaker.try_acquire(0.0) for _ in range(10)]
    for _ in range(3):
        breaker.try_acquire(0.0).failure(0.0)
    slow[0].failure(5.0)
    assert breaker.retry_at(5.0) == 10.0  # a late failure does not prolong the open time
    slow[1].success(5.0)
    trial = breaker.try_acquire(10.0)
    slow[2].success(10.0)
    slow[3].failure(10.0)
    slow[4].cancel(10.0)
    assert breaker.state is HALF_OPEN
    trial.success(10.0)
    breaker.try_acquire(10.0).success(10.0)
    assert breaker.state is CLOSED
    for permit in slow[5:]:
        permit.failure(10.0)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("how", ["success", "failure", "cancel"])
def test_a_call_from_before_the_outage_is_no_trial(how):
    breaker = CircuitBreaker(BreakerConfig(failure_threshold=1, reset_timeout=10.0))
    slow = [breaker.try_acquire(0.0), breaker.try_acquire(0.0)]
    slow.pop().failure(0.0)
    trial = breaker.try_acquire(10.0)
    getattr(slow.pop(), how)(11.0)
    assert breaker.state is HALF_OPEN
    assert breaker.try_acquire(11.0) is None
    trial.success(12.0)
    assert breaker.state is CLOSED


def test_a_clock_that_jumps_neither_locks_it_nor_opens_it():
    breaker = opened()
    assert breaker.try_acquire(1e9) is not None
    breaker = CircuitBreaker(CONFIG)
    breaker.try_acquire(0.0).failure(0.0)
    breaker.try_acquire(1e9).failure(1e9)
    assert breaker.state is CLOSED


def test_disabled_lets_everything_through():
    breaker = CircuitBreaker(BreakerConfig(failure_threshold=1, enabled=False))
    for _ in range(10):
        breaker.try_acquire(0.0).failure(0.0)
    assert breaker.state is CLOSED
    assert breaker.retry_at(0.0) is None


def test_switched_off_while_open_it_lets_everything_through_and_says_so():
    breaker = CircuitBreaker(BreakerConfig(enabled=False))
    breaker.restore(opened().snapshot())
    permits = [breaker.try_acquire(0.0) for _ in range(10)]
    assert None not in permits
    permits[0].failure(0.0)
    permits[1].success(0.0)
    permits[2].cancel(0.0)
    assert breaker.retry_at(0.0) is None
    assert breaker.state is CLOSED


def test_every_change_is_reported_with_its_reason():
    told = []
    breaker = opened(now=5.0, on_change=lambda *change: told.append(change))
    breaker.try_acquire(15.0).failure(16.0)
    for _ in range(2):
        breaker.try_acquire(26.0).success(27.0)
    assert told == [
        (CLOSED, OPEN, "3 failures in 0 s", 5.0),
        (OPEN, HALF_OPEN, "the reset timeout is over", 15.0),
        (HALF_OPEN, OPEN, "a trial failed", 16.0),
        (OPEN, HALF_OPEN, "the reset timeout is over", 26.0),
        (HALF_OPEN, CLOSED, "2 of 2 trials succeeded", 27.0),
    ]


def test_a_snapshot_taken_half_open_leads_to_a_new_trial():
    breaker = opened()
    breaker.try_acquire(10.0)
    breaker.try_acquire(10.0)
    heir = CircuitBreaker(CONFIG)
    heir.restore(breaker.snapshot())
    assert heir.state is OPEN
    assert heir.try_acquire(10.0) is not None


def test_restored_over_a_breaker_in_use_nothing_of_its_own_remains():
    used = opened()
    stray = used.try_acquire(10.0)
    used.try_acquire(10.0).success(10.0)
    used.restore(opened(now=10.0).snapshot())
    stray.success(20.0)
    assert used.state is OPEN
    assert all(used.try_acquire(20.0) for _ in range(2))
    assert used.state is HALF_OPEN


@given(st.integers(1, 5), st.integers(0, 10))
def test_a_lower_threshold_counts_what_it_inherits(threshold, before):
    breaker = CircuitBreaker(BreakerConfig(failure_threshold=20))
    for _ in range(before):
        breaker.try_acquire(0.0).failure(0.0)
    heir = CircuitBreaker(BreakerConfig(failure_threshold=threshold))
    heir.restore(breaker.snapshot())
    heir.try_acquire(0.0).failure(0.0)
    assert (heir.state is OPEN) == (before + 1 >= threshold)


@pytest.mark.parametrize("how", ["success", "failure", "cancel"])
def test_a_permit_does_not_keep_a_settled_breaker_alive(how):
    breaker = CircuitBreaker(CONFIG)
    permit = breaker.try_acquire(0.0)
    getattr(permit, how)(0.0)
    assert permit._breaker is None
