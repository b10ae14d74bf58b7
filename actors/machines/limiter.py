"""A token bucket with a queue: in order, and nobody is served twice or forgotten.

Pure: it says *when* the next waiter may go (`due`) and *who* (`pump`); the actor sleeps and wakes. Tokens are taken
only at the moment of the grant, so however late the pump comes, what it grants fits the bucket.

Who is next: the higher priority, and within one whoever came first. It waits for all the tokens that it wants, and
nobody behind it goes before it, however light: else heavy calls would starve among light ones. So that low priorities
do not starve either, the one who has waited longest of all is next after `PATIENCE` grants to others have gone past it:
with everything taken by higher priorities, a tenth of the grants goes to who has waited longest. (RocksDB's rate
limiter does the same by chance, with its ``fairness`` of 10. Ageing, by which priority grows with the wait, was
rejected: after a long stall all are old, and there are no priorities any more.)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .buckets import AllOf
from .line import Line

if TYPE_CHECKING:
    from .buckets import Bucket

HIGH, NORMAL, LOW = range(3)
PATIENCE = 9


class Waiter:
    """A place in the queue."""

    __slots__ = ("_limiter", "_taken", "deadline", "number", "priority", "waits", "weight")

    def __init__(self, limiter: Limiter, number: int, weight: float, priority: int, deadline: float) -> None:
        self._limiter = limiter
        self._taken: tuple[Bucket, Any] | None = None  # the bucket that it was granted by, and its receipt
        self.number = number
        """Of its arrival."""
        self.weight = weight
        self.priority = priority
        self.deadline = deadline
        self.waits = True

    @property
    def granted(self) -> bool:
        """Its turn has come, and it has not been cancelled."""
        return self._taken is not None

    def cancel(self, now: float) -> None:
        """Leave: the place goes to the next, and tokens that were granted and not used go back."""
        if self.waits:
            self.waits = False
            self._limiter._left(self)
        elif self._taken is not None:
            bucket, taken = self._taken
            self._taken = None
            bucket.refund(now, self.weight, taken=taken)

    def grant(self, bucket: Bucket) -> None:
        """Its turn has come, and its tokens have been taken."""
        self.waits, self._taken = False, (bucket, bucket.receipt())


class Limiter:
    """The queue in front of one bucket, or several.

    Attributes:
        bucket: what all tokens come from. Another may be put in its place while calls wait: see `expel`.
        waiting: how many wait.
        opens: nobody passes before this time, whatever is in the bucket.
    """

    def __init__(self, *buckets: Bucket) -> None:
        self.bucket: Bucket = buckets[0] if len(buckets) == 1 else AllOf(buckets)
        self.waiting = 0
        self.opens = -math.inf
        self._lines: tuple[Line[Waiter], ...] = ()  # by priority; there are none until somebody waits, to be small
        self._arrivals = 0
        self._passed = 0  # grants in a row that went past the one who has waited longest

    def __len__(self) -> int:
        """How many wait."""
        return self.waiting

    def admits(self, now: float, weight: float = 1) -> bool:
        """Take the tokens at once, if nobody waits and they are there."""
        return not self.waiting and now >= self.opens and self.bucket.try_acquire(now, weight)

    def enter(self, now: float, weight: float = 1, priority: int = NORMAL, deadline: float = math.inf) -> Waiter | None:
        """Ask for tokens. None: they were granted at once, since nobody waits and they were there.

        Raises ValueError for more of them than can ever be there at once, or less than none.
        """
        if self.admits(now, weight):
            return None
        self.bucket.wait(now, weight)  # for its ValueError
        return self.join(weight, priority, deadline)

    def join(self, weight: float, priority: int, deadline: float) -> Waiter:
        """Stand in the queue. For those whom `admits` has refused and `wait_time` has given a time."""
        self._arrivals += 1
        waiter = Waiter(self, self._arrivals, weight, priority, deadline)
        if not self._lines:
            self._lines = (Line(), Line(), Line())
        self._lines[priority].join(waiter)
        self.waiting += 1
        return waiter

    def wait_time(self, now: float, weight: float = 1, priority: int = NORMAL) -> float:
        """Seconds that somebody who comes now would wait at least. (Others may still come and go before it.)

        Raises ValueError as `enter`.
        """
        behind = 0.0
        for line in self._lines[: priority + 1]:
            behind += line.weight
        start = max(now, self.opens)
        return start - now + self.bucket.wait(start, weight, behind=behind)

    def due(self, now: float) -> float | None:
        """When the next waiter can go, or None if nobody waits. After ``now``, or `pump` grants at once.

        A wait can be too short to show in the sum: whoever sleeps until then would wake to find nothing, for ever.
        """
        waiter = self._next()
        if waiter is None:
            return None
        start = max(now, self.opens)
        wait = self.bucket.wait(start, waiter.weight)
        return max(start + wait, math.nextafter(now, math.inf)) if wait else start

    def pump(self, now: float) -> list[Waiter]:
        """Grant what can be granted at ``now``, in order."""
        granted: list[Waiter] = []
        while now >= self.opens and (waiter := self._next()) is not None:
            if not self.bucket.try_acquire(now, waiter.weight):
                break
            line = self._lines[waiter.priority]
            alone = len(line) == self.waiting  # then nobody of another priority can be gone past
            self._passed = 0 if alone or waiter is self._oldest() else self._passed + 1
            line.serve()
            self.waiting -= 1
            waiter.grant(self.bucket)
            granted.append(waiter)
        return granted

    def expel(self, now: float) -> list[Waiter]:
        """Those leave the queue who cannot be served any more, now that it opens later or the bucket is another.

        They want more than it can ever give, or their turn would come after their deadline even if nobody went before
        them but those who surely do: who came earlier, with the same priority or a higher one. O(n log n), for what
        happens rarely.
        """
        out, ahead = [], [0.0] * len(self._lines)
        start = max(now, self.opens)
        for waiter in sorted((one for line in self._lines for one in line), key=lambda one: one.number):
            behind = sum(ahead[: waiter.priority + 1])
            heavy = waiter.weight > self.bucket.burst
            if heavy or start + self.bucket.wait(start, waiter.weight, behind=behind) > waiter.deadline:
                out.append(waiter)
            else:
                ahead[waiter.priority] += waiter.weight
        for waiter in out:
            waiter.cancel(now)
        return out

    def is_next(self, waiter: Waiter) -> bool:
        """Whether it is the one that `due` tells the time of."""
        return self._next() is waiter

    def _next(self) -> Waiter | None:
        """Who is to go next."""
        if not self.waiting:
            return None
        if self._passed >= PATIENCE:
            return self._oldest()
        for line in self._lines:
            head = line.head()
            if head is not None:
                return head
        return None

    def _oldest(self) -> Waiter:
        """Who has waited longest."""
        return min((head for line in self._lines if (head := line.head()) is not None), key=lambda one: one.number)

    def _left(self, waiter: Waiter) -> None:
        self.waiting -= 1
        self._lines[waiter.priority].left(waiter)
