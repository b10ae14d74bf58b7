"""What the demo's callers have seen: counts and latencies per service, and the summary made of them.

Counted on the callers' side, so that it is a check on the runtime's own figures and not a copy of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from switchgear.actors.errors import ErrorCode
from switchgear.actors.machines.histogram import LatencyHistogram
from switchgear.actors.metrics import ServiceMetrics

if TYPE_CHECKING:
    from switchgear.actors.errors import ServiceError
    from switchgear.actors.service.messages import ServiceResponse

_GUARDS = (ErrorCode.CIRCUIT_OPEN, ErrorCode.OVERLOADED)


class Transition(msgspec.Struct, frozen=True):
    """One change of a breaker's state. ``at``: seconds since the demo began."""

    at: float
    service: str
    old: str
    new: str
    reason: str


class ServiceSummary(msgspec.Struct, frozen=True):
    """One service in the summary. ``calls`` is the sum of ``success``, ``fallback`` and ``failed``."""

    calls: int
    success: int
    """Answered by the service itself."""
    fallback: int
    failed: int
    shed: int
    """Calls that our side refused without asking the service: open breaker, full bulkhead, no token in time."""
    retried: int
    """Attempts after the first."""
    p50_ms: float
    p99_ms: float
    breaker: str
    sources: dict[str, int]
    """How the fallbacks answered: cache, default, alternative."""
    errors: dict[str, int]
    """Calls by the code of their error, also those that a fallback answered."""
    transitions: list[Transition]
    measured: ServiceMetrics
    """What ``runtime.metrics`` says of the same calls, plus those that came as somebody's alternative."""


class Summary(msgspec.Struct, frozen=True):
    """What ``switchgear demo --json`` prints."""

    seconds: float
    seed: int
    metrics: str
    services: dict[str, ServiceSummary]


@dataclass
class Tally:
    """The calls to one service so far."""

    calls: int = 0
    success: int = 0
    failed: int = 0
    shed: int = 0
    retried: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    transitions: list[Transition] = field(default_factory=list)

    @property
    def fallback(self) -> int:
        """Calls that a fallback answered."""
        return sum(self.sources.values())

    def count(self, response: ServiceResponse[Any]) -> None:
        """Add one call that has ended."""
        self.calls += 1
        self.retried += max(0, response.attempts - 1)
        self.latency.record(response.elapsed)
        if response.error is not None:
            self.errors[response.error.code.value] += 1
            self.shed += _is_ours(response.error)
        if not response.success:
            self.failed += 1
        elif response.source == "live":
            self.success += 1
        else:
            self.sources[response.source] += 1

    def summary(self, measured: ServiceMetrics) -> ServiceSummary:
        """All of it, as plain values, beside what the runtime has measured."""
        return ServiceSummary(
            calls=self.calls,
            success=self.success,
            fallback=self.fallback,
            failed=self.failed,
            shed=self.shed,
            retried=self.retried,
            p50_ms=self.milliseconds(0.5),
            p99_ms=self.milliseconds(0.99),
            breaker=measured.breaker,
            sources=dict(self.sources),
            errors=dict(self.errors),
            transitions=self.transitions,
            measured=measured,
        )

    def milliseconds(self, q: float) -> float:
        """A quantile of the calls' latency; 0 before the first call."""
        return round(1000 * self.latency.quantile(q), 1) if self.calls else 0.0


def _is_ours(error: ServiceError) -> bool:
    """Whether our own guards refused the call. A RATE_LIMITED with a status is a 429 of the service."""
    limited = error.code is ErrorCode.RATE_LIMITED and getattr(error, "status", None) is None
    return limited or error.code in _GUARDS
