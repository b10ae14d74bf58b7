"""A queue from which anybody may leave: joining, leaving and being served are O(1), whatever its length.

Whoever leaves is marked, skipped when its turn comes, and swept when the marked are the majority. (A linked list would
do it too; a deque is several times faster in Python.)
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator


class Standing(Protocol):
    """Who can stand in a line."""

    waits: bool
    weight: float


S = TypeVar("S", bound=Standing)


class Line(Generic[S]):
    """First come, first served. Whoever stops waiting sets ``waits`` to False and calls `left`."""

    __slots__ = ("_gone", "_queue", "weight")

    def __init__(self) -> None:
        self._queue: deque[S] = deque()
        self._gone = 0  # of those in the queue
        self.weight = 0.0
        """Of all who wait, together."""

    def __len__(self) -> int:
        """How many wait."""
        return len(self._queue) - self._gone

    def __iter__(self) -> Iterator[S]:
        """Those who wait, in order."""
        return (one for one in self._queue if one.waits)

    def join(self, one: S) -> None:
        """Stand at the end."""
        self._queue.append(one)
        self.weight += one.weight

    def head(self) -> S | None:
        """Who is first, or None."""
        queue = self._queue
        while queue:
            one = queue[0]
            if one.waits:
                return one
            queue.popleft()
            self._gone -= 1
        return None

    def serve(self) -> None:
        """The first one, as `head` gave it, goes."""
        self._lose(self._queue.popleft())

    def left(self, one: S) -> None:
        """Somebody went without being served."""
        self._gone += 1
        self._lose(one)
        if self._gone * 2 > len(self._queue):
            self._queue = deque(self)
            self._gone = 0

    def _lose(self, one: S) -> None:
        self.weight -= one.weight
        if len(self._queue) == self._gone:  # nobody: what rounding has left of the sum goes too
            self.weight = 0.0
