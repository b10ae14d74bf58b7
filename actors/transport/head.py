"""Request heads as bytes. The constant part is joined once a service, and nothing may split a request."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from ..errors import InvalidRequest, TransportError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ..service.target import Target

_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})

# RFC 9112, sections 3 and 5. Possessive: there is nothing to go back to, so a match takes linear time.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_FIRST = re.compile(rf"{_WORD} [!-~]++ HTTP/1\.1\r\n")
_AUTHORITY = re.compile(r"(?:[0-9A-Za-z._~%!$&'()*+,;=-]++|\[[0-9A-Za-z:.%]++\])(?::[0-9]++)?")
_OURS = r"(?!(?i:host|content-length|transfer-encoding):)"  # said twice, they make two requests of one
_LINES = re.compile(rf"(?:{_OURS}{_WORD}: [\t\x20-\x7e\x80-\xff]*+\r\n)*+")


class Block:
    """Headers that are the same for many requests: checked and joined once."""

    __slots__ = ("data", "names", "pairs")

    def __init__(self, pairs: tuple[tuple[str, str], ...] = ()) -> None:
        self.pairs = pairs
        self.names = frozenset(name.lower() for name, _ in pairs)
        self.data = lines(pairs)

    def without(self, names: Collection[str]) -> Block:
        """Those of other names (given in lower case)."""
        if self.names.isdisjoint(names):
            return self
        return Block(tuple(pair for pair in self.pairs if pair[0].lower() not in names))


def lines(headers: Sequence[tuple[str, str]]) -> bytes:
    """Headers as bytes, a line each. InvalidRequest if they are anything else, or not the caller's to set."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if not _LINES.fullmatch(text) or text.count("\n") != len(headers):
        raise InvalidRequest("a header has a name that is none or is ours to set, or a value with a control character")
    return text.encode("latin-1")


@lru_cache(maxsize=1024)
def _host(to: Target) -> bytes:
    try:
        if not to.host.isascii():
            to = msgspec.structs.replace(to, host=to.host.encode("idna").decode("ascii"))
    except UnicodeError:
        raise TransportError(f"{to.host!r} is not a host name", processed="no") from None
    if not _AUTHORITY.fullmatch(to.authority):
        raise TransportError(f"{to.host!r} is not a host name", processed="no")
    return f"Host: {to.authority}\r\n".encode("ascii")


def encode(
    to: Target, method: str, target: str, *, constant: Block, headers: tuple[tuple[str, str], ...], size: int | None
) -> bytes:
    """The head of one request.

    Args:
        to: the instance.
        method: an HTTP method.
        target: path and query, below the instance's prefix.
        constant: the service's own headers.
        headers: those of this request.
        size: of the body in bytes; None if it comes in chunks.

    Raises:
        InvalidRequest: a part is not what it should be, and could make two requests of one. The callers of this check
            their parts as they take them; this is the last look before a byte is sent.
        TransportError: the host is no name that DNS can have.
    """
    if size is None:
        framing = "Transfer-Encoding: chunked\r\n"
    elif size or method in _BODY_METHODS:
        framing = f"Content-Length: {size}\r\n"
    else:
        framing = ""
    path = f"{to.prefix}{target}" or "/"
    first = f"{method} {path if path[0] == '/' else '/' + path} HTTP/1.1\r\n"
    if not _FIRST.fullmatch(first):
        raise InvalidRequest("a method or a path with a blank, a control character or what is not ASCII: quote it")
    return b"".join((first.encode("ascii"), _host(to), constant.data, lines(headers), framing.encode("ascii"), b"\r\n"))
