"""What can go wrong with a call, as callers see it: one exception class for each code.

Each docstring says when it is raised, whose fault it is, and what to do. Texts never quote secrets or bodies.
"""

from __future__ import annotations

import enum
from typing import Any, ClassVar, Literal


class ErrorCode(enum.StrEnum):
    """The codes: the same text in `ServiceError.code`, metrics and configuration (``on = ["TIMEOUT"]``)."""

    CIRCUIT_OPEN = "CIRCUIT_OPEN"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    TIMEOUT = "TIMEOUT"
    AUTH_FAILED = "AUTH_FAILED"
    NO_HEALTHY_INSTANCES = "NO_HEALTHY_INSTANCES"
    HTTP_STATUS = "HTTP_STATUS"
    TRANSPORT = "TRANSPORT"
    DECODE = "DECODE"
    RESPONSE_TOO_LARGE = "RESPONSE_TOO_LARGE"
    FALLBACK_FAILED = "FALLBACK_FAILED"
    ACTOR_CRASHED = "ACTOR_CRASHED"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    UNKNOWN_SERVICE = "UNKNOWN_SERVICE"
    INVALID_CONFIG = "INVALID_CONFIG"
    INVALID_REQUEST = "INVALID_REQUEST"


class ServiceError(Exception):
    """Base of all errors of calling a service.

    Attributes:
        code: which error it is.
        service: the name of the service, or None.
        request_id: of the call, as sent in ``X-Request-ID``, or None.
        retryable: whether trying again later can help.
        attempts: how often the service was tried.
        retry_at: trio time from which a try makes sense, where that is known.
        fallback_errors: of the fallbacks that were tried and failed in their turn.
    """

    code: ClassVar[ErrorCode]
    _retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        service: str | None = None,
        request_id: str | None = None,
        attempts: int = 0,
        retryable: bool | None = None,
        retry_at: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.service = service
        self.request_id = request_id
        self.attempts = attempts
        self.retryable = self._retryable if retryable is None else retryable
        self.retry_at = retry_at
        self.fallback_errors: tuple[ServiceError, ...] = ()

    def __str__(self) -> str:
        where = "" if self.service is None else f"{self.service}: "
        return f"{where}{self.message}"

    def __repr__(self) -> str:
        where = f"service={self.service!r}, request_id={self.request_id!r}, code={self.code.value}"
        return f"{type(self).__name__}({self.message!r}, {where})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.__dict__)


def _rebuild(cls: type[ServiceError], message: str, state: dict[str, Any]) -> ServiceError:
    error = cls.__new__(cls, message)
    error.__dict__.update(state)
    error.args = (message,)
    return error


class CircuitOpen(ServiceError):
    """The breaker refuses calls because the service has been failing. Wait until ``retry_at``, or use a fallback."""

    code = ErrorCode.CIRCUIT_OPEN
    _retryable = True


class Overloaded(ServiceError):
    """Our own bulkhead is full, or the call has waited in it for too long: more calls are under way or queued than the
    configuration allows. Shed load.
    """

    code = ErrorCode.OVERLOADED
    _retryable = True


class CallTimeout(ServiceError):
    """No answer in time. The work has been cancelled here; whether the service did it is unknown."""

    code = ErrorCode.TIMEOUT
    _retryable = True


class NoHealthyInstances(ServiceError):
    """The registry knows no instance that can be used. Register one, or look at the health checks."""

    code = ErrorCode.NO_HEALTHY_INSTANCES
    _retryable = True


class HTTPStatusError(ServiceError):
    """The service answered with an error status. 4xx: mend the request. 5xx: the service's fault.

    ``status``, ``headers`` (pairs, lower-case names) and ``body`` are its answer.
    """

    code = ErrorCode.HTTP_STATUS

    def __init__(
        self,
        message: str,
        *,
        status: int,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        **fields: Any,
    ) -> None:
        super().__init__(message, **fields)
        self.status = status
        self.headers = headers
        self.body = body
        if fields.get("retryable") is None:
            self.retryable = status in (408, 425, 429) or status >= 500


class RateLimited(ServiceError):
    """A limit was met: our own token bucket's (``status`` is None), or the service's (429). Wait until ``retry_at``."""

    code = ErrorCode.RATE_LIMITED
    _retryable = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        **fields: Any,
    ) -> None:
        super().__init__(message, **fields)
        self.status = status
        self.headers = headers
        self.body = body


class AuthFailed(ServiceError):
    """The service does not take our credentials, or we could not get any. Look at the ``auth`` of its configuration.

    ``retryable`` is true where they could not be fetched and that may pass; ``retry_at`` says when it is tried again.
    """

    code = ErrorCode.AUTH_FAILED


class TransportError(ServiceError):
    """No whole answer came: no connection, a connection that broke, or bytes that are no HTTP.

    ``processed`` is ``"no"`` if the service cannot have acted on the request, else ``"maybe"``.
    """

    code = ErrorCode.TRANSPORT
    _retryable = True

    def __init__(self, message: str, *, processed: Literal["no", "maybe"] = "maybe", **fields: Any) -> None:
        super().__init__(message, **fields)
        self.processed = processed


class DecodeError(ServiceError):
    """The answer does not fit the type that was asked for; ``field`` is the path of the first field that does not."""

    code = ErrorCode.DECODE

    def __init__(self, message: str, *, field: str = "$", **fields: Any) -> None:
        super().__init__(message, **fields)
        self.field = field


class ResponseTooLarge(ServiceError):
    """The answer is larger than ``max_response_bytes`` allows. Ask for less, or allow more."""

    code = ErrorCode.RESPONSE_TOO_LARGE


class FallbackFailed(ServiceError):
    """A fallback was tried and failed in its turn; noted on the error of the call that it was for."""

    code = ErrorCode.FALLBACK_FAILED


class ActorCrashed(ServiceError):
    """The service's actor crashed with this call in hand: a bug, ours or of a callback of yours (see the cause)."""

    code = ErrorCode.ACTOR_CRASHED
    _retryable = True


class ShuttingDown(ServiceError):
    """The service was removed, or the runtime has ended. No further call will work."""

    code = ErrorCode.SHUTTING_DOWN


class UnknownService(ServiceError, KeyError):
    """There is no service of this name. Look for a typing mistake; the text lists the known names."""

    code = ErrorCode.UNKNOWN_SERVICE


class ConfigError(ServiceError, ValueError):
    """The configuration is not valid. The text says which key, why, and how to mend it."""

    code = ErrorCode.INVALID_CONFIG


class InvalidRequest(ServiceError, ValueError):
    """The call cannot be made as it is: a bad method, path, header or body. Nothing has been sent."""

    code = ErrorCode.INVALID_REQUEST
