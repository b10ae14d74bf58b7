"""A door over any httpx transport: the network by default, a `MockTransport` in tests.

The transport is used directly, without an `httpx.AsyncClient`: a client would add cookies, redirects and timeouts per
operation, of which we want none, and a third of the cost of a call.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import trio

from ..errors import ResponseTooLarge, TransportError
from .door import Reply
from .inflate import Inflater, inflater_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ..service.target import Target
    from .door import Wire

_CLOSING = 2.0  # seconds that saying goodbye to a peer may take
_BUFFERED = 20_000  # chunks that a closed connection can still hold, at most

# What happened before any byte of the request can have reached a server that acts on it.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

# Their texts quote what we would send, credentials and all: they are not kept as a cause, which a log would print.
_TELL_TALES = (httpx.LocalProtocolError, httpx.InvalidURL)


class HttpxDoor:
    """Exchanges requests over an `httpx.AsyncBaseTransport`, made when it is first needed."""

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], *, owned: bool) -> None:
        self._make = make
        self._owned = owned  # a transport that the user passed in is his to close
        self._transport: httpx.AsyncBaseTransport | None = None

    async def exchange(
        self, to: Target, wire: Wire, *, connect: float, max_bytes: int, deadline: float = math.inf
    ) -> Reply:
        """See `Door.exchange`."""
        with trio.CancelScope(deadline=deadline):
            return await self._exchange(to, wire, connect, max_bytes)
        raise trio.TooSlowError

    async def _exchange(self, to: Target, wire: Wire, connect: float, max_bytes: int) -> Reply:
        try:
            if self._transport is None:
                self._transport = self._make()
            request = _request(to, wire, connect)
            return await self._read(await self._transport.handle_async_request(request), max_bytes)
        except (ResponseTooLarge, TransportError):
            raise
        except _TELL_TALES as error:
            raise TransportError(f"the request to {to.authority} cannot be sent: {_words(error)}") from None
        except _NOT_SENT as error:
            raise TransportError(f"no connection to {to.authority}: {_words(error)}", processed="no") from error
        except Exception as error:  # a user's transport may raise anything; none of it may crash the actor
            raise TransportError(f"no whole answer from {to.authority}: {_words(error)}") from error

    async def _read(self, response: httpx.Response, max_bytes: int) -> Reply:
        chunks = response.aiter_bytes() if response.is_stream_consumed else response.aiter_raw()
        whole = False
        try:
            raw = response.headers.raw
            headers = tuple((name.decode("ascii").lower(), value.decode("latin-1")) for name, value in raw)
            # A response made in memory, by a transport for tests, has been decoded by httpx already.
            inflater = None if response.is_stream_consumed else inflater_for(headers, max_bytes)
            body = await _body(chunks, inflater, max_bytes)
            whole = True
        finally:
            # Shielded, or a cancelled call would leave its connection half-read in the pool.
            with trio.CancelScope(deadline=trio.current_time() + _CLOSING, shield=True):
                await response.aclose()
                if not whole:
                    await _exhaust(chunks)
        return Reply(response.status_code, headers, body)

    def keep_only(self, targets: set[Target]) -> None:
        """An httpx transport keeps its connections to itself, and lets them expire."""

    async def aclose(self) -> None:
        """Close all connections of a transport that is ours."""
        if self._transport is not None and self._owned:
            await self._transport.aclose()
        self._transport = None


def _request(to: Target, wire: Wire, connect: float) -> httpx.Request:
    request = httpx.Request(
        wire.method,
        to.url(wire.target),
        headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in wire.constant.pairs + wire.headers],
        content=wire.body or None,
        # One deadline for the whole exchange comes from the caller's scope; only connecting has one of its own.
        extensions={"timeout": {"connect": connect, "read": None, "write": None, "pool": None}},
    )
    if wire.body:
        request.stream = _Body(wire.body)
    return request


class _Body(httpx.AsyncByteStream):
    """The body of a request, without a generator as httpx has it: trio warns of one that a cancelled call leaves."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._sent = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._sent = False
        return self

    async def __anext__(self) -> bytes:
        if self._sent:
            raise StopAsyncIteration
        self._sent = True
        return self._body


async def _body(chunks: AsyncIterator[bytes], inflater: Inflater | None, max_bytes: int) -> bytes:
    parts, size = [], 0
    async for chunk in chunks:
        part = chunk if inflater is None else inflater.feed(chunk)
        size += len(part)
        if size > max_bytes:
            raise ResponseTooLarge(f"the body is larger than max_response_bytes ({max_bytes})")
        parts.append(part)
    if inflater is not None:
        inflater.end()
    return b"".join(parts)


async def _exhaust(chunks: AsyncIterator[bytes]) -> None:
    """Run the generators of a closed response to their end, which is near: nothing comes in any more.

    There are five, one in the other, and closing the outermost would leave the rest to the garbage collector, of
    which trio warns.
    """
    with suppress(Exception):
        for _ in range(_BUFFERED):
            await anext(chunks)


def _words(error: Exception) -> str:
    """What a transport's error says, without what it may quote: a URL can hold a secret."""
    return type(error).__name__
