"""What is measured of a service, and the messages that carry it."""

from __future__ import annotations

import msgspec

from ..machines.meter import Delta
from ..transport import PoolStatistics


class OperationMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one operation of a service: a method and a path template. Times are seconds."""

    count: int
    """Calls that have ended, in whatever way, before any fallback."""
    errors: int
    """Of those, the ones that ended with an error."""
    errors_by_code: dict[str, int]
    """The same, by code."""
    mean: float
    """From the actor's taking a call up to its end; of one that it never took up, from its beginning."""
    max: float
    """The longest."""


class ServiceMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one service since it was added. Times are seconds."""

    count: int
    """Calls that have ended, in whatever way, before any fallback."""
    errors: int
    """Of those, the ones that ended with an error."""
    errors_by_code: dict[str, int]
    """The same, by code."""
    shed: int
    """Errors that were refusals of ours, for the service's good: breaker, limiter, bulkhead."""
    mean: float
    """Seconds from the actor's taking a call up to its end. This and those below: of the calls taken up, 0 of none."""
    p50: float
    """Half of them took no longer: seconds, within 1.09 % from a microsecond to a quarter of an hour."""
    p95: float
    """So for 95 %: seconds, as exact."""
    p99: float
    """So for 99 %: seconds, as exact."""
    min: float
    """The shortest: seconds, exact."""
    max: float
    """The longest: seconds, exact."""
    attempts: int
    """Tries, retries included."""
    retries: int
    """Of those, the ones beyond the first of their call."""
    fallbacks: int
    """Calls that a fallback has answered."""
    fallbacks_by_source: dict[str, int]
    """The same, by source: ``cache``, ``default``, ``alternative``, ``degraded``, ``queued``."""
    breaker: str
    """As `Service.breaker`: ``closed``, ``open``, ``half_open``, or what an operator has made of it."""
    ejected: int = 0
    """Instances that get no calls because theirs failed too often."""
    panic: bool = False
    """So few instances are healthy that health is not looked at."""
    last_error: str | None
    """Code of the latest error."""
    last_error_age: float | None
    """Seconds since then."""
    uptime: float
    """Seconds since the service was added."""
    connections: PoolStatistics | None = None
    """Of the service's actor; None if it has had none, or is called over a transport of httpx's."""
    operations: dict[str, OperationMetrics] = {}
    """Of the calls that were made by a path template, by method and template, as ``GET /users/{id}``: never by path.
    The first hundred have a name, all others together are ``other``."""


class Snapshot(msgspec.Struct, frozen=True):
    """The figures of all services at one moment."""

    seq: int
    """Grows by one each tick, also through a crash of the metrics actor."""
    at: float
    """Seconds since the epoch."""
    services: dict[str, ServiceMetrics]
    """By name."""


class Report(msgspec.Struct, frozen=True):
    """A service tells what has happened since its last report."""

    service: str
    delta: Delta
