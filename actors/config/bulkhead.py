"""The bulkhead: how many calls a service may have under way and waiting. All times are seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from .check import Count, CountOrZero, Positive, between
from .record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator


class AimdConfig(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="aimd"):
    """Additive increase, multiplicative decrease: one call more each round trip, a tenth less after a drop.

    For services that say when they have too much: by 429 or 503, by failing, or by being slower than ``timeout``.
    """

    initial_limit: Count = 20
    min_limit: Count = 1
    backoff_ratio: Annotated[float, between(0.5, 0.99)] = 0.9
    """What is left of the limit after a drop."""
    timeout: Positive = 5.0
    """An answer that took longer is a drop too."""


class Gradient2Config(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="gradient2"):
    """Follows the latency: grows while it is what it is on the long run, shrinks while it is higher."""

    initial_limit: Count = 20
    min_limit: Count = 1
    """(With ``queue_size = 4`` the formula itself goes no lower than 8.)"""
    queue_size: Count = 4
    """So many calls more than the latency allows: what the limit grows by, and what may queue over there."""
    smoothing: Annotated[float, between(0.01, 1)] = 0.2
    """The share of a new estimate that is taken over."""
    tolerance: Annotated[float, between(1, 10)] = 1.5
    """Up to that many times the average latency is no sign of too much."""
    window: Positive = 1.0
    """Over so many seconds (and ten answers at least) a latency is measured."""
    long_window: Annotated[int, between(10, 1_000_000)] = 600
    """Over so many windows the average goes that it is compared with."""


class CoDelConfig(Record, frozen=True, forbid_unknown_fields=True):
    """Shed what has waited too long: while the queue has not been empty for ``interval``, all that has waited for more
    than ``target``, and who came last is served first. Else what has waited for more than ``interval``, in order.
    """

    target: Positive = 0.005
    interval: Positive = 0.1

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """Under overload less waiting is allowed, not more."""
        if record.target and record.interval and record.target >= record.interval:
            yield "target", "must be less than interval"


class BulkheadConfig(Record, frozen=True, forbid_unknown_fields=True):
    """How many calls a service may have under way and waiting."""

    max_concurrent: Count = 100
    """With ``adaptive``: at the most."""
    max_queue: CountOrZero = 1000
    when_full: Literal["wait", "fail"] = "wait"
    """What a call meets that finds the queue full: wait for room within its deadline, or Overloaded at once."""
    max_wait: Positive | None = None
    """A call that has waited for so long, in the queue or for room in it, is Overloaded. None: its deadline counts."""
    codel: CoDelConfig | None = None
    """Wait less, and the last first, while there are more calls than the service keeps up with."""
    adaptive: AimdConfig | Gradient2Config | None = None
    """Learn how many calls at once the service takes. None: always ``max_concurrent``."""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """Nothing that could never have an effect."""
        most, adaptive, codel, max_wait = record.max_concurrent, record.adaptive, record.codel, record.max_wait
        least = None if adaptive is None else adaptive.min_limit
        if most and least and least > most:
            yield "adaptive", f"its min_limit of {least} must not be more than max_concurrent ({most}): raise that"
        target = None if codel is None else codel.target
        if max_wait and target and max_wait <= target:
            yield "max_wait", f"must be more than codel.target ({target:g}), which has no effect else: leave out one"
        if record.max_queue == 0 and record.when_full == "fail":
            for key in ("max_wait", "codel"):
                if getattr(record, key) is not None:
                    yield key, "nothing waits with max_queue = 0 and when_full = 'fail': leave it out, or allow a queue"
