"""Passive outlier ejection: which instances get no calls for a while, for how theirs end. All times are seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from .check import Count, Pause, Positive, between
from .record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

Share = Annotated[float, between(0.001, 1)]


class OutlierConfig(Record, frozen=True, forbid_unknown_fields=True):
    """Three rules, each of which can be switched off with None; the defaults are Envoy's, which has no
    ``success_rate_margin``.

    Each attempt counts, and what a failure is the breaker's configuration says (`BreakerConfig.failure_statuses` and
    the fields after it), also where the breaker is switched off: 5xx, timeouts and broken connections by default. A
    call that its caller gave up, or that was refused on our side, says nothing.
    """

    consecutive_failures: Count | None = 5
    """So many in a row, without a success between them, and it is ejected at once."""

    failure_rate: Share | None = 0.85
    """At the end of an interval: this share of failures or more,"""
    failure_rate_hosts: Count = 5
    """if at least so many instances"""
    failure_rate_calls: Count = 50
    """had so many calls in it."""

    success_rate_factor: Annotated[float, between(0.1, 100)] | None = 1.9
    """At the end of an interval: a share of successes that is so many standard deviations below the mean of all,"""
    success_rate_margin: Annotated[float, between(0, 1)] = 0.05
    """and at least so far below it: where hardly any call fails, two failures in 180 are more than 1.9 deviations. An
    instance that is out for half a minute costs the fleet more than those."""
    success_rate_hosts: Count = 5
    """if at least so many instances (with fewer than five, 1.9 can never be reached)"""
    success_rate_calls: Count = 100
    """had so many calls in it."""

    interval: Pause = 10.0
    """What the two rates are taken over. It begins with the first call in it."""
    ejection_time: Positive = 30.0
    """How long the first ejection lasts; the n-th lasts n times as long. Each interval spent well takes one off."""
    max_ejection_time: Positive = 300.0
    """But no longer than that."""
    jitter: Annotated[float, between(0, 1)] = 0.1
    """And longer by up to this share, drawn anew each time, so that not all clients come back at once."""
    max_ejected: Share = 0.1
    """No more than this share of the instances is ejected at once; but one always may be, unless it is the last."""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """At least one rule, and a longest time that is not shorter than the first."""
        rules = (record.consecutive_failures, record.failure_rate, record.success_rate_factor)
        if rules == (None, None, None):
            yield "consecutive_failures", "no rule is left: set outlier to None instead"
        first, most = record.ejection_time, record.max_ejection_time
        if first is not None and most is not None and most < first:
            yield "max_ejection_time", f"must not be less than ejection_time ({first:g})"
