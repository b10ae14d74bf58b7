"""The index of a blocking query, as Consul has them, and how often one may be sent. Pure.

A query with an index is answered when there is something newer than that, or after a wait. What its clients are to
heed (Consul's documentation, "Blocking Queries", Implementation Details): an index that goes backwards is forgotten,
one that is not above zero is a fault of the server's and stands for 1, an answer is no proof that anything has
changed, and under churn each answer comes at once, so that a client asks as fast as it can unless it is held back.
"""

from __future__ import annotations

from .bucket import TokenBucket

BURST = 2
EVERY = 15.0
"""Seconds for each query beyond the burst, both as the documentation advises."""


class BlockingQuery:
    """Follows one query."""

    __slots__ = ("_pace", "index")

    def __init__(self) -> None:
        self.index = 0
        """To ask with; 0 does not block."""
        self._pace = TokenBucket(1 / EVERY, BURST)

    def next(self, now: float) -> float:
        """Seconds to wait before the next query, which is counted as sent."""
        return self._pace.reserve(now)

    def answered(self, index: str | None) -> bool:
        """Take over the index of an answer; false if it is the one that we had: nothing has changed."""
        try:
            number = int(index or "")
        except ValueError:
            number = 0
        known = self.index
        if number <= 0:
            self.index = 1
        elif number < known:
            self.index = 0
        else:
            self.index = number
        return number <= 0 or number != known

    def forget(self) -> None:
        """What was answered could not be used: the next answer is to come at once."""
        self.index = 0
