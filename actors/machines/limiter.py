"""A token bucket with a queue: first come, first served, and nobody is served twice or forgotten.

Pure: it says *when* the next waiter may go (`due`) and *who* (`pump`); the actor sleeps and wakes. Tokens are taken
only at the moment of the grant, so however late the pump comes, what it grants fits the bucket. Every operation is
O(1): a waiter that leaves is marked and skipped when its turn comes, or swept when the gone are the majority.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bucket import Snapshot, TokenBucket


class Waiter:
    """A place in the queue."""

    __slots__ = ("_limiter", "_taken", "state")

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._taken: Snapshot | None = None  # the bucket, as it was after the grant
        self.state = "waiting"  # -> "granted" | "gone"

    def cancel(self, now: float) -> None:
        """Leave: the place goes to the next, and a token that was granted and not used goes back."""
        state, self.state = self.state, "gone"
        if state == "waiting":
            self._limiter._left()
        elif state == "granted":
            self._limiter.bucket.refund(now, taken=self._taken)


class Limiter:
    """The queue in front of a bucket."""

    def __init__(self, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self._queue: deque[Waiter] = deque()
        self._gone = 0  # of those in the queue

    def __len__(self) -> int:
        """How many wait."""
        return len(self._queue) - self._gone

    def enter(self, now: float) -> Waiter | None:
        """Ask for a token. None: it was granted at once, since nobody waits and one was there."""
        if not len(self) and self.bucket.try_acquire(now):
            return None
        waiter = Waiter(self)
        self._queue.append(waiter)
        return waiter

    def wait_time(self, now: float) -> float:
        """Seconds that somebody who comes now would wait."""
        return self.bucket.wait(now, behind=len(self))

    def due(self, now: float) -> float | None:
        """When the next waiter can go, or None if nobody waits. After ``now``, or `pump` grants at once.

        A wait can be too short to show in the sum: whoever sleeps until then would wake to find nothing, for ever.
        """
        if not len(self):
            return None
        wait = self.bucket.wait(now)
        return max(now + wait, math.nextafter(now, math.inf)) if wait else now

    def pump(self, now: float) -> list[Waiter]:
        """Grant what can be granted at ``now``, in order of arrival."""
        granted = []
        while self._queue:
            if self._queue[0].state == "gone":
                self._queue.popleft()
                self._gone -= 1
            elif self.bucket.try_acquire(now):
                waiter = self._queue.popleft()
                waiter.state, waiter._taken = "granted", self.bucket.snapshot()
                granted.append(waiter)
            else:
                break
        return granted

    def _left(self) -> None:
        self._gone += 1
        if self._gone * 2 > len(self._queue):
            self._queue = deque(waiter for waiter in self._queue if waiter.state == "waiting")
            self._gone = 0
