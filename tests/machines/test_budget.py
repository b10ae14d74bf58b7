"""The retry budget against a model that keeps every call and every retry."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from switchgear import RetryBudget
from switchgear.actors.machines.budget import Budget


class BudgetModel(RuleBasedStateMachine):
    @initialize(
        ratio=st.sampled_from([0.0, 0.1, 0.2, 1.0, 2.5]),
        least=st.sampled_from([0.0, 0.3, 1.0, 10.0]),
        window=st.sampled_from([1.0, 10.0, 60.0]),
        start=st.sampled_from([0.0, 5.05, 1e6 + 0.1]),
    )
    def begin(self, ratio, least, window, start) -> None:
        self.config = RetryBudget(ratio=ratio, min_per_second=least, window=window)
        self.budget = Budget(self.config)
        self.now = self.latest = start
        self.calls, self.retries = [], []

    def live(self, times):
        """Those in the ten slots that end with the present one."""
        width = self.config.window / 10
        return [at for at in times if int(at / width) > int(self.latest / width) - 10]

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.1, 0.9, 1.0, 3.0, 11.0, 70.0, 1e5]))
    def time_passes(self, seconds) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from([0.1, 2.0]))
    def the_clock_goes_back(self, seconds) -> None:
        self.now = max(0.0, self.now - seconds)

    @rule(n=st.integers(1, 40))
    def calls_come(self, n) -> None:
        self.latest = max(self.latest, self.now)
        for _ in range(n):
            self.budget.deposit(self.now)
            self.calls.append(self.latest)

    @rule(n=st.integers(1, 40))
    def they_fail(self, n) -> None:
        self.latest = max(self.latest, self.now)
        for _ in range(n):
            allowance = max(
                self.config.ratio * len(self.live(self.calls)), self.config.min_per_second * self.config.window
            )
            expected = len(self.live(self.retries)) + 1 <= allowance
            assert self.budget.try_withdraw(self.now) == expected
            if expected:
                self.retries.append(self.latest)

    @rule(
        ratio=st.sampled_from([0.0, 0.2, 1.0]),
        least=st.sampled_from([0.0, 10.0]),
        window=st.sampled_from([None, None, 1.0, 10.0, 60.0]),
    )
    def it_is_configured_anew(self, ratio, least, window) -> None:
        """What was counted is as old as its slot was."""
        width = self.config.window / 10
        self.calls = [int(at / width) * width for at in self.live(self.calls)]
        self.retries = [int(at / width) * width for at in self.live(self.retries)]
        self.latest = int(self.latest / width) * width
        window = self.config.window if window is None else window
        self.config = RetryBudget(ratio=ratio, min_per_second=least, window=window)
        self.budget = self.budget.tuned(self.config)

    @invariant()
    def it_counts_what_the_model_counts(self) -> None:
        if hasattr(self, "budget"):
            self.budget.try_withdraw(self.now) and self.retries.append(max(self.latest, self.now))
            self.latest = max(self.latest, self.now)
            assert self.budget.calls == len(self.live(self.calls))
            assert self.budget.retries == len(self.live(self.retries))


TestBudget = BudgetModel.TestCase


@pytest.mark.parametrize(("rate", "most"), [(1000, 1.2), (50, 1.2), (200, 1.2)])
def test_a_total_outage_is_at_most_a_fifth_more_load(rate, most) -> None:
    budget = Budget(RetryBudget())
    calls = retries = 0
    for tick in range(60 * rate):
        now = tick / rate
        budget.deposit(now)
        calls += 1
        retries += sum(budget.try_withdraw(now) for _ in range(2))  # three attempts a call
    # What the window held when it was still filling up is a tenth of a second's worth and the floor, once.
    assert (calls + retries) / calls <= most + 100 / calls
    assert retries / calls > 0.19


def test_a_service_that_is_seldom_called_may_always_retry() -> None:
    budget = Budget(RetryBudget())
    for second in range(100):
        budget.deposit(float(second))
        assert budget.try_withdraw(float(second))
        assert budget.try_withdraw(float(second))


def test_no_budget_at_all() -> None:
    budget = Budget(RetryBudget(ratio=0.0, min_per_second=0.0))
    budget.deposit(1.0)
    assert not budget.try_withdraw(1.0)
