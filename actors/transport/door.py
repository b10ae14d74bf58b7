"""What the service actor asks of a transport, and what it gets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import trio

from ..errors import ResponseTooLarge
from ..secrecy.masked import Masked, shown_body, shown_names, shown_target
from .head import Block

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterator

    from ..service.target import Target


class Wire(Masked, msgspec.Struct, frozen=True, gc=False):  # it knows nobody that could know it: part of no cycle
    """One request as it goes out: everything is checked, nothing is left to add."""

    method: str
    target: str
    """Path and query, below the instance's prefix."""
    headers: tuple[tuple[str, str], ...]
    """Of this request."""
    body: "bytes | AsyncIterable[bytes]" = b""
    """Whole, or in pieces that are sent as they come."""
    constant: Block = Block()
    """Headers that are the same for all requests of the service."""
    replayable: bool = False
    """It may be sent again if nobody knows whether it was processed."""

    def told(self) -> Iterator[tuple[str, Any]]:
        """See `Masked`."""
        yield "method", self.method
        yield "target", shown_target(self.target)
        yield "headers", shown_names(self.constant.pairs + self.headers)
        yield "body", shown_body(self.body)


class Reply(Masked, msgspec.Struct, frozen=True, gc=False):
    """One response, read to its end."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order of the wire."""
    body: bytes
    """Decoded, if the peer compressed it."""
    ended: float = msgspec.field(default_factory=trio.current_time)
    """When it was whole (trio time)."""

    def header(self, name: str) -> str | None:
        """The first value of a header (name in lower case), or None."""
        for known, value in self.headers:  # `next` of a generator costs twice as much
            if known == name:
                return value
        return None

    def told(self) -> Iterator[tuple[str, Any]]:
        """See `Masked`: it may be a token's, or repeat ours."""
        yield "status", self.status
        yield "headers", shown_names(self.headers)
        yield "body", shown_body(self.body)


class Answer(Protocol):
    """One response whose head has come, and whose body is still on the wire."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order of the wire."""

    async def chunk(self) -> bytes | None:
        """The next piece of the body, decoded, at least one byte; None at its end.

        Raises:
            TransportError: the rest of it will not come.
            ResponseTooLarge: it decodes to far more than was sent.
        """
        ...

    async def aclose(self) -> None:
        """The end of the exchange: what has not been read is lost, and its connection with it. Twice is once."""
        ...


async def read_whole(answer: Answer, max_bytes: int) -> bytes:
    """The rest of an answer. Raises what `Answer.chunk` raises, and ResponseTooLarge past ``max_bytes``."""
    parts, size = [], 0
    while (piece := await answer.chunk()) is not None:
        size += len(piece)
        if size > max_bytes:
            raise ResponseTooLarge(f"the body is larger than max_response_bytes ({max_bytes})")
        parts.append(piece)
    return b"".join(parts)


class Door(Protocol):
    """A way to the instances of one service."""

    async def exchange(
        self, to: Target, wire: Wire, *, connect: float, max_bytes: int, deadline: float = math.inf
    ) -> Reply:
        """Send, and read the whole answer.

        Args:
            to: the instance.
            wire: the request.
            connect: seconds that connecting may take.
            max_bytes: of the decoded body.
            deadline: of all of it (trio time), beside the caller's cancel scopes.

        Raises:
            trio.TooSlowError: the deadline has passed.
            TransportError: no whole answer came; ``processed`` tells whether the peer can have done the work.
            ResponseTooLarge: the body is larger than ``max_bytes``.
        """
        ...

    async def open(self, to: Target, wire: Wire, *, connect: float, deadline: float = math.inf) -> Answer:
        """Send, and read the head of the answer. The caller closes the answer; how long he reads is his affair.

        Args:
            to: the instance.
            wire: the request.
            connect: seconds that connecting may take.
            deadline: of the head (trio time).

        Raises:
            trio.TooSlowError: the deadline has passed.
            TransportError: no answer came; ``processed`` tells whether the peer can have done the work.
        """
        ...

    async def reach(self, to: Target) -> bool:
        """Connect by TCP, and close again; False if it makes no connections of its own. Raises TransportError."""
        ...

    def keep_only(self, targets: set[Target]) -> None:
        """The instances are these now: connections to others are of no use any more."""
        ...

    async def cut(self, targets: set[Target]) -> None:
        """Close all connections to these, whatever is under way on them: it ends with a TransportError."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
