"""Explicit timeouts of asks: one heap and one sleeping task for a whole runtime.

A cancel scope for each ask would say the same and cost 5 us of the caller's time; a heap entry costs a tenth of that
and most are never looked at again, for most asks are answered in time. Entries of settled asks stay until they reach
the top or the heap has doubled, whichever is first: amortised O(log n), and never more than twice the live ones.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, NoReturn

import trio

if TYPE_CHECKING:
    from .envelope import Ask

_SMALL = 1000  # entries that are not worth a clean-up


class Expiries:
    """The asks that have a timeout, by when it ends."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Ask]] = []
        self._limit = _SMALL
        self._count = 0
        self._scope = trio.CancelScope()  # of the keeper's sleep: an earlier timeout shortens it

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, ask: Ask) -> None:
        """Watch over an ask until its ``expiry``."""
        self._count += 1  # breaks ties: asks have no order of their own
        heapq.heappush(self._heap, (ask.expiry, self._count, ask))
        if ask.expiry < self._scope.deadline:
            self._scope.deadline = ask.expiry
        if len(self._heap) > self._limit:
            self._prune()

    def _prune(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].outcome is None]
        heapq.heapify(self._heap)
        self._limit = max(_SMALL, 2 * len(self._heap))

    def _expire(self, now: float) -> float:
        """Fail what is over at ``now``; return when to look again."""
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2].outcome is not None):
            ask = heapq.heappop(heap)[2]
            if ask.outcome is None:
                ask.fail(ask.cell.timeout_error(ask))
        return heap[0][0] if heap else math.inf

    async def keep(self) -> NoReturn:
        """The keeper: sleeps until the next timeout, for as long as the runtime lives."""
        while True:
            with trio.CancelScope(deadline=self._expire(trio.current_time())) as self._scope:
                await trio.sleep_forever()
            await trio.lowlevel.checkpoint()  # the sleep above ends without one if its deadline is past already
