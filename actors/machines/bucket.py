"""The token bucket, as the generic cell rate algorithm: one number instead of tokens.

``_tat`` is the theoretical arrival time: the moment at which the bucket would be full again. A grant of n moves it by
``n / rate``; it is allowed while it stays within ``burst / rate`` of now. So no window of length t ever holds more than
``burst + rate * t`` grants. (ITU-T I.371; RESILIENCE.md, "Limiters".)
"""

from __future__ import annotations

import math


class TokenBucket:
    """``rate`` tokens a second, ``burst`` at most at once. Starts full."""

    __slots__ = ("_interval", "_tat", "_tolerance", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        if not (rate > 0 and math.isfinite(rate)):
            raise ValueError(f"rate must be a finite number above 0, not {rate!r}")
        if not (burst >= 1 and math.isfinite(burst)):
            raise ValueError(f"burst must be a finite number of at least 1, not {burst!r}")
        self.rate = rate
        self.burst = burst
        self._interval = 1.0 / rate
        self._tolerance = burst / rate
        self._tat = -math.inf

    def try_acquire(self, now: float, n: float = 1) -> bool:
        """Take ``n`` tokens if they are there."""
        tat = (self._tat if self._tat > now else now) + n * self._interval
        if tat - now > self._tolerance * _ROUNDING:
            return False
        self._tat = tat
        return True

    def reserve(self, now: float, n: float = 1) -> float:
        """Take ``n`` tokens now or in advance; returns the seconds until they may be used.

        Raises ValueError for more than the bucket can ever hold.
        """
        wait = self.wait(now, n)
        self._tat = max(self._tat, now) + n * self._interval
        return wait

    def wait(self, now: float, n: float = 1) -> float:
        """Seconds until ``n`` tokens would be there, if nobody else took any."""
        if n > self.burst:
            raise ValueError(f"{n} tokens can never be had at once from a bucket of {self.burst}")
        over = max(self._tat, now) + n * self._interval - now - self._tolerance
        return over if over > self._tolerance * (_ROUNDING - 1) else 0.0

    def refund(self, now: float, n: float = 1) -> None:
        """Give back tokens that were taken and not used."""
        self._tat = max(self._tat - n * self._interval, -math.inf)

    def snapshot(self) -> float:
        """What the next incarnation should know: a restart must not refill the bucket."""
        return self._tat

    def restore(self, snapshot: float) -> None:
        """Go on from a snapshot."""
        self._tat = snapshot


_ROUNDING = 1 + 1e-9  # sums of 1/rate are off by some ulps; a token more or less in a thousand million
