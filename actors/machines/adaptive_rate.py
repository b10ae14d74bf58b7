"""The rate at which a service takes calls, learned from its refusals: lowered by each, regained along a cubic curve.

This is the client rate limiting of the AWS SDKs' "adaptive" retry mode (botocore/retries/throttling.py, adaptive.py and
bucket.py, whose constants these are), which is TCP's CUBIC (RFC 9438) for requests: after a refusal at the rate
``w_max`` the rate is ``BETA * w_max``, and t seconds later ``SCALE * (t - k)**3 + w_max``: quickly back towards
``w_max``, slowly past it, then quickly on. It differs from botocore where that is known to hurt:

* Refusals of calls that were sent before the last lowering say nothing about the lowered rate, and lower it no further
  (TCP does so too: the ``recover`` of RFC 6582). With twenty calls under way, one moment of overload would else leave a
  thousandth of the rate: ``BETA ** 20``.
* Twice the measured rate bounds how far the rate is *raised*, and does not lower it: a service that is called little
  would else be held to that little, and its next burst would crawl.
* The limit is lifted when the rate has been regained: it does not stay for the life of the process.
* A burst that is shorter than the half second over which rates are measured counts as fast as it was.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .bucket import TokenBucket

if TYPE_CHECKING:
    from .bucket import Receipt

SCALE = 0.4
BETA = 0.7
SMOOTHING = 0.8
SPAN = 0.5
"""Seconds over which rates are measured."""
LEAST = 0.5
"""Calls a second: below that there are pauses."""
MOST = 2.0
"""Times the measured rate, that is as far as the rate is raised."""


class AdaptiveRate:
    """No limit, until the service refuses a call; then one that follows what the service takes.

    Attributes:
        rate: calls a second, or None where there is no limit.
        pace: a bucket that keeps it, or None.
        ceiling: calls a second that are never exceeded anyhow: a limit from there on would be none.
    """

    def __init__(self, ceiling: float = math.inf) -> None:
        self.rate: float | None = None
        self.pace: Pace | None = None
        self.ceiling = ceiling
        self._meter = RateMeter()
        self._top = 0.0  # w_max: at this rate there was a refusal
        self._k = 0.0
        self._begin = -math.inf  # of the way back
        self._lowered = -math.inf

    def succeeded(self, now: float, n: float = 1) -> None:
        """A call of weight ``n`` was not refused."""
        self._meter.record(now, n)
        if self.rate is None:
            return
        curve = SCALE * (now - self._begin - self._k) ** 3 + self._top
        rate = max(self.rate, min(curve, MOST * self._meter.rate()))
        self._set(None if rate >= min(self.ceiling, 2 * self._top) else rate, now)

    def refused(self, now: float, sent: float, n: float = 1, *, until: float = -math.inf) -> None:
        """A call of weight ``n``, which was sent at ``sent``, was one too many.

        Args:
            now: when the answer came.
            sent: when the call was sent, by the same clock.
            n: its weight.
            until: nothing is sent before that. Such a time proves nothing, and is no part of the way back.
        """
        self._meter.record(now, n)
        self._begin = max(self._begin, until)
        if sent < self._lowered:
            return
        in_force = self.ceiling if self.rate is None else self.rate
        self._top = max(LEAST, min(self._meter.rate(), in_force))
        self._k = (self._top * (1 - BETA) / SCALE) ** (1 / 3)
        self._lowered, self._begin = now, max(now, until)
        self._set(max(LEAST, BETA * self._top), now)

    def _set(self, rate: float | None, now: float) -> None:
        if rate == self.rate:
            return
        self.rate = rate
        if rate is None:
            self.pace = None
        elif self.pace is None:
            self.pace = Pace(rate, now)
        else:
            self.pace.retune(rate, now)


class RateMeter:
    """How many there are a second: counted in spans of half a second, and smoothed."""

    __slots__ = ("_count", "_rate", "_span")

    def __init__(self) -> None:
        self._rate = 0.0
        self._count = 0.0
        self._span = -math.inf  # the number of the span that is being counted

    def record(self, now: float, n: float = 1) -> None:
        """There were ``n`` more."""
        span = now // SPAN
        if span > self._span:
            if self._count:
                self._rate = self._smoothed((span - self._span) * SPAN)
            self._span, self._count = span, 0.0
        self._count += n

    def rate(self) -> float:
        """Of the spans that are over; or with the one that is not, if that is already more."""
        return max(self._rate, self._smoothed(SPAN))

    def _smoothed(self, seconds: float) -> float:
        return SMOOTHING * self._count / seconds + (1 - SMOOTHING) * self._rate


class Pace:
    """A learned rate as a bucket (see `buckets.Bucket`): one second of it at once, or a single call.

    It begins empty: the service has just had too much. A call that is heavier than the burst is not refused for ever
    because of a guess: it waits for a full bucket, and those after it for what it has overdrawn.
    """

    __slots__ = ("_bucket",)

    burst = math.inf

    def __init__(self, rate: float, now: float) -> None:
        self._bucket = TokenBucket(rate, max(1.0, rate))
        self._bucket.take(now, self._bucket.burst)

    def retune(self, rate: float, now: float) -> None:
        """Another rate from ``now`` on."""
        self._bucket.retune(now, rate, max(1.0, rate))

    def try_acquire(self, now: float, n: float = 1) -> bool:
        """Take ``n``, if as many of them are there as can be."""
        if self.wait(now, n):
            return False
        self.take(now, n)
        return True

    def take(self, now: float, n: float = 1) -> None:
        """Take ``n``, whether they are there or not."""
        self._bucket.take(now, n)

    def wait(self, now: float, n: float = 1, *, behind: float = 0) -> float:
        """Seconds until `try_acquire` gets ``n``."""
        return self._bucket.wait(now, min(n, self._bucket.burst), behind=behind)

    def refund(self, now: float, n: float = 1, *, taken: Receipt | None = None) -> None:
        """Give back what was not used."""
        self._bucket.refund(now, n, taken=taken)

    def receipt(self) -> Receipt:
        """For `refund`."""
        return self._bucket.receipt()
