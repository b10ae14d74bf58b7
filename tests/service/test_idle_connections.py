"""Connections that nobody uses do not stay open."""

from __future__ import annotations

import trio
from support.wire import http_server, json_answer

import switchgear as sg


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
