"""An instance that is taken away: no new calls, those under way end, its connections close, nothing lasts for ever."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from support.proxy import http_proxy
from support.service import ONCE, QUIET, outcome_of
from support.sources import Scripted, source
from support.wire import http_server, json_answer, serve

import switchgear as sg

SLOW = sg.TimeoutConfig(total=1000.0, attempt=None, drain=60.0)


@asynccontextmanager
async def calling(*urls, **fields):
    fields.setdefault("timeout", SLOW)
    instances = [sg.InstanceConfig(url, f"i{number}") for number, url in enumerate(urls)]
    config = sg.ServiceConfig("svc", instances=instances, retry=ONCE, **fields)
    async with sg.open_runtime(sg.RuntimeConfig([config], metrics=QUIET), seed=1) as runtime:
        yield runtime, runtime.service("svc")


async def settled(condition):
    with trio.fail_after(5):
        while not condition():
            await trio.lowlevel.checkpoint()


def endless(every=1.0):
    """A body that never ends, a byte at a time."""

    async def handler(stream, peer):
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"1\r\nx\r\n")
            await trio.sleep(every)

    return handler


async def read(service):
    """To the end, if there is one."""
    async with service.stream("GET", "/") as response:
        async for _ in response:
            pass


async def test_idle_connections_of_an_instance_close_with_it_though_no_call_comes() -> None:
    async with http_server(lambda _: json_answer({})) as server, calling(server.url) as (runtime, service):
        await service.get("/")
        assert server.open == 1
        await runtime.registry.deregister("svc", "i0")
        await settled(lambda: server.open == 0)


async def test_a_call_under_way_ends_and_then_its_connection_closes(autojump_clock) -> None:
    async def slow(_):
        await trio.sleep(30)
        return json_answer("done")

    async with http_server(slow) as server, calling(server.url) as (runtime, service), trio.open_nursery() as nursery:
        ends = []

        async def call():
            ends.append(await outcome_of(service.get("/")))

        nursery.start_soon(call)
        await trio.sleep(1)
        await runtime.registry.deregister("svc", "i0")
        await trio.sleep(10)
        assert server.open == 1
        assert isinstance((await service.try_request("GET", "/")).error, sg.NoHealthyInstances)
        await trio.sleep(20)
        assert [end.data for end in ends] == ["done"]
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.open == 0


async def test_a_stream_that_has_no_end_is_cut_off_when_the_time_is_over(autojump_clock) -> None:
    async with (
        serve(endless()) as gone,
        serve(endless()) as stays,
        calling(gone.url, stays.url, balancer="round_robin") as (runtime, service),
        trio.open_nursery() as nursery,
    ):
        ends = []

        async def read_it():
            began = trio.current_time()
            error = await outcome_of(read(service))
            ends.append((error.message, trio.current_time() - began))

        nursery.start_soon(read_it)
        nursery.start_soon(read_it)
        await trio.sleep(5)
        assert (gone.open, stays.open) == (1, 1)
        await runtime.registry.deregister("svc", "i0")
        await trio.sleep(59)
        assert ends == []
        await trio.sleep(2)
        assert ends == [
            ("the connection was cut: its instance has gone, and its time is over", pytest.approx(65, abs=1))
        ]
        await trio.sleep(100)
        assert (gone.open, stays.open) == (0, 1)
        nursery.cancel_scope.cancel()


async def test_an_instance_that_comes_back_in_time_is_not_cut_off(autojump_clock) -> None:
    async with serve(endless()) as peer, calling(peer.url) as (runtime, service), trio.open_nursery() as nursery:
        nursery.start_soon(read, service)
        await trio.sleep(5)
        for _ in range(10):
            await runtime.registry.deregister("svc", "i0")
            await trio.sleep(30)
            await runtime.registry.register(sg.ServiceInstance("again", "svc", endpoint=peer.url))
            await trio.sleep(10)
            await runtime.registry.register(sg.ServiceInstance("i0", "svc", endpoint=peer.url))
            await runtime.registry.deregister("svc", "again")
        await trio.sleep(300)
        assert (peer.accepted, peer.open) == (1, 1)
        nursery.cancel_scope.cancel()


async def test_two_that_go_one_after_the_other_have_each_their_time(autojump_clock) -> None:
    async with (
        serve(endless()) as a,
        serve(endless()) as b,
        calling(a.url, b.url, balancer="round_robin") as (runtime, service),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(outcome_of, read(service))
        nursery.start_soon(outcome_of, read(service))
        await trio.sleep(1)
        await runtime.registry.deregister("svc", "i0")
        await trio.sleep(30)
        await runtime.registry.deregister("svc", "i1")
        await trio.sleep(35)
        assert (a.open, b.open) == (0, 1)
        await trio.sleep(30)
        assert (a.open, b.open) == (0, 0)


async def test_a_stream_through_a_proxy_is_cut_off_too() -> None:
    brief = sg.TimeoutConfig(total=1000.0, attempt=None, drain=0.05)
    async with (
        serve(endless(0.01)) as peer,
        http_proxy() as proxy,
        calling(peer.url, timeout=brief, proxy=sg.ProxyConfig(proxy.url)) as (runtime, service),
    ):
        async with trio.open_nursery() as nursery:
            ends = []

            async def read_it():
                ends.append(await outcome_of(read(service)))

            nursery.start_soon(read_it)
            await settled(lambda: peer.open)
            await runtime.registry.deregister("svc", "i0")
        assert isinstance(ends[0], sg.TransportError)
        await settled(lambda: proxy.open == 0)


async def test_an_instance_that_nobody_names_but_that_is_well_is_not_drained(autojump_clock, monkeypatch) -> None:
    check = sg.HealthCheckConfig(interval=5.0, jitter=0.0)
    async with http_server(lambda _: json_answer({})) as server:
        scripted = Scripted(monkeypatch, first={"one": {}})
        async with calling(sources=[source("one")], health_check=check) as (_, service):
            await scripted.say_exactly("one", [sg.InstanceConfig(server.url)])
            await trio.sleep(6)
            await service.get("/")
            await scripted.say("one", {})
            await trio.sleep(20)
            assert (await service.get("/")).success
