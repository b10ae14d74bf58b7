"""Balancers that take turns: round robin, and nginx's smooth weighted round robin."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from .base import NOBODY, TRIES, Base

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from .endpoint import Endpoint

_LONGEST = 10_000  # picks: a cycle that is longer is not kept, but worked out again and again


class RoundRobin(Base):
    """One after the other, from a random start: many clients that start together must not all begin with the first."""

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now; the round begins anew, somewhere."""
        super().update(endpoints)
        self._next = self._rng.randrange(len(self._endpoints)) if self._endpoints else 0

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint | None:
        """The next in turn that is not to be avoided."""
        endpoints = self._endpoints
        for _ in range(len(endpoints)):
            if self._next >= len(endpoints):
                self._next = 0
            endpoint = endpoints[self._next]
            self._next += 1
            if endpoint.id not in avoid:
                return endpoint
        return None


class SmoothWeighted(Base):
    """In turn, in proportion to the weights, and the turns of each as far apart as can be.

    nginx's, pick for pick: {a: 5, b: 1, c: 1} gives ``a a b a c a a`` and again. At each pick, every endpoint's credit
    grows by its weight; the one with the most is picked (of equals, the first) and pays the sum of all weights. That is
    O(n); but the picks come round, after as many as the weights add up to (divided by what they have in common), so
    they are kept and replayed: after the first cycle O(1). Credits outlive an update: to begin with the heaviest each
    time is how light ones starve where weights change often.

    What nginx does besides, to lower the weight of one that fails, is left to the ejection of outliers.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._weights: list[float] = []
        self._sum = 1.0
        self._credits: list[float] = []  # at the beginning of the cycle
        self._running: list[float] = []  # at the end of what is known of it
        self._cycle: list[int] = []  # the picks of it that are known
        self._at = 0
        self._period = 0  # 0: none that is worth keeping

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now, with these weights; each keeps its credit."""
        kept = {endpoint.id: credit / self._sum for endpoint, credit in zip(self._endpoints, self._now(), strict=True)}
        super().update(endpoints)
        self._weights, self._period = _in_lowest_terms([endpoint.weight for endpoint in self._endpoints])
        self._sum = sum(self._weights)
        self._running = [kept.get(endpoint.id, 0.0) * self._sum for endpoint in self._endpoints]
        self._begin_cycle()

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint | None:
        """The next in turn; who is to be avoided has to miss his."""
        if not self._endpoints:
            return None
        for _ in range(TRIES):
            endpoint = self._endpoints[self._turn()]
            if endpoint.id not in avoid:
                return endpoint
        return self._drawn(avoid)

    def _turn(self) -> int:
        at = self._at
        if at < len(self._cycle):
            chosen = self._cycle[at]
        else:
            running = [credit + weight for credit, weight in zip(self._running, self._weights, strict=True)]
            chosen = running.index(max(running))
            running[chosen] -= self._sum
            self._running = running
            self._cycle.append(chosen)
        self._at = at + 1
        if self._at >= self._period:
            self._turned()
        return chosen

    def _turned(self) -> None:
        """A cycle is over, or nothing is worth keeping. With credits of old, it may take one to get into the rhythm."""
        slack = self._sum * 1e-9
        if self._period and all(abs(a - b) < slack for a, b in zip(self._running, self._credits, strict=True)):
            self._at = 0
        else:
            self._begin_cycle()

    def _begin_cycle(self) -> None:
        self._credits, self._cycle, self._at = self._running, [], 0

    def _now(self) -> list[float]:
        """The credits."""
        picked = Counter(self._cycle[: self._at])
        grown = zip(self._credits, self._weights, strict=True)
        return [credit + self._at * weight - self._sum * picked[n] for n, (credit, weight) in enumerate(grown)]


def _in_lowest_terms(weights: list[float]) -> tuple[list[float], int]:
    """Weights of the same shares, as small as can be, and after how many picks they come round; 0: too many."""
    if len(set(weights)) == 1:
        return [1.0] * len(weights), len(weights) if len(weights) <= _LONGEST else 0
    if all(weight.is_integer() for weight in map(float, weights)):
        common = math.gcd(*map(int, weights))
        weights = [weight / common for weight in weights]
        period = int(sum(weights))
        return weights, period if period <= _LONGEST else 0
    return weights, 0
