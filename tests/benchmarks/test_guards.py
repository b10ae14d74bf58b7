"""The benchmark of guards measures guards: they let a success pass, and do their work when there is something to do."""

from __future__ import annotations

import pytest
import trio

import switchgear as sg
from benchmarks.__main__ import main
from benchmarks.guards.ours import Ours
from benchmarks.guards.plan import nothing, scenarios


async def fails():
    raise sg.TransportError("no", processed="no")


@pytest.mark.parametrize("which", ["all_together", "retry", "breaker", "limiter"])
async def test_ours_let_a_success_pass(which) -> None:
    async with trio.open_nursery() as nursery:
        assert await getattr(Ours(nursery), which)(nothing)() is None


async def test_a_learned_limit_learns(autojump_clock) -> None:
    adaptive = sg.AimdConfig(initial_limit=1)
    async with trio.open_nursery() as nursery:
        ours = Ours(nursery, bulkhead=sg.BulkheadConfig(adaptive=adaptive))
        work = ours.bulkhead(nothing)
        for _ in range(3):
            await work()
        assert ours.state.concurrency.limit == 3


async def test_ours_are_the_guards_of_a_service(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        ours = Ours(nursery, breaker=sg.BreakerConfig(3), retry=sg.RetryPolicy(base_delay=1.0, jitter="none"))
        begun = trio.current_time()
        with pytest.raises(sg.TransportError):
            await ours.all_together(fails)()
        assert trio.current_time() == begun + 3  # three attempts, and one and two seconds between them
        with pytest.raises(sg.CircuitOpen):
            await ours.all_together(nothing)()
        assert ours.state.budget is not None
        assert (ours.state.budget.calls, ours.state.budget.retries) == (1, 2)


def test_it_runs(capsys) -> None:
    assert main(["guards", "--quick"]) == 0
    printed = capsys.readouterr().out
    assert all(scenario.name in printed for scenario in scenarios(quick=True))
