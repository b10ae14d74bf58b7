"""How often one service is called: the limits that are configured, and those that its answers tell of.

A configured limit is a token bucket each, and a promise. What is learned comes on top and can only slow calls down: a
pause, in which nobody passes, when the service has said how long it wants none; and a rate below the configured one,
when it has refused calls (see `machines/adaptive_rate.py`). Like the breaker's, this memory outlives the actor.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import msgspec

from switchgear.runtime.wall import wall_time

from ..events import CallsPaused, RateChanged
from ..machines.adaptive_rate import AdaptiveRate
from ..machines.bucket import TokenBucket
from ..machines.buckets import AllOf
from ..machines.limiter import Limiter
from ..machines.ratelimit_headers import exhausted_for, may_be_exhausted
from ..machines.retry import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from switchgear.runtime import Event

    from ..config import RateLimit, ServiceConfig
    from ..machines.adaptive_rate import Pace
    from ..machines.buckets import Bucket

_WORTH_TELLING = 1.0  # seconds by which a pause has to get longer; answers that cross it say much the same
_STEP = 1.5  # the factor by which a learned rate has to have grown to be worth telling


class Changed(Protocol):
    """Who is told when the limiter has become another."""

    def __call__(self, *, worse: bool) -> None:
        """``worse``: some who wait may be too late now."""
        ...


class LimiterStatus(msgspec.Struct, frozen=True):
    """What the limiter of a service does at a moment."""

    waiting: int
    """Calls that wait for their turn."""
    paused_for: float
    """Seconds for which no call passes, because the service has said so; 0.0 if it has not."""
    learned_rate: float | None
    """Calls a second that it takes, as far as its refusals have taught; None if they have taught nothing, or nothing
    below the configured limit."""


class Limits:
    """The limiter of one service, and what steers it."""

    def __init__(self, config: ServiceConfig, path: str, emit: Callable[[Event], None]) -> None:
        self.limiter = Limiter()
        self.changed: Changed | None = None
        """What the gate in office does when calls can pass earlier than they could, or only later."""
        self._path = path
        self._emit = emit
        self._configured: list[tuple[float, TokenBucket]] = []  # with its window
        self._learned: AdaptiveRate | None = None
        self._pace: Pace | None = None
        self._told_rate: float | None = None
        self._told_pause = -math.inf
        self.tune(config, None, -math.inf)

    def tune(self, config: ServiceConfig, old: ServiceConfig | None, now: float) -> None:
        """Take over a configuration. What was learned stays, unless it was learned of another service or account."""
        self._name, self._pushback = config.name, config.pushback
        self._rebuild(config.rate_limits, now)
        if old is not None and (config.base_url, config.auth) != (old.base_url, old.auth):
            self._learned = None
            self.limiter.opens = -math.inf
        if not self._pushback.pause:
            self.limiter.opens = -math.inf
        if not self._pushback.adapt:
            self._learned = None
        elif self._learned is None:
            self._learned = AdaptiveRate()
        if self._learned is not None:
            # From this rate on, with a second's worth at once, one of the configured buckets is the narrower always.
            bounds = (max(bucket.rate, bucket.burst) for _, bucket in self._configured)
            self._learned.ceiling = min(bounds, default=math.inf)
        self._follow("the configuration has changed")
        self._compose()
        self._change(worse=True)

    @property
    def idle(self) -> bool:
        """It can never keep a call waiting: nothing is configured, and nothing would be learned."""
        return not (self._configured or self._pushback.pause or self._pushback.adapt or self.limiter.waiting)

    @property
    def listens(self) -> bool:
        """It wants to know of every answer."""
        return self._pushback.pause or self._pushback.adapt

    def status(self, now: float) -> LimiterStatus:
        """At this moment."""
        learned = None if self._learned is None else self._learned.rate
        return LimiterStatus(self.limiter.waiting, max(0.0, self.limiter.opens - now), learned)

    def answered(self, headers: Sequence[tuple[str, str]], weight: float, now: float) -> None:
        """An answer that is no error. (This is on the road of every call.)"""
        if self._learned is not None:
            before = self._learned.rate
            self._learned.succeeded(now, weight)
            if self._learned.rate != before:
                self._follow("it was regained")
                self._change(worse=False)
        if may_be_exhausted(headers):
            seconds = exhausted_for(headers, wall_now=wall_time())
            if seconds is not None:
                self._pause(seconds, "its quota is used up", now)

    def refused(
        self, status: int, headers: Sequence[tuple[str, str]], *, sent: float, weight: float, now: float
    ) -> float | None:
        """An answer that is an error, to a call that was sent at ``sent``.

        Returns:
            Seconds after which another try makes sense, if it says so.
        """
        wall, said = wall_time(), dict(reversed(headers))  # the first of a name counts
        after = parse_retry_after(said.get("retry-after"), date=said.get("date"), wall_now=wall)
        used_up = exhausted_for(headers, wall_now=wall)
        wait = used_up if after is None else after  # which takes precedence (section 7 of the draft)
        # 403: GitHub's secondary limits. Not 503: that is about one instance, and the breaker's affair.
        too_many = status == 429 or (status == 403 and wait is not None)
        if wait is not None and (too_many or used_up is not None):
            self._pause(wait, f"it answered {status}", now)
        if self._learned is not None:
            before = self._learned.rate
            if too_many:
                self._learned.refused(now, sent, weight, until=self.limiter.opens)
            else:
                self._learned.succeeded(now, weight)
            if self._learned.rate != before:
                self._follow(f"it answered {status}")
                self._change(worse=too_many)
        return wait

    def _pause(self, seconds: float, reason: str, now: float) -> None:
        until = now + min(seconds, self._pushback.max_pause)
        if not self._pushback.pause or until <= max(now, self.limiter.opens):
            return
        self.limiter.opens = until
        if self._told_pause <= now or until > self._told_pause + _WORTH_TELLING:
            self._told_pause = until
            self._emit(CallsPaused(path=self._path, service=self._name, seconds=until - now, reason=reason))
            self._change(worse=True)

    def _follow(self, reason: str) -> None:
        """The learned rate may be another now."""
        learned, told = self._learned, self._told_rate
        pace = None if learned is None else learned.pace
        rate = None if learned is None else learned.rate
        if pace is not self._pace:
            self._pace = pace
            self._compose()
        if rate != told and (rate is None or told is None or not told <= rate < _STEP * told):
            self._told_rate = rate
            self._emit(RateChanged(path=self._path, service=self._name, rate=rate, reason=reason))

    def _compose(self) -> None:
        buckets: list[Bucket] = [bucket for _, bucket in self._configured]
        if self._pace is not None:
            buckets.append(self._pace)
        self.limiter.bucket = buckets[0] if len(buckets) == 1 else AllOf(buckets)

    def _rebuild(self, limits: Sequence[RateLimit], now: float) -> None:
        """The configured buckets. Each goes on with what is out of the one before it: that for the same window, or else
        any that is left. One that began full would let a whole burst pass each time somebody reconfigures.
        """
        left, self._configured = self._configured, []
        heirs = [_taken(left, limit.per) for limit in limits]
        for limit, heir in zip(limits, heirs, strict=True):
            rate = limit.rate / limit.per
            burst = limit.burst if limit.burst is not None else max(1, int(limit.rate))
            bucket = heir or (left.pop(0)[1] if left else None) or TokenBucket(rate, burst)
            if (bucket.rate, bucket.burst) != (rate, burst):
                bucket.retune(now, rate, burst)
            self._configured.append((limit.per, bucket))

    def _change(self, *, worse: bool) -> None:
        if self.changed is not None and self.limiter.waiting:
            self.changed(worse=worse)


def _taken(buckets: list[tuple[float, TokenBucket]], per: float) -> TokenBucket | None:
    """The first for that window, which is taken out of them."""
    found = next((one for one in buckets if one[0] == per), None)
    if found is None:
        return None
    buckets.remove(found)
    return found[1]
