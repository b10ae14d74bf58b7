"""A door over transports of httpx's shape: the user's own (`transport=`), or httpx's where our connections do not do.

The transport is used directly, without an `httpx.AsyncClient`: a client would add cookies, redirects and timeouts per
operation, of which we want none, and a third of the cost of a call.
"""

from __future__ import annotations

import math
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from ..errors import ResponseTooLarge, TransportError
from ..secrecy.known import scrubbing
from ..secrecy.retold import cause_of
from . import head
from .door import Reply, read_whole
from .httpx_lanes import Lanes
from .httpx_library import Body, library_of
from .httpx_trip import Trip
from .inflate import inflater_for
from .link import touch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ..service.target import Target
    from .door import Answer, Wire
    from .httpx_lanes import Lane
    from .httpx_library import AsyncTransport
    from .inflate import Inflater

_CLOSING = 2.0  # seconds that saying goodbye to a peer may take
_BUFFERED = 20_000  # chunks that a closed connection can still hold, at most


class HttpxDoor:
    """See `Door`. Exchanges requests over transports that are made when they are first needed.

    Args:
        make: a transport.
        owned: whether it is ours, to be replaced and closed; a transport that the user passed in is his to close.
        scrub: takes secrets out of what a transport's error says.
        http2: whether it may speak HTTP/2.
        dials: whether it connects to the instances itself, and so can be told the address of one.
    """

    def __init__(
        self,
        make: Callable[[], AsyncTransport],
        *,
        owned: bool,
        scrub: Callable[[str], str],
        http2: bool = False,
        dials: bool = False,
    ) -> None:
        self.scrub = scrub
        self.dials = dials
        self.lanes = Lanes(make, owned=owned, http2=http2)

    async def exchange(
        self, to: Target, wire: Wire, *, connect: float, max_bytes: int, deadline: float = math.inf
    ) -> Reply:
        """See `Door.exchange`."""
        with trio.CancelScope(deadline=deadline):
            answer = await self._request(to, wire, connect, max_bytes)
            try:
                body = await read_whole(answer, max_bytes)
            finally:
                await answer.aclose()
            return Reply(answer.status, answer.headers, body)
        raise trio.TooSlowError

    async def open(self, to: Target, wire: Wire, *, connect: float, deadline: float = math.inf) -> Answer:
        """See `Door.open`."""
        with trio.CancelScope(deadline=deadline):
            return await self._request(to, wire, connect, None)
        raise trio.TooSlowError

    async def _request(self, to: Target, wire: Wire, connect: float, max_bytes: int | None) -> _HttpxAnswer:
        """Send, and read the head of the answer; the answer is then the caller's to close."""
        # The same last look as our own connections take: h2 would send line breaks in headers, if it were given any.
        size = len(wire.body) if isinstance(wire.body, bytes) else None
        head.encode(to, wire.method, wire.target, constant=wire.constant, headers=wire.headers, size=size)
        try:
            lane = self.lanes.enter(to)
        except OSError as error:  # a file of the TLS settings, which is read when it is first needed
            raise TransportError(f"no connection to {to.authority}: {type(error).__name__}", processed="no") from error
        exchange = _Exchange(self, to, lane, Trip(to, connect, lane.opened))
        try:
            return await exchange.send(wire, connect, max_bytes)
        except BaseException:
            await exchange.end(whole=False)
            raise

    async def reach(self, to: Target) -> bool:
        """See `Door.reach`. Past a transport that is the user's there is no network."""
        if not self.lanes.owned:
            return False
        await touch(to)
        return True

    def keep_only(self, targets: set[Target]) -> None:
        """See `Door.keep_only`. A transport that is the user's keeps its connections to itself."""
        self.lanes.keep_only(targets)

    async def cut(self, targets: set[Target]) -> None:
        """See `Door.cut`. On a transport that is the user's, exchanges end by themselves."""
        await self.lanes.cut(targets)

    async def aclose(self) -> None:
        """Close what is idle, if it is ours, and the rest when its exchange has ended."""
        await self.lanes.aclose()


class _Exchange:
    """A place on a lane, for the length of one exchange."""

    def __init__(self, door: HttpxDoor, to: Target, lane: Lane, trip: Trip) -> None:
        self._door = door
        self._to = to
        self._lane = lane
        self._trip = trip
        self._library = library_of(lane.transport)
        self._body: Body | None = None
        self._scrub = door.scrub

    async def send(self, wire: Wire, connect: float, max_bytes: int | None) -> _HttpxAnswer:
        """The answer, as soon as its head is there."""
        self._scrub = scrubbing(wire, self._scrub)
        with self.errors(), self._trip.connecting:
            response = await self._lane.transport.handle_async_request(self._request(wire, connect))
            return _HttpxAnswer(self, response, max_bytes)
        raise self._trip.too_slow()

    def _request(self, wire: Wire, connect: float) -> Any:
        body = self._body = self._library.body(wire.body)
        pairs = wire.constant.pairs + wire.headers
        # One deadline for the whole exchange comes from the caller's scope; only connecting has one of its own.
        timeout = {"connect": connect, "read": None, "write": None, "pool": None}
        extensions = {"timeout": timeout, "trace": self._trip}
        to = self._to
        if self._door.dials and to.address:
            pairs = (("Host", to.authority), *pairs)
            extensions["sni_hostname"] = to.host
            to = msgspec.structs.replace(to, host=to.address)
        request = self._library.request(
            wire.method,
            to.url(wire.target),
            headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in pairs],
            content=(wire.body or None) if isinstance(wire.body, bytes) else body,
            extensions=extensions,
        )
        if wire.body:
            request.stream = body
        return request

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Makes ours of the transport's errors. A user's may raise anything; none of it may crash the actor."""
        try:
            yield
        except (ResponseTooLarge, TransportError):
            raise
        except self._library.tell_tales as error:
            raise self._trip.failure(error, self._library, self._scrub) from None
        except Exception as error:
            if self._body is not None and error is self._body.failure:  # the caller's iterator raised it
                raise error from self._body.cause  # which httpcore has taken off it
            raise self._trip.failure(error, self._library, self._scrub) from cause_of(error, self._scrub)

    async def end(self, *, whole: bool) -> None:
        """Leave the lane. Shielded: what is not closed here is closed by nobody."""
        with trio.CancelScope(deadline=trio.current_time() + _CLOSING, shield=True):
            await self._door.lanes.leave(self._to, self._lane, self._trip, whole=whole)


class _HttpxAnswer:
    """See `Answer`."""

    def __init__(self, exchange: _Exchange, response: Any, max_bytes: int | None) -> None:
        self._exchange = exchange
        self._response = response
        self._max_bytes = max_bytes
        self._closed = self._whole = False
        self._reading, self._read_done = trio.CancelScope(), trio.Event()
        self._read_done.set()
        self.status: int = response.status_code
        raw = response.headers.raw
        self.headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw)
        # A response made in memory, by a transport for tests, has been read and decoded by httpx already.
        self._decoded = response.is_stream_consumed
        self._raw: AsyncIterator[bytes] = _Once(response.content) if self._decoded else aiter(response.stream)
        self._inflater: Inflater | None = None
        self._pieces: Iterator[bytes] = iter(())

    async def chunk(self) -> bytes | None:
        """See `Answer.chunk`."""
        if not self._decoded:  # here and not before: an encoding that is not known is a reason to close the answer
            self._decoded, self._inflater = True, inflater_for(self.status, self.headers, self._max_bytes)
        while (piece := next(self._pieces, None)) is None:
            raw = await self._read()
            if raw is None:
                self._whole = True
                if self._inflater is not None:
                    self._inflater.end()
                return None
            if self._inflater is not None:
                self._pieces = self._inflater.pieces(raw)
            elif raw:
                return raw
        return piece

    async def _read(self) -> bytes | None:
        if not self._closed:
            self._reading, self._read_done = trio.CancelScope(), trio.Event()
            try:
                with self._exchange.errors(), self._reading:
                    return await anext(self._raw, None)
            finally:
                self._read_done.set()
        raise TransportError("the answer was closed before it was read to its end")

    async def aclose(self) -> None:
        """See `Answer.aclose`."""
        if self._closed:
            return
        self._closed = True
        try:
            # Shielded, or a cancelled call would leave its connection half-read in the pool.
            with trio.CancelScope(deadline=trio.current_time() + _CLOSING, shield=True):
                self._reading.cancel()  # another task may be at it: the actor closes what the caller reads
                await self._read_done.wait()
                if not self._whole:
                    await _exhaust(self._raw)
                await self._response.aclose()
        finally:
            await self._exchange.end(whole=self._whole)


class _Once:
    """An iterator of one."""

    def __init__(self, content: bytes) -> None:
        self._content = [content]

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        if not self._content:
            raise StopAsyncIteration
        return self._content.pop()


async def _exhaust(chunks: AsyncIterator[bytes]) -> None:
    """Run the generators of a response that is not wanted any more to their end.

    There are five, one in the other, and closing the outermost would leave the rest to the garbage collector, of which
    trio warns. So the innermost is cancelled, where it waits for the network, and with it all the others.
    """
    with trio.CancelScope() as scope, suppress(Exception):
        scope.cancel()
        for _ in range(_BUFFERED):
            await anext(chunks)
