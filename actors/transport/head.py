"""Request heads as bytes. The constant part is joined once a service, and nothing may split a request."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from ..errors import InvalidRequest, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..service.target import Target

_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


@lru_cache(maxsize=1024)
def block(headers: tuple[tuple[str, str], ...]) -> bytes:
    """Headers that are the same for many requests, as bytes."""
    return lines(headers)


def lines(headers: Iterable[tuple[str, str]]) -> bytes:
    """Headers as bytes, a line each."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("latin-1")


@lru_cache(maxsize=1024)
def _host(to: Target) -> bytes:
    try:
        return f"Host: {to.authority}\r\n".encode("ascii")
    except UnicodeEncodeError:
        pass
    try:
        name = to.host.encode("idna").decode("ascii")
    except UnicodeError:
        raise TransportError(f"{to.host!r} is not a host name", processed="no") from None
    return f"Host: {msgspec.structs.replace(to, host=name).authority}\r\n".encode("ascii")


def encode(
    to: Target, method: str, target: str, *, constant: bytes, headers: tuple[tuple[str, str], ...], size: int | None
) -> bytes:
    """The head of one request.

    Args:
        to: the instance.
        method: an HTTP method.
        target: path and query, below the instance's prefix.
        constant: the service's own headers, from `block`.
        headers: those of this request.
        size: of the body in bytes; None if it comes in chunks.

    Raises:
        InvalidRequest: a line break or a control character somewhere would make two requests of one. The callers of
            this check their parts as they take them; this is the last look before a byte is sent.
    """
    if size is None:
        framing = "Transfer-Encoding: chunked\r\n"
    elif size or method in _BODY_METHODS:
        framing = f"Content-Length: {size}\r\n"
    else:
        framing = ""
    path = f"{to.prefix}{target}" or "/"
    first = f"{method} {path if path[0] == '/' else '/' + path} HTTP/1.1\r\n"
    try:
        head = b"".join((first.encode("ascii"), _host(to), constant, lines(headers), framing.encode("ascii"), b"\r\n"))
    except UnicodeEncodeError:
        raise InvalidRequest("the path is not ASCII, or a header not latin-1: quote what is neither") from None
    expected = 3 + constant.count(b"\n") + len(headers) + bool(framing)
    if head.count(b"\n") != expected or head.count(b"\r") != expected or b"\0" in head or first.count(" ") != 2:
        raise InvalidRequest("a line break, a NUL or a space in the method, path or headers would split the request")
    return head
