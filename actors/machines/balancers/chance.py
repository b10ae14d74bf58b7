"""Weighted random: by chance, in proportion to the weights."""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING

from .base import NOBODY, TRIES, Base

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .endpoint import Endpoint


class WeightedRandom(Base):
    """By chance, in proportion to the weights. O(log n)."""

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now, with their weights added up."""
        super().update(endpoints)
        self._sums = list(itertools.accumulate(endpoint.weight for endpoint in self._endpoints))

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint | None:
        """One drawn from all that are not to be avoided."""
        endpoints = self._endpoints
        if not endpoints:
            return None
        sums = self._sums
        for _ in range(TRIES):
            place = bisect.bisect_right(sums, self._rng.random() * sums[-1])
            endpoint = endpoints[min(place, len(endpoints) - 1)]  # the product may be rounded up to the sum
            if endpoint.id not in avoid:
                return endpoint
        return self._drawn(avoid)
