"""Hedging on the road: the second attempt goes elsewhere, the first answer counts, the loser is called off."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from support import wire
from support.service import QUIET, STEADY, after, outcome_of, running

import switchgear as sg

TWO = (sg.InstanceConfig("http://a.test", id="a"), sg.InstanceConfig("http://b.test", id="b"))
HEDGE = sg.HedgeConfig(delay=1.0)


def by_host(**steps):
    return lambda request: steps[request.url.host.partition(".")[0]]


def hosts(upstream):
    return [request.url.host for request in upstream.requests]


async def test_the_second_goes_to_another_instance_and_its_answer_counts(autojump_clock) -> None:
    def route(request):
        return after(60) if len(upstream.requests) == 1 else (200, {}, b"second")

    async with running(route, instances=TWO, hedge=HEDGE) as (service, upstream):
        response = await service.get("/x", type=bytes)
        assert (response.data, response.attempts) == (b"second", 2)
        assert response.elapsed == pytest.approx(1.0)
        assert len(set(hosts(upstream))) == 2
        await trio.testing.wait_all_tasks_blocked()
        assert upstream.running == 0  # the first has been called off
        assert service.breaker == "closed"


async def test_a_first_answer_in_time_is_not_hedged(autojump_clock) -> None:
    async with running(after(0.9), hedge=HEDGE) as (service, upstream):
        assert (await service.get("/x")).attempts == 1
        assert len(upstream.requests) == 1


async def test_the_first_may_still_win(autojump_clock) -> None:
    async with running(after(1.5, (200, {}, b"first")), after(60), hedge=HEDGE) as (service, upstream):
        response = await service.get("/x", type=bytes)
        assert (response.data, len(upstream.requests)) == (b"first", 2)
        assert upstream.running == 0


async def test_a_failure_of_one_leaves_it_to_the_other(autojump_clock) -> None:
    async with running(after(3.0, (200, {}, b"first")), after(0.1, 503), hedge=HEDGE) as (service, upstream):
        assert (await service.get("/x", type=bytes)).data == b"first"
        assert len(upstream.requests) == 2


async def test_if_both_fail_the_retry_policy_goes_on_with_the_error_of_the_first(autojump_clock) -> None:
    twice = sg.RetryPolicy(max_attempts=2, base_delay=1.0, jitter="none")  # one retry: the two have failed once
    async with running(after(2.0, 503), after(0.1, 502), 200, hedge=HEDGE, retry=twice) as (service, upstream):
        response = await service.get("/x")
        assert (response.success, response.attempts) == (True, 3)
        assert upstream.times[2] - upstream.times[0] == pytest.approx(2.0 + 1.0)
    async with running(after(2.0, 503), after(0.1, 502), hedge=HEDGE) as (service, _):
        assert (await outcome_of(service.get("/x"))).status == 503


async def test_a_second_that_could_not_be_made_does_not_hide_what_the_service_said(autojump_clock) -> None:
    breaker = sg.BreakerConfig(failure_threshold=1, reset_timeout=5.0)
    async with running(500, after(2.0, 503), hedge=HEDGE, breaker=breaker) as (service, upstream):
        await outcome_of(service.get("/x"))
        await trio.sleep(5)
        assert (await outcome_of(service.get("/x"))).status == 503  # and not that a trial was under way
        assert len(upstream.requests) == 2


async def test_a_failure_before_its_time_is_retried_and_not_hedged(autojump_clock) -> None:
    async with running(503, 200, hedge=HEDGE, retry=STEADY) as (service, upstream):
        assert (await service.get("/x")).attempts == 2
        assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("method", "options", "hedged"),
    [
        ("GET", {}, True),
        ("PUT", {"content": b"x"}, True),
        ("POST", {}, False),
        ("POST", {"idempotency_key": "k"}, True),
    ],
)
async def test_only_what_may_be_sent_twice_is_hedged(method, options, hedged, autojump_clock) -> None:
    async with running(after(5), hedge=HEDGE) as (service, upstream):
        await service.request(method, "/x", **options)
        assert len(upstream.requests) == (2 if hedged else 1)
        assert set(upstream.header("idempotency-key")) == {options.get("idempotency_key")}


async def test_hedges_are_within_the_budget(autojump_clock) -> None:
    retry = sg.RetryPolicy(max_attempts=1, budget=sg.RetryBudget(ratio=0.1, min_per_second=0.0))
    async with running(after(5), hedge=HEDGE, retry=retry) as (service, upstream):
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(service.get, "/x")
        assert len(upstream.requests) == 110


async def test_the_breaker_can_refuse_the_second(autojump_clock) -> None:
    breaker = sg.BreakerConfig(failure_threshold=1, reset_timeout=5.0)
    async with running(500, after(2.0), hedge=HEDGE, breaker=breaker) as (service, upstream):
        await outcome_of(service.get("/x"))
        await trio.sleep(5)
        assert (await service.get("/x")).success  # a trial, of which there is one
        assert len(upstream.requests) == 2


async def test_the_delay_is_learned(autojump_clock) -> None:
    def route(request):
        return after(8.0 if request.url.path == "/slow" else 0.1)

    async with running(route, hedge=sg.HedgeConfig()) as (service, upstream):
        await service.get("/slow")
        assert len(upstream.requests) == 1  # too few to tell what is slow
        for _ in range(100):
            await service.get("/fast")
        await trio.sleep(10)
        sent = len(upstream.requests)
        response = await service.get("/slow")
        assert len(upstream.requests) - sent == 2
        assert response.attempts == 2
        first, second = upstream.times[-2:]
        assert second - first == pytest.approx(0.1, rel=0.05)


async def test_what_was_learned_outlives_a_reconfiguration(autojump_clock) -> None:
    def route(request):
        return after(8.0 if request.url.path == "/slow" else 0.1)

    async with running(route, hedge=sg.HedgeConfig()) as (service, upstream):
        for _ in range(100):
            await service.get("/fast")
        config = sg.ServiceConfig("svc", base_url="http://svc.test", hedge=sg.HedgeConfig(quantile=0.9))
        await upstream.runtime.reconfigure("svc", config)
        assert (await service.get("/slow")).attempts == 2


async def test_the_learned_limit_counts_both_and_learns_nothing_of_the_loser(autojump_clock) -> None:
    def route(request):
        return after(60) if len(upstream.requests) % 2 else 200

    bulkhead = sg.BulkheadConfig(adaptive=sg.AimdConfig(initial_limit=1, min_limit=1, timeout=50))
    async with running(route, instances=TWO, hedge=HEDGE, bulkhead=bulkhead) as (service, upstream):
        for _ in range(20):
            assert (await service.get("/x")).attempts == 2
        assert service.bulkhead.limit == 5  # of which two are less than half: with the loser, it was in use until then
        assert service.bulkhead.in_flight == upstream.running == 0


async def test_a_cancelled_caller_takes_both_along(autojump_clock) -> None:
    async with running(after(60), hedge=HEDGE) as (service, upstream):
        with trio.move_on_after(5):
            await service.get("/x")
        await trio.testing.wait_all_tasks_blocked()
        assert (len(upstream.requests), upstream.running) == (2, 0)


async def test_a_stream_is_not_hedged(autojump_clock) -> None:
    async with wire.serve(wire.drips(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as peer:
        config = sg.ServiceConfig(
            "svc", base_url=peer.url, hedge=HEDGE, timeout=sg.TimeoutConfig(attempt=None, total=900)
        )
        async with runtime_of(config) as runtime, runtime.service("svc").stream("GET", "/x") as response:
            assert b"".join([piece async for piece in response]) == b"ok"
        assert peer.accepted == 1


async def test_the_loser_is_cancelled_on_the_wire() -> None:
    async with wire.serve(wire.never_answers()) as slow, wire.serve(wire.answers_ok()) as fast:
        instances = (
            sg.InstanceConfig(slow.url, id="slow", weight=1e9),
            sg.InstanceConfig(fast.url, id="fast", weight=1e-3),
        )
        config = sg.ServiceConfig("svc", instances=instances, hedge=sg.HedgeConfig(delay=0.02))
        async with runtime_of(config) as runtime:
            with trio.fail_after(5):
                assert (await runtime.service("svc").get("/x")).attempts == 2
                while slow.open:
                    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def runtime_of(*services):
    async with sg.open_runtime(sg.RuntimeConfig(services=services, metrics=QUIET), seed=1) as runtime:
        yield runtime
