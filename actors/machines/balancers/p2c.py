"""Power of two choices: the better of two that are drawn by chance."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from .chance import sums_if_unequal
from .endpoint import NOBODY, Base, Endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence


class PowerOfTwo(Base):
    """Of two drawn by chance, the one with less outstanding for its weight: O(1), and within a constant of the best.

    (Mitzenmacher, "The power of two choices in randomized load balancing".) The second is drawn from the others, so the
    two are always distinct. The first is drawn by weight, and wins a tie and wherever both are idle: when the weights
    decided there, an endpoint a hundredth lighter than its neighbour got nothing at all from callers that come one by
    one, and when both were drawn evenly, one of ten times the others' weight never got its share. O(log n) with
    unequal weights.
    """

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now, with their weights added up where they differ."""
        super().update(endpoints)
        self._sums = sums_if_unequal(self._endpoints)

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint | None:
        """The better of two that are not to be avoided."""
        endpoints = self._others(avoid) if avoid else self._endpoints
        n = len(endpoints)
        if n < 2:
            return endpoints[0] if n else None
        sums = sums_if_unequal(endpoints) if avoid else self._sums
        if sums is None:
            i = int(self._rng.random() * n)  # randrange costs four times as much
        else:
            i = min(bisect.bisect_right(sums, self._rng.random() * sums[-1]), n - 1)
        j = int(self._rng.random() * (n - 1))
        a, b = endpoints[i], endpoints[j + 1 if j >= i else j]
        if not (a.outstanding or b.outstanding):
            return a
        return a if (a.outstanding + 1) * b.weight <= (b.outstanding + 1) * a.weight else b
