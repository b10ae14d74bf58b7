"""CoDel for requests: how long one may have waited, and who is next. (Nichols and Jacobson, "Controlling queue delay".)

Facebook's variant for services (Maurer, "Fail at scale", ACM Queue 13:8, 2015): a queue that has not been empty for a
while is no burst but overload. Nobody is served then who has waited for longer than a moment, and those who came last
are served first: they have the most of their time left, while a queue that is served in order under overload gives
everybody an answer that comes too late. folly's Codel.cpp asks instead whether *each* request of the last interval had
to wait, and allows twice the target; the rule of the article needs to see the queue only and not its history, and
promises what its two figures say.
"""

from __future__ import annotations

import math


class CoDel:
    """Says by which rule a queue is served, from when it was last empty.

    Attributes:
        target: seconds that one may have waited under overload.
        interval: seconds without the queue being empty that make an overload; what one may have waited else.
    """

    __slots__ = ("_since", "interval", "target")

    def __init__(self, target: float, interval: float) -> None:
        self.target = target
        self.interval = interval
        self._since = math.inf

    def began(self, now: float) -> None:
        """Somebody has begun to wait where nobody did: up to now, the queue was empty."""
        self._since = now

    def rule(self, now: float) -> tuple[float, bool]:
        """How long anybody may have waited who is served now (seconds), and whether who came last is next."""
        if now - self._since >= self.interval:
            return self.target, True
        return self.interval, False
