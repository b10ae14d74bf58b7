"""Which calls may be queued, and how a call is packed and unpacked. Pure.

Nothing that looks like a credential is written to disk. What the service's own configuration adds (``auth``,
``headers``) is added on the road, after this; so what is left is what a caller passes with a call. Such a call is
refused, and not kept without them: it would be made later without what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from ..errors import ErrorCode, HTTPStatusError, RateLimited, TransportError
from ..machines.limiter import LOW
from ..machines.retry import IDEMPOTENT
from ..secrecy import looks_secret
from ..service.messages import Progress, Request
from .records import Call
from .schedule import Failure

if TYPE_CHECKING:
    from ..errors import ServiceError

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, section 9.2.1
_KEY = "idempotency-key"

# Another attempt cannot help: it is the call that is wrong, or the service has done what it was asked for.
_FINAL = frozenset(
    {
        ErrorCode.DECODE,
        ErrorCode.RESPONSE_TOO_LARGE,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.INVALID_CONFIG,
    }
)
# Nothing was done: nothing was sent, or it was turned away at the door.
_UNTOUCHED = frozenset(
    {
        ErrorCode.CIRCUIT_OPEN,
        ErrorCode.RATE_LIMITED,
        ErrorCode.OVERLOADED,
        ErrorCode.NO_HEALTHY_INSTANCES,
        ErrorCode.AUTH_FAILED,
        ErrorCode.UNKNOWN_SERVICE,
    }
)
_RETRIED = frozenset({408, 425, 429})  # the only answers 4xx that may be another tomorrow


def refusal(request: Request, error: ServiceError) -> str | None:
    """Why a call that failed of ``error`` cannot be queued; None if it can."""
    if request.stream is not None or not isinstance(request.body, bytes):
        return "its body comes from an iterator, and goes by as it is sent"
    if request.method in _SAFE:
        return f"nobody would get the answer of a {request.method} later"
    if is_final(error):
        return "to make it again would not help"
    leak = _credential(request)
    if leak is not None:
        return (
            f"its {leak} looks like a credential, which is never written to disk:"
            " give it to the service's configuration, as auth or headers"
        )
    if key_of(request) is None and request.method not in IDEMPOTENT and (request.progress.done or may_be_done(error)):
        return f"the service may have acted on it, and a {request.method} without idempotency_key may not be made twice"
    return None


def key_of(request: Request) -> str | None:
    """The idempotency key that a caller has given, wherever he gave it."""
    if request.idempotency_key is not None:
        return request.idempotency_key
    return next((value for name, value in request.headers if name.lower() == _KEY), None)


def pack(request: Request, service: str, made: str, now: float) -> Call:
    """A call to keep, of a request that `refusal` has let pass. ``made``: a key, for where one is needed."""
    assert isinstance(request.body, bytes)  # noqa: S101 - see `refusal`
    key = key_of(request)
    return Call(
        service=service,
        request_id=request.request_id,
        method=request.method,
        target=request.target,
        headers=tuple(pair for pair in request.headers if pair[0].lower() != _KEY),
        body=request.body,
        idempotency_key=made if key is None and request.method not in IDEMPOTENT else key,
        affinity=request.affinity,
        weight=request.weight,
        queued_at=now,
    )


def unpack(call: Call, now: float, timeout: float) -> Request:
    """The request to make of it. Behind those of callers who wait: it has waited already."""
    return Request(
        method=call.method,
        target=call.target,
        request_id=call.request_id,
        deadline=now + timeout,
        started=now,
        progress=Progress(),
        headers=call.headers,
        body=call.body,
        type=bytes,  # nobody wants it decoded
        idempotency_key=call.idempotency_key,
        affinity=call.affinity,
        weight=call.weight,
        priority=LOW,
    )


def failure(error: ServiceError, retry_at: float | None) -> Failure:
    """What an attempt's error means for the call. ``retry_at``: of the error, on the clock of the schedule."""
    text = "".join(sign if sign.isprintable() else " " for sign in f"{error.code.value}: {error.message}")
    return Failure(text[:300], is_final(error), is_attempt(error), retry_at)


def is_final(error: ServiceError) -> bool:
    """Whether it would be the same tomorrow."""
    if isinstance(error, (HTTPStatusError, RateLimited)) and error.status is not None:
        return error.status < 500 and error.status not in _RETRIED
    return error.code in _FINAL


def may_be_done(error: ServiceError) -> bool:
    """Whether the service may have acted on the call."""
    if error.code in _UNTOUCHED or not error.attempts:
        return False
    return error.processed != "no" if isinstance(error, TransportError) else getattr(error, "status", None) != 425


def is_attempt(error: ServiceError) -> bool:
    """Whether it is held against the call. A 503 is not: an outage is nobody's fault but the service's."""
    return may_be_done(error) and getattr(error, "status", None) != 503


def _credential(request: Request) -> str | None:
    """The first header or parameter by whose name it may hold one."""
    for name, _ in request.headers:
        if looks_secret(name):
            return f"header {name!r}"
    for name, _ in parse_qsl(request.target.partition("?")[2], keep_blank_values=True):
        if looks_secret(name):
            return f"parameter {name!r}"
    return None
