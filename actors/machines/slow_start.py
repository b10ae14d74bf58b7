"""Slow start: an instance that comes to others gets its share of the calls little by little. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_LEAST = 0.1
_STEPS = 20  # in which the share grows: a balancer that is told of each moment would do nothing else


class SlowStart:
    """Whose share is how small. The formula is Envoy's, at its default aggression of 1.

        weight * max(10 %, max(t, 1) / window)        t seconds after it has come

    Where all are new there is nobody to take the rest of the calls, so it is pointless and not done.
    """

    def __init__(self, window: float | None) -> None:
        self.window = window
        """Seconds; None: nobody starts slowly."""
        self.due = math.inf
        """When the shares have changed."""
        self._since: dict[str, float] = {}
        self._there: frozenset[str] = frozenset()

    @property
    def starting(self) -> Collection[str]:
        """Ids of those whose share is not whole yet."""
        return self._since.keys()

    def update(self, there: frozenset[str], now: float) -> None:
        """These get calls now (O(n) when they have changed): who has not been among them begins, if others were."""
        if there != self._there:
            come = there - self._there if self.window is not None and there & self._there else ()
            self._since = {name: at for name, at in self._since.items() if name in there} | dict.fromkeys(come, now)
            self._there = there
        self._sweep(now)

    def _sweep(self, now: float) -> None:
        window = self.window or 0.0
        self._since = {name: since for name, since in self._since.items() if now - since < window}
        self.due = now + window / _STEPS if self._since else math.inf

    def share(self, id: str, now: float) -> float:
        """Of its weight: from a tenth to 1."""
        since = self._since.get(id)
        if since is None or self.window is None:
            return 1.0
        return min(1.0, max(_LEAST, max(now - since, 1.0) / self.window))
