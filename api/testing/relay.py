"""One connection through the proxy: two sides, and the bytes between them on their courses.

What comes from one side goes to the other as it is, an end as an end and a reset as a reset, until a fault strikes.
Sockets are closed without an await, so a relay that is cancelled has nothing left to do.
"""

from __future__ import annotations

import socket
import struct
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import trio

from .course import Course
from .faults import STRIKES, HalfClose, Reset, Truncate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .faults import Direction, Fault, Strike

    Dial: TypeAlias = Callable[[], Awaitable[trio.SocketStream]]
    Count: TypeAlias = Callable[[Direction, int], None]

Read: TypeAlias = tuple[float, bytes | None]  # when it is due, and the bytes: none at an end, None at a reset

_CHUNK = 65_536
_PATIENCE = 10.0  # seconds for the server to take a connection, and for each side to close one that was truncated
_LINGER = struct.pack("ii", 1, 0)  # on, for no time: closing throws away what was not sent, and sends a reset
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Relay:
    """A connection that has been accepted."""

    def __init__(self, client: trio.SocketStream, faults: Sequence[Fault], seed: str, count: Count) -> None:
        self.unreachable = False
        """The server could not be connected to."""
        self._client = _Side(client)
        self._server: _Side | None = None
        self._up = Course("upstream", faults, Random(f"{seed}/up"))
        self._down = Course("downstream", faults, Random(f"{seed}/down"))
        at_once = (fault for fault in faults if isinstance(fault, STRIKES) and fault.after is None)
        self._strike: Strike | None = next(at_once, None)
        self._count = count
        self._whole = trio.CancelScope()
        self._forwarding = trio.CancelScope()

    async def run(self, dial: Dial) -> None:
        """Until the connection has ended."""
        try:
            with self._whole:
                if self._strike is None:
                    await self._forward(dial)
                await self._end()
        finally:
            for side in self._sides():
                side.close()

    def reset(self) -> None:
        """Reset both sides, now."""
        for side in self._sides():
            side.close(reset=True)
        self._whole.cancel()

    def _sides(self) -> list[_Side]:
        return [side for side in (self._client, self._server) if side is not None]

    async def _forward(self, dial: Dial) -> None:
        """Until both directions have ended, or a fault has struck."""
        try:
            with trio.fail_after(_PATIENCE):
                self._server = _Side(await dial())
        except (OSError, trio.TooSlowError):
            self.unreachable, self._strike = True, Reset()
            return
        with self._forwarding:
            async with trio.open_nursery() as nursery:
                for course, source, sink in (
                    (self._up, self._client, self._server),
                    (self._down, self._server, self._client),
                ):
                    put, take = trio.open_memory_channel[Read](course.in_flight)
                    nursery.start_soon(_read, course, source, put)
                    nursery.start_soon(self._write, course, source, sink, take)

    async def _write(self, course: Course, source: _Side, sink: _Side, line: trio.MemoryReceiveChannel[Read]) -> None:
        async for due, data in line:
            await trio.sleep_until(due)
            if data:
                await self._send(course, data, sink)
            elif data is None or source.broken:
                self._struck_by(Reset())
            else:
                await sink.end()
        source.ended = True

    async def _send(self, course: Course, data: bytes, sink: _Side) -> None:
        for piece in course.pieces(data):
            if sink.closed:  # what still comes is read and thrown away, so that its sender does not hang
                return
            await trio.sleep(course.pause(piece))
            passed, strike = course.admit(piece)
            if passed and await sink.send(passed):
                self._count(course.direction, len(passed))
            if sink.broken and sink.ended:
                self._struck_by(Reset())
            elif isinstance(strike, HalfClose):
                await sink.end()
            elif strike is not None:
                self._struck_by(strike)

    def _struck_by(self, strike: Strike) -> None:
        self._strike = strike
        self._forwarding.cancel()

    async def _end(self) -> None:
        """What is left to be done with both sides before they are closed."""
        if isinstance(self._strike, Reset):
            self.reset()
        elif isinstance(self._strike, Truncate):
            with trio.move_on_after(_PATIENCE):
                # Closing with bytes unread would be a reset: RFC 9112, section 9.6, has servers do the same.
                async with trio.open_nursery() as nursery:
                    for side in self._sides():
                        await side.end()
                        nursery.start_soon(side.swallow)
        elif self._strike is not None:
            async with trio.open_nursery() as nursery:
                if self._server is not None:
                    nursery.start_soon(self._server.swallow)
                await self._client.swallow()
                nursery.cancel_scope.cancel()


class _Side:
    """One end of the relay."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.closed = False  # for writing
        self.broken = False  # writing has failed: its end, when we read that, is what is left of a reset
        self.ended = False  # all that it said has been passed on

    async def receive(self) -> bytes | None:
        """No bytes at an end, None at a reset."""
        try:
            return bytes(await self._stream.receive_some(_CHUNK))
        except _GONE:
            return None

    async def send(self, data: bytes) -> bool:
        """Not an error if nobody is there any more: there may still be something to read, an early answer say."""
        try:
            await self._stream.send_all(data)
        except _GONE:
            self.closed = self.broken = True
        return not self.broken

    async def end(self) -> None:
        """Close for writing."""
        self.closed = True
        try:
            await self._stream.send_eof()
        except _GONE:
            self.broken = True

    async def swallow(self) -> None:
        """Read until there is no more, for nobody."""
        while await self.receive():
            pass

    def close(self, *, reset: bool = False) -> None:
        """Close at once. Twice is once."""
        raw = self._stream.socket
        if reset and raw.fileno() != -1:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        raw.close()


async def _read(course: Course, source: _Side, line: trio.MemorySendChannel[Read]) -> None:
    async with line:
        data: bytes | None = b" "
        while data:
            data = await source.receive()
            await line.send((course.due(trio.current_time()), data))
