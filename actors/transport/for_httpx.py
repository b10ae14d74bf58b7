"""Our connections for any httpx client: the same pool and parser behind `httpx.AsyncBaseTransport`.

    async with httpx.AsyncClient(transport=PooledTransport()) as client: ...

On trio only. Requests and responses stream; timeouts are the client's, each of them for one operation, as httpx means
them. A response that is not read to its end closes its connection.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx
import trio

from ..errors import ServiceError
from ..service.target import Target
from .connection import Connection
from .link import connect
from .pool import Pool, PoolCounts
from .tls import TLSContexts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType

    from ..config import TLSConfig


class PooledTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over connections of ours.

    Args:
        tls: settings for https; None are the defaults.
        expiry: seconds after which an idle connection is no longer used.
        per_instance: idle connections kept for each origin.
        total: idle connections kept in all.
    """

    def __init__(
        self, *, tls: TLSConfig | None = None, expiry: float = 30.0, per_instance: int = 100, total: int = 1000
    ) -> None:
        self._pool = Pool(PoolCounts(), expiry=expiry, per_instance=per_instance, total=total)
        self._tls = tls
        self._contexts = TLSContexts()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange. Raises httpx's own errors."""
        timeout = request.extensions.get("timeout", {})
        to = _target(request)
        now = trio.current_time()
        self._pool.expire(now)
        connection = self._pool.take(to, now) or await self._connect(to, timeout.get("connect"))
        try:
            with _as_httpx(httpx.ReadTimeout, httpx.ReadError, timeout.get("read")):
                await connection.request(
                    _head(request),
                    _body(request),
                    is_head=request.method == "HEAD",
                    chunked="content-length" not in request.headers,
                )
        except BaseException:
            self._pool.give_back(to, connection, now)
            raise
        parser = connection.parser
        body = _Body(self._pool, to, connection, timeout.get("read"))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in parser.headers]
        return httpx.Response(parser.status, headers=headers, stream=body, extensions={"http_version": b"HTTP/1.1"})

    async def _connect(self, to: Target, seconds: float | None) -> Connection:
        with _as_httpx(httpx.ConnectTimeout, httpx.ConnectError, seconds):
            tls = self._contexts.get(self._tls) if to.scheme == "https" else None
            connection = Connection(await connect(to, tls))
        self._pool.connected()
        return connection

    async def aclose(self) -> None:
        """Close what is idle now, and what is in use when its exchange has ended."""
        self._pool.close()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """As `aclose`."""
        await self.aclose()


class _Body(httpx.AsyncByteStream):
    """What is left of a response on its connection."""

    def __init__(self, pool: Pool, to: Target, connection: Connection, seconds: float | None) -> None:
        self._pool = pool
        self._to = to
        self._connection: Connection | None = connection
        self._seconds = seconds

    def __aiter__(self) -> _Body:  # not a generator: trio warns of one that a reader leaves half-way
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            raise StopAsyncIteration
        with _as_httpx(httpx.ReadTimeout, httpx.ReadError, self._seconds):
            chunk = await self._connection.chunk()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Give the connection back: it is closed unless the response has been read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if connection.parser.complete and not connection.parser.chunks:
                connection.finish()
            self._pool.give_back(self._to, connection, trio.current_time())


def _target(request: httpx.Request) -> Target:
    url = request.url
    if url.scheme not in ("http", "https") or not url.host:
        raise httpx.UnsupportedProtocol("a request needs an http:// or https:// URL with a host", request=request)
    return Target(url.scheme, url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80), "")


def _head(request: httpx.Request) -> bytes:
    """As httpx has made it: nothing is added, and nothing may split it in two."""
    first = b"%b %b HTTP/1.1\r\n" % (request.method.encode("ascii"), request.url.raw_path)
    lines = [b"%b: %b\r\n" % pair for pair in request.headers.raw]
    head = b"".join((first, *lines, b"\r\n"))
    expected = len(lines) + 2
    if head.count(b"\n") != expected or head.count(b"\r") != expected or b"\0" in head or first.count(b" ") != 2:
        raise httpx.LocalProtocolError(
            "a line break, NUL or space in the method, URL or headers would split the request"
        )
    return head


def _body(request: httpx.Request) -> bytes | AsyncIterator[bytes]:
    """At once where it is in memory; else piece by piece, framed as its headers say."""
    with contextlib.suppress(httpx.RequestNotRead):
        return request.content
    assert isinstance(request.stream, httpx.AsyncByteStream)  # noqa: S101 - as AsyncClient makes sure
    return request.stream.__aiter__()


@contextlib.contextmanager
def _as_httpx(
    slow: type[httpx.TimeoutException], broken: type[httpx.TransportError], seconds: float | None
) -> Iterator[None]:
    """Our errors as httpx's, and a timeout for one operation."""
    try:
        if seconds is None:
            yield
        else:
            with trio.fail_after(seconds):
                yield
    except trio.TooSlowError:
        raise slow(f"it took more than {seconds:g} s") from None
    except ServiceError as error:
        raise httpx.RemoteProtocolError(error.message) from error
    except (OSError, trio.BrokenResourceError) as error:
        raise broken(type(error).__name__) from error
