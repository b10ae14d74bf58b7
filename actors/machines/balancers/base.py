"""The shape of a balancer.

    update(endpoints)        the instances, or their weights, have changed
    pick(now, avoid, key)    an endpoint, none of `avoid`, or None

How calls begin and end is told to the endpoints. An endpoint of weight zero is never picked. (RFC 2782 would give it a
small chance; one rule, and this one is the simplest to reason about.)
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol

from .endpoint import Group

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from .endpoint import Endpoint

NOBODY: frozenset[str] = frozenset()

TRIES = 4
"""Draws for an endpoint that is not to be avoided, before all are looked at."""


class Balancer(Protocol):
    """What the service actor needs of a balancer. All times are seconds of one clock that never goes back."""

    def __init__(self, rng: random.Random) -> None: ...

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now, with these weights. O(n), at the least."""

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint | None:
        """An endpoint that can be used and is none of ``avoid`` (ids), or None.

        Calls with the same ``key`` go to the same one, where the balancer can do that.
        """


class Base:
    """The endpoints that can be used, as a group. Its children pick."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._endpoints: list[Endpoint] = []
        self._group = Group()

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now, with these weights."""
        self._endpoints = [endpoint for endpoint in endpoints if endpoint.weight > 0]
        self._group.moved = None  # those that have gone go on counting in the old group, and have no place any more
        self._group = Group.of(self._endpoints)

    def _others(self, avoid: frozenset[str]) -> list[Endpoint]:
        """Those not to be avoided: O(n), and only where chance has not found one of them."""
        return [endpoint for endpoint in self._endpoints if endpoint.id not in avoid]

    def _drawn(self, avoid: frozenset[str]) -> Endpoint | None:
        """One of those, by weight."""
        others = self._others(avoid)
        return self._rng.choices(others, [other.weight for other in others])[0] if others else None


def sums_if_unequal(endpoints: Sequence[Endpoint]) -> list[float] | None:
    """The running sums of the weights, or None where an even draw does."""
    weights = [endpoint.weight for endpoint in endpoints]
    return None if len(set(weights)) < 2 else list(itertools.accumulate(weights))
