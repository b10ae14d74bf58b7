"""From bytes to one response, whatever the cuts: the same events from either of two parsers.

`httptools` (llhttp, in C) where it is installed, else `h11` (pure Python, five times slower): chosen here and nowhere
else, and both pass the same tests. What both have in common is in `Parsed`: the limits, and the rules by which a
response is refused that two readers could read differently (request smuggling begins with those).
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Protocol

from ..errors import ResponseTooLarge, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEADERS = 100
MAX_HEAD = 65_536  # bytes of names and values, trailers included
MAX_RAW = 2 * MAX_HEAD  # bytes that are neither head nor body: blanks, 1xx responses, extensions of chunks
_PER_CHUNK, _PER_BYTE = 16, 2  # of which so many more may come with each chunk and byte: as Go allows (CVE-2023-39326)


class ResponseParser(Protocol):
    """One response at a time: `begin`, then `feed` until `complete`."""

    status: int
    headers: list[tuple[str, str]]
    """In the order of the wire, names in lower case."""
    chunks: list[bytes]
    """Pieces of the body that nobody has taken yet."""
    body_size: int
    """Bytes of body so far, taken or not."""
    started: bool
    """A byte of the response has come."""
    headed: bool
    """Status and headers are there."""
    complete: bool
    reusable: bool
    """Once it is complete: the connection may carry another exchange."""

    def begin(self, *, head: bool) -> None:
        """Expect a response; ``head``: to a HEAD request, so that no body comes."""
        ...

    def feed(self, data: bytes) -> None:
        """Take some bytes. Raises TransportError for what is no HTTP, ResponseTooLarge for too much head."""
        ...

    def end(self) -> None:
        """The peer has closed. Raises TransportError if the response is not whole."""
        ...


class Parsed:
    """What a parser has found, and the rules for it."""

    def __init__(self) -> None:
        # The last value of each name and what was made of it: a peer says most headers again with each answer, and
        # to compare costs a fifth of what it costs to decode.
        self._known: dict[bytes, tuple[bytes, tuple[str, str]]] = {}
        self.begin(head=False)

    def begin(self, *, head: bool) -> None:
        """Expect a response."""
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.chunks: list[bytes] = []
        self.started = self.headed = self.complete = self.reusable = False
        self._to_head = head
        self.body_size = 0
        self._head_size = self._raw_size = 0
        self._until_close = False

    def _fed(self, data: bytes, pieces: int, body_size: int) -> None:
        """One `feed` is done; there were so many pieces and so much body before it."""
        count, grown = len(self.chunks) - pieces, self.body_size - body_size
        if count > 1:  # a peer may send chunks of a byte, and an object for each is dear
            self.chunks[pieces:] = [b"".join(self.chunks[pieces:])]
        if not self.complete:  # the parsers keep such bytes, or some of them, and nobody sends them in good faith
            self._raw_size += len(data) - grown - grown * _PER_BYTE - count * _PER_CHUNK
            if self._raw_size > MAX_RAW:
                raise ResponseTooLarge(f"{MAX_RAW} bytes of it are neither its head nor its body")
            self._raw_size = max(self._raw_size, 0)

    def _header(self, name: bytes, value: bytes) -> None:
        """One header of the head."""
        known = self._known.get(name)
        if known is None or known[0] != value:
            pair = (name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t"))
            if len(self._known) >= MAX_HEADERS:  # a peer that names them as it likes
                self._known.clear()
            self._known[name] = known = (value, pair)
        self.headers.append(known[1])

    def _count(self, size: int) -> None:
        """So many bytes more of names and values."""
        self._head_size += size
        if self._head_size > MAX_HEAD or len(self.headers) > MAX_HEADERS:
            raise ResponseTooLarge(f"its head is larger than {MAX_HEAD} bytes or {MAX_HEADERS} headers")

    def _framed(self) -> bool:
        """Headers are done: check how the body ends. True if there is none."""
        self.headed = True
        lengths, codings = set(), []
        for name, value in self.headers:
            if name == "content-length":
                lengths.add(value)
            elif name == "transfer-encoding":
                codings.append(value.lower())
        if (lengths and codings) or len(lengths) > 1 or not all(map(_is_number, lengths)):
            raise TransportError("its headers contradict each other about where the body ends")
        if codings and codings != ["chunked"]:
            raise TransportError("it uses a transfer encoding that is not known")
        bodiless = self._to_head or self.status in (204, 304)
        self._until_close = not (bodiless or lengths or codings)
        return bodiless

    def _keeps_alive(self, version: str) -> bool:
        """RFC 9112, section 9.3: does the peer keep the connection, if its answer has no body?"""
        values = [value for name, value in self.headers if name == "connection"]
        options = {option.strip().lower() for option in ",".join(values).split(",")}
        return "close" not in options and (version == "1.1" or "keep-alive" in options)

    def _truncated(self) -> TransportError:
        where = "its body" if self.headed else "its head" if self.started else "any answer"
        return TransportError(f"the peer closed before the end of {where}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def new_parser() -> ResponseParser:
    """A parser for one connection."""
    return _make()


def _choose() -> Callable[[], ResponseParser]:
    if importlib.util.find_spec("httptools") is not None:
        from .parse_httptools import HttptoolsParser  # noqa: PLC0415 - only where it is installed

        return HttptoolsParser
    from .parse_h11 import H11Parser  # noqa: PLC0415

    return H11Parser


_make = _choose()
