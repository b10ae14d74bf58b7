"""Weighted random: by chance, in proportion to the weights."""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING

from .endpoint import NOBODY, Base, Endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

TRIES = 4


class WeightedRandom(Base):
    """By chance, in proportion to the weights. O(log n)."""

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now, with their weights added up."""
        super().update(endpoints)
        self._sums = list(itertools.accumulate(endpoint.weight for endpoint in self._endpoints))

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint | None:
        """One drawn from all that are not to be avoided."""
        if not self._endpoints:
            return None
        for _ in range(TRIES if avoid else 1):
            place = bisect.bisect_right(self._sums, self._rng.random() * self._sums[-1])
            drawn = self._endpoints[min(place, len(self._endpoints) - 1)]
            if drawn.id not in avoid:
                return drawn
        others = self._others(avoid)
        return self._rng.choices(others, [other.weight for other in others])[0] if others else None


def sums_if_unequal(endpoints: Sequence[Endpoint]) -> list[float] | None:
    """The running sums of the weights, or None where an even draw does."""
    weights = [endpoint.weight for endpoint in endpoints]
    return None if len(set(weights)) < 2 else list(itertools.accumulate(weights))
