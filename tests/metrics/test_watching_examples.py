"""The examples of docs/watching.rst, run as they stand there; and all that can happen has a public name."""

import inspect
import math
import runpy
from pathlib import Path

import httpx
import trio
from support.service import BASE, ONCE, QUIET, Upstream

import switchgear as sg
from switchgear.actors import events as of_services
from switchgear.actors.service.actor import ServiceActor
from switchgear.runtime import events as of_actors

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "examples" / "watching.py"))
TOKEN = "0123456789abcdef"


def svc(**fields):
    return sg.ServiceConfig("svc", BASE, retry=ONCE, **fields)


async def broken(*_arguments):
    raise ZeroDivisionError


async def test_figures_are_of_this_moment_and_come_each_second(autojump_clock, capsys) -> None:
    async def slow(_request: httpx.Request) -> httpx.Response:
        await trio.sleep(2)
        return httpx.Response(200)

    config = sg.RuntimeConfig((svc(), sg.ServiceConfig("idle", BASE)), metrics=QUIET)
    async with sg.open_runtime(config, transport=httpx.MockTransport(slow)) as runtime, trio.open_nursery() as nursery:
        assert EXAMPLE["slow_ones"](runtime) == []
        await runtime.service("svc").get("/")
        assert EXAMPLE["slow_ones"](runtime) == ["svc"]
        nursery.start_soon(EXAMPLE["follow"], runtime)
        await trio.sleep(1.5)
        nursery.cancel_scope.cancel()
    assert "{'svc': 1, 'idle': 0}" in capsys.readouterr().out


async def test_the_stream_is_followed_from_elsewhere_to_its_end(monkeypatch) -> None:
    said, heard = trio.open_memory_channel[object](math.inf)
    monkeypatch.setitem(EXAMPLE["follow_from_elsewhere"].__globals__, "print", said.send_nowait)
    metrics = sg.MetricsConfig(interval=0.01, host="0.0.0.0", token=sg.Secret(TOKEN))
    config = sg.RuntimeConfig((svc(),), metrics=metrics)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery, sg.open_runtime(config, transport=Upstream(500)) as runtime:
            url = runtime.metrics.websocket_url.replace("0.0.0.0", "127.0.0.1")
            nursery.start_soon(EXAMPLE["follow_from_elsewhere"], url, TOKEN)
            assert await heard.receive() == {"svc": {}}
            await runtime.service("svc").try_request("GET", "/")
            while await heard.receive() != {"svc": {"HTTP_STATUS": 1}}:
                pass


async def test_what_happens_rings_the_bell(autojump_clock, monkeypatch, capsys) -> None:
    config = sg.RuntimeConfig((svc(breaker=sg.BreakerConfig(failure_threshold=2)),), metrics=QUIET)
    async with sg.open_runtime(config, transport=Upstream(500)) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(EXAMPLE["ring_the_bell"], runtime)
        await trio.testing.wait_all_tasks_blocked()
        assert EXAMPLE["restless"](runtime.tree()) == []
        for _ in range(2):
            await runtime.service("svc").try_request("GET", "/")
        with monkeypatch.context() as patched:
            patched.setattr(ServiceActor, "handle", broken)
            await runtime.service("svc").try_request("GET", "/")
        await trio.sleep(10)
        assert EXAMPLE["restless"](runtime.tree()) == ["/services/svc"]
        nursery.cancel_scope.cancel()
    opened, crashed = capsys.readouterr().out.splitlines()
    assert opened.startswith("svc is left alone: 2 failures in ")
    assert crashed.startswith("/services/svc crashed: ZeroDivisionError")


def test_every_event_is_in_the_public_namespace() -> None:
    for module in (of_services, of_actors):
        for name, thing in inspect.getmembers(module, inspect.isclass):
            if issubclass(thing, sg.Event):
                assert getattr(sg.events, name) is thing
