"""The road of one call: what happens, in which order, and when it is tried again."""

from __future__ import annotations

import gc
import re
import weakref
from email.utils import formatdate

import httpx
import pytest
import trio
from support.service import BALANCERS, BASE, ONCE, STEADY, after, hang, outcome_of, reply_json, running
from support.wire import http_server, json_answer, unused_port

import switchgear as sg

WALL = 1_800_000_000


async def test_a_call_says_what_it_was() -> None:
    async with running(reply_json(b'{"id": 7}')) as (service, upstream):
        response = await service.post("/charges", json={"amount": 5}, params={"dry": True})
    (request,) = upstream.requests
    assert request.method == "POST"
    assert str(request.url) == f"{BASE}/charges?dry=true"
    assert request.content == b'{"amount":5}'
    assert request.headers["content-type"] == "application/json"
    assert re.fullmatch(r"shop/0 switchgear/\d+\.\d+\.\d+", request.headers["user-agent"])
    assert request.headers["x-request-id"] == response.request_id
    assert (response.success, response.status, response.data) == (True, 200, {"id": 7})
    assert (response.source, response.stale, response.attempts, response.error) == ("live", False, 1, None)
    assert response.header("Content-Type") == "application/json"


async def test_elapsed_counts_all_attempts_and_waits(autojump_clock) -> None:
    async with running(after(0.25, 503), after(0.5), retry=STEADY) as (service, _):
        response = await service.get("/")
    assert response.elapsed == pytest.approx(1.75)
    assert response.attempts == 2


async def test_the_request_id_is_one_a_call_and_the_attempts_are_numbered(autojump_clock) -> None:
    async with running(503, 503, 200, retry=STEADY) as (service, upstream):
        first = await service.get("/")
        second = await service.get("/", headers={"x-request-id": "mine-1"})
    assert upstream.header("x-retry-attempt") == ["0", "1", "2", "0"]
    assert upstream.header("x-request-id") == [first.request_id] * 3 + ["mine-1"]
    assert first.request_id != second.request_id == "mine-1"


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422, 500, 501])
async def test_what_the_policy_does_not_name_is_not_tried_again(status, autojump_clock) -> None:
    async with running(status, retry=STEADY) as (service, upstream):
        with pytest.raises(sg.HTTPStatusError) as caught:
            await service.get("/")
    assert (caught.value.status, caught.value.attempts, len(upstream.requests)) == (status, 1, 1)


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
async def test_what_it_names_is(status, autojump_clock) -> None:
    async with running(status, 200, retry=STEADY) as (service, _):
        assert (await service.get("/")).attempts == 2


async def test_statuses_are_the_policys_to_name(autojump_clock) -> None:
    policy = sg.RetryPolicy(jitter="none", statuses=(500,))
    async with running(500, 503, retry=policy) as (service, upstream):
        with pytest.raises(sg.HTTPStatusError, match="503"):
            await service.get("/")
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("failure", [503, 408, httpx.ReadError("cut"), hang], ids=["503", "408", "cut", "timeout"])
async def test_a_post_that_may_have_been_done_is_repeated_only_under_a_key(failure, autojump_clock) -> None:
    timeout = sg.TimeoutConfig(attempt=1.0)
    async with running(failure, 200, retry=STEADY, timeout=timeout) as (service, upstream):
        with pytest.raises(sg.ServiceError):
            await service.post("/charges", json={})
        assert len(upstream.requests) == 1
    async with running(failure, 200, retry=STEADY, timeout=timeout) as (service, upstream):
        assert (await service.post("/charges", json={}, idempotency_key="k1")).attempts == 2
    assert upstream.header("idempotency-key") == ["k1", "k1"]


@pytest.mark.parametrize("status", [425, 429])
async def test_a_post_that_was_turned_away_is_repeated(status, autojump_clock) -> None:
    async with running(status, 200, retry=STEADY) as (service, _):
        assert (await service.post("/charges", json={})).attempts == 2


async def test_a_post_that_found_no_connection_is_repeated() -> None:
    port = unused_port()
    retry = sg.RetryPolicy(max_attempts=4, base_delay=0.0)
    config = sg.ServiceConfig("svc", f"http://127.0.0.1:{port}", retry=retry)
    async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=sg.MetricsConfig(websocket=False))) as runtime:
        with pytest.raises(sg.TransportError) as caught:
            await runtime.service("svc").post("/charges", json={})
        assert (caught.value.attempts, caught.value.processed) == (4, "no")
        async with http_server(lambda _: json_answer({"ok": True}), port=port):
            assert (await runtime.service("svc").post("/charges", json={})).data == {"ok": True}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_methods_that_do_no_harm_twice_are_repeated(method, autojump_clock) -> None:
    async with running(httpx.ReadError("cut"), 200, retry=STEADY) as (service, _):
        assert (await service.request(method, "/")).attempts == 2


async def test_backoff_is_exponential_and_clamped(autojump_clock) -> None:
    policy = sg.RetryPolicy(max_attempts=6, base_delay=1.0, multiplier=2.0, max_delay=5.0, jitter="none")
    async with running(503, retry=policy, breaker=sg.BreakerConfig(100)) as (service, upstream):
        with pytest.raises(sg.HTTPStatusError):
            await service.get("/")
    gaps = [b - a for a, b in zip(upstream.times, upstream.times[1:], strict=False)]
    assert gaps == pytest.approx([1, 2, 4, 5, 5])


async def test_jitter_spreads_the_waits_below_the_backoff_and_follows_the_seed(autojump_clock) -> None:
    policy = sg.RetryPolicy(max_attempts=5, base_delay=1.0, jitter="full")

    async def gaps(seed):
        async with running(503, retry=policy, seed=seed, breaker=sg.BreakerConfig(100)) as (service, upstream):
            with pytest.raises(sg.HTTPStatusError):
                await service.get("/")
        return [b - a for a, b in zip(upstream.times, upstream.times[1:], strict=False)]

    first, again, other = await gaps(1), await gaps(1), await gaps(2)
    assert first == pytest.approx(again)
    assert first != pytest.approx(other)
    assert all(0 <= gap <= 2**n for n, gap in enumerate(first))


async def test_retry_after_in_seconds_counts_for_more_than_our_arithmetic(autojump_clock) -> None:
    async with running((503, {"Retry-After": "7"}, b""), (429, {"Retry-After": "0"}, b""), 200, retry=STEADY) as (
        service,
        upstream,
    ):
        await service.get("/")
    assert [b - a for a, b in zip(upstream.times, upstream.times[1:], strict=False)] == pytest.approx([7, 0])


async def test_retry_after_as_a_date_is_measured_by_the_clock_that_wrote_it(autojump_clock) -> None:
    headers = {"Retry-After": formatdate(WALL + 9, usegmt=True), "Date": formatdate(WALL, usegmt=True)}
    async with running((503, headers, b""), 200, retry=STEADY) as (service, upstream):
        await service.get("/")
    assert upstream.times[1] - upstream.times[0] == pytest.approx(9)


async def test_nonsense_in_retry_after_is_no_word_at_all(autojump_clock) -> None:
    async with running((503, {"Retry-After": "soon"}, b""), 200, retry=STEADY) as (service, upstream):
        await service.get("/")
    assert upstream.times[1] - upstream.times[0] == pytest.approx(1)


@pytest.mark.parametrize("own_scope", [False, True])
async def test_nobody_waits_past_the_deadline(own_scope, autojump_clock) -> None:
    async with running((429, {"Retry-After": "20"}, b""), retry=STEADY) as (service, upstream):
        begun = trio.current_time()
        with trio.move_on_after(10 if own_scope else 1000) as scope, pytest.raises(sg.RateLimited) as caught:
            await service.get("/", timeout=None if own_scope else 10)
        assert not scope.cancelled_caught
        assert trio.current_time() == begun
        assert caught.value.retry_at == pytest.approx(begun + 20)
        assert caught.value.status == 429
    assert len(upstream.requests) == 1


async def test_a_retry_prefers_another_instance(autojump_clock) -> None:
    instances = tuple(sg.InstanceConfig(f"http://{name}.test") for name in "abc")

    def by_host(request):
        return 200 if request.url.host == "c.test" else httpx.ConnectError("refused")

    for balancer in BALANCERS:
        for seed in range(5):
            async with running(by_host, instances=instances, balancer=balancer, retry=STEADY, seed=seed) as (
                service,
                upstream,
            ):
                await service.get("/")
            hosts = [request.url.host for request in upstream.requests]
            assert len(set(hosts)) == len(hosts) <= 3


async def test_with_one_instance_a_retry_goes_there_again(autojump_clock) -> None:
    async with running(503, 200, retry=STEADY) as (service, _):
        assert (await service.get("/")).attempts == 2


async def test_no_retry_against_a_breaker_that_has_opened(autojump_clock) -> None:
    async with running(503, retry=STEADY, breaker=sg.BreakerConfig(failure_threshold=2)) as (service, upstream):
        with pytest.raises(sg.HTTPStatusError) as caught:
            await service.get("/")
        assert (caught.value.attempts, service.breaker, len(upstream.requests)) == (2, "open", 2)
        with pytest.raises(sg.CircuitOpen) as refused:
            await service.get("/")
        assert refused.value.attempts == 0
        assert refused.value.retry_at == pytest.approx(upstream.times[1] + 30)
    assert len(upstream.requests) == 2


async def test_each_attempt_counts_for_the_breaker_and_takes_a_token(autojump_clock) -> None:
    async with running(
        503, retry=STEADY, breaker=sg.BreakerConfig(failure_threshold=3), rate_limit=sg.RateLimit(1, per=10, burst=1)
    ) as (service, upstream):
        with pytest.raises(sg.HTTPStatusError):
            await service.get("/")
        assert service.breaker == "open"
    assert [b - a for a, b in zip(upstream.times, upstream.times[1:], strict=False)] == pytest.approx([10, 10])


async def test_the_breaker_stands_before_the_limiter_and_that_before_the_balancer(autojump_clock) -> None:
    async with running(
        500, breaker=sg.BreakerConfig(failure_threshold=1), rate_limit=sg.RateLimit(1, per=100, burst=1)
    ) as (service, _):
        with pytest.raises(sg.HTTPStatusError):
            await service.get("/")
        with pytest.raises(sg.CircuitOpen):  # and not RateLimited: no token is left either
            await service.get("/")
    one = sg.BreakerConfig(scope="service")  # with one for each instance, an instance is chosen first of all
    limit = sg.RateLimit(1, per=100, burst=1)
    async with running(instances=(), base_url=None, breaker=one, rate_limit=limit) as (service, _):
        with pytest.raises(sg.NoHealthyInstances):
            await service.get("/")
        with pytest.raises(sg.RateLimited):
            await service.get("/")
        assert service.breaker == "closed"


async def test_an_attempt_that_hangs_is_cut_off_and_repeated(autojump_clock) -> None:
    async with running(hang, 200, retry=STEADY, timeout=sg.TimeoutConfig(attempt=2.0)) as (service, upstream):
        response = await service.get("/")
    assert (response.attempts, response.elapsed) == (2, pytest.approx(3.0))
    assert upstream.running == 0


async def test_a_call_that_hangs_ends_at_its_timeout(autojump_clock) -> None:
    async with running(hang, retry=ONCE, timeout=sg.TimeoutConfig(attempt=None)) as (service, upstream):
        begun = trio.current_time()
        with pytest.raises(sg.CallTimeout) as caught:
            await service.get("/", timeout=3)
        assert trio.current_time() == pytest.approx(begun + 3)
        await trio.testing.wait_all_tasks_blocked()
    assert str(caught.value) == "svc: no answer before the call's timeout (while being handled; 0 queued)"
    assert (caught.value.service, caught.value.attempts) == ("svc", 1)
    assert caught.value.request_id == upstream.requests[0].headers["x-request-id"]
    assert upstream.running == 0


async def test_a_timeout_during_the_backoff_names_what_went_wrong_before(autojump_clock) -> None:
    async with running(503, hang, retry=STEADY) as (service, _):
        with pytest.raises(sg.CallTimeout) as caught:
            await service.get("/", timeout=3)
    assert caught.value.attempts == 2


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ((404,), {}),
        ((503, 503), {}),
        ((503, hang), {"timeout": 3}),
        ((hang,), {"timeout": 3}),
        ((reply_json(b"["),), {"type": dict}),
        ((httpx.ReadError("x"),), {}),
    ],
    ids=["refused", "refused again", "late after a refusal", "late", "cannot be decoded", "broken"],
)
async def test_an_error_that_is_handled_leaves_nothing_to_the_garbage_collector(
    script, options, autojump_clock
) -> None:
    """Neither itself nor, through the frames of its traceback, an answer of megabytes."""
    policy = sg.RetryPolicy(max_attempts=2, base_delay=1.0, jitter="none")
    async with running(*script, retry=policy) as (service, upstream):
        gc.collect()
        gc.disable()
        try:
            error = weakref.ref(await outcome_of(service.get("/", **options)))
            upstream.script.clear()
            await trio.testing.wait_all_tasks_blocked()
            assert error() is None
        finally:
            gc.enable()
