"""What is measured of a service, and the messages that carry it."""

from __future__ import annotations

import msgspec

from ..machines.meter import Delta


class ServiceMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one service since it was added. Times are seconds."""

    count: int
    """Calls that have ended, in whatever way, before any fallback."""
    errors: int
    """Of those, the ones that ended with an error."""
    errors_by_code: dict[str, int]
    shed: int
    """Errors that were refusals of ours, for the service's good: breaker, limiter, bulkhead."""
    mean: float
    p50: float
    p95: float
    p99: float
    min: float
    max: float
    attempts: int
    """Tries, retries included."""
    retries: int
    fallbacks: int
    """Calls that a fallback has answered."""
    fallbacks_by_source: dict[str, int]
    breaker: str
    """``closed``, ``open`` or ``half_open``."""
    last_error: str | None
    """Code of the latest error."""
    last_error_age: float | None
    """Seconds since then."""
    uptime: float
    """Seconds since the service was added."""


class Snapshot(msgspec.Struct, frozen=True):
    """The figures of all services at one moment."""

    seq: int
    at: float
    """Seconds since the epoch."""
    services: dict[str, ServiceMetrics]


class Report(msgspec.Struct, frozen=True):
    """A service tells what has happened since its last report."""

    service: str
    delta: Delta
