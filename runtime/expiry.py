"""Timeouts without a cancel scope: one heap and one sleeping task for a whole runtime.

A cancel scope for each ask (and for each attempt on a connection) would say the same and cost 5 us of the caller's
time; a heap entry costs a tenth of that and most are never looked at again, for most asks are answered in time. Entries
of what is over stay until they reach the top or the heap has doubled, whichever is first: amortised O(log n), and never
more than twice the live ones.
"""

from __future__ import annotations

import heapq
import math
from typing import NoReturn, Protocol

import trio


class Expiring(Protocol):
    """Something with a timeout."""

    expiry: float
    """When it ends (trio time). It may be set to an earlier time and the thing added again: the old entry then means
    nothing."""

    @property
    def over(self) -> bool:
        """It has ended by itself, and needs no watching."""
        ...

    def expire(self) -> None:
        """Its time is up. It may set a later ``expiry``, to be watched until then. Synchronous; must not raise."""
        ...


# Entries that are not worth a clean-up. More would keep the answered asks of a while alive, for the garbage collector
# to look at again and again.
_SMALL = 100


class Expiries:
    """What has a timeout, by when it ends."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Expiring]] = []
        self._limit = _SMALL
        self._count = 0
        self._scope = trio.CancelScope()  # of the keeper's sleep: an earlier timeout shortens it

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, thing: Expiring) -> None:
        """Watch over it until its ``expiry``."""
        self._count += 1  # breaks ties: the things have no order of their own
        expiry = thing.expiry
        heapq.heappush(self._heap, (expiry, self._count, thing))
        if expiry < self._scope.deadline:
            self._scope.deadline = expiry
        if len(self._heap) > self._limit:
            self._prune()

    def _prune(self) -> None:
        self._heap = [entry for entry in self._heap if _counts(entry)]
        heapq.heapify(self._heap)
        self._limit = max(_SMALL, 2 * len(self._heap))

    def _expire(self, now: float) -> float:
        """End what is over at ``now``; return when to look again."""
        while self._heap and (self._heap[0][0] <= now or not _counts(self._heap[0])):
            entry = heapq.heappop(self._heap)
            expiry, _, thing = entry
            if _counts(entry):
                thing.expire()
                if expiry < thing.expiry < math.inf and not thing.over:
                    self.add(thing)
        return self._heap[0][0] if self._heap else math.inf

    async def keep(self) -> NoReturn:
        """The keeper: sleeps until the next timeout, for as long as the runtime lives."""
        while True:
            with trio.CancelScope(deadline=self._expire(trio.current_time())) as self._scope:
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()  # the sleep above ends without one if its deadline is past already


def _counts(entry: tuple[float, int, Expiring]) -> bool:
    """It is not over, and this is the time that holds."""
    expiry, _, thing = entry
    return thing.expiry == expiry and not thing.over
