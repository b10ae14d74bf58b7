"""Calls cancelled anywhere on their way through proxies and over HTTP/2: nothing of them is left open, nothing is lost.

httpx's transport by itself leaves sockets open and places in its pool taken; see `httpx_lanes.py`.
"""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from support.http2 import http2_server, server_context
from support.proxy import http_proxy, socks_proxy
from support.service import ONCE, QUIET
from support.wire import Answer, http_server

import switchgear as sg

CA = trustme.CA()
CALLERS, CALLS = 8, 60


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def answer(path):
    return b"%b:%b" % (path.removeprefix("/").encode(), b"x" * (len(path) * 7919 % 50_000))


@asynccontextmanager
async def no_proxy():
    yield None


@asynccontextmanager
async def plain():
    async with http_server(lambda received: Answer(200, (), answer(received.path))) as server:
        yield server, server.url


@asynccontextmanager
async def secure():
    context = server_context(CA, "localhost")
    async with http_server(lambda received: Answer(200, (), answer(received.path)), ssl_context=context) as server:
        yield server, f"https://localhost:{server.port}"


@asynccontextmanager
async def two():
    async with http2_server(lambda request: (200, {}, answer(request.path)), server_context(CA, "localhost")) as server:
        yield server, server.url


WAYS = {
    "forwarded": (plain, http_proxy),
    "in a tunnel": (secure, http_proxy),
    "over SOCKS": (secure, socks_proxy),
    "directly": (plain, no_proxy),
    "over HTTP/2": (two, no_proxy),
    "over HTTP/2 in a tunnel": (two, http_proxy),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
async def test_calls_cancelled_anywhere_leave_nothing_behind(way, tmp_path):
    serve, go_through = way
    rng = random.Random(2)
    patience = [0.0, 0.0003, 0.001, 0.002, 0.004, 0.008, 1.0, 1.0, 1.0, 1.0]
    done = {"answered": 0, "cancelled": 0}

    async def call(path):
        if rng.random() < 0.3:
            async with service.stream("GET", path) as response:
                first = await anext(response)
                if rng.random() < 0.5:
                    assert answer(path).startswith(first)
                    return
                assert b"".join([first, *[piece async for piece in response]]) == answer(path)
        else:
            assert (await service.get(path, type=bytes)).data == answer(path)

    async def caller(number):
        for n in range(CALLS):
            with trio.move_on_after(rng.choice(patience)) as scope:
                await call(f"/{number}-{n}")
                done["answered"] += 1
            done["cancelled"] += scope.cancelled_caught

    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with serve() as (server, url), go_through() as proxy:
        before = descriptors()
        config = sg.ServiceConfig(
            "svc",
            url,
            retry=ONCE,
            breaker=sg.BreakerConfig(enabled=False),
            bulkhead=sg.BulkheadConfig(max_concurrent=CALLERS),
            tls=sg.TLSConfig(ca_file=str(tmp_path / "ca.pem")),
            proxy=None if proxy is None else sg.ProxyConfig(proxy.url),
            http2=serve is two,
        )
        with trio.fail_after(30):
            async with sg.open_runtime(sg.RuntimeConfig([config], metrics=QUIET), seed=1) as runtime:
                service = runtime.service("svc")
                async with trio.open_nursery() as nursery:
                    for number in range(CALLERS):
                        nursery.start_soon(caller, number)
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert runtime.tree().find("/services/svc").in_flight == 0
                both_ends = 2 * CALLERS * (1 if proxy is None else 2)
                assert descriptors() <= before + both_ends + 4  # of the idle ones, and what is the runtime's own
                async with trio.open_nursery() as nursery:  # no place is lost: as many at once as ever
                    for number in range(CALLERS):
                        nursery.start_soon(call, f"/again-{number}")
        while server.open or (proxy is not None and proxy.open):
            await trio.lowlevel.checkpoint()
        assert descriptors() <= before
    assert all(count > 50 for count in done.values()), done
