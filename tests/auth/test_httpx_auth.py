"""An ``httpx.Auth`` in the place of a provider: its whole flow, over the connections of the service."""

from __future__ import annotations

import gzip
import hashlib
import traceback
from urllib.parse import parse_qs

import httpx
import httpx2
import pytest
import trio
from support.service import Upstream, outcome_of, running
from support.wire import http_server, json_answer

import switchgear as sg

CANARY = "canary-2d77c1"
QUIET = sg.MetricsConfig(websocket=False)


def at(url, auth, **fields):
    config = sg.ServiceConfig("svc", url, auth=sg.CustomAuth(auth), retry=sg.RetryPolicy(max_attempts=1), **fields)
    return sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET))


def md5(*parts):
    return hashlib.md5(":".join(parts).encode()).hexdigest()


def digest_route(received):
    """RFC 7616 with MD5 and qop=auth, as httpx speaks it."""
    said = received.header("authorization") or ""
    if not said.startswith("Digest "):
        return 401, {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}, b"who?"
    params = {name.strip(): value.strip('"') for name, _, value in (p.partition("=") for p in said[7:].split(","))}
    first, second = md5("user", "r", "pass"), md5(received.method, received.target)
    right = md5(first, "n", params["nc"], params["cnonce"], "auth", second)
    return json_answer({"nc": params["nc"]}) if params["response"] == right else (403, {}, b"")


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_digest(library) -> None:
    async with http_server(digest_route) as server, at(server.url, library.DigestAuth("user", "pass")) as runtime:
        service = runtime.service("svc")
        first = await service.get("/a", params={"q": "x y"})
        second = await service.post("/a", json={"x": 1})
        assert (first.data, second.data) == ({"nc": "00000001"}, {"nc": "00000002"})
        assert first.attempts == 1  # it is one attempt, whatever its flow sends
    assert len(server.log) == 3
    assert {request.header("x-request-id") for request in server.log} == {first.request_id, second.request_id}
    assert server.log[2].body == b'{"x":1}'


async def test_a_challenge_is_met_before_a_stream_is_handed_over() -> None:
    async with (
        http_server(digest_route) as server,
        at(server.url, httpx.DigestAuth("user", "pass")) as runtime,
        runtime.service("svc").stream("GET", "/a") as response,
    ):
        assert b"nc" in b"".join([piece async for piece in response])
    assert len(server.log) == 2


async def test_headers_and_the_query_that_it_adds_are_taken(autojump_clock) -> None:
    class Adding(httpx.Auth):
        def auth_flow(self, request):
            request.headers["X-Added"] = "yes"
            request.url = request.url.copy_merge_params({"sig": "a b"})
            yield request

    async with running(auth=sg.CustomAuth(Adding())) as (service, upstream):
        await service.get("/", params={"q": 1})
    assert upstream.requests[0].headers["x-added"] == "yes"
    assert upstream.requests[0].url.params.multi_items() == [("q", "1"), ("sig", "a b")]


async def test_basic(autojump_clock) -> None:
    async with running(auth=sg.CustomAuth(httpx.BasicAuth("user", "pass"))) as (service, upstream):
        await service.get("/")
    assert upstream.header("authorization") == ["Basic dXNlcjpwYXNz"]


class TokenFlow(httpx.Auth):
    """Asks a token endpoint first, as the documentation of httpx has it."""

    requires_response_body = True

    def __init__(self, url):
        self.url = url
        self.token = None

    def auth_flow(self, request):
        if self.token is None:
            answer = yield httpx.Request("POST", self.url, data={"grant_type": "x", "secret": CANARY})
            self.token = answer.json()["token"]
        request.headers["Authorization"] = f"Bearer {self.token}"
        response = yield request
        if response.status_code == 401:
            answer = yield httpx.Request("POST", self.url, data={"grant_type": "x", "secret": CANARY})
            self.token = answer.json()["token"]
            request.headers["Authorization"] = f"Bearer {self.token}"
            yield request


async def test_it_may_ask_somebody_else_who_does_not_see_what_is_for_the_service() -> None:
    tokens = iter(["old", "new"])

    def issue(received):
        assert parse_qs(received.body.decode()) == {"grant_type": ["x"], "secret": [CANARY]}
        return json_answer({"token": next(tokens)})

    def route(received):
        return json_answer({}) if received.header("authorization") == "Bearer new" else (401, {}, b"")

    async with (
        http_server(issue) as issuer,
        http_server(route) as server,
        at(server.url, TokenFlow(f"{issuer.url}/token?x=1")) as runtime,
    ):
        assert (await runtime.service("svc").get("/")).success
    assert [request.target for request in issuer.log] == ["/token?x=1"] * 2
    assert not any(request.header("authorization") for request in issuer.log)
    assert [request.header("authorization") for request in server.log] == ["Bearer old", "Bearer new"]


async def test_who_is_asked_and_does_not_answer_is_not_the_services_fault(autojump_clock) -> None:
    def down(request):
        return httpx.ConnectError(CANARY) if request.url.host == "issuer.test" else 200

    breaker = sg.BreakerConfig(failure_threshold=1)
    auth = sg.CustomAuth(TokenFlow("https://issuer.test/token"))
    async with running(down, auth=auth, breaker=breaker) as (service, _):
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert "issuer.test" in str(end)
        assert service.breaker == "closed"
        assert CANARY not in "".join(traceback.format_exception(end))


async def test_nobody_is_asked_over_plain_http_but_this_machine(autojump_clock) -> None:
    async with running(auth=sg.CustomAuth(TokenFlow("http://issuer.test/token"))) as (service, upstream):
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert "plain http" in str(end)
    assert not upstream.requests


async def test_each_request_to_the_service_takes_a_token_of_the_limit(autojump_clock) -> None:
    class Twice(httpx.Auth):
        def auth_flow(self, request):
            yield request
            yield request

    limit = sg.RateLimit(1, per=5)
    async with running(auth=sg.CustomAuth(Twice()), rate_limit=limit) as (service, upstream):
        await service.get("/", timeout=60)
    first, second = upstream.times
    assert second - first == pytest.approx(5)


class Odd(httpx.Auth):
    def __init__(self, do):
        self.do = do

    def auth_flow(self, request):
        yield from self.do(request)


def changed(**fields):
    def do(request):
        for name, value in fields.items():
            setattr(request, name, value)
        yield request

    return do


def for_ever(request):
    while True:
        yield request


def nothing(request):
    return
    yield


def raises(request):
    raise KeyError(CANARY)
    yield


def raises_later(request):
    yield request
    raise KeyError(CANARY)


def bad_header(request):
    request.headers["X"] = "a\nb"
    yield request


def other_host(request):
    request.headers["Host"] = "evil.test"
    yield request


def asks_ftp(request):
    yield httpx.Request("GET", "ftp://x/")


@pytest.mark.parametrize(
    "do",
    [
        changed(url=httpx.URL("http://evil.test/")),
        changed(url=httpx.URL("http://svc.test/a")),
        changed(url=httpx.URL("https://svc.test:81/a")),
        changed(url=httpx.URL("https://svc.test/b")),
        changed(url=httpx.URL("https://svc.test/a?other")),
        changed(method="DELETE"),
        for_ever,
        nothing,
        raises,
        raises_later,
        bad_header,
        other_host,
        asks_ftp,
    ],
)
async def test_odd_flows_are_errors_of_the_call(do, autojump_clock) -> None:
    async with running(auth=sg.CustomAuth(Odd(do))) as (service, upstream):
        end = await outcome_of(service.get("/a", params={"q": 1}))
        assert isinstance(end, sg.AuthFailed)
        assert CANARY not in "".join(traceback.format_exception(end))
        assert upstream.runtime.tree().find("/services/svc").restarts == 0
    assert {request.url.host for request in upstream.requests} <= {"svc.test"}


class Native(httpx.Auth):
    """With a flow that is async."""

    def __init__(self, flow):
        self.async_auth_flow = flow


async def yields_nothing(request):
    return
    yield


async def hangs(request):
    await trio.sleep_forever()
    yield request


async def broken_body(request):
    async def pieces():
        raise KeyError(CANARY)
        yield b""

    yield httpx.Request("POST", "https://issuer.test/", content=pieces())


async def leads_elsewhere_and_raises_when_it_is_closed(request):
    try:
        request.url = httpx.URL("https://evil.test/")
        yield request
    finally:
        raise KeyError(CANARY)


@pytest.mark.parametrize("flow", [yields_nothing, hangs, broken_body, leads_elsewhere_and_raises_when_it_is_closed])
async def test_odd_flows_that_are_async_as_well(flow, autojump_clock, caplog) -> None:
    timeout = sg.TimeoutConfig(total=60, attempt=2)
    async with running(auth=sg.CustomAuth(Native(flow)), timeout=timeout) as (service, upstream):
        began = trio.current_time()
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert trio.current_time() - began == pytest.approx(2 if flow is hangs else 0)
        assert CANARY not in "".join(traceback.format_exception(end)) + caplog.text
        assert upstream.runtime.tree().find("/services/svc").restarts == 0
    assert ("raised KeyError when it was closed" in caplog.text) is ("closed" in flow.__name__)
    assert not upstream.requests


async def test_a_body_in_pieces_cannot_be_shown_to_a_flow_that_wants_it() -> None:
    class Wants(httpx.Auth):
        requires_request_body = True

    async def pieces():
        yield b"x"

    async with running(auth=sg.CustomAuth(Wants())) as (service, upstream):
        assert isinstance(await outcome_of(service.post("/", content=pieces())), sg.AuthFailed)
        await service.post("/", content=b"x")
    assert len(upstream.requests) == 1


async def test_a_body_in_pieces_is_sent_once_and_its_answer_is_the_answer() -> None:
    async def pieces():
        yield b"x"

    async with http_server(digest_route) as server, at(server.url, httpx.DigestAuth("user", "pass")) as runtime:
        end = await outcome_of(runtime.service("svc").post("/", content=pieces()))
        assert isinstance(end, sg.AuthFailed)
    assert len(server.log) == 1


async def test_a_compressed_answer_is_given_to_the_flow_as_it_is_decoded() -> None:
    seen = []

    class Looks(httpx.Auth):
        requires_response_body = True

        def auth_flow(self, request):
            response = yield request
            seen.append(response.content)

    answer = (200, {"Content-Encoding": "gzip"}, gzip.compress(b"hello"))
    async with http_server(lambda _: answer) as server, at(server.url, Looks()) as runtime:
        await runtime.service("svc").get("/")
    assert seen == [b"hello"]


async def test_a_flow_is_closed_when_its_caller_goes(autojump_clock) -> None:
    closed = []

    class Slow(httpx.Auth):
        async def async_auth_flow(self, request):
            try:
                await trio.sleep(10)
                yield request
            finally:
                closed.append(trio.current_time())

    async with running(auth=sg.CustomAuth(Slow()), transport=Upstream()) as (service, _):
        began = trio.current_time()
        with trio.move_on_after(1):
            await service.get("/")
        await trio.testing.wait_all_tasks_blocked()
    assert closed == [pytest.approx(began + 1)]
