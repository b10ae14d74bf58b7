"""What a transport of httpx's shape is, and whose classes it takes: httpx's, or those of its successor httpx2.

The two have the same names for other classes, and a transport of one does not take a request of the other. So requests
are made of the classes of the library that the transport's own class comes from.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator
    from types import ModuleType

_LIBRARIES = ("httpx", "httpx2")
_SLICE = 65_536  # bytes of a body that are handed over at once: httpcore copies what is left of it with each frame


class AsyncTransport(Protocol):
    """What stands in for the network: an async transport of httpx or httpx2, or anything of their shape.

    One that derives from neither gets requests of httpx.
    """

    async def handle_async_request(self, request: Any) -> Any:
        """One exchange: a request of the library, for a response of it."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


def check_transport(transport: object) -> None:
    """Raises TypeError, which says what is needed, for what is no `AsyncTransport`."""
    needed = "handle_async_request", "aclose"
    if isinstance(transport, type):
        raise TypeError(f"transport must be a transport, not the class {transport.__name__}: make one of it")
    if missing := [name for name in needed if not callable(getattr(transport, name, None))]:
        raise TypeError(
            "transport must be an async transport of httpx or httpx2, or have their `async handle_async_request("
            f"request)` and `async aclose()`: a {type(transport).__name__} has no {' and no '.join(missing)}"
        )


class Library:
    """The classes of httpx, or of httpx2."""

    def __init__(self, module: ModuleType) -> None:
        self.request = module.Request
        self.response = module.Response
        # What happened before any byte of the request can have reached a server that acts on it.
        self.not_sent = (
            module.ConnectError,
            module.ConnectTimeout,
            module.PoolTimeout,
            module.ProxyError,
            module.UnsupportedProtocol,
        )
        # Their texts quote what we would send, credentials and all: not kept as a cause, which a log would print.
        self.tell_tales = (module.LocalProtocolError, module.InvalidURL)
        self.proxy_error = module.ProxyError
        self.body: type[Body] = type("Body", (Body, module.AsyncByteStream), {})


def library_of(transport: object) -> Library:
    """The library that a transport takes the requests of."""
    roots = (cls.__module__.partition(".")[0] for cls in type(transport).__mro__)
    return _library(next((root for root in roots if root in _LIBRARIES), "httpx"))


@functools.cache
def _library(name: str) -> Library:
    return Library(importlib.import_module(name))


class Body:
    """The body of a request, without a generator as httpx has it: trio warns of one that a cancelled call leaves."""

    def __init__(self, body: bytes | AsyncIterable[bytes]) -> None:
        self._body = body
        self._sent = 0
        self._pieces: AsyncIterator[bytes] | None = None
        self.failure: Exception | None = None
        """What the caller's iterator raised."""
        self.cause: BaseException | None = None
        """What it said it raised it for."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._sent = 0
        if not isinstance(self._body, bytes):
            if self._pieces is not None:  # the only reason for which httpcore sends again
                raise TransportError(
                    "the peer closed the connection before it looked at the request (GOAWAY), whose body comes from an "
                    "iterator and can be sent only once",
                    processed="no",
                )
            self._pieces = aiter(self._body)
        return self

    async def __anext__(self) -> bytes:
        if self._pieces is not None:
            return await self._next(self._pieces)
        assert isinstance(self._body, bytes)  # noqa: S101 - else there are pieces
        piece = self._body[self._sent : self._sent + _SLICE]
        if not piece:
            raise StopAsyncIteration
        self._sent += len(piece)
        return piece

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes:
        try:
            return await anext(pieces)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.failure, self.cause = error, error.__cause__
            raise
