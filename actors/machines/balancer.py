"""Which instance gets the next call. Pure and seeded: three balancers of one shape.

    update(endpoints)   the instances have changed
    pick(avoid)         an endpoint, none of `avoid`, or None
    begin(e), end(e)    a call on it starts, ends: outstanding calls are what power of two compares

An endpoint of weight zero is never picked (RFC 2782 would give it a small chance; one rule, and this one is the
simplest to reason about). Weights count for the weighted ones; power of two divides the load by them.
"""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence


class Endpoint:
    """An instance as a balancer sees it."""

    __slots__ = ("id", "outstanding", "weight")

    def __init__(self, id: str, weight: float = 1.0) -> None:
        self.id = id
        self.weight = weight
        self.outstanding = 0

    def __repr__(self) -> str:
        return f"<Endpoint {self.id} weight {self.weight:g}, {self.outstanding} outstanding>"


class Balancer(Protocol):
    """What the service actor needs of a balancer."""

    def __init__(self, rng: random.Random) -> None: ...

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now."""

    def pick(self, avoid: frozenset[str] = frozenset()) -> Endpoint | None:
        """An endpoint that can be used and is none of ``avoid`` (ids), or None."""

    def begin(self, endpoint: Endpoint) -> None:
        """A call on ``endpoint`` starts."""

    def end(self, endpoint: Endpoint) -> None:
        """A call on ``endpoint`` has ended."""


class _Base:
    """What they share: the usable endpoints, and the counting."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._endpoints: list[Endpoint] = []

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now."""
        self._endpoints = [endpoint for endpoint in endpoints if endpoint.weight > 0]

    def begin(self, endpoint: Endpoint) -> None:
        """A call on ``endpoint`` starts."""
        endpoint.outstanding += 1

    def end(self, endpoint: Endpoint) -> None:
        """A call on ``endpoint`` has ended."""
        endpoint.outstanding -= 1

    def _others(self, avoid: frozenset[str]) -> list[Endpoint]:
        """Those not to be avoided: O(n), and only on the way of a retry."""
        return [endpoint for endpoint in self._endpoints if endpoint.id not in avoid]


class RoundRobin(_Base):
    """One after the other, from a random start: many clients that start together must not all begin with the first."""

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now; the round begins anew."""
        super().update(endpoints)
        self._next = self._rng.randrange(len(self._endpoints)) if self._endpoints else 0

    def pick(self, avoid: frozenset[str] = frozenset()) -> Endpoint | None:
        """The next in turn that is not to be avoided."""
        for _ in range(len(self._endpoints)):
            endpoint = self._endpoints[self._next % len(self._endpoints)]
            self._next += 1
            if endpoint.id not in avoid:
                return endpoint
        return None


class WeightedRandom(_Base):
    """By chance, in proportion to the weights. O(log n)."""

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now, with their weights added up."""
        super().update(endpoints)
        self._sums = list(itertools.accumulate(endpoint.weight for endpoint in self._endpoints))

    def pick(self, avoid: frozenset[str] = frozenset()) -> Endpoint | None:
        """One drawn from all that are not to be avoided."""
        if avoid:
            others = self._others(avoid)
            return self._rng.choices(others, [other.weight for other in others])[0] if others else None
        if not self._endpoints:
            return None
        place = bisect.bisect_right(self._sums, self._rng.random() * self._sums[-1])
        return self._endpoints[min(place, len(self._endpoints) - 1)]


class PowerOfTwo(_Base):
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
        self._sums = _sums_if_unequal(self._endpoints)

    def pick(self, avoid: frozenset[str] = frozenset()) -> Endpoint | None:
        """The better of two that are not to be avoided."""
        endpoints = self._others(avoid) if avoid else self._endpoints
        n = len(endpoints)
        if n < 2:
            return endpoints[0] if n else None
        sums = _sums_if_unequal(endpoints) if avoid else self._sums
        if sums is None:
            i = int(self._rng.random() * n)  # randrange costs four times as much
        else:
            i = min(bisect.bisect_right(sums, self._rng.random() * sums[-1]), n - 1)
        j = int(self._rng.random() * (n - 1))
        a, b = endpoints[i], endpoints[j + 1 if j >= i else j]
        if not (a.outstanding or b.outstanding):
            return a
        return a if (a.outstanding + 1) * b.weight <= (b.outstanding + 1) * a.weight else b


def _sums_if_unequal(endpoints: Sequence[Endpoint]) -> list[float] | None:
    """The running sums of the weights, or None where an even draw does."""
    weights = [endpoint.weight for endpoint in endpoints]
    return None if len(set(weights)) < 2 else list(itertools.accumulate(weights))
