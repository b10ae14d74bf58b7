"""Several token buckets as one: what is taken is taken from all of them, or from none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


class Bucket(Protocol):
    """What a `Limiter` asks of a bucket. See `TokenBucket`, which is one, for what the methods do."""

    @property
    def burst(self) -> float:
        """The most that can ever be had at once."""
        ...

    def try_acquire(self, now: float, n: float = 1) -> bool:
        """Take ``n`` tokens if they are there."""
        ...

    def take(self, now: float, n: float = 1) -> None:
        """Take ``n`` tokens, whether they are there or not."""
        ...

    def wait(self, now: float, n: float = 1, *, behind: float = 0) -> float:
        """Seconds until ``n`` tokens would be there; 0 exactly if `try_acquire` would get them now."""
        ...

    def refund(self, now: float, n: float = 1, *, taken: Any = None) -> None:
        """Give back tokens that were not used."""
        ...

    def receipt(self) -> Any:
        """For `refund`."""
        ...


class AllOf:
    """Ten a second, and a thousand an hour: one may pass when every bucket lets it. Of no bucket at all: always."""

    __slots__ = ("_buckets", "burst")

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self._buckets = tuple(buckets)
        self.burst = min((bucket.burst for bucket in self._buckets), default=math.inf)

    def try_acquire(self, now: float, n: float = 1) -> bool:
        """Take ``n`` from each, if each has them. Asked first and taken then: a refusal leaves no trace in any."""
        if n > self.burst:
            return False
        for bucket in self._buckets:
            if bucket.wait(now, n):
                return False
        self.take(now, n)
        return True

    def take(self, now: float, n: float = 1) -> None:
        """Take ``n`` from each."""
        for bucket in self._buckets:
            bucket.take(now, n)

    def wait(self, now: float, n: float = 1, *, behind: float = 0) -> float:
        """The longest of their waits. With some ``behind`` it can be longer in the end, if not the same bucket is the
        narrow one all the time: while one keeps the queue waiting, another may fill up and flow over.
        """
        return max((bucket.wait(now, n, behind=behind) for bucket in self._buckets), default=0.0)

    def refund(self, now: float, n: float = 1, *, taken: tuple[Any, ...] | None = None) -> None:
        """Give back to each what it can still take."""
        for bucket, own in zip(self._buckets, taken or (None,) * len(self._buckets), strict=True):
            bucket.refund(now, n, taken=own)

    def receipt(self) -> tuple[Any, ...]:
        """Of each."""
        return tuple(bucket.receipt() for bucket in self._buckets)
