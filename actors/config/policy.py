"""How a service is called: retries, limits, timeouts. All times are seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ..errors import ErrorCode
from .check import Count, FromZero, HeaderName, Path, Pause, Positive, between
from .condition import Status
from .record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator


class RetryBudget(Record, frozen=True, forbid_unknown_fields=True):
    """How many retries (and hedges) there may be in all, so that an outage does not multiply the load.

    In the last ``window`` seconds: ``ratio`` of the calls that were sent, or ``min_per_second``, whichever is more.
    With the defaults a service that is down gets at most 1.2 times its load, from 50 calls a second on.
    """

    ratio: Annotated[float, between(0, 1000)] = 0.2
    min_per_second: FromZero = 10.0
    window: Annotated[float, between(1, 60)] = 10.0


class RetryPolicy(Record, frozen=True, forbid_unknown_fields=True):
    """Exponential backoff: ``min(max_delay, base_delay * multiplier**(n - 1))``, then jittered.

    What the service may have acted on is tried again only if that does no harm: the method is idempotent, or the call
    has an idempotency key.
    """

    max_attempts: Count = 3
    """The first one included; 1 never retries."""
    base_delay: FromZero = 1.0
    multiplier: Annotated[float, between(1, 100)] = 2.0
    max_delay: FromZero = 30.0
    jitter: Literal["none", "full", "equal", "decorrelated"] = "full"
    """``full``: between 0 and the delay. ``equal``: between half of it and all of it. ``decorrelated``: between
    ``base_delay`` and three times the last delay (but ``max_delay`` at most), whatever the multiplier."""
    statuses: Sequence[Annotated[int, between(400, 599)]] = (408, 425, 429, 502, 503, 504)
    """Answers that are worth another try."""
    errors: Sequence[ErrorCode] = (ErrorCode.TRANSPORT, ErrorCode.TIMEOUT, ErrorCode.ACTOR_CRASHED)
    """Other failures that are. (``TIMEOUT`` is that of an attempt: the call's own ends the call.)"""
    budget: RetryBudget | None = RetryBudget()
    """None: retries without a bound but ``max_attempts``."""


class HedgeConfig(Record, frozen=True, forbid_unknown_fields=True):
    """A second attempt while the first is still under way: the first answer counts, the other attempt is cancelled.

    Only calls that may be repeated are hedged (see `RetryPolicy`), not streams, and only where the retry budget allows.
    """

    delay: Positive | None = None
    """After how long. None: when the attempt has become one of the slow ones, by the latencies of the last minute."""
    quantile: Annotated[float, between(0.5, 0.999)] = 0.95
    """What is slow: with 0.95, no more than one call in twenty is hedged."""


class RateLimit(Record, frozen=True, forbid_unknown_fields=True):
    """A token bucket: ``rate`` calls each ``per`` seconds on average, ``burst`` at once."""

    rate: Positive
    per: Positive = 1.0
    burst: Count | None = None
    """None: ``rate``, but at least 1."""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """A rate that a clock can follow."""
        if record.rate and record.per and not 1e-9 <= record.rate / record.per <= 1e9:
            yield "rate", "must come to no less than 1e-9 and no more than 1e9 calls a second"


class PushbackConfig(Record, frozen=True, forbid_unknown_fields=True):
    """What follows for all calls to a service when its answers say that there are too many."""

    pause: bool = True
    """Nobody calls before it wants to be called again: after a 429 (or 403) with ``Retry-After``, and already when its
    RateLimit headers say that the quota is used up. False: each call that is refused waits for itself."""
    max_pause: Annotated[float, between(0.001, 86_400)] = 3600.0
    """Seconds that it can say so for at a time: no longer, for one absurd value must not silence us for days."""
    adapt: bool = False
    """After a 429 call it less often, and regain the rate while it lets us (as the "adaptive" mode of the AWS SDKs).
    Only for a service whose 429 means all of our calls: if single users of it are refused, all would be slowed down."""


class TimeoutConfig(Record, frozen=True, forbid_unknown_fields=True):
    """How long things may take."""

    total: Positive = 30.0
    """A call, with its retries and waits; ``timeout=`` of a call replaces it."""
    attempt: Positive | None = 10.0
    """One attempt; None: as long as the call."""
    connect: Positive = 5.0
    header: HeaderName | None = None
    """Sent with each attempt if it is set (``X-Request-Timeout-Ms``, say): how many milliseconds there are left."""
    margin: FromZero = 0.0
    """Seconds that are taken off that, for the way back."""
    drain: FromZero = 60.0
    """Seconds that calls and streams have to end when their instance is taken away; then they are cut off."""


class HealthCheckConfig(Record, frozen=True, forbid_unknown_fields=True):
    """Active health checks of each instance: how often, how, and what is believed of the outcomes."""

    path: Path = "/health"
    interval: Pause = 10.0
    timeout: Positive = 2.0
    healthy_threshold: Count = 2
    """Successes in a row that bring an unhealthy instance back."""
    unhealthy_threshold: Count = 3
    """Failures in a row that take a healthy one out. (The very first check decides by itself.)"""
    jitter: Annotated[float, between(0, 1)] = 0.1
    """Share of the interval by which each wait is spread, to both sides. The first check of an instance comes within
    that share after its registration, the second at any time within the interval after that: so neither the instances
    of a service are checked all at once, nor do many clients check it all at once. 0: to the second."""
    statuses: tuple[Annotated[int, between(100, 599)], Annotated[int, between(100, 599)]] = (200, 399)
    """The first and the last status that count as healthy."""
    unhealthy_statuses: Sequence[Status] = ()
    """Those by which an instance takes itself out: it is unhealthy at once, without a threshold. Numbers, ``"4xx"``,
    ``"5xx"``."""
    kind: Literal["http", "tcp"] = "http"
    """``tcp`` only connects: somebody listens. (No TLS, nothing is sent, and ``path`` and statuses mean nothing.)"""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """At least one status is healthy."""
        if record.statuses and record.statuses[0] > record.statuses[1]:
            yield "statuses", f"the first must not be above the last, as in {list(record.statuses)}"
        if record.kind == "tcp" and record.unhealthy_statuses:
            yield "unhealthy_statuses", 'a check that only connects sees none: leave them out, or use kind = "http"'
