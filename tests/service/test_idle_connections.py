"""Connections that nobody uses do not stay open, and all are counted."""

from __future__ import annotations

import httpx
import trio
from support.service import QUIET, outcome_of, running
from support.wire import http_server, json_answer

import switchgear as sg
from switchgear.actors.service.road import Road


async def test_an_idle_connection_is_closed_after_a_while_though_no_call_comes(autojump_clock) -> None:
    async with http_server(lambda _: json_answer({})) as server:
        config = sg.RuntimeConfig((sg.ServiceConfig("svc", server.url),), metrics=sg.MetricsConfig(websocket=False))
        async with sg.open_runtime(config) as runtime:
            for _ in range(3):
                await runtime.service("svc").get("/")
            assert (server.accepted, server.open) == (1, 1)
            await trio.sleep(29)
            assert server.open == 1
            await trio.sleep(2)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert server.open == 0
            await runtime.service("svc").get("/")
            assert server.accepted == 2


async def test_no_connection_outlives_its_service() -> None:
    async with http_server(lambda _: json_answer({})) as server:
        config = sg.RuntimeConfig((sg.ServiceConfig("svc", server.url),), metrics=sg.MetricsConfig(websocket=False))
        async with sg.open_runtime(config) as runtime:
            await runtime.service("svc").get("/")
            assert server.open == 1
            await runtime.remove_service("svc")
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert server.open == 0


async def test_the_connections_of_an_instance_go_with_it() -> None:
    async with http_server(lambda _: json_answer("a")) as a, http_server(lambda _: json_answer("b")) as b:
        config = sg.RuntimeConfig((sg.ServiceConfig("svc"),), metrics=sg.MetricsConfig(websocket=False))
        async with sg.open_runtime(config) as runtime:
            await runtime.registry.register(sg.ServiceInstance("a", "svc", endpoint=a.url))
            await runtime.service("svc").get("/")
            assert a.open == 1
            await runtime.registry.register(sg.ServiceInstance("b", "svc", endpoint=b.url))
            await runtime.registry.deregister("svc", "a")
            assert (await runtime.service("svc").get("/")).data == "b"
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert (a.open, b.open) == (0, 1)


# ---- counted in the service's statistics


def connections(runtime):
    return runtime.metrics.get("svc").connections


async def test_connections_are_counted_from_the_first_to_the_last(autojump_clock) -> None:
    async with http_server(lambda _: json_answer({})) as server:
        config = sg.RuntimeConfig((sg.ServiceConfig("svc", server.url),), metrics=QUIET)
        async with sg.open_runtime(config) as runtime:
            assert connections(runtime) is None
            for _ in range(3):
                await runtime.service("svc").get("/")
            assert connections(runtime) == sg.PoolStatistics(1, 1, connected=1, reused=2, stale=0, expired=0)
            async with runtime.service("svc").stream("GET", "/"):
                assert connections(runtime) == sg.PoolStatistics(1, 0, connected=1, reused=3, stale=0, expired=0)
            await trio.sleep(31)
            assert connections(runtime).open == 0
            await runtime.service("svc").get("/")
            assert connections(runtime).connected == 2


async def test_they_are_counted_through_a_crash_and_another_way_to_the_service(monkeypatch) -> None:
    async with http_server(lambda _: json_answer({})) as server:
        config = sg.ServiceConfig("svc", server.url)
        async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET)) as runtime:
            service = runtime.service("svc")
            await service.get("/")
            with monkeypatch.context() as patch:
                patch.setattr(Road, "call", None)  # a bug: there is no public way to crash a service's actor
                assert isinstance(await outcome_of(service.get("/")), sg.ActorCrashed)
            await trio.testing.wait_all_tasks_blocked()
            assert connections(runtime) == sg.PoolStatistics(0, 0, connected=1, reused=0, stale=0, expired=0)
            await service.get("/")
            assert connections(runtime) == sg.PoolStatistics(1, 1, connected=2, reused=0, stale=0, expired=0)
            await runtime.reconfigure("svc", sg.ServiceConfig("svc", server.url, tls=sg.TLSConfig(min_version="1.3")))
            await service.get("/")
            await trio.testing.wait_all_tasks_blocked()
            assert connections(runtime) == sg.PoolStatistics(1, 1, connected=3, reused=0, stale=0, expired=0)


async def test_a_transport_of_the_users_own_tells_nothing_of_its_connections() -> None:
    async with running(httpx.Response(200)) as (service, upstream):
        await service.get("/")
        assert connections(upstream.runtime) is None
