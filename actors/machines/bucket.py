"""The token bucket, counted from the other side: not what is there, but what is in use and flows back.

``_used`` tokens are out at the time ``_at``; ``rate`` of them come back each second; a grant is allowed while no more
than ``burst`` are out. So no window of length t ever holds more than ``burst + rate * t`` grants. (The leaky bucket as
a meter, ITU-T I.371, which is the generic cell rate algorithm; RESILIENCE.md, "Limiters". The usual form of that, one
theoretical arrival time, was rejected: a clock of a million seconds plus a hundredth of one is rounded, and a bucket
of one token whose arrival time is rounded up is never full again.)
"""

from __future__ import annotations

import math
from typing import TypeAlias

Snapshot: TypeAlias = tuple[float, float]
Receipt: TypeAlias = tuple[int, float, float]

_ROUNDING = 1 + 1e-9  # what has flowed back is off by some ulps; a token more or less in a thousand million


class TokenBucket:
    """``rate`` tokens a second, ``burst`` at most at once. Starts full. A clock that goes back stands still here."""

    __slots__ = ("_at", "_given_back", "_limit", "_number", "_retuned", "_used", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        if not (rate > 0 and math.isfinite(rate)):
            raise ValueError(f"rate must be a finite number above 0, not {rate!r}")
        if not (burst >= 1 and math.isfinite(burst)):
            raise ValueError(f"burst must be a finite number of at least 1, not {burst!r}")
        self.rate = rate
        self.burst = burst
        self._limit = burst * _ROUNDING
        self._used = 0.0
        self._at = -math.inf
        self._number = 0  # of receipts and refunds
        self._retuned = 0  # the last of them under another rate
        self._given_back: list[tuple[int, int, float, float]] = []  # of which receipt, as which, how much, until when

    def try_acquire(self, now: float, n: float = 1) -> bool:
        """Take ``n`` tokens if they are there. Raises ValueError for less than none."""
        if not n >= 0:  # NaN too: once added, it would leave the bucket without a limit for ever
            raise _less_than_none(n)
        at = self._at
        used = self._used
        if now > at:  # `_used_at` in place: this is on the road of every call
            used -= (now - at) * self.rate
            if used < 0.0:
                used = 0.0
            at = now
        used += n
        if used > self._limit:
            return False
        self._used = used
        self._at = at
        return True

    def reserve(self, now: float, n: float = 1) -> float:
        """Take ``n`` tokens now or in advance; returns the seconds until they may be used.

        Raises ValueError for less than none, or more than the bucket can ever hold.
        """
        wait = self.wait(now, n)
        self.take(now, n)
        return wait

    def take(self, now: float, n: float = 1) -> None:
        """Take ``n`` tokens, whether they are there or not: what is missing flows back like the rest.

        Raises ValueError for less than none.
        """
        if not n >= 0:
            raise _less_than_none(n)
        self._used = self._used_at(now) + n
        self._at = max(self._at, now)

    def wait(self, now: float, n: float = 1, *, behind: float = 0) -> float:
        """Seconds until ``n`` tokens would be there, if nobody took any but those who are promised ``behind`` already.

        Raises ValueError for less than none, or more than the bucket can ever hold.
        """
        if not n >= 0:
            raise _less_than_none(n)
        if n > self.burst:
            raise ValueError(f"{n} tokens can never be had at once from a bucket of {self.burst}")
        used = self._used_at(now) + n + behind
        return (used - self.burst) / self.rate if used > self._limit else 0.0

    def receipt(self) -> Receipt:
        """What `refund` wants to see later, from just after the taking."""
        self._number += 1
        return self._number, self._used, self._at

    def refund(self, now: float, n: float = 1, *, taken: Receipt | None = None) -> None:
        """Give back tokens that were taken and not used. Raises ValueError for less than none.

        Args:
            now: the time.
            n: as many as were taken.
            taken: the `receipt` from just after the taking, unless that was in this very instant. The bucket may have
                filled up since: tokens that have flowed back cannot be given back, or the calls after them would be
                more than the burst allows. (They flow back in the order in which they were taken.)
        """
        if not n >= 0:
            raise _less_than_none(n)
        if taken is not None:
            now = max(now, self._at)
            n = min(n, self._left_of(taken, now))
            self._number += 1
            self._given_back.append((taken[0], self._number, n, now + self._used_at(now) / self.rate))
        self._used = max(0.0, self._used - n)

    def _left_of(self, taken: Receipt, now: float) -> float:
        """How much has not flowed back yet of all that was out just after that taking."""
        number, used, at = taken
        if number <= self._retuned:  # how much of it has flowed back since cannot be told: none is the safe answer
            return 0.0
        # What was given back since of what had been taken before is out no longer, and has made the rest flow back
        # earlier. It matters for as long as anything is out of what was out at that time.
        self._given_back = [one for one in self._given_back if one[3] > now]
        earlier = sum(n for which, when, n, _ in self._given_back if which < number < when)
        return max(0.0, used - (now - at) * self.rate - earlier)

    def retune(self, now: float, rate: float, burst: float) -> None:
        """Another rate and burst from ``now`` on. What is out stays out, up to all of the new burst.

        Raises ValueError as the constructor.
        """
        other = TokenBucket(rate, burst)
        self._used, self._at = min(burst, self._used_at(now)), max(self._at, now)
        self.rate, self.burst, self._limit = other.rate, other.burst, other._limit
        self._retuned = self._number

    def snapshot(self) -> Snapshot:
        """What the next incarnation should know: a restart must not refill the bucket."""
        return self._used, self._at

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot."""
        self._used, self._at = snapshot

    def _used_at(self, now: float) -> float:
        return max(0.0, self._used - (now - self._at) * self.rate) if now > self._at else self._used


def _less_than_none(n: float) -> ValueError:
    return ValueError(f"a number of tokens is 0 or more, not {n!r}")
