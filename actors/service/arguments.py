"""What a caller passes with a call, checked and made into what goes into a `Request`. All of it raises InvalidRequest.

(Addresses, paths and headers, which could lead out of the service, are in `target.py`.)
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable
from typing import Any, Literal, TypeAlias

import msgspec

from ..errors import InvalidRequest
from ..machines.limiter import HIGH, LOW, NORMAL
from ..secrecy import sealed
from .target import check_headers
from .upload import Upload

Content: TypeAlias = bytes | str | AsyncIterable[bytes] | None
Priority: TypeAlias = Literal["high", "normal", "low"]

_PRIORITIES = {"high": HIGH, "normal": NORMAL, "low": LOW}


def body_of(
    json: Any, content: Content, headers: tuple[tuple[str, str], ...]
) -> tuple[bytes | Upload, tuple[tuple[str, str], ...]]:
    """What to send, and the content type where the caller has given none."""
    if json is None:
        return b"" if content is None else _content(content), ()
    if content is not None:
        raise InvalidRequest("give a body as json or as content, not both")
    try:
        body = msgspec.json.encode(json)
    except Exception as error:  # noqa: BLE001 - objects may encode themselves, and raise what they like
        raise InvalidRequest(f"the body cannot be encoded as JSON: {error}") from sealed(error)
    typed = any(name.lower() == "content-type" for name, _ in headers)
    return body, () if typed else (("Content-Type", "application/json"),)


def _content(content: bytes | str | AsyncIterable[bytes]) -> bytes | Upload:
    if isinstance(content, str):
        try:
            return content.encode()
        except UnicodeEncodeError:
            raise InvalidRequest("content has a lone surrogate, which is no character") from None
    if isinstance(content, AsyncIterable):
        return Upload(content)
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise InvalidRequest(
            f"content is bytes, text or an async iterator of bytes, not a {type(content).__name__}; json= takes data"
        )
    return bytes(content)


def for_a_part(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """What comes with Range: a part of something packed cannot be unpacked, so it is wanted plain (as Fetch has it)."""
    names = {name.lower() for name, _ in headers}
    return (("Accept-Encoding", "identity"),) if "range" in names and "accept-encoding" not in names else ()


def seconds(timeout: float) -> float:
    """A timeout."""
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not number or not timeout > 0:  # "not >" also finds NaN
        raise InvalidRequest(f"timeout is a number of seconds, more than 0, not {timeout!r:.80}")
    return timeout


def tokens(weight: float) -> float:
    """A weight."""
    if type(weight) not in (float, int) or not 0 <= weight < math.inf:
        raise InvalidRequest(f"weight is a number of tokens from 0, not {weight!r:.80}")
    return weight


def rank(priority: Priority) -> int:
    """A priority, as the limiter counts them."""
    try:
        return _PRIORITIES[priority]
    except (KeyError, TypeError):
        raise InvalidRequest(f"priority is 'high', 'normal' or 'low', not {priority!r:.80}") from None


def header_text(key: str) -> str:
    """The value of Idempotency-Key."""
    ((_, value),) = check_headers({"Idempotency-Key": key})
    return value
