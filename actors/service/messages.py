"""What is said to a service actor, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec

from ..errors import ServiceError
from ..machines.limiter import NORMAL
from ..machines.retry import IDEMPOTENT
from ..secrecy.masked import Masked, shown_body, shown_names, shown_target
from .abroad import Place
from .stream import StreamResponse
from .upload import Upload

T = TypeVar("T")

Source: TypeAlias = Literal["live", "cache", "default", "alternative", "degraded", "queued"]


class Progress:
    """The caller's notebook: what the actor has tried so far, readable when the ask itself ends without an answer."""

    __slots__ = ("aside", "attempts", "done", "last_error")

    def __init__(self) -> None:
        self.attempts = 0
        self.aside = 0
        """How many of the attempts the retry policy does not count: those with new credentials, for the service has
        not failed, and the second of two hedged ones, for the two fail once."""
        self.done = False
        """The service has answered by saying where to look: what was asked is done, whatever becomes of the looking."""
        self.last_error: ServiceError | None = None

    def take(self) -> ServiceError | None:
        """The last error, which is not kept: it knows its traceback, that knows the request, and that knows us."""
        error, self.last_error = self.last_error, None
        return error


class Request(Masked, msgspec.Struct, frozen=True):
    """One call, checked and quoted by the caller's side (`target.py`)."""

    method: str
    target: str
    """Path and query, below the instance's prefix."""
    request_id: str
    """One a call, the same over all attempts."""
    deadline: float
    """Trio time at which the call's own timeout ends. The caller's cancel scopes may end it earlier."""
    started: float
    """Trio time at which the call began."""
    progress: Progress
    headers: tuple[tuple[str, str], ...] = ()
    body: "bytes | Upload" = b""
    type: Any = None
    """What to decode the body into; None guesses by content type."""
    idempotency_key: str | None = None
    affinity: str | None = None
    weight: float = 1.0
    """Tokens that each attempt takes from the rate limit."""
    priority: int = NORMAL
    """Among those who wait for the rate limit."""
    stream: "StreamResponse | None" = None
    """Where the open answer is given to, if the caller is to read the body himself."""
    template: str | None = None
    """What the path was made of; None if the caller gave a path as it is."""
    beyond: "Place | None" = None
    """The other host that it is for; then ``target`` is the whole URL, and a name for the answer and nothing else."""

    def told(self) -> Iterator[tuple[str, Any]]:
        """See `Masked`."""
        yield "method", self.method
        yield "target", shown_target(self.target)
        yield "request_id", self.request_id
        yield "headers", shown_names(self.headers)
        yield "body", shown_body(self.body)

    @property
    def repeatable(self) -> bool:
        """It can be made again, and the service has not done already what must not be done twice."""
        return self.unspent and (self.harmless or not self.progress.done)

    @property
    def unspent(self) -> bool:
        """Nothing of a stream is with the caller yet, and its body has not been taken from him."""
        if self.stream is not None and self.stream.handed:
            return False
        return isinstance(self.body, bytes) or not self.body.begun

    @property
    def harmless(self) -> bool:
        """It may be sent twice."""
        if not isinstance(self.body, bytes):
            return False
        return self.idempotency_key is not None or self.method in IDEMPOTENT


class FailedCall(Masked, msgspec.Struct, frozen=True, kw_only=True):
    """A call that failed, as a `DegradeFallback` is told of it."""

    method: str
    target: str
    """Path and query."""
    headers: tuple[tuple[str, str], ...]
    """The caller's own: nothing of the configuration, and no credentials of ours."""
    body: bytes
    """Empty if it was sent piece by piece."""
    type: Any
    """What the caller wants the data to be; None if he did not say."""
    request_id: str
    idempotency_key: str | None
    attempts: int
    """How often the service was tried."""

    def told(self) -> Iterator[tuple[str, Any]]:
        """See `Masked`."""
        yield "method", self.method
        yield "target", shown_target(self.target)
        yield "request_id", self.request_id
        yield "headers", shown_names(self.headers)
        yield "body", shown_body(self.body)
        yield "attempts", self.attempts


class ServiceResponse(Masked, msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The answer to a call. ``source`` and ``stale`` always tell the truth about where it comes from.

    Its repr tells the type of ``data`` and the names of ``headers``: what a service says may be a credential, and may
    repeat one of ours.
    """

    success: bool
    """False only in what `try_request` returns for an error."""
    data: T
    """The decoded body; None where there is none."""
    status: int | None = None
    """HTTP status; None if no HTTP answer is behind it."""
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case."""
    request_id: str = ""
    source: Source = "live"
    stale: bool = False
    """An answer of the past, given because there was none of the present."""
    attempts: int = 0
    """How often the service was tried for this call."""
    elapsed: float = 0.0
    """Seconds from the call to the answer."""
    error: ServiceError | None = None
    """What went wrong: set when ``success`` is False, and beside a fallback's answer."""

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        wanted = name.lower()
        return next((value for known, value in self.headers if known == wanted), None)

    def told(self) -> Iterator[tuple[str, Any]]:
        """See `Masked`."""
        yield "success", self.success
        yield "data", type(self.data)
        yield "status", self.status
        yield "headers", shown_names(self.headers)
        yield "request_id", self.request_id
        yield "source", self.source
        yield "stale", self.stale
        yield "attempts", self.attempts
        yield "error", self.error
