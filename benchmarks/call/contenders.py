"""The ways to call, each as one would write it: an async context manager that gives something to call again and again.

It is asked for a new one by each caller, which is the same for all but for the bare socket, where each has his own.
A contender reads the whole body and looks at the status; only the guarded one also decodes it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from .job import Job
from .servers import trusting

if TYPE_CHECKING:
    from switchgear.service import Service

Call = Callable[[], Awaitable[Any]]
NewCaller = Callable[[], Call]
Opener = Callable[[Job], AbstractAsyncContextManager[NewCaller]]


class Item(msgspec.Struct):
    """What the body holds."""

    id: str
    amount: int
    currency: str
    paid: bool
    lines: list[str]


def expect(status: int) -> None:
    """Nobody is quick by failing."""
    if status != 200:
        raise RuntimeError(f"the server answered {status}")


# ---- on trio


@asynccontextmanager
async def open_service(job: Job) -> AsyncIterator[Service]:
    """Ours, with everything: breaker, limiter, retries, token, balancer over two instances, figures."""
    import switchgear as sg  # each here imports what it needs where it needs it: the others are not to carry its weight

    config = sg.ServiceConfig(
        "bench",
        instances=[sg.InstanceConfig(url) for url in job.urls],
        balancer="p2c",
        breaker=sg.BreakerConfig(),
        rate_limit=sg.RateLimit(1e8, burst=1_000_000),  # asked for each call, and never in the way
        retry=sg.RetryPolicy(),
        auth=sg.BearerAuth(sg.Secret("0123456789abcdef0123456789abcdef")),
        bulkhead=sg.BulkheadConfig(max_concurrent=max(100, job.callers)),
        tls=sg.TLSConfig(ca_file=job.ca),
    )
    async with sg.open_runtime(sg.RuntimeConfig(services=[config])) as runtime:
        yield runtime.service("bench")


@asynccontextmanager
async def guarded(job: Job) -> AsyncIterator[NewCaller]:
    """Ours, and a typed answer."""
    async with open_service(job) as service:

        async def call() -> Item:
            return (await service.get("/item", type=Item)).data

        yield lambda: call


@asynccontextmanager
async def _bare(library: Any, job: Job) -> AsyncIterator[NewCaller]:
    """With its default limits. But whoever waits for one of its 100 connections may wait, as with the others.

    With its default of 5 s, 1,000 callers end in a state in which all are busy timing out and nobody is served.
    """
    patient = library.Timeout(5.0, pool=None)
    async with library.AsyncClient(verify=trusting(job.ca) or True, timeout=patient) as client:
        url = f"{job.urls[0]}/item"

        async def call() -> bytes:
            response = await client.get(url)
            expect(response.status_code)
            return bytes(response.content)

        yield lambda: call


def httpx(job: Job) -> AbstractAsyncContextManager[NewCaller]:
    """Bare."""
    import httpx as library

    return _bare(library, job)


def httpx2(job: Job) -> AbstractAsyncContextManager[NewCaller]:
    """Its fork, likewise."""
    import httpx2 as library

    return _bare(library, job)


class BareSocket:
    """What is left when everything is left out: a socket of trio's, llhttp, and a request made in advance."""

    def __init__(self, job: Job) -> None:
        parts = urlsplit(job.urls[0])
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._tls = trusting(job.ca)
        self._request = f"GET /item HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self._stream: Any = None
        self._parser: Any = None
        self._complete = False

    async def __call__(self) -> bytes:
        if self._stream is None:
            await self._connect()
        await self._send(self._request)
        while not self._complete:
            self._parser.feed_data(await self._receive())
        self._complete = False
        expect(self._parser.get_status_code())
        return self._body

    async def _connect(self) -> None:
        import httptools
        import trio

        self._stream = await trio.open_tcp_stream(self._host, self._port)
        if self._tls is not None:
            self._stream = trio.SSLStream(self._stream, self._tls, server_hostname=self._host)
            self._send, self._receive = self._stream.send_all, self._stream.receive_some
        else:  # a pass of the scheduler less than SocketStream
            self._send, self._receive = self._stream.socket.send, self._wait_and_receive
        self._parser = httptools.HttpResponseParser(self)

    async def _wait_and_receive(self) -> bytes:
        import trio

        await trio.lowlevel.wait_readable(self._stream.socket)
        return bytes(await self._stream.socket.recv(65_536))

    def on_body(self, data: bytes) -> None:
        """By llhttp."""
        self._body = data

    def on_message_complete(self) -> None:
        """By llhttp."""
        self._complete = True


@asynccontextmanager
async def bare_socket(job: Job) -> AsyncIterator[NewCaller]:
    """The limit. (Its sockets are closed with the process's event loop.)"""
    yield lambda: BareSocket(job)


# ---- on asyncio


@asynccontextmanager
async def aiohttp(job: Job) -> AsyncIterator[NewCaller]:
    """Bare, with its parser in C."""
    import aiohttp as library
    from aiohttp import http_parser

    if "_http_parser" not in http_parser.HttpResponseParser.__module__:
        raise RuntimeError("this aiohttp has no C parser: install a wheel of it")
    tls = trusting(job.ca)
    connector = library.TCPConnector(ssl=True if tls is None else tls)
    async with library.ClientSession(connector=connector) as session:
        url = f"{job.urls[0]}/item"

        async def call() -> bytes:
            async with session.get(url) as response:
                expect(response.status)
                return await response.read()

        yield lambda: call


@asynccontextmanager
async def pyreqwest(job: Job) -> AsyncIterator[NewCaller]:
    """Rust: hyper on tokio, in threads of its own."""
    from pathlib import Path

    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder()
    if job.ca is not None:
        builder = builder.add_root_certificate_pem(Path(job.ca).read_bytes())  # noqa: ASYNC240 - before the clock runs
    async with builder.build() as client:
        url = f"{job.urls[0]}/item"

        async def call() -> Any:
            response = await client.get(url).build().send()
            expect(response.status)
            return await response.bytes()

        yield lambda: call


ON_TRIO: dict[str, Opener] = {"guarded": guarded, "httpx": httpx, "httpx2": httpx2, "socket": bare_socket}
ON_ASYNCIO: dict[str, Opener] = {"aiohttp": aiohttp, "pyreqwest": pyreqwest}
