"""Ten thousand calls that wait for one limiter: in order, never too fast, and nobody is lost, whatever happens."""

from __future__ import annotations

import random

import pytest
import trio
from support.service import outcome_of, running

import switchgear as sg

CROWD = 10_000
MANY = sg.BulkheadConfig(max_concurrent=CROWD)
RATE, BURST = 500.0, 50


def excess(times, rate, burst):
    """How many more there were than allowed, in the window where that is most. (One pass: see `benchmarks.limiter`.)"""
    worst, least = 0.0, float("inf")
    for number, when in enumerate(sorted(times)):
        level = number - rate * when
        least = min(least, level)
        worst = max(worst, level - least + 1 - burst)
    return worst


async def test_ten_thousand_are_served_in_order_at_both_rates(autojump_clock) -> None:
    limits = [sg.RateLimit(RATE, burst=BURST), sg.RateLimit(3_000, per=10, burst=3_000)]
    async with running(rate_limit=limits, bulkhead=MANY) as (service, upstream):
        async with trio.open_nursery() as nursery:
            for n in range(CROWD):
                nursery.start_soon(lambda path: service.get(path, timeout=1000), f"/{n}")
                if n % 100 == 99:
                    await trio.lowlevel.checkpoint()
        assert service.limiter.waiting == 0
    assert len(upstream.times) == CROWD
    for limit in limits:
        assert excess(upstream.times, limit.rate / limit.per, limit.burst) <= 1e-3
    assert upstream.times[-1] == pytest.approx((CROWD - 3000) / 300, abs=0.1)  # and no slower


@pytest.mark.parametrize("seed", [1, 2])
async def test_cancelled_waiters_and_stalls_of_the_loop_cost_nobody_a_turn(seed, autojump_clock) -> None:
    """Two thirds go away, at any time, some in the very moment of their turn; the loop stands still now and then."""
    rng = random.Random(seed)
    stays, ends = [], {}
    async with running(rate_limit=sg.RateLimit(RATE, burst=BURST), bulkhead=MANY) as (service, upstream):

        async def caller(n):
            leaves = rng.random() < 2 / 3
            if not leaves:
                stays.append(n)
            with trio.move_on_after(round(rng.uniform(0, 5) * RATE) / RATE if leaves else 1000):
                ends[n] = await outcome_of(service.get(f"/{n}", timeout=1000))

        async def stalls():
            while True:
                await trio.sleep(rng.uniform(0, 1))
                autojump_clock.jump(rng.uniform(0, 2))  # nothing of us runs meanwhile

        async with trio.open_nursery() as outer:
            outer.start_soon(stalls)
            async with trio.open_nursery() as nursery:
                for n in range(CROWD // 2):
                    nursery.start_soon(caller, n)
            outer.cancel_scope.cancel()
        assert service.limiter == sg.LimiterStatus(0, 0.0, None)
        assert all(ends[n].success for n in stays)
        assert excess(upstream.times, RATE, BURST) <= 1e-3
        # All that were granted and not used have come back: after a second of silence the burst is whole.
        await trio.sleep(1)
        before = len(upstream.times)
        async with trio.open_nursery() as nursery:
            for _ in range(2 * BURST):
                nursery.start_soon(service.get, "/")
            await trio.testing.wait_all_tasks_blocked()
            assert len(upstream.times) - before == BURST
            nursery.cancel_scope.cancel()


async def test_thousands_who_give_up_at_once_make_room_at_once(autojump_clock) -> None:
    limit = sg.RateLimit(1, per=10, burst=1)
    async with running(rate_limit=limit, bulkhead=MANY) as (service, upstream), trio.open_nursery() as outer:
        await service.get("/")
        async with trio.open_nursery() as nursery:
            for _ in range(5_000):
                nursery.start_soon(lambda: service.get("/", timeout=1e6))
            await trio.testing.wait_all_tasks_blocked()
            assert service.limiter.waiting == 5_000
            outer.start_soon(lambda: service.get("/last", timeout=1e6))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert [str(request.url.path) for request in upstream.requests] == ["/", "/last"]
    assert upstream.times[1] - upstream.times[0] == pytest.approx(10)
