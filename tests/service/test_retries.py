"""Retries on the road: what they may cost in all, and what the service is told of the time that is left."""

from __future__ import annotations

import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from support.service import STEADY, after, outcome_of, reply_json, running

import switchgear as sg
from switchgear.actors.machines import retry

OFF = sg.BreakerConfig(enabled=False)
KEEN = sg.RetryPolicy(base_delay=0.01)


async def outage(service, calls, every):
    async with trio.open_nursery() as nursery:
        for _ in range(calls):
            nursery.start_soon(outcome_of, service.get("/x"))
            await trio.sleep(every)


async def test_an_outage_multiplies_the_load_by_a_fifth_and_not_by_three(autojump_clock) -> None:
    async with running(503, retry=KEEN, breaker=OFF) as (service, upstream):
        await outage(service, 5000, 0.01)
        assert 5000 * 1.19 <= len(upstream.requests) <= 5000 * 1.2 + 100


async def test_without_a_budget_by_three(autojump_clock) -> None:
    policy = sg.RetryPolicy(base_delay=0.01, budget=None)
    async with running(503, retry=policy, breaker=OFF) as (service, upstream):
        await outage(service, 500, 0.01)
        assert len(upstream.requests) == 1500


async def test_an_error_says_that_the_budget_was_spent(autojump_clock) -> None:
    policy = sg.RetryPolicy(base_delay=0.01, budget=sg.RetryBudget(ratio=0.0, min_per_second=0.0))
    async with running(503, retry=policy) as (service, upstream):
        error = await outcome_of(service.get("/x"))
        assert error.__notes__ == ["not tried again: the retry budget is spent"]
        assert len(upstream.requests) == 1


async def test_the_budget_outlives_a_reconfiguration(autojump_clock) -> None:
    tight = sg.RetryBudget(ratio=0.0, min_per_second=0.1, window=10.0)
    policy = sg.RetryPolicy(base_delay=0.01, max_attempts=2, budget=tight)
    async with running(503, retry=policy, breaker=OFF) as (service, upstream):
        await outcome_of(service.get("/x"))
        other = sg.RetryBudget(ratio=0.1, min_per_second=0.1, window=12.0)
        changed = sg.RetryPolicy(base_delay=0.02, max_attempts=3, budget=other)
        config = sg.ServiceConfig("svc", base_url="http://svc.test", retry=changed, breaker=OFF)
        await upstream.runtime.reconfigure("svc", config)
        await outcome_of(service.get("/x"))
        assert len(upstream.requests) == 3  # the one retry of these ten seconds has been made


async def test_which_errors_are_retried_is_for_the_policy_to_say(autojump_clock) -> None:
    bad = reply_json(b"{")
    only_decode = sg.RetryPolicy(base_delay=0.01, errors=(sg.ErrorCode.DECODE,))
    async with running(bad, reply_json(b"{}"), retry=only_decode) as (service, _):
        assert (await service.get("/x")).attempts == 2
        assert isinstance(await outcome_of(service.post("/x")), sg.ServiceResponse)
    async with running(bad, retry=only_decode) as (service, upstream):
        assert isinstance(await outcome_of(service.post("/x")), sg.DecodeError)  # it may have been acted on
        assert len(upstream.requests) == 1
    async with running(after(3), retry=only_decode, timeout=sg.TimeoutConfig(attempt=1)) as (service, upstream):
        assert isinstance(await outcome_of(service.get("/x")), sg.CallTimeout)
        assert len(upstream.requests) == 1


@given(
    base=st.floats(0, 10),
    most=st.floats(0, 100),
    seed=st.integers(0, 1000),
)
def test_decorrelated_jitter_stays_between_the_base_and_three_times_the_last(base, most, seed) -> None:
    policy = sg.RetryPolicy(base_delay=base, max_delay=most, jitter="decorrelated")
    rng, last = random.Random(seed), 0.0
    for failures in range(1, 8):
        delay = retry.delay(policy, failures, rng, last)
        assert min(base, most) <= delay <= min(most, max(base, 3 * last)) + 1e-12
        last = delay


async def test_decorrelated_jitter_spreads_also_at_the_cap(autojump_clock) -> None:
    policy = sg.RetryPolicy(max_attempts=12, base_delay=1.0, max_delay=4.0, jitter="decorrelated")
    async with running(503, retry=policy, breaker=OFF, timeout=sg.TimeoutConfig(total=900)) as (service, upstream):
        await outcome_of(service.get("/x"))
        waits = [b - a for a, b in zip(upstream.times, upstream.times[1:], strict=False)]
        assert waits[0] == pytest.approx(1.0)
        assert len({round(wait, 6) for wait in waits[3:]}) == len(waits[3:])
        assert max(waits) < 4.0


async def test_the_service_is_told_how_long_it_has(autojump_clock) -> None:
    timeout = sg.TimeoutConfig(total=10.0, attempt=4.0, header="X-Request-Timeout-Ms", margin=0.25)
    async with running(after(1, 503), 200, retry=STEADY, timeout=timeout) as (service, upstream):
        await service.get("/x", timeout=5)
        assert upstream.header("x-request-timeout-ms") == ["3750", "2750"]
        with trio.move_on_after(2.0):
            await service.get("/x")
        assert upstream.header("x-request-timeout-ms")[-1] == "1750"  # the caller's own scope counts
        with trio.move_on_after(0.1):
            await service.get("/x")
        assert upstream.header("x-request-timeout-ms")[-1] == "0"


async def test_a_call_without_an_end_says_a_day(autojump_clock) -> None:
    timeout = sg.TimeoutConfig(total=1e9, attempt=None, header="X-Timeout")
    async with running(200, timeout=timeout) as (service, upstream):
        await service.get("/x")
        assert upstream.header("x-timeout") == ["86400000"]


async def test_nothing_is_told_unless_it_is_asked_for() -> None:
    async with running(200) as (service, upstream):
        await service.get("/x")
        assert not any("timeout" in name for name in upstream.requests[0].headers)
