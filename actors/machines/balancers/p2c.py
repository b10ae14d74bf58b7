"""The default: of two drawn by chance the one that costs less, by latency, load and failures."""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING

from .base import NOBODY, TRIES, Base, sums_if_unequal
from .endpoint import TAU, UNKNOWN

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from .endpoint import Endpoint

FAILURE = 20.0
"""Calls on an average endpoint: so much worse is one that always fails."""

_ALIKE = 2.0  # of two idle endpoints, so much slower one may be and yet get its share


class PeakEwma(Base):
    """Power of two choices by peak EWMA. O(1); O(log n) with unequal weights.

    (Mitzenmacher, "The power of two choices in randomized load balancing": within a constant of the best of all, at the
    cost of two; and many clients with the same view do not all run to the same one.) What a call on an endpoint costs::

        latency * (outstanding + 1) + failing * FAILURE * typical * (1 + outstanding of all / n)

    divided by its weight. The first term is Finagle's. The second, for failures, is not multiplied with the endpoint's
    own load but with the average one: one that fails at once has nothing outstanding, and where the others have fifty
    calls each, no factor on its latency would keep calls away from it.

    Of an idle endpoint, what is known fades with time: so it is tried again, by one call, and while that one is out
    nothing fades. One of which nothing is known is tried first, and by one call at a time as well, until one has ended.

    With unequal weights, the first is drawn by weight, and wins where both are idle and it is not far slower: when the
    weights decided there, an endpoint a hundredth lighter than its neighbour got nothing at all from callers that come
    one by one, and when both were drawn evenly, one of ten times the others' weight never got its share.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._random = rng.random  # randrange costs four times as much
        self._sums: list[float] | None = None

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now, with their weights added up where they differ."""
        super().update(endpoints)
        self._sums = sums_if_unequal(self._endpoints)

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint | None:
        """The better of two that are not to be avoided."""
        endpoints, sums = self._endpoints, self._sums
        n = len(endpoints)
        if n < 2:
            return endpoints[0] if n and endpoints[0].id not in avoid else None
        for _ in range(TRIES):
            if sums is None:
                i = int(self._random() * n)
            else:
                i = min(bisect.bisect_right(sums, self._random() * sums[-1]), n - 1)
            j = int(self._random() * (n - 1))
            a, b = endpoints[i], endpoints[j if j < i else j + 1]  # two distinct ones
            if not avoid or (a.id not in avoid and b.id not in avoid):
                if sums is None:  # as `_better`, without the call: this is on the road of nearly every call
                    return a if _cost(a, now) <= _cost(b, now) else b
                return self._better(a, b, now)
        return self._search(now, avoid)

    def _search(self, now: float, avoid: frozenset[str]) -> Endpoint | None:
        """As `pick`, among all that are not to be avoided."""
        others = self._others(avoid)
        if len(others) < 2:
            return others[0] if others else None
        a = self._rng.choices(others, [endpoint.weight for endpoint in others])[0]
        b = self._rng.choice([endpoint for endpoint in others if endpoint is not a])
        return self._better(a, b, now)

    def _better(self, a: Endpoint, b: Endpoint, now: float) -> Endpoint:
        x, y = _cost(a, now), _cost(b, now)
        if self._sums is None:
            return a if x <= y else b
        if not (a.outstanding or b.outstanding):
            return a if x <= y * _ALIKE else b
        return a if x * b.weight <= y * a.weight else b


def _cost(endpoint: Endpoint, now: float) -> float:
    """Of one more call on it, in seconds, for a weight of 1."""
    latency, outstanding = endpoint.latency, endpoint.outstanding
    if latency is None:
        return outstanding * UNKNOWN
    failures = 0.0
    if endpoint.failing:
        group = endpoint.group
        failures = endpoint.failing * FAILURE * group.typical * (1 + group.outstanding / group.size)
    if not outstanding:
        return (latency + failures) * math.exp((endpoint.seen - now) / TAU)
    waiting = endpoint.waiting
    if waiting:
        age = now - endpoint.since / waiting
        if age > latency:
            latency = age
    return latency * (outstanding + 1) + failures
