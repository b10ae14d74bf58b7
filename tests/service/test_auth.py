"""Credentials: what is added, when, and that they never come out again."""

from __future__ import annotations

import base64
import logging
import pickle
import traceback

import httpx
import pytest
from support.service import STEADY, drain, hang, outcome_of, reply_json, running
from support.wire import garbage, http_server, json_answer, serve, unused_port

import switchgear as sg

CANARY = "canary-3f9ad1"
KEY = sg.Secret(CANARY)

ALL = {
    "key in a header": sg.ApiKeyAuth(KEY),
    "key in the query": sg.ApiKeyAuth(KEY, name="api_key", location="query"),
    "bearer": sg.BearerAuth(KEY),
    "basic": sg.BasicAuth("user", KEY),
}


async def test_a_key_goes_into_its_header() -> None:
    async with running(auth=sg.ApiKeyAuth(KEY, name="X-Token")) as (service, upstream):
        await service.get("/")
    assert upstream.header("x-token") == [CANARY]


@pytest.mark.parametrize(("path", "query"), [("/", "?k="), ("/?a=1", "?a=1&k=")])
async def test_or_into_the_query_quoted(path, query) -> None:
    async with running(auth=sg.ApiKeyAuth(sg.Secret("a&b=c"), name="k", location="query")) as (service, upstream):
        await service.get(path)
    assert str(upstream.requests[0].url) == f"https://svc.test/{query}a%26b%3Dc"


async def test_bearer_and_basic() -> None:
    async with running(auth=sg.BearerAuth(KEY)) as (service, upstream):
        await service.get("/")
    assert upstream.header("authorization") == [f"Bearer {CANARY}"]
    async with running(auth=sg.BasicAuth("jos\u00e9", sg.Secret("p:w"))) as (service, upstream):
        await service.get("/")
    assert base64.b64decode(upstream.header("authorization")[0].removeprefix("Basic ")).decode() == "jos\u00e9:p:w"


async def test_blanks_around_a_key_are_no_part_of_it() -> None:
    async with http_server(lambda _: json_answer({})) as server:
        for auth in (sg.ApiKeyAuth(sg.Secret(f" {CANARY} ")), sg.BearerAuth(sg.Secret(f"{CANARY} "))):
            config = sg.ServiceConfig("svc", server.url, auth=auth)
            async with sg.open_runtime(
                sg.RuntimeConfig((config,), metrics=sg.MetricsConfig(websocket=False))
            ) as runtime:
                assert (await runtime.service("svc").get("/")).success


@pytest.mark.parametrize("auth", [ALL["bearer"], ALL["basic"]], ids=["bearer", "basic"])
async def test_a_callers_header_never_takes_their_place(auth) -> None:
    async with running(auth=auth, headers={"AUTHORIZATION": "Bearer config"}) as (service, upstream):
        await service.get("/", headers={"authorization": "Bearer mine"})
    (request,) = upstream.requests
    assert len(request.headers.get_list("authorization")) == 1
    assert "mine" not in request.headers["authorization"]
    assert "config" not in request.headers["authorization"]


async def test_without_auth_the_caller_may_bring_his_own() -> None:
    async with running(base_url="https://svc.test") as (service, upstream):
        await service.get("/", headers={"Authorization": "Bearer mine"})
    assert upstream.header("authorization") == ["Bearer mine"]


@pytest.mark.parametrize("path", ["//evil.test/", "http://evil.test/", "/../x", "/a\r\nX: y"])
async def test_no_credential_is_made_for_a_path_that_could_leave(path) -> None:
    async with running(auth=ALL["bearer"]) as (service, upstream):
        with pytest.raises(sg.InvalidRequest):
            await service.get(path)
    assert not upstream.requests


async def test_refused_credentials_are_the_configurations_fault(autojump_clock) -> None:
    async with running(401, auth=ALL["bearer"], retry=STEADY) as (service, upstream):
        with pytest.raises(sg.AuthFailed) as caught:
            await service.get("/")
        assert (caught.value.code, caught.value.retryable, service.breaker) == ("AUTH_FAILED", False, "closed")
        await service.try_request("GET", "/")
    assert upstream.header("authorization") == [f"Bearer {CANARY}"] * 2  # a new one is made, of the same secret


async def test_new_credentials_are_used_from_the_next_call_on() -> None:
    async with running(auth=ALL["bearer"]) as (service, upstream):
        await service.get("/")
        config = sg.ServiceConfig("svc", "https://svc.test", auth=sg.BearerAuth(sg.Secret("new")))
        await upstream.runtime.reconfigure("svc", config)
        await service.get("/")
    assert upstream.header("authorization") == [f"Bearer {CANARY}", "Bearer new"]


def words_of(end):
    """All that a program is likely to print of the end of a call."""
    yield repr(end)
    if isinstance(end, sg.ServiceResponse):
        end = end.error
    if end is not None:
        yield str(end)
        yield "".join(traceback.format_exception(end))
        yield repr(vars(end))
        yield repr(pickle.loads(pickle.dumps(end)))


@pytest.mark.parametrize("auth", ALL.values(), ids=ALL.keys())
async def test_a_secret_never_comes_out(auth, autojump_clock, caplog) -> None:
    caplog.set_level(logging.DEBUG)  # httpx and httpcore included
    said = []
    ends = [200, 401, 403, 500, 503, httpx.ReadError("cut"), hang, reply_json(b"{"), (200, {}, b"x" * 2000), 302]
    async with running(*ends, auth=auth, max_response_bytes=1000) as (service, upstream):
        async with upstream.runtime.events() as events:
            for _ in ends:
                said += words_of(await outcome_of(service.get("/x", timeout=1)))
                said += words_of(await service.try_request("GET", "/x", timeout=1, type=int))
            await outcome_of(service.get("/" + "x" * 59_990))  # too long for a URL, with the key in it
            said += map(repr, drain(events))
        said += [
            repr(upstream.runtime.tree()),
            repr(service),
            repr(service.config),
            repr(upstream.runtime.metrics.all()),
        ]
    leaks = [text for text in (*said, caplog.text) if CANARY in text]
    assert not leaks


@pytest.mark.parametrize("auth", ALL.values(), ids=ALL.keys())
async def test_nor_on_real_connections(auth, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    async with http_server(lambda _: json_answer({})) as good, serve(garbage()) as bad:
        for url in (good.url, bad.url, f"http://127.0.0.1:{unused_port()}"):
            config = sg.ServiceConfig("svc", url, auth=auth, retry=sg.RetryPolicy(base_delay=0))
            async with sg.open_runtime(
                sg.RuntimeConfig((config,), metrics=sg.MetricsConfig(websocket=False))
            ) as runtime:
                said += words_of(await outcome_of(runtime.service("svc").get("/x")))
    assert good.log
    assert caplog.records
    leaks = [text for text in (*said, caplog.text) if CANARY in text]
    assert not leaks


async def test_a_request_that_h11_refuses_does_not_show_what_it_quotes(caplog) -> None:
    """The text of h11's LocalProtocolError has the header in it."""
    async with running(httpx.LocalProtocolError(f"Illegal header value b'{CANARY}'")) as (service, _):
        end = await outcome_of(service.get("/"))
    assert isinstance(end, sg.TransportError)
    assert CANARY not in "".join(traceback.format_exception(end))
