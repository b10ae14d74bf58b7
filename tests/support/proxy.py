"""A proxy on trio: forwards requests with absolute URLs, opens tunnels (CONNECT), speaks SOCKS5; and refuses to order.

async with http_proxy(auth=("me", "secret")) as proxy:        # or socks_proxy(...)
    ... proxy.url ... proxy.log ... proxy.open ...
"""

from __future__ import annotations

import base64
import re
import socket
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import trio

from .wire import HOST


@dataclass
class Proxy:
    """What a proxy has done so far."""

    scheme: str
    port: int
    host: str = HOST
    log: list[str] = field(default_factory=list)
    """``GET http://...`` and ``CONNECT host:port`` as they came."""
    heads: list[bytes] = field(default_factory=list)
    accepted: int = 0
    open: int = 0
    """Connections in hand."""

    @property
    def url(self):
        return f"{self.scheme}://{self.host}:{self.port}"


@asynccontextmanager
async def http_proxy(*, auth=None, tunnel=None, ssl_context=None):
    """A forward proxy. ``tunnel(stream)`` in place of a tunnel: it has the CONNECT, and answers it or not."""
    async with _listening("http" if ssl_context is None else "https", ssl_context, _HTTP(auth, tunnel)) as proxy:
        yield proxy


@asynccontextmanager
async def socks_proxy(*, auth=None, greeting=None):
    """A SOCKS5 proxy (RFC 1928, with the passwords of RFC 1929). ``greeting(stream)``: in place of all of it."""
    async with _listening("socks5", None, _Socks(auth, greeting)) as proxy:
        yield proxy


@asynccontextmanager
async def _listening(scheme, ssl_context, serve):
    async def one(stream):
        proxy.accepted += 1
        proxy.open += 1
        try:
            async with stream:
                if ssl_context is not None:
                    stream = trio.SSLStream(stream, ssl_context, server_side=True, https_compatible=True)
                await serve(stream, proxy)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
            pass
        finally:
            proxy.open -= 1

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        proxy = Proxy(scheme, listener.socket.getsockname()[1], "localhost" if ssl_context else HOST)
        nursery.start_soon(trio.serve_listeners, one, [listener])
        yield proxy
        nursery.cancel_scope.cancel()


class _HTTP:
    def __init__(self, auth, tunnel):
        self._wanted = None if auth is None else b"basic " + base64.b64encode(":".join(auth).encode())
        self._tunnel = tunnel

    async def __call__(self, stream, proxy):
        """Requests are read one by one, for each has to be rewritten; answers are copied as they come."""
        data, there = b"", None
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            while True:
                head, data = await _head(stream, data)
                if not head:
                    break
                method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
                proxy.log.append(f"{method} {target}")
                proxy.heads.append(head)
                if self._wanted is not None and not self._may(head):
                    await stream.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                elif method == "CONNECT":
                    await self._connect(stream, target)
                    break
                else:
                    url = urlsplit(target)
                    if there is None:
                        there = await stack.enter_async_context(await trio.open_tcp_stream(url.hostname, url.port))
                        nursery.start_soon(_copy, there, stream, nursery.cancel_scope)
                    await there.send_all(_rewritten(head, url))
                    data = await _body(stream, there, head, data)
            nursery.cancel_scope.cancel()

    def _may(self, head):
        lines = [line.partition(b":") for line in head.split(b"\r\n")]
        said = [value.strip() for name, _, value in lines if name.lower() == b"proxy-authorization"]
        return [one[:6].lower() + one[6:] for one in said] == [self._wanted]

    async def _connect(self, stream, target):
        if self._tunnel is not None:
            await self._tunnel(stream)
            return
        host, _, port = target.rpartition(":")
        try:
            there = await trio.open_tcp_stream(host.strip("[]"), int(port))
        except OSError:
            await stream.send_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        await stream.send_all(b"HTTP/1.1 200 Connected\r\n\r\n")
        await join(stream, there)


class _Socks:
    def __init__(self, auth, greeting):
        self._auth = auth
        self._greeting = greeting

    async def __call__(self, stream, proxy):
        if self._greeting is not None:
            await self._greeting(stream)
            return
        _, count = await _exactly(stream, 2)
        methods = await _exactly(stream, count)
        wanted = 0 if self._auth is None else 2
        if wanted not in methods:
            await stream.send_all(b"\x05\xff")
            return
        await stream.send_all(bytes((5, wanted)))
        if wanted and not await self._login(stream):
            return
        _, _, _, kind = await _exactly(stream, 4)
        if kind == 1:
            host = socket.inet_ntop(socket.AF_INET, await _exactly(stream, 4))
        elif kind == 4:
            host = socket.inet_ntop(socket.AF_INET6, await _exactly(stream, 16))
        else:
            host = (await _exactly(stream, (await _exactly(stream, 1))[0])).decode()
        port = int.from_bytes(await _exactly(stream, 2))
        proxy.log.append(f"CONNECT {host}:{port}")
        try:
            there = await trio.open_tcp_stream(host, port)
        except OSError:
            await stream.send_all(b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00")
            return
        await stream.send_all(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await join(stream, there)

    async def _login(self, stream):
        await _exactly(stream, 1)
        name = await _exactly(stream, (await _exactly(stream, 1))[0])
        password = await _exactly(stream, (await _exactly(stream, 1))[0])
        right = (name.decode(), password.decode()) == self._auth
        await stream.send_all(b"\x01\x00" if right else b"\x01\x01")
        return right


async def join(one, other):
    """Bytes both ways until one side ends; then both end."""
    async with other, trio.open_nursery() as nursery:
        nursery.start_soon(_copy, one, other, nursery.cancel_scope)
        nursery.start_soon(_copy, other, one, nursery.cancel_scope)


async def _copy(source, sink, scope):
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    scope.cancel()


async def _head(stream, data):
    while b"\r\n\r\n" not in data:
        chunk = await stream.receive_some(65536)
        if not chunk:
            return b"", b""
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _rewritten(head, url):
    """For the service: its own path, and nothing that is for the proxy."""
    first, *lines = head.split(b"\r\n")
    method, _, version = first.split(b" ")
    path = f"{url.path or '/'}{'?' if url.query else ''}{url.query}".encode()
    kept = [line for line in lines if not line.lower().startswith(b"proxy-")]
    return b"\r\n".join((b" ".join((method, path, version)), *kept)) + b"\r\n\r\n"


async def _body(stream, there, head, data):
    """Pass on a body of a length that is said; returns what came behind it."""
    found = re.search(rb"\ncontent-length: *([0-9]+)", head.lower())
    missing = int(found[1]) if found else 0
    while missing:
        data = data or await stream.receive_some(65536)
        if not data:
            raise trio.BrokenResourceError("it hung up")
        await there.send_all(data[:missing])
        missing, data = missing - len(data[:missing]), data[missing:]
    return data


async def _exactly(stream, count):
    data = b""
    while len(data) < count:
        chunk = await stream.receive_some(count - len(data))
        if not chunk:
            raise trio.BrokenResourceError("it hung up")
        data += chunk
    return data
