"""Calls through real proxies: forwarded, tunnelled, over SOCKS; refused, met with silence, and cancelled half-way."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager

import pytest
import trio
import trustme
from support.http2 import http2_server, server_context
from support.proxy import http_proxy, socks_proxy
from support.service import ONCE, QUIET, outcome_of
from support.wire import http_server, json_answer, never_answers, serve, unused_port

import switchgear as sg

CA = trustme.CA()
PASSWORD = "hunter2-s3cret"
AUTH = sg.BasicAuth("me", sg.Secret(PASSWORD))


@pytest.fixture
def tls(tmp_path):
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return sg.TLSConfig(ca_file=str(tmp_path / "ca.pem"))


@pytest.fixture
def https():
    return server_context(CA, "localhost")


@asynccontextmanager
async def calling(url, proxy, **fields):
    fields.setdefault("retry", ONCE)
    if not isinstance(proxy, sg.ProxyConfig):
        proxy = sg.ProxyConfig(proxy.url)
    config = sg.ServiceConfig("svc", url, proxy=proxy, **fields)
    async with sg.open_runtime(sg.RuntimeConfig([config], metrics=QUIET), seed=1) as runtime:
        yield runtime.service("svc"), runtime


async def settled(condition):
    with trio.fail_after(5):
        while not condition():
            await trio.lowlevel.checkpoint()


async def test_a_request_to_http_is_forwarded_and_the_connection_kept():
    async with http_server(lambda received: json_answer(received.target)) as server, http_proxy() as proxy:
        async with calling(f"{server.url}/v1", proxy) as (service, _):
            assert [(await service.get("/x", params={"n": n})).data for n in range(3)] == [
                f"/v1/x?n={n}" for n in range(3)
            ]
        assert proxy.log == [f"GET {server.url}/v1/x?n={n}" for n in range(3)]
        assert proxy.accepted == 1
        await settled(lambda: proxy.open == 0)


async def test_https_goes_through_a_tunnel_in_which_the_proxy_sees_nothing(tls, https):
    async with http_server(lambda _: json_answer(1), ssl_context=https) as server, http_proxy() as proxy:
        async with calling(f"https://localhost:{server.port}", proxy, tls=tls) as (service, _):
            answers = [(await service.get("/secret", headers={"X-Key": "k"})).data for _ in range(3)]
        assert answers == [1, 1, 1]
        assert proxy.log == [f"CONNECT localhost:{server.port}"]
        assert b"X-Key" not in proxy.heads[0]
        await settled(lambda: proxy.open == 0)


async def test_http_2_goes_through_a_tunnel_too(tls):
    async with (
        http2_server(lambda _: (200, {}, b"two"), server_context(CA, "localhost")) as server,
        http_proxy() as proxy,
        calling(server.url, proxy, tls=tls, http2=True) as (service, _),
    ):
        assert (await service.get("/", type=bytes)).data == b"two"
        assert (server.accepted, proxy.log) == (1, [f"CONNECT localhost:{server.port}"])


async def test_a_proxy_that_is_spoken_to_in_tls_has_settings_of_its_own(tls, tmp_path):
    own = trustme.CA()
    own.cert_pem.write_to_path(str(tmp_path / "proxy.pem"))
    theirs = sg.TLSConfig(ca_file=str(tmp_path / "proxy.pem"))
    async with (
        http_server(lambda _: json_answer(1), ssl_context=server_context(CA, "localhost")) as server,
        http_proxy(auth=("me", PASSWORD), ssl_context=server_context(own, "localhost")) as proxy,
    ):
        url = f"https://localhost:{server.port}"
        async with calling(url, sg.ProxyConfig(proxy.url, AUTH, theirs), tls=tls) as (service, _):
            assert (await service.get("/")).data == 1
        async with calling(url, sg.ProxyConfig(proxy.url, AUTH), tls=tls) as (service, _):
            assert (await outcome_of(service.get("/"))).processed == "no"
        assert len(proxy.log) == 1


@pytest.mark.parametrize("kind", [http_proxy, socks_proxy])
@pytest.mark.parametrize("secure", [True, False])
async def test_credentials_are_for_the_proxy_and_for_nobody_else(kind, secure, tls, https, caplog):
    caplog.set_level(logging.DEBUG)
    seen = []

    def route(received):
        seen.append({name.lower() for name, _ in received.headers})
        return json_answer(1)

    async with (
        http_server(route, ssl_context=https if secure else None) as server,
        kind(auth=("me", PASSWORD)) as proxy,
    ):
        url = f"https://localhost:{server.port}" if secure else server.url
        async with calling(url, sg.ProxyConfig(proxy.url, AUTH), tls=tls) as (service, _):
            assert (await service.get("/")).data == 1
    assert seen
    assert all("proxy-authorization" not in names for names in seen)
    assert PASSWORD not in caplog.text  # httpcore would log it, at DEBUG, as what it says to a SOCKS proxy


async def test_a_proxy_that_does_not_know_us_says_so_before_anything_is_sent(tls, https):
    async with http_server(lambda _: json_answer(1), ssl_context=https) as server:
        url = f"https://localhost:{server.port}"
        async with (
            http_proxy(auth=("me", "other")) as proxy,
            calling(url, sg.ProxyConfig(proxy.url, AUTH), tls=tls) as (
                service,
                _,
            ),
        ):
            error = await outcome_of(service.post("/"))
            assert isinstance(error, sg.TransportError)
            assert error.processed == "no"
            assert "407" in str(error)
            assert PASSWORD not in repr(error)
            await settled(lambda: proxy.open == 0)
        async with (
            socks_proxy(auth=("me", "other")) as proxy,
            calling(url, sg.ProxyConfig(proxy.url, AUTH), tls=tls) as (
                service,
                _,
            ),
        ):
            assert (await outcome_of(service.post("/"))).processed == "no"
            await settled(lambda: proxy.open == 0)
        assert server.log == []


@pytest.mark.parametrize("kind", [http_proxy, socks_proxy])
async def test_a_proxy_that_does_not_reach_the_service_says_so(kind, tls):
    async with kind() as proxy, calling(f"https://localhost:{unused_port()}", proxy, tls=tls) as (service, _):
        error = await outcome_of(service.post("/"))
        assert isinstance(error, sg.TransportError)
        assert (error.processed, "proxy" in str(error)) == ("no", True)
        await settled(lambda: proxy.open == 0)


async def test_a_proxy_that_is_not_there_is_no_connection():
    proxy = sg.ProxyConfig(f"http://127.0.0.1:{unused_port()}")
    async with http_server(lambda _: json_answer(1)) as server, calling(server.url, proxy) as (service, _):
        assert (await outcome_of(service.post("/"))).processed == "no"
        assert server.log == []  # not even as it is on this machine is it called directly


async def test_the_environment_names_no_proxy(monkeypatch, tls):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    async with http2_server(lambda _: (200, {}, b""), server_context(CA, "localhost")) as server:
        config = sg.ServiceConfig("svc", server.url, tls=tls, http2=True)
        async with sg.open_runtime(sg.RuntimeConfig([config], metrics=QUIET)) as runtime:
            assert (await runtime.service("svc").get("/")).status == 200


async def test_health_checks_go_the_same_way():
    async with http_server(lambda _: json_answer(1)) as server, http_proxy() as proxy:
        check = sg.HealthCheckConfig(path="/health", interval=1000)
        async with calling(server.url, proxy, health_check=check) as (_, runtime):
            assert (await runtime.health.check("svc")).status == "healthy"
            assert set(proxy.log) == {f"GET {server.url}/health"}
        await settled(lambda: proxy.open == 0)


# ---- silence and cancellation, at each stage of the way


async def silence(stream):
    """Until the other side gives up."""
    while await stream.receive_some(65536):
        pass


async def connected_and_silent(stream):
    await stream.send_all(b"HTTP/1.1 200 Connected\r\n\r\n")
    await silence(stream)


async def greeted_and_silent(stream):
    await stream.receive_some(100)
    await stream.send_all(b"\x05\x00")
    await silence(stream)


STAGES = {
    "the proxy does not answer CONNECT": lambda: http_proxy(tunnel=silence),
    "the service does not speak TLS in the tunnel": lambda: http_proxy(tunnel=connected_and_silent),
    "the SOCKS proxy says nothing": lambda: socks_proxy(greeting=silence),
    "the SOCKS proxy stops after its greeting": lambda: socks_proxy(greeting=greeted_and_silent),
}


@pytest.fixture(params=STAGES.values(), ids=STAGES.keys())
def stage(request):
    return request.param


async def test_the_way_through_a_proxy_is_part_of_connecting(stage):
    """One deadline for all of it; httpcore has one for each part, and none for SOCKS or the answer to CONNECT."""
    timeout = sg.TimeoutConfig(connect=0.05)
    async with stage() as proxy, calling("https://service.test", proxy, timeout=timeout) as (service, _):
        with trio.fail_after(5):
            error = await outcome_of(service.post("/x"))
        assert isinstance(error, sg.TransportError)
        assert error.processed == "no"
        assert "no connection to service.test within 0.05 s" in str(error)
        await settled(lambda: proxy.open == 0)


@pytest.mark.parametrize("http2", [False, True])
async def test_a_call_that_is_cancelled_on_the_way_leaves_no_socket(stage, http2):
    async with stage() as proxy, calling("https://service.test", proxy, http2=http2) as (service, _):
        for n in range(1, 41):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(service.get, "/x")
                await settled(lambda: proxy.accepted == n)  # noqa: B023 - it is called here and now
                nursery.cancel_scope.cancel()
        await settled(lambda: proxy.open == 0)


@pytest.mark.parametrize("secure", [False, True])
async def test_a_call_that_is_cancelled_after_any_number_of_steps_leaves_no_socket(secure, tls, https):
    async with http_server(lambda _: json_answer(1), ssl_context=https if secure else None) as server:
        url = f"https://localhost:{server.port}" if secure else server.url
        async with http_proxy() as proxy, calling(url, proxy, tls=tls) as (service, _):
            for steps in range(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(service.get, "/x")
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
            assert proxy.accepted > 10
            await settled(lambda: proxy.open <= 1)  # one may have been answered, and its connection kept


async def test_tls_that_hangs_without_a_proxy_leaves_no_socket_either(tls):
    async with serve(never_answers()) as peer:
        config = sg.ServiceConfig("svc", f"https://localhost:{peer.port}", tls=tls, http2=True, retry=ONCE)
        async with sg.open_runtime(sg.RuntimeConfig([config], metrics=QUIET)) as runtime:
            for _ in range(5):
                assert isinstance(await outcome_of(runtime.service("svc").get("/", timeout=0.05)), sg.CallTimeout)
            await settled(lambda: peer.open == 0)


# ---- a change of the way, while calls are on it


async def test_a_new_way_is_for_new_calls_and_the_old_one_is_closed_when_its_calls_have_ended():
    release, ends = trio.Event(), []

    async def route(received):
        if received.target == "/slow":
            await release.wait()
        return json_answer(received.target)

    async with http_server(route) as server, http_proxy() as old, http_proxy() as new:

        async def slow(service):
            ends.append((await service.get("/slow")).data)

        async with calling(server.url, old) as (service, runtime):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(slow, service)
                await settled(lambda: server.log)
                assert (await service.get("/idle")).data == "/idle"
                assert old.open == 2
                for proxy in (sg.ProxyConfig(new.url), None):
                    await runtime.reconfigure("svc", sg.ServiceConfig("svc", server.url, proxy=proxy, retry=ONCE))
                    await service.get("/new")
                await settled(lambda: new.open == 0)
                assert (len(old.log), len(new.log), len(server.log)) == (2, 1, 4)
                release.set()
            assert ends == ["/slow"]
            await settled(lambda: old.open == 0)


async def test_a_change_of_nothing_keeps_the_connections():
    async with http_server(lambda _: json_answer(1)) as server, http_proxy(auth=("me", PASSWORD)) as proxy:
        async with calling(server.url, sg.ProxyConfig(proxy.url, AUTH)) as (service, runtime):
            for n in range(3):
                await service.get("/")
                again = sg.ProxyConfig(proxy.url, sg.BasicAuth("me", sg.Secret(PASSWORD)))
                config = sg.ServiceConfig("svc", server.url, proxy=again, max_response_bytes=1000 + n)
                await runtime.reconfigure("svc", config)
        assert proxy.accepted == 1


async def test_an_instance_that_has_gone_takes_its_connections_along():
    async with (
        http_server(lambda _: json_answer("a")) as a,
        http_server(lambda _: json_answer("b")) as b,
        http_proxy() as proxy,
        calling(None, proxy) as (service, runtime),
    ):
        await runtime.registry.register(sg.ServiceInstance("a", "svc", endpoint=a.url))
        assert (await service.get("/")).data == "a"
        await runtime.registry.register(sg.ServiceInstance("b", "svc", endpoint=b.url))
        await runtime.registry.deregister("svc", "a")
        assert (await service.get("/")).data == "b"
        await settled(lambda: (a.open, b.open) == (0, 1))


async def test_tls_that_has_changed_is_for_new_connections_without_a_proxy_too(tls, https, tmp_path):
    (tmp_path / "other.pem").write_bytes(trustme.CA().cert_pem.bytes())
    other = sg.TLSConfig(ca_file=str(tmp_path / "other.pem"))
    async with http_server(lambda _: json_answer(1), ssl_context=https) as server:
        config = sg.ServiceConfig("svc", f"https://localhost:{server.port}", tls=tls, retry=ONCE)
        async with sg.open_runtime(sg.RuntimeConfig([config], metrics=QUIET)) as runtime:
            service = runtime.service("svc")
            assert (await service.get("/")).data == 1
            await runtime.reconfigure("svc", sg.ServiceConfig("svc", config.base_url, tls=other, retry=ONCE))
            with pytest.raises(sg.TransportError, match="certificate"):
                await service.get("/")
            await settled(lambda: server.open == 0)
