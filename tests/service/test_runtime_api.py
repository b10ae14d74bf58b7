"""The runtime as a program holds it: services come, go and change, and wrong calls are explained."""

from __future__ import annotations

import json
import math

import httpx
import pytest
import trio
from support.service import BASE, ONCE, QUIET, Upstream, after, drain, hang, in_background, outcome_of, running

import switchgear as sg


def config(name="svc", **fields):
    fields.setdefault("retry", ONCE)
    return sg.ServiceConfig(name, BASE, **fields)


# ---- opening and closing


async def test_a_config_is_a_struct_a_dict_or_a_file(tmp_path) -> None:
    plain = {"services": [{"name": "svc", "base_url": BASE}], "metrics": {"websocket": False}}
    as_json, as_toml = tmp_path / "a.json", tmp_path / "a.toml"
    as_json.write_text(json.dumps(plain))
    as_toml.write_text(f'[[services]]\nname = "svc"\nbase_url = "{BASE}"\n[metrics]\nwebsocket = false\n')
    for source in (sg.RuntimeConfig((config(),), metrics=QUIET), plain, as_json, str(as_toml)):
        async with sg.open_runtime(source, transport=Upstream(200)) as runtime:
            assert (await runtime.service("svc").get("/")).status == 200


async def test_a_config_with_faults_starts_nothing() -> None:
    with pytest.raises(sg.ConfigError, match="base_ulr"):
        async with sg.open_runtime({"services": [{"name": "svc", "base_ulr": BASE}]}):
            raise AssertionError


async def test_a_transport_of_the_users_is_not_closed() -> None:
    async with running() as (service, upstream):
        await service.get("/")
    assert not upstream.closed


async def test_a_transport_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="HTTPTransport has no handle_async_request and no aclose"):
        async with sg.open_runtime(sg.RuntimeConfig(metrics=QUIET), transport=httpx.HTTPTransport()):
            raise AssertionError


def test_without_trio_it_says_so() -> None:
    async def main() -> None:
        async with sg.open_runtime(sg.RuntimeConfig(metrics=QUIET)):
            raise AssertionError

    with pytest.raises(RuntimeError, match=r"start it by trio\.run"):
        main().send(None)


async def test_a_dict_is_no_configuration_of_a_service() -> None:
    async with running() as (_, upstream):
        for change in (upstream.runtime.add_service({"name": "b"}), upstream.runtime.reconfigure("svc", {})):
            with pytest.raises(TypeError, match="a ServiceConfig, not a dict"):
                await change


async def test_after_the_end_every_call_says_so() -> None:
    async with running(name="svc") as (service, upstream):
        runtime = upstream.runtime
    for _ in range(2):
        with pytest.raises(sg.ShuttingDown) as caught:
            await service.get("/")
        assert (caught.value.service, caught.value.attempts) == ("svc", 0)
    for change in (runtime.add_service(config("new")), runtime.reconfigure("svc", config())):
        with pytest.raises(sg.ShuttingDown):
            await change
    await runtime.remove_service("svc")
    assert not upstream.requests


async def test_the_end_of_the_block_ends_calls_under_way(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        ends = []

        async def call(service):
            ends.append(await outcome_of(service.get("/")))

        async with running(hang) as (service, upstream):
            nursery.start_soon(call, service)
            await trio.testing.wait_all_tasks_blocked()
            assert upstream.running == 1
    assert [type(end) for end in ends] == [sg.ShuttingDown]
    assert upstream.running == 0


async def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with running():
            raise ZeroDivisionError


# ---- services


async def test_an_unknown_service_is_a_key_error_that_knows_the_names() -> None:
    async with running() as (_, upstream):
        with pytest.raises(sg.UnknownService, match="'paymnets'; known: svc") as caught:
            upstream.runtime.service("paymnets")
        assert isinstance(caught.value, KeyError)
        for change in (upstream.runtime.remove_service("x"), upstream.runtime.reconfigure("x", config("x"))):
            with pytest.raises(sg.UnknownService):
                await change


async def test_services_come_and_go(autojump_clock) -> None:
    async with running(hang, 200) as (service, upstream):
        runtime = upstream.runtime
        new = await runtime.add_service(config("new"))
        assert list(runtime.services) == ["svc", "new"]
        assert runtime.services["new"] is new is runtime.service("new")
        with pytest.raises(TypeError):
            runtime.services["other"] = new
        with pytest.raises(sg.ConfigError, match="already"):
            await runtime.add_service(config("new"))
        async with in_background(new, "/hangs") as ends:
            await runtime.remove_service("new")
        assert [type(end) for end in ends] == [sg.ShuttingDown]
        assert list(runtime.services) == ["svc"]
        assert runtime.tree().find("/services/new") is None
        again = await runtime.add_service(config("new"))
        assert (await again.get("/")).success
        with pytest.raises(sg.ShuttingDown):  # the handle of the one that was removed
            await new.get("/")
        assert (await service.get("/")).success


async def test_changes_at_once_do_not_meet_half_done(autojump_clock) -> None:
    async with running() as (_, upstream):
        runtime = upstream.runtime
        ends = []

        async def end_of(change, *args):
            ends.append(await outcome_of(change(*args)))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(end_of, runtime.add_service, config("new"))
                nursery.start_soon(end_of, runtime.remove_service, "new")
                nursery.start_soon(end_of, runtime.reconfigure, "new", config("new"))
        allowed = (sg.Service, sg.ConfigError, sg.UnknownService, type(None))
        assert all(isinstance(end, allowed) for end in ends)
        assert len(ends) == 9
        await outcome_of(runtime.remove_service("new"))
        assert [child.path for child in runtime.tree().find("/services").children] == ["/services/svc"]
        assert runtime.registry.names == ("svc",)


@pytest.mark.parametrize("ticks", range(12))
async def test_a_service_is_added_or_it_is_not(ticks) -> None:
    """Cancelled at any of its checkpoints."""
    async with running() as (_, upstream):
        runtime = upstream.runtime
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_after, ticks, scope)
                await runtime.add_service(config("new"))
        there = "new" in runtime.services
        assert (runtime.tree().find("/services/new") is not None) is there
        assert ("new" in runtime.registry.names) is there
        assert ("new" in runtime.metrics.all()) is there
        if not there:
            assert (await (await runtime.add_service(config("new"))).get("/")).success


async def cancel_after(ticks, scope):
    for _ in range(ticks):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_instances_come_and_go_at_run_time() -> None:
    async with running(instances=()) as (service, upstream):
        registry = upstream.runtime.registry
        with pytest.raises(sg.NoHealthyInstances) as caught:
            await service.get("/")
        assert (caught.value.attempts, service.breaker) == (0, "closed")
        await registry.register(sg.ServiceInstance("a", "svc", endpoint="http://a.test/v2"))
        assert (await service.get("/x")).success
        await registry.deregister("svc", "a")
        with pytest.raises(sg.NoHealthyInstances):
            await service.get("/")
    assert [str(request.url) for request in upstream.requests] == ["http://a.test/v2/x"]


# ---- reconfiguring


async def test_calls_under_way_end_under_the_old_configuration(autojump_clock) -> None:
    async with running(after(5, 503), after(1, 200), retry=sg.RetryPolicy(2, 1.0, jitter="none")) as (
        service,
        upstream,
    ):
        async with in_background(service, "/old") as ends:
            new = config(timeout=sg.TimeoutConfig(total=2), headers={"X-Era": "new"})
            await upstream.runtime.reconfigure("svc", new)
            assert service.config is new
            assert (await service.get("/new")).success
        assert (ends[0].attempts, ends[0].elapsed) == (2, pytest.approx(7))
    assert [(request.url.path, request.headers.get("x-era")) for request in upstream.requests] == [
        ("/old", None),
        ("/new", "new"),
        ("/old", None),
    ]


async def test_the_breaker_keeps_its_state(autojump_clock) -> None:
    async with running(500, 200, breaker=sg.BreakerConfig(1, reset_timeout=10)) as (service, upstream):
        await service.try_request("GET", "/")
        await upstream.runtime.reconfigure("svc", config(breaker=sg.BreakerConfig(7, reset_timeout=20)))
        await trio.sleep(15)
        with pytest.raises(sg.CircuitOpen):
            await service.get("/")
        await trio.sleep(5)
        assert (await service.get("/")).success


async def test_the_bucket_keeps_its_level_while_its_limits_stay(autojump_clock) -> None:
    limit = sg.RateLimit(1, per=100, burst=1)
    async with running(rate_limit=limit) as (service, upstream):
        await service.get("/")
        await upstream.runtime.reconfigure("svc", config(rate_limit=limit, headers={"X-New": "1"}))
        with pytest.raises(sg.RateLimited):
            await service.get("/")
        await upstream.runtime.reconfigure("svc", config(rate_limit=sg.RateLimit(1, per=100, burst=2)))
        assert (await service.get("/")).success
        await upstream.runtime.reconfigure("svc", config())
        assert (await service.get("/")).success


async def test_who_waits_for_a_turn_gets_it_under_the_limit_in_force(autojump_clock) -> None:
    """A limit is the service's, and not a call's: two queues side by side would keep neither."""
    async with running(rate_limit=sg.RateLimit(1, per=10, burst=1)) as (service, upstream):
        await service.get("/")
        async with in_background(service, "/1", "/2") as ends:
            await upstream.runtime.reconfigure("svc", config(rate_limit=sg.RateLimit(1, per=5, burst=1)))
        assert [end.elapsed for end in ends] == pytest.approx([5, 10])


async def test_who_would_be_too_late_under_the_new_limit_is_told_at_once(autojump_clock) -> None:
    async with running(rate_limit=sg.RateLimit(1, per=10, burst=1)) as (service, upstream):
        await service.get("/")
        async with in_background(service, "/1", "/2") as ends:
            began = trio.current_time()
            await upstream.runtime.reconfigure("svc", config(rate_limit=sg.RateLimit(1, per=20, burst=1)))
            await trio.testing.wait_all_tasks_blocked()
            (late,) = ends
            assert isinstance(late, sg.RateLimited)
            assert trio.current_time() == began
        assert ends[1].elapsed == pytest.approx(20)


async def test_the_base_url_moves() -> None:
    async with running() as (service, upstream):
        await service.get("/")
        await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", "http://new.test/v2"))
        await service.get("/")
    assert [str(request.url) for request in upstream.requests] == ["http://svc.test/", "http://new.test/v2/"]


async def test_a_configuration_for_another_name_is_refused() -> None:
    async with running() as (_, upstream):
        with pytest.raises(sg.ConfigError, match="'other'"):
            await upstream.runtime.reconfigure("svc", config("other"))


# ---- calls that cannot be made

BAD = {
    "path without slash": {"path": "x"},
    "path of another host": {"path": "//evil.test"},
    "path with dots behind a parameter": {"path": "/a/..;x=1/b"},
    "path that is no text": {"path": None},
    "path with a lone surrogate": {"path": "/\ud800"},
    "path too long": {"path": "/" + "x" * 70_000},
    "method with a blank": {"method": "GET /"},
    "method that is no text": {"method": None},
    "method CONNECT": {"method": "connect"},
    "method TRACE": {"method": "TRACE"},
    "header with a line break": {"headers": {"X": "a\r\nb"}},
    "header that is ours": {"headers": {"Content-Length": "5"}},
    "header name that is no text": {"headers": {1: "a"}},
    "header value that is no text": {"headers": {"X": 1}},
    "header with a euro sign": {"headers": {"X": "\u20ac"}},
    "headers that are no pairs": {"headers": 5},
    "headers that are text": {"headers": "X: 1"},
    "request id that is too long": {"headers": {"X-Request-ID": "x" * 129}},
    "request id that is no text": {"headers": {"X-Request-ID": 5}},
    "params that are text": {"params": "a=1"},
    "params with an object": {"params": {"a": object()}},
    "params with a lone surrogate": {"params": {"a": "\ud800"}},
    "timeout of zero": {"timeout": 0},
    "timeout below zero": {"timeout": -1},
    "timeout that is no number": {"timeout": math.nan},
    "timeout that is text": {"timeout": "5"},
    "timeout that is a yes": {"timeout": True},
    "two bodies": {"json": {}, "content": b""},
    "json that is none": {"json": object()},
    "json that goes round": {"json": (ring := []) or ring.append(ring) or ring},
    "content that is a number": {"content": 5},
    "content from an iterator that is not async": {"content": iter([b"x"])},
    "content with a lone surrogate": {"content": "\ud800"},
    "key with a line break": {"idempotency_key": "a\r\nb"},
    "key that is no text": {"idempotency_key": 5},
    "type that is none": {"type": 5},
}


@pytest.mark.parametrize("options", BAD.values(), ids=BAD.keys())
async def test_a_call_that_cannot_be_made_is_explained_and_never_sent(options) -> None:
    call = {"method": "GET", "path": "/"} | options
    where = call.pop("method"), call.pop("path")
    async with running() as (service, upstream):
        with pytest.raises(sg.InvalidRequest) as caught:
            await service.request(*where, **call)
        assert caught.value.service == "svc"
        response = await service.try_request(*where, **call)
        assert (response.success, response.error.code) == (False, "INVALID_REQUEST")
        assert (await service.get("/")).success
        assert service.breaker == "closed"
        assert upstream.runtime.tree().find("/services/svc").restarts == 0
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("options", "content", "content_type"),
    [
        ({"json": {"a": 1}}, b'{"a":1}', "application/json"),
        ({"json": [], "headers": {"content-type": "application/x+json"}}, b"[]", "application/x+json"),
        ({"json": [], "headers": [("Content-Type", "application/x+json")]}, b"[]", "application/x+json"),
        ({"json": 0}, b"0", "application/json"),
        ({"content": "j\u00f6"}, "j\u00f6".encode(), None),
        ({"content": bytearray(b"x")}, b"x", None),
        ({}, b"", None),
    ],
)
async def test_bodies(options, content, content_type) -> None:
    async with running() as (service, upstream):
        for method in ("post", "put", "patch", "delete"):
            await getattr(service, method)("/", **options)
    for request in upstream.requests:
        assert (request.content, request.headers.get("content-type")) == (content, content_type)


async def test_the_callers_headers_replace_the_configurations_and_those_ours() -> None:
    async with running(headers={"X-A": "config", "accept": "text/plain"}) as (service, upstream):
        await service.get("/", headers=[("x-a", "caller"), ("X-B", "\u00e9 "), ("USER-AGENT", "mine"), ("X-C", "")])
        await service.get("/")
    first, second = upstream.requests
    assert first.headers.raw[1:-2] == [
        (b"Accept-Encoding", b"gzip, deflate, br, zstd"),
        (b"accept", b"text/plain"),
        (b"x-a", b"caller"),
        (b"X-B", b"\xe9"),
        (b"USER-AGENT", b"mine"),
        (b"X-C", b""),
    ]
    assert (second.headers["x-a"], second.headers["accept"]) == ("config", "text/plain")


async def test_a_long_timeout_is_as_good_as_any() -> None:
    async with running() as (service, _):
        assert (await service.get("/", timeout=math.inf)).success


@pytest.mark.parametrize("step", [200, 404, 429, 503, httpx.ReadError("x"), (200, {}, b"x" * 99), hang], ids=str)
async def test_try_request_tells_the_same_without_raising(step, autojump_clock) -> None:
    async with running(step, max_response_bytes=50) as (service, upstream):
        end = await outcome_of(service.get("/", timeout=1))
        response = await service.try_request("GET", "/", timeout=1)
    assert response.success is isinstance(end, sg.ServiceResponse)
    assert (response.status, response.attempts) == (getattr(end, "status", None), 1)
    assert response.request_id == upstream.requests[1].headers["x-request-id"]
    if not response.success:
        assert (type(response.error), response.data) == (type(end), None)
        assert response.elapsed == (1 if step is hang else 0)


# ---- looking in


async def test_the_tree_has_every_service_below_its_supervisor(autojump_clock) -> None:
    async with running(after(5), others=(config("other"),)) as (service, upstream):
        async with in_background(service, "/1", "/2"):
            tree = upstream.runtime.tree()
            assert {"/metrics", "/registry", "/services"} <= {child.path for child in tree.children}
            assert [child.path for child in tree.find("/services").children] == ["/services/svc", "/services/other"]
            assert (tree.find("/services/svc").in_flight, tree.find("/services/other").in_flight) == (2, 0)
        info = upstream.runtime.tree().find("/services/svc")
        assert (info.in_flight, info.handled, info.mailbox.depth) == (0, 2, 0)


async def test_events_tell_of_services_and_instances() -> None:
    async with running() as (_, upstream), upstream.runtime.events() as events:
        await upstream.runtime.add_service(config("new"))
        await upstream.runtime.remove_service("new")
        kinds = [(type(event).__name__, event.path) for event in drain(events)]
    assert ("ActorStarted", "/services/new") in kinds
    assert ("ActorStopped", "/services/new") in kinds
    assert any(kind == "InstanceRegistered" for kind, _ in kinds)


async def test_a_service_shows_itself() -> None:
    async with running() as (service, _):
        assert repr(service) == "<Service 'svc' breaker closed>"
        assert service.name == "svc"
