"""The simulated outage: the figures are right, the same each time, and the promises hold in a shorter one too."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from benchmarks.outage import simulation
from benchmarks.outage.__main__ import BOTH, BUDGET, NAIVE, picture, rows, rst
from benchmarks.outage.simulation import DOWN, UP, Course


def test_what_is_worked_out_of_the_seconds() -> None:
    course = Course()
    for at in range(simulation.END):
        course.wanted[at] = 10
        course.attempts[at] = 25 if DOWN <= at < UP else 10
        course.succeeded[at] = 0 if DOWN <= at < UP + 7 else 10
    assert course.amplification == 2.5
    assert course.recovery == 7
    assert rows({"a": course})[1][:3] == ("a", "2.50", "7")
    course.succeeded.clear()
    assert course.recovery is None
    assert "never" in rst({"a": course}, 1)
    assert picture({"a": course}).count("<polyline") == 1


@pytest.fixture
def short(monkeypatch):
    for name, value in {"DOWN": 12, "UP": 24, "END": 34}.items():
        monkeypatch.setattr(simulation, name, value)


def simulated(variant, seed=3):
    return trio.run(simulation.run, variant, seed, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_budget_bounds_the_load_and_the_service_comes_back(short) -> None:
    course = simulated(BUDGET)
    assert course.amplification <= 1.4  # a fifth of the calls of ten more seconds than the outage had: 22 / 12 * 0.2
    assert course.recovery is not None
    assert course.recovery <= 2
    assert course == simulated(BUDGET)


def test_the_breaker_spares_it_nearly_everything(short) -> None:
    course = simulated(BOTH)
    assert course.amplification < 0.5
    assert course.recovery is not None


def test_without_a_budget_it_does_not_come_back(short) -> None:
    course = simulated(NAIVE)
    assert course.amplification > 3
    assert course.recovery is None
