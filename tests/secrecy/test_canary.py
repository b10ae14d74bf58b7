"""Canaries: one in each place where a secret can enter, every kind of failure, and none of them in anything we show.

`PLACES` says where a canary is put, `FAILURES` what then goes wrong; each pair is a test. What is looked at is in
`Witness`: logs of all libraries at DEBUG, events, errors with their causes and the locals of their tracebacks,
responses, the tree, the metrics, the configuration; and there are tests for what lies on the disk and for the stream.
"""

from __future__ import annotations

import base64
import copy
import json
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal
from urllib.parse import unquote

import httpx
import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics.test_stream import receive, subscribed
from support.leaks import leaks, shown, told
from support.oauth2 import refusal, token
from support.proxy import http_proxy, socks_proxy
from support.service import ONCE, QUIET, Upstream, drain, hang, outcome_of, reply_json
from support.wire import closes_after_request, garbage, half, http_server, serve, unused_port

import switchgear as sg

CANARY = "sk-Canary/4711+x="  # one that looks different in a URL
SECRET = sg.Secret(CANARY)
BASE, AUTH_SERVER = "http://localhost:1", "http://localhost:2/token"
FORMS = ("Canary", base64.b64encode(f"user:{CANARY}".encode()).decode())


def oauth2(**fields):
    return sg.OAuth2Auth(**({"client_id": "me", "token_url": AUTH_SERVER, "client_secret": SECRET} | fields))


async def asked():
    """A user's function: async, since threads know no virtual time."""
    return CANARY


async def given_back(token):
    return token


class Provider:
    """Authentication of the user's own."""

    async def authenticate(self, request):
        return sg.Credentials((("X-Odd", CANARY),), "odd=1")


# Where a canary is: fields of the configuration, and options of the call.
PLACES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "key in a header": ({"auth": sg.ApiKeyAuth(SECRET, "X-Odd")}, {}),
    "key in the query": ({"auth": sg.ApiKeyAuth(SECRET, "odd", "query")}, {}),
    "bearer": ({"auth": sg.BearerAuth(SECRET)}, {}),
    "basic": ({"auth": sg.BasicAuth("user", SECRET)}, {}),
    "bearer of a function": ({"auth": sg.BearerAuth(token_from=asked)}, {}),
    "bearer of a bound function": ({"auth": sg.BearerAuth(token_from=partial(given_back, CANARY))}, {}),
    "provider": ({"auth": sg.CustomAuth(Provider())}, {}),
    "auth of httpx": ({"auth": sg.CustomAuth(httpx.BasicAuth("user", CANARY))}, {}),
    "client secret": ({"auth": oauth2()}, {}),
    "client secret in the form": ({"auth": oauth2(client_auth="client_secret_post")}, {}),
    "refresh token": ({"auth": oauth2(grant="refresh_token", refresh_token=SECRET)}, {}),
    "header of the service": ({"headers": {"X-API-Key": CANARY}}, {}),
    "header by reference": ({"headers": {"X-Odd": SECRET}}, {}),
    "header of the caller": ({}, {"headers": {"X-API-Key": CANARY}}),
    "cookie of the caller": ({}, {"headers": [("Cookie", f"session={CANARY}")]}),
    "query of the caller": ({}, {"params": {"access_token": CANARY, "page": 1}}),
    "query in the template": ({}, {"template": f"/x?api_key={CANARY}"}),
    "idempotency key": ({}, {"idempotency_key": CANARY}),
    "affinity": ({}, {"affinity": CANARY}),
    "body": ({}, {"json": {"password": CANARY}}),
    "body in pieces": ({}, {"content": "pieces"}),
}


def everything(request):
    """All that a peer has got, in one text, as it is on the wire and not."""
    headers = [f"{name}: {value}" for name, value in request.headers.multi_items()]
    return " ".join([str(request.url), *headers, unquote(request.url.query.decode())])


def echo(status, **headers):
    """An answer that repeats what it was asked with, in its body and its headers."""

    def step(request):
        said = everything(request)
        named = {"Set-Cookie": f"token={said}", "X-Echo": said, "WWW-Authenticate": f"Bearer x={said}"} | headers
        return httpx.Response(status, headers=named, content=json.dumps(said), request=request)

    return step


def echo_json(request):
    return httpx.Response(200, headers={"Content-Type": "application/json"}, content=json.dumps(everything(request)))


def raising(kind, cause=None):
    """A transport whose error quotes the request, has it, and comes of another one that does as well."""

    def step(request):
        try:
            raise (cause or OSError)(f"while sending {everything(request)!r}")
        except Exception as error:
            text = f"failed for url {request.url!s} with {request.headers.raw!r}"
            raise (kind(text, request=request) if issubclass(kind, httpx.RequestError) else kind(text)) from error

    return step


def damaged(request):
    return httpx.Response(200, headers={"Content-Encoding": "gzip", "X-Echo": everything(request)}, content=b"no gzip")


def cut(request):
    async def pieces():
        yield b'{"a": '
        raise httpx.ReadError(f"cut: {everything(request)}", request=request)

    return httpx.Response(200, content=pieces())


SPARSE = sg.RateLimit(1, per=1e6)
OPEN = sg.BreakerConfig(failure_threshold=1, failure_statuses=["5xx"])
# What goes wrong: what the service does, fields of the configuration, and the code that the call ends with.
FAILURES: dict[str, tuple[Any, dict[str, Any], str | None]] = {
    "nothing": (echo(200), {}, None),
    "400": (echo(400), {}, "HTTP_STATUS"),
    "401": (echo(401), {}, "AUTH_FAILED"),
    "403": (echo(403), {}, "HTTP_STATUS"),
    "429": (echo(429), {}, "RATE_LIMITED"),
    "503": (echo(503), {"retry": sg.RetryPolicy(base_delay=0.1)}, "HTTP_STATUS"),
    "redirect": (echo(302, Location=f"/y?token={CANARY}"), {"follow_redirects": True}, "TRANSPORT"),
    "redirect elsewhere": (
        echo(302, Location=f"https://e.test/?t={CANARY}"),
        {"follow_redirects": True},
        "HTTP_STATUS",
    ),
    "not the type": (echo_json, {}, "DECODE"),
    "not json": (reply_json(CANARY.encode()), {}, "DECODE"),
    "too large": (echo(200), {"max_response_bytes": 5}, "RESPONSE_TOO_LARGE"),
    "damaged": (damaged, {}, "TRANSPORT"),
    "cut": (cut, {}, "TRANSPORT"),
    "connect error": (raising(httpx.ConnectError), {}, "TRANSPORT"),
    "read error": (raising(httpx.ReadError), {"retry": sg.RetryPolicy(base_delay=0.1)}, "TRANSPORT"),
    "proxy error": (raising(httpx.ProxyError), {}, "TRANSPORT"),
    "protocol error": (raising(httpx.LocalProtocolError), {}, "TRANSPORT"),
    "a bug of the transport": (raising(KeyError), {}, "TRANSPORT"),
    "an error of ours": (raising(ValueError, lambda text: sg.HTTPStatusError(text, status=500)), {}, "TRANSPORT"),
    "timeout": (hang, {"timeout": sg.TimeoutConfig(total=1)}, "TIMEOUT"),
    "attempt timeout": (hang, {"timeout": sg.TimeoutConfig(attempt=1)}, "TIMEOUT"),
    "breaker": (echo(500), {"breaker": OPEN}, "CIRCUIT_OPEN"),
    "own limit": (
        echo(200),
        {"rate_limit": sg.RateLimit(1, per=1e6), "timeout": sg.TimeoutConfig(total=1)},
        "RATE_LIMITED",
    ),
    "bulkhead": (echo(200), {"bulkhead": sg.BulkheadConfig(1, 0, "fail")}, "OVERLOADED"),
    "no instances": (echo(200), {"base_url": None}, "NO_HEALTHY_INSTANCES"),
    "fallbacks": (echo(500), {"fallbacks": [sg.DegradeFallback(lambda error, call: 1 / 0)]}, "FALLBACK_FAILED"),
    "crash": (echo(200), {}, "ACTOR_CRASHED"),
    "shutdown": (hang, {}, "SHUTTING_DOWN"),
    "bad request": (echo(200), {}, "INVALID_REQUEST"),
    "removed": (echo(200), {}, "UNKNOWN_SERVICE"),
}
TWICE = {"breaker", "own limit"}  # the first call makes it so


def without_answer(error):
    """An error as it is pickled or stored, less what the service has said: that is the caller's, whatever is in it."""
    twin = copy.copy(error)
    if hasattr(twin, "body"):
        twin.headers, twin.body = (), b""
    twin.fallback_errors = ()
    return twin


class Witness:
    """Sees all that is shown."""

    def __init__(self, caplog):
        caplog.set_level(logging.DEBUG)
        self._caplog = caplog
        self.said = []
        self.codes = []

    def end(self, outcome):
        """How a call ended."""
        if isinstance(outcome, sg.ServiceResponse):
            self.said += [repr(outcome), str(outcome)]
            outcome = outcome.error
        self.codes.append(None if outcome is None else outcome.code.value)
        self.codes += [one.code.value for one in getattr(outcome, "fallback_errors", ())]
        if outcome is not None:
            self.said += [*told(outcome), *shown(without_answer(outcome))]

    def see(self, *values):
        for value in values:
            self.said += shown(value)

    def runtime(self, runtime):
        self.see(runtime.tree(), runtime.metrics.all(), runtime.metrics.all, runtime, runtime.registry, runtime.queue)
        for service in runtime.services.values():
            self.see(service, service.config, service.breakers, service.limiter)

    def leaks(self, *more):
        return leaks([*self.said, self._caplog.text, *more], *FORMS)


@asynccontextmanager
async def witnessed(caplog, config, transport=None):
    """A runtime of which everything is seen; at the end nothing of a canary was."""
    witness = Witness(caplog)
    async with sg.open_runtime(config, transport=transport, seed=1) as runtime:
        async with runtime.events() as events:
            yield runtime, witness
            await trio.testing.wait_all_tasks_blocked()
            witness.see(*drain(events))
        witness.runtime(runtime)
    witness.see(config)
    assert not witness.leaks()


class Everywhere(httpx.AsyncBaseTransport):
    """The service does what goes wrong; its token endpoint gives a token, which is a canary too."""

    def __init__(self, step):
        self.upstream = Upstream(step)
        self.server = Upstream(token(CANARY, 3600, refresh_token=f"{CANARY}-next"))

    async def handle_async_request(self, request):
        peer = self.server if request.url.path == "/token" else self.upstream
        return await peer.handle_async_request(request)

    async def aclose(self):
        """Nothing to close."""


def call(service, options, wrong):
    options = dict(options)
    template = options.pop("template", "/x")
    if options.get("content") == "pieces":
        options["content"] = pieces()
    if wrong == "bad request":
        options["timeout"] = -1
    return service.post(template, type=Literal["no"], **options)


async def pieces():
    yield CANARY.encode()


@pytest.mark.parametrize("wrong", FAILURES)
@pytest.mark.parametrize("place", PLACES)
async def test_no_canary_sings(place, wrong, autojump_clock, caplog, monkeypatch) -> None:
    fields, options = PLACES[place]
    step, more, code = FAILURES[wrong]
    settings = {"base_url": BASE, "retry": ONCE, "headers": {}} | fields | more
    config = sg.RuntimeConfig((sg.ServiceConfig("svc", **settings),), metrics=QUIET)
    transport = Everywhere(step)
    if wrong == "crash":
        monkeypatch.setattr("switchgear.actors.service.road.Road.call", crash)
    async with witnessed(caplog, config, transport) as (runtime, witness):
        service = runtime.service("svc")
        if wrong == "removed":
            await runtime.remove_service("svc")
            with pytest.raises(sg.UnknownService) as caught:
                runtime.service("svc")
            witness.end(caught.value)
        if wrong in TWICE:
            witness.end(await outcome_of(call(service, options, wrong)))
        if wrong in {"bulkhead", "shutdown"}:
            transport.upstream.script = [hang]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ended, service, options, wrong, witness)
                await trio.testing.wait_all_tasks_blocked()
                if wrong == "bulkhead":
                    witness.end(await outcome_of(call(service, options, wrong)))
                    nursery.cancel_scope.cancel()
                else:
                    await runtime.remove_service("svc")
        else:
            witness.end(await outcome_of(call(service, options, wrong)))
        witness.end(await service.try_request("GET", "/x", headers={"X-API-Key": CANARY}, timeout=0.5))
    expected = {code, "DECODE"} if code is None else {code}
    assert expected & set(witness.codes), witness.codes


def test_every_kind_of_error_is_tried():
    """INVALID_CONFIG below, where configurations are refused."""
    assert {code for _, _, code in FAILURES.values() if code} | {"INVALID_CONFIG"} == set(sg.ErrorCode)


async def ended(service, options, wrong, witness):
    witness.end(await outcome_of(call(service, options, wrong)))


async def crash(road, request, now, deadline):
    """A bug of ours, with all that a bug may quote."""
    headers = [*request.headers, *road._wires._headers]
    raise RuntimeError(f"bug with {request.target} {headers} {road.config}")


# ---- token endpoints


@pytest.mark.parametrize("client_auth", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize(
    "step",
    [
        echo(500),
        echo(400),
        refusal("invalid_client", 401, error_description=f"the secret {CANARY} is wrong"),
        refusal("invalid_grant", error_description=CANARY),
        refusal(CANARY),
        reply_json(json.dumps({"access_token": f"{CANARY}\n"}).encode()),
        reply_json(json.dumps({"access_token": CANARY, "expires_in": CANARY}).encode()),
        reply_json(json.dumps({"access_token": CANARY, "token_type": CANARY}).encode()),
        (200, {"Content-Type": "text/html"}, f"<html>{CANARY}".encode()),
        echo_json,
        raising(httpx.ConnectError),
        raising(KeyError),
        hang,
        token(CANARY, 0.5, refresh_token=CANARY),
    ],
)
async def test_nor_of_a_token_endpoint(client_auth, step, autojump_clock, caplog) -> None:
    auth = oauth2(client_auth=client_auth, timeout=sg.TimeoutConfig(total=2), retry=sg.RetryPolicy(base_delay=0.1))
    config = sg.RuntimeConfig((sg.ServiceConfig("svc", BASE, auth=auth, retry=ONCE),), metrics=QUIET)
    transport = Everywhere(echo(503))
    transport.server.script = [step]
    async with witnessed(caplog, config, transport) as (runtime, witness):
        for _ in range(3):
            witness.end(await outcome_of(runtime.service("svc").get("/x")))
            await trio.sleep(1)
    assert transport.server.requests


# ---- sources of instances


@pytest.mark.parametrize(
    "step",
    [
        echo(500),
        echo(403),
        echo_json,
        reply_json(b"[]"),
        reply_json(json.dumps([{"Node": CANARY, "Service": {"ID": 5}}]).encode()),
        raising(httpx.ConnectError),
        raising(KeyError),
        hang,
    ],
)
async def test_nor_of_a_source_of_instances(step, autojump_clock, caplog, monkeypatch) -> None:
    source = sg.ConsulSource("svc", url=BASE, token=SECRET, timeout=1, wait=1)
    config = sg.RuntimeConfig((sg.ServiceConfig("svc", sources=[source], retry=ONCE),), metrics=QUIET)
    transport = Upstream(step)
    async with witnessed(caplog, config, transport) as (runtime, witness):
        await trio.sleep(5)
        witness.end(await outcome_of(runtime.service("svc").get("/x", timeout=1)))
        witness.see(await runtime.registry.discover("svc"))
        monkeypatch.setattr("switchgear.actors.registry.sources.consul._look", bug)
        await trio.sleep(60)
    assert transport.header("x-consul-token")[0] == CANARY


async def bug(source, server, query, publish):
    raise RuntimeError(f"bug with {vars(server)} {source.token.reveal()}")


# ---- real sockets: our own connections, and httpx's behind proxies


SOON = sg.TimeoutConfig(total=1, connect=0.3)
SENT = {place: PLACES[place] for place in ("key in a header", "key in the query", "basic", "query of the caller")}


def repeat(received):
    """An HTTP server that repeats what it was asked with."""
    said = f"{received.target} {received.headers}"
    return 200, {"X-Echo": said.replace("\n", ""), "Content-Type": "application/json"}, json.dumps(said).encode()


PEERS = {
    "closes": lambda: serve(closes_after_request()),
    "garbage": lambda: serve(garbage()),
    "half": lambda: serve(half()),
    "echo": lambda: http_server(repeat),
}
NOWHERE = {
    "dns": "https://no-such-host.invalid",
    "no name": "https://xn--a.invalid",
    "refused": f"https://127.0.0.1:{unused_port()}",
}


async def call_and_stream(caplog, place, url, **fields):
    config, options = SENT[place]
    service = sg.ServiceConfig("svc", url, retry=ONCE, timeout=SOON, **config, **fields)
    with trio.fail_after(30):
        async with witnessed(caplog, sg.RuntimeConfig((service,), metrics=QUIET)) as (runtime, witness):
            witness.end(await outcome_of(call(runtime.service("svc"), options, "")))
            witness.end(await outcome_of(read(runtime.service("svc"), options)))
    assert witness.codes[0] is not None


async def read(service, options):
    async with service.stream("GET", "/x", **options) as response:
        return sg.ServiceResponse(success=True, data=[piece async for piece in response])


@pytest.mark.parametrize("fields", [{}, {"http2": True}], ids=["own", "httpx"])
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("place", SENT)
async def test_nor_on_real_connections(place, peer, fields, caplog) -> None:
    async with PEERS[peer]() as there:
        await call_and_stream(caplog, place, there.url, **fields)


@pytest.mark.parametrize("fields", [{}, {"http2": True}], ids=["own", "httpx"])
@pytest.mark.parametrize("place", SENT)
async def test_nor_where_there_is_no_connection(place, fields, caplog) -> None:
    for url in NOWHERE.values():
        await call_and_stream(caplog, place, url, **fields)
    async with http_server(repeat) as plain:
        await call_and_stream(caplog, place, plain.url.replace("http:", "https:"), **fields)


@pytest.mark.parametrize("kind", [http_proxy, socks_proxy])
@pytest.mark.parametrize("password", [CANARY, "other"])
async def test_nor_of_a_proxy(kind, password, caplog) -> None:
    proxied = sg.BasicAuth("user", SECRET)
    async with http_server(lambda _: (200, {}, b"1")) as server, kind(auth=("user", password)) as proxy:
        for url in (server.url, f"https://127.0.0.1:{server.port}"):
            service = sg.ServiceConfig("svc", url, retry=ONCE, proxy=sg.ProxyConfig(proxy.url, proxied))
            async with witnessed(caplog, sg.RuntimeConfig((service,), metrics=QUIET)) as (runtime, witness):
                witness.end(await outcome_of(runtime.service("svc").get("/x", headers={"X-API-Key": CANARY})))


# ---- what lies on the disk


BAD = {"503": echo(503), "400": echo(400), "read": raising(httpx.ReadError), "connect": raising(httpx.ConnectError)}


@pytest.mark.parametrize("step", BAD.values(), ids=BAD.keys())
async def test_nor_on_the_disk(step, tmp_path, caplog) -> None:
    """Queued, tried again, given up, with the configuration's credentials; and callers' that are not queued."""
    path = tmp_path / "queue.db"
    services = [
        sg.ServiceConfig(
            f"svc{number}",
            BASE,
            retry=ONCE,
            timeout=sg.TimeoutConfig(total=0.1),
            fallbacks=[sg.QueueFallback(max_attempts=1, max_age=60)],
            **fields,
        )
        for number, (fields, options) in enumerate(PLACES.values())
        if not options
    ]
    config = sg.RuntimeConfig(services, queue=sg.QueueConfig(str(path)), metrics=QUIET)
    with trio.fail_after(60):
        async with witnessed(caplog, config, Everywhere(step)) as (runtime, witness):
            for service in runtime.services.values():
                witness.end(await outcome_of(service.put("/x", json={"plain": 1})))
                for options in ({"headers": {"X-API-Key": CANARY}}, {"params": {"sig": CANARY}}):
                    witness.end(await outcome_of(service.put("/x", **options)))
            await trio.sleep(0.5)
            witness.see(*await runtime.queue.list())
            witness.see(await runtime.queue.stats())
            files = list(tmp_path.iterdir())
            assert files
            assert not leaks([file.read_bytes().decode("latin-1") for file in files], *FORMS)
    assert not leaks([file.read_bytes().decode("latin-1") for file in tmp_path.iterdir()], *FORMS)


# ---- the metrics stream


STREAM_TOKEN = sg.Secret("Canary-4711-4711-4711")


async def test_nor_in_the_metrics_stream(caplog) -> None:
    services = [
        sg.ServiceConfig(f"svc{number}", BASE, retry=ONCE, **fields)
        for number, (fields, options) in enumerate(PLACES.values())
        if not options
    ]
    config = sg.RuntimeConfig(services, metrics=sg.MetricsConfig(interval=0.02, token=STREAM_TOKEN))
    with trio.fail_after(30):
        async with witnessed(caplog, config, Everywhere(echo(500))) as (runtime, witness):
            for service in runtime.services.values():
                witness.end(await outcome_of(service.get("/x")))
            headers = [(b"Authorization", b"Bearer " + STREAM_TOKEN.reveal().encode())]
            async with subscribed(runtime.metrics.websocket_url, headers=headers) as connection:
                messages = [await receive(connection) for _ in range(5)]
    assert messages[-1]["services"]["svc0"]["errors"]
    assert not leaks([json.dumps(messages), caplog.text], STREAM_TOKEN.reveal(), *FORMS)


# ---- configurations that are refused


@pytest.mark.parametrize(
    "make",
    [
        lambda: sg.ServiceConfig("svc", f"https://user:{CANARY}@svc.test"),
        lambda: sg.ServiceConfig("svc", f"https://svc.test/?key={CANARY}"),
        lambda: sg.ProxyConfig(f"http://user:{CANARY}@proxy.test:1"),
        lambda: sg.ServiceConfig("svc", BASE, headers={"X-API-Key": f"{CANARY}\n"}),
        lambda: sg.ServiceConfig("svc", BASE, headers={"X-Odd": f"{CANARY}\n"}),
        lambda: sg.BearerAuth(sg.Secret(f"{CANARY}\n")),
        lambda: sg.BasicAuth("user", sg.Secret(f"{CANARY}\0")),
        lambda: sg.BasicAuth("user", CANARY),
        lambda: oauth2(client_secret=CANARY),
        lambda: oauth2(client_secret=sg.Secret(f"{CANARY}\0")),
        lambda: oauth2(refresh_token=CANARY),
        lambda: sg.MetricsConfig(token=SECRET),
        lambda: sg.MetricsConfig(token=CANARY),
        lambda: oauth2(client_auth="private_key_jwt", client_secret=None, private_key=SECRET, algorithm="RS256"),
    ],
)
def test_nor_of_a_configuration_that_is_refused(make):
    with pytest.raises(sg.ConfigError) as caught:
        make()
    assert not leaks(told(caught.value), *FORMS)


MISPLACED = {"name": "svc", "base_url": f"https://user:{CANARY}@svc.test", "auth": {"type": "bearer", "token": CANARY}}


async def test_nor_of_a_table_with_secrets_in_it():
    """As they are where they should be by reference; and where they may be as they are, when the block fails."""
    plain = {"services": [{"name": "svc", "base_url": BASE, "headers": {"X-API-Key": CANARY}}]}
    with pytest.raises(sg.ConfigError) as refused:
        async with sg.open_runtime({"services": [MISPLACED], "metrics": {"token": CANARY}}):
            pass
    with pytest.raises(ZeroDivisionError) as failed:
        async with sg.open_runtime(plain, transport=Upstream(200)):
            1 / 0  # noqa: B018 - what fails is the caller's
    for caught in (refused, failed):
        assert not leaks(told(caught.value), *FORMS)


# ---- any secret, anywhere


SECRETS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=9, max_size=40).map("q~9{}".format)


@settings(max_examples=60)
@given(
    secret=SECRETS,
    place=st.sampled_from(["bearer", "basic", "header", "query", "caller", "reference"]),
    wrong=st.sampled_from([400, 401, 503, "raises", "enum", "bug"]),
)
def test_any_secret_in_any_place(secret, place, wrong):
    """The same with values that look like anything: quotes, per cents, backslashes, words of regular expressions."""
    fields, options = {
        "bearer": ({"auth": sg.BearerAuth(sg.Secret(secret))}, {}),
        "basic": ({"auth": sg.BasicAuth("user", sg.Secret(secret))}, {}),
        "header": ({"headers": {"X-API-Key": secret}}, {}),
        "query": ({"auth": sg.ApiKeyAuth(sg.Secret(secret), "odd", "query")}, {}),
        "caller": ({}, {"headers": {"X-API-Key": secret}}),
        "reference": ({"headers": {"X-Odd": sg.Secret(secret)}}, {}),
    }[place]

    def step(request):
        said = f"{request.url} {request.headers.raw} {request.headers.multi_items()} {secret}"
        if wrong == "raises":
            raise httpx.ReadError(said, request=request)
        if wrong == "bug":
            raise KeyError(said, request)
        if wrong == "enum":
            return httpx.Response(
                200, headers={"Content-Type": "application/json"}, content=msgspec.json.encode(secret)
            )
        return httpx.Response(wrong, headers={"X-Echo": secret}, content=said)

    said = []

    async def main():
        config = sg.RuntimeConfig((sg.ServiceConfig("svc", BASE, retry=ONCE, **fields),), metrics=QUIET)
        async with sg.open_runtime(config, transport=Upstream(step)) as runtime, runtime.events() as events:
            said.extend(told(await outcome_of(runtime.service("svc").get("/x", type=Literal["no"], **options))))
            said.extend(repr(one) for one in drain(events))
            said.extend(shown(runtime.service("svc").config))

    trio.run(main)
    packed = base64.b64encode(f"user:{secret}".encode()).decode()
    assert not leaks(said, secret, packed, repr(secret)[1:-1], json.dumps(secret)[1:-1])
