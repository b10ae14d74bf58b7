"""Levels of preference: which part of a fleet gets how much of the calls, and a balancer for each part.

An instance's level is its priority (0 is the first), and within a priority, whether it is in another zone than we are.
All calls go to the first level while that is well. When so many of its instances are out that the others might not
manage, the levels below get a share that grows, so that they do not meet all of it at once: Envoy's rule.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from .affinity import stable_hash
from .base import NOBODY

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from ...instance import ServiceInstance
    from .base import Balancer
    from .endpoint import Endpoint

    Level: TypeAlias = tuple[int, bool]
    """Priority, and whether it is elsewhere."""
    Pick: TypeAlias = Callable[..., Endpoint | None]

SPARE = 1.4
"""So much more than its share an instance is taken to manage: a level with 72 % of its instances gets all calls."""


def level_of(instance: ServiceInstance, zone: str) -> Level:
    """By its metadata. What is no number of a priority, or below zero, is the first."""
    priority = instance.metadata.get("priority", "0")
    number = int(priority) if priority.isdecimal() and priority.isascii() and len(priority) < 10 else 0
    return number, bool(zone) and instance.metadata.get("zone", "") != zone


def loads(well: Sequence[float]) -> list[float]:
    """The share of the calls of each level, of which this share of the instances is well, the first level first.

    As Envoy's: a level gets what is left, and at most what it is taken to manage; if all together cannot manage, each
    gets its share of what they can. They add up to 1, unless nobody is well.
    """
    able = [min(1.0, SPARE * share) for share in well]
    total = sum(able)
    if not total:
        return [0.0] * len(able)
    left, found = 1.0, []
    for share in able:
        found.append(min(left, share / min(total, 1.0)))
        left -= found[-1]
    return found


def subset(endpoints: Sequence[Endpoint], size: int, seed: int) -> list[Endpoint]:
    """So many of them, others for each seed: rendezvous hashing, so one that goes is replaced, and the others stay.

    In a fleet of thousands, a process that calls all of them has a connection to each, and none is warm.
    """
    if size >= len(endpoints):
        return list(endpoints)
    names = (endpoint.id for endpoint in endpoints)
    chosen = set(heapq.nsmallest(size, names, lambda name: stable_hash(f"{seed} {name}")))
    return [endpoint for endpoint in endpoints if endpoint.id in chosen]


class Levels:
    """A balancer for each level, and which level a call goes to.

    Args:
        make: a balancer.
        rng: draws the level, where there are several.
        size: of the subset of each level; None for all of it.
        seed: of the subsets.
    """

    def __init__(
        self, make: Callable[[random.Random], Balancer], rng: random.Random, size: int | None, seed: int
    ) -> None:
        self._make, self._rng = make, rng
        self._size, self._seed = size, seed
        self._balancers: dict[Level, Balancer] = {}
        self._ends: list[tuple[float, Balancer]] = []  # running sums of the loads

    def update(self, endpoints: Sequence[tuple[Level, Endpoint]], known: Counter[Level]) -> None:
        """These can be used now, and so many there are on each level, with those that cannot."""
        members: dict[Level, list[Endpoint]] = {level: [] for level in sorted(known)}
        for level, endpoint in endpoints:
            members[level].append(endpoint)
        shares = loads([len(those) / known[level] for level, those in members.items()])
        self._balancers = {level: self._balancers.get(level) or self._make(self._rng) for level in members}
        self._ends, end = [], 0.0
        for (level, those), share in zip(members.items(), shares, strict=True):
            balancer = self._balancers[level]
            balancer.update(those if self._size is None else subset(those, self._size, self._seed))
            end += share
            self._ends.append((end, balancer))

    def picker(self) -> Pick:
        """What picks until the next update. With one level, as most have, it is that of its balancer: a call less."""
        return self._ends[0][1].pick if len(self._ends) == 1 else self.pick

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint | None:
        """As a `Balancer` does: of the level that is drawn, or if nobody is left there, of the first that has one."""
        ends = self._ends
        if len(ends) == 1:
            return ends[0][1].pick(now, avoid, key)
        place = self._rng.random() if key is None else stable_hash(f"level {key}") / 2**64
        drawn = next((balancer for end, balancer in ends if place < end), None)
        picked = None if drawn is None else drawn.pick(now, avoid, key)
        if picked is not None:
            return picked
        # Nobody is drawn if the shares add up to a hair less than 1.
        others = (balancer.pick(now, avoid, key) for _, balancer in ends if balancer is not drawn)
        return next((endpoint for endpoint in others if endpoint is not None), None)
