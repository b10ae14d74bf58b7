"""One connection, and one exchange at a time on it.

An exchange that does not end whole (cancelled, timed out, failed, half-read) leaves the connection closed: nothing of
it can ever be mistaken for the answer to somebody else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from ..errors import ResponseTooLarge, TransportError
from .parser import new_parser

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from .link import Link


class Connection:
    """A link and its parser. `usable` tells whether it can carry another exchange."""

    __slots__ = (
        *("busy", "closed", "deadline", "expired", "expiry", "idle_since"),
        *("link", "parser", "sent", "usable", "used", "__weakref__"),
    )

    def __init__(self, link: Link) -> None:
        self.link = link
        self.parser = new_parser()
        self.usable = True
        self.closed = False  # by us
        self.sent = True  # the whole request: the peer may have answered, and have stopped to read, before that
        self.used = False  # has carried an exchange before: if it fails now, the peer may just have closed it
        self.idle_since = 0.0
        self.busy = False  # there is an exchange
        self.deadline = math.inf  # of the present exchange
        self.expiry = math.inf  # when to look whether that is over: no earlier one is as good, and stands already
        self.expired = False

    @property
    def over(self) -> bool:
        """There is nothing to watch any more."""
        return self.closed

    def expire(self) -> None:
        """It is time to look. If the time of the exchange is up, whoever waits for the link is told by its closing.

        That costs no cancel scope. Nor is each exchange watched by itself: most are over long before, and the one that
        is under way now may have more time.
        """
        due, self.expiry = self.expiry, math.inf
        if self.busy and self.deadline <= due:
            self.expired = True
            self.close()
        elif self.busy:
            self.expiry = self.deadline

    def close(self) -> None:
        """Close at once."""
        self.usable, self.busy, self.closed = False, False, True
        self.parser.chunks = []  # the parser and its half in C know each other: they wait for a collection
        self.link.close()

    async def request(
        self, head: bytes, body: bytes | AsyncIterable[bytes], *, is_head: bool, chunked: bool = True
    ) -> None:
        """Send a request, and read up to the end of the response's headers.

        A body that comes in pieces is sent in chunks, or as it is where the head announces its length.

        Raises TransportError; ``parser.started`` then tells whether any of an answer had come.
        """
        self.usable = self.sent = False
        self.busy = True
        if isinstance(body, bytes):
            data = head + body if body else head
            sent = self._send_nowait(data)
            self.parser.begin(head=is_head)  # after the send, since the peer is at work now: it costs nobody's time
            self.sent = sent == len(data) or await self._send(memoryview(data)[sent:])
        else:
            self.parser.begin(head=is_head)
            self.sent = await self._send_pieces(head, body, chunked=chunked)
        while not self.parser.headed:  # also when it broke: the peer may have answered before it closed (413, say)
            await self._read()

    async def _send_pieces(self, head: bytes, body: AsyncIterable[bytes], *, chunked: bool) -> bool:
        if not await self._send(head):
            return False
        async for piece in body:
            if not piece:  # an empty chunk would end the body
                continue
            if not await self._send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece):
                return False
        return not chunked or await self._send(b"0\r\n\r\n")

    def _send_nowait(self, data: bytes) -> int:
        """What goes at once. If that fails, so will the rest, and a reader may still find an answer."""
        try:
            return self.link.send_nowait(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return 0

    async def _send(self, data: bytes | memoryview) -> bool:
        """False if the peer does not listen any more."""
        try:
            return await self.link.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if self.expired:
                raise trio.TooSlowError from None
            return False

    async def body(self, max_bytes: int) -> bytes:
        """The rest of the response, as it is on the wire. ResponseTooLarge past ``max_bytes``."""
        parser = self.parser
        while True:
            if parser.body_size > max_bytes:
                raise ResponseTooLarge(f"the body is larger than max_response_bytes ({max_bytes})")
            if parser.complete:
                break
            await self._read()
        chunks, parser.chunks = parser.chunks, []
        self.finish()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def chunk(self) -> bytes | None:
        """The next piece of the body; None at its end, after which the connection may be usable again."""
        parser = self.parser
        if self.closed:  # what was not read is gone, and what was whole must not look like nothing
            if self.expired:
                raise trio.TooSlowError
            raise TransportError("the connection was closed before its body was read")
        while not parser.chunks:
            if parser.complete:
                self.finish()
                return None
            await self._read()
        chunks, parser.chunks = parser.chunks, []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def finish(self) -> None:
        """The response is whole."""
        self.usable, self.used, self.busy = self.parser.reusable and self.sent, True, False

    async def _read(self) -> None:
        try:
            data = await self.link.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if self.expired:
                raise trio.TooSlowError from None
            if self.closed:
                raise TransportError("the connection was cut: its instance has gone, and its time is over") from None
            raise TransportError("the connection broke before the answer was whole") from None
        if data:
            self.parser.feed(data)
        else:
            self.parser.end()
