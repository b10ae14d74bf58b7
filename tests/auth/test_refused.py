"""401: the token that was used is dropped, another one is fetched once, and the call is made again, once."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import trio
from support.service import drain, in_background, outcome_of, running
from support.tokens import Mint, after
from support.wire import http_server, json_answer

import switchgear as sg
from switchgear.actors.events import TokenRefreshed

MANY = sg.BulkheadConfig(max_concurrent=100)


def minting(script=None):
    """Tokens t1, t2, ..., each a second on its way."""
    numbers = itertools.count(1)
    return Mint(*(script or [lambda: after(1, f"t{next(numbers)}")]))


def taking(*tokens, challenge=None, status=401):
    """A service that takes these tokens and refuses all others."""

    def answer(request):
        if request.headers.get("authorization", "").removeprefix("Bearer ") in tokens:
            return 200
        return (status, {} if challenge is None else {"WWW-Authenticate": challenge}, b"")

    return answer


def sent(upstream):
    return [value.removeprefix("Bearer ") for value in upstream.header("authorization")]


@pytest.mark.parametrize("challenge", [None, "Bearer", 'Bearer realm="x", error="invalid_token"'])
async def test_the_call_is_made_again_with_a_new_token(challenge, autojump_clock) -> None:
    mint = minting()
    async with running(taking("t2", challenge=challenge), auth=sg.BearerAuth(token_from=mint)) as (service, upstream):
        async with upstream.runtime.events() as events:
            response = await service.get("/")
            told = [one.reason for one in drain(events) if isinstance(one, TokenRefreshed)]
        assert response.status == 200
        assert response.attempts == 2
        assert service.breaker == "closed"
    assert sent(upstream) == ["t1", "t2"]
    assert upstream.header("x-retry-attempt") == ["0", "1"]
    assert len(mint.times) == 2
    assert told == ["there were none", "the service refused them"]


async def test_fifty_at_once_are_one_refresh(autojump_clock) -> None:
    mint = minting()
    async with (
        running(taking("t2"), auth=sg.BearerAuth(token_from=mint), bulkhead=MANY) as (service, upstream),
        in_background(service, *["/"] * 50) as ends,
    ):
        await trio.sleep(1)
    assert [end.status for end in ends] == [200] * 50
    assert sent(upstream) == ["t1"] * 50 + ["t2"] * 50
    assert len(mint.times) == 2


async def test_a_refusal_that_comes_late_does_not_cost_the_token_that_is_in_force_by_then(autojump_clock) -> None:
    mint = minting()
    takes = taking("t2")

    async def late(request):
        await trio.sleep(5 if request.url.path == "/slow" else 0)
        return takes(request)

    async with running(late, auth=sg.BearerAuth(token_from=mint)) as (service, upstream):
        async with in_background(service, "/slow", timeout=1000) as ends:
            await trio.sleep(1)
            await service.get("/")
        assert ends[0].success
    assert sent(upstream) == ["t1", "t1", "t2", "t2"]
    assert len(mint.times) == 2


async def test_a_second_401_is_an_error_and_never_a_loop(autojump_clock) -> None:
    mint = minting()
    async with running(taking(), auth=sg.BearerAuth(token_from=mint), retry=sg.RetryPolicy()) as (service, upstream):
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert not end.retryable
        assert type(end) is sg.AuthFailed
        assert sent(upstream) == ["t1", "t2"]
        for _ in range(50):  # nor is a service that refuses everything a hot loop of tokens
            await outcome_of(service.get("/"))
        assert len(mint.times) < 15


async def test_no_attempt_of_the_retry_policy_is_used_up_by_it(autojump_clock) -> None:
    mint = minting()
    answers = iter([401, 503, 200])
    async with running(
        lambda _: next(answers), auth=sg.BearerAuth(token_from=mint), retry=sg.RetryPolicy(max_attempts=2)
    ) as (service, _):
        assert (await service.get("/")).attempts == 3


async def test_each_request_takes_a_token_of_the_limit(autojump_clock) -> None:
    """The limit is a promise to the service, which counts what it sees."""
    mint = minting()
    limit = sg.RateLimit(1, per=10)
    async with running(taking("t2"), auth=sg.BearerAuth(token_from=mint), rate_limit=limit) as (service, upstream):
        await service.get("/", timeout=100)
    first, second = upstream.times
    assert second - first == pytest.approx(10)


async def test_a_body_is_sent_again(autojump_clock) -> None:
    async with running(taking("t2"), auth=sg.BearerAuth(token_from=minting())) as (service, upstream):
        response = await service.post("/", json={"a": 1})  # which is not idempotent: 401 says that nothing was done
        assert response.success
    assert [request.content for request in upstream.requests] == [b'{"a":1}'] * 2


@pytest.mark.parametrize(
    ("status", "challenge"),
    [
        (403, None),
        (403, 'Bearer error="insufficient_scope"'),
        (403, 'Bearer error="invalid_token"'),
        (401, 'Bearer error="insufficient_scope", scope="write"'),
        (401, 'Bearer error="invalid_request"'),
        (401, 'Basic realm="x"'),
    ],
)
async def test_what_no_new_token_mends_costs_none(status, challenge, autojump_clock) -> None:
    mint = minting()
    takes = taking(challenge=challenge, status=status)
    async with running(takes, auth=sg.BearerAuth(token_from=mint)) as (service, upstream):
        for _ in range(3):
            end = await outcome_of(service.get("/"))
            assert isinstance(end, sg.AuthFailed if status == 401 else sg.HTTPStatusError)
    assert sent(upstream) == ["t1"] * 3
    assert len(mint.times) == 1


async def test_if_it_is_the_same_token_again_it_is_not_tried_again(autojump_clock) -> None:
    mint = Mint("same")
    async with running(taking(), auth=sg.BearerAuth(token_from=mint)) as (service, upstream):
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert len(upstream.requests) == 1
        await outcome_of(service.get("/"))  # but the next call may try: the service may have been wrong
        assert len(upstream.requests) == 2


async def test_if_no_other_is_to_be_had_that_is_said(autojump_clock) -> None:
    mint = Mint("t1", OSError("down"))
    async with running(taking(), auth=sg.BearerAuth(token_from=mint)) as (service, upstream):
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert end.retry_at > trio.current_time()
        assert "OSError" in str(end)
    assert len(upstream.requests) == 1


async def test_fixed_credentials_are_not_tried_twice(autojump_clock) -> None:
    for auth in (sg.BearerAuth(sg.Secret("t1")), sg.ApiKeyAuth(sg.Secret("t1")), sg.BasicAuth("t1", sg.Secret("x"))):
        async with running(401, auth=auth) as (service, upstream):
            end = await outcome_of(service.get("/"))
            assert isinstance(end, sg.AuthFailed)
            assert end.attempts == 1
        assert len(upstream.requests) == 1


async def test_pieces_that_have_been_taken_are_not_sent_again() -> None:
    async def pieces():
        yield b"once"

    async with http_server(lambda _: (401, {}, b"")) as server:
        mint = Mint("t1", "t2")
        async with at(server.url, mint) as service:
            end = await outcome_of(service.post("/", content=pieces()))
            assert isinstance(end, sg.AuthFailed)
    assert len(server.log) == 1


async def test_a_stream_is_opened_again_if_nothing_of_it_has_been_handed_over() -> None:
    def route(received):
        old = received.header("authorization") == "Bearer t1"
        return (401, {}, b"no") if old else (200, {}, b"hello")

    async with (
        http_server(route) as server,
        at(server.url, Mint("t1", "t2")) as service,
        service.stream("GET", "/") as response,
    ):
        assert b"".join([piece async for piece in response]) == b"hello"
        assert response.attempts == 2


async def test_on_real_connections_fifty_at_once_are_one_refresh() -> None:
    mint = Mint("t1", "t2")

    def route(received):
        return json_answer({}) if received.header("authorization") == "Bearer t2" else (401, {}, b"")

    async with http_server(route) as server, at(server.url, mint) as service:
        async with in_background(service, *["/"] * 50) as ends:
            pass
        assert [end.status for end in ends] == [200] * 50
        assert len(mint.times) == 2


@pytest.mark.parametrize("slow", [False, True])
async def test_a_hedged_call_is_made_again_as_well(slow, autojump_clock) -> None:
    mint = minting()
    takes = taking("t2")

    async def answer(request):
        await trio.sleep(2 if slow else 0)
        return takes(request)

    hedge = sg.HedgeConfig(delay=1.0)
    budget = sg.RetryPolicy(max_attempts=1, budget=None)
    async with running(answer, auth=sg.BearerAuth(token_from=mint), hedge=hedge, retry=budget) as (service, _):
        assert (await service.get("/")).success
    assert len(mint.times) == 2


def at(url, mint):
    config = sg.ServiceConfig(
        "svc", url, auth=sg.BearerAuth(token_from=mint), bulkhead=MANY, retry=sg.RetryPolicy(max_attempts=1)
    )
    return serving(config)


@contextlib.asynccontextmanager
async def serving(config):
    async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=sg.MetricsConfig(websocket=False))) as runtime:
        yield runtime.service(config.name)
