"""How a service is called: breaker, retries, limits, timeouts, bulkhead. All times are seconds."""

from __future__ import annotations

from typing import Literal

import msgspec

from .check import at_least, between, finite, positive


class BreakerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the circuit breaker opens, and how it finds its way back."""

    failure_threshold: int = 5
    """This many failures within ``monitoring_period`` open it."""
    reset_timeout: float = 30.0
    """How long it stays open before it lets a trial through."""
    monitoring_period: float = 60.0
    """Older failures do not count."""
    half_open_max_requests: int = 1
    """Trials at once while it is half-open; as many successes close it."""
    enabled: bool = True

    def __post_init__(self) -> None:
        at_least("failure_threshold", self.failure_threshold, 1)
        positive("reset_timeout", self.reset_timeout)
        positive("monitoring_period", self.monitoring_period)
        at_least("half_open_max_requests", self.half_open_max_requests, 1)


class RetryPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exponential backoff: ``min(max_delay, base_delay * multiplier**(n - 1))``, then jittered."""

    max_attempts: int = 3
    """The first one included; 1 never retries."""
    base_delay: float = 1.0
    multiplier: float = 2.0
    max_delay: float = 30.0
    jitter: Literal["none", "full", "equal"] = "full"
    """``full``: between 0 and the delay. ``equal``: between half of it and all of it."""
    statuses: tuple[int, ...] = (408, 425, 429, 502, 503, 504)
    """Answers that are worth another try."""

    def __post_init__(self) -> None:
        at_least("max_attempts", self.max_attempts, 1)
        finite("base_delay", self.base_delay)
        between("multiplier", self.multiplier, 1.0, 100.0)
        finite("max_delay", self.max_delay)
        for status in self.statuses:
            between("statuses", status, 400, 599)


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token bucket: ``rate`` calls each ``per`` seconds on average, ``burst`` at once."""

    rate: float
    per: float = 1.0
    burst: int | None = None
    """None: ``rate``, but at least 1."""

    def __post_init__(self) -> None:
        positive("rate", self.rate)
        positive("per", self.per)
        if self.burst is not None:
            at_least("burst", self.burst, 1)


class TimeoutConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long things may take."""

    total: float = 30.0
    """A call, with its retries and waits; ``timeout=`` of a call replaces it."""
    attempt: float | None = 10.0
    """One attempt; None: as long as the call."""
    connect: float = 5.0

    def __post_init__(self) -> None:
        positive("total", self.total)
        positive("connect", self.connect)
        if self.attempt is not None:
            positive("attempt", self.attempt)


class BulkheadConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many calls a service may have under way and waiting."""

    max_concurrent: int = 100
    max_queue: int = 1000
    when_full: Literal["wait", "fail"] = "wait"
    """What a call meets that finds the queue full: wait for room within its deadline, or Overloaded at once."""

    def __post_init__(self) -> None:
        at_least("max_concurrent", self.max_concurrent, 1)
        at_least("max_queue", self.max_queue, 0)


class HealthCheckConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Active health checks of each instance."""

    path: str = "/health"
    interval: float = 10.0
    timeout: float = 2.0
    healthy_threshold: int = 2
    """Successes in a row that bring an unhealthy instance back."""
    unhealthy_threshold: int = 3
    """Failures in a row that take a healthy one out. (The very first check decides by itself.)"""
    jitter: float = 0.1
    """Share of the interval by which each wait is spread, to both sides."""
    statuses: tuple[int, int] = (200, 399)
    """The first and the last status that count as healthy."""

    def __post_init__(self) -> None:
        positive("interval", self.interval)
        positive("timeout", self.timeout)
        at_least("healthy_threshold", self.healthy_threshold, 1)
        at_least("unhealthy_threshold", self.unhealthy_threshold, 1)
        between("jitter", self.jitter, 0.0, 1.0)
