"""Least outstanding: the endpoint with the fewest calls under way for its weight."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

from .base import NOBODY, Base

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from .endpoint import Endpoint

Place: TypeAlias = tuple[float, float, int]
"""Load, turn, and index of an endpoint."""


class LeastOutstanding(Base):
    """The one with the fewest calls under way for its weight; of equals, the one whose turn it is. O(log n), amortised.

    The turns are those of weighted fair queueing: a pick puts the next turn of an endpoint off by one over its weight,
    counted from the turn that is being served. So also idle endpoints share by weight what comes one by one. Turns
    begin at random: many clients that start together must not all begin with the same one.

    The heap is lazy: each change of a load adds a place, and one that is not true any more is dropped when it comes up.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._turns: dict[str, float] = {}
        self._served = 0.0  # the turn of who was picked last
        self._heap: list[Place] = []
        self._index: dict[str, int] = {}

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now, with these weights."""
        super().update(endpoints)
        self._group.moved = self._moved
        known = self._turns
        self._turns = {}
        for endpoint in self._endpoints:
            turn = known.get(endpoint.id)
            self._turns[endpoint.id] = self._served + self._rng.random() / endpoint.weight if turn is None else turn
        self._index = {endpoint.id: n for n, endpoint in enumerate(self._endpoints)}
        self._rebuild()

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint | None:
        """The one with the least that is not to be avoided; those that are go back to their places."""
        passed: list[Place] = []
        picked = None
        while self._heap:
            place = heappop(self._heap)
            endpoint = self._endpoints[place[2]]
            if place != self._place(endpoint):
                continue
            if endpoint.id in avoid:
                passed.append(place)
                continue
            picked = endpoint
            self._served = max(self._served, place[1])
            self._turns[endpoint.id] = max(self._served, place[1]) + 1.0 / endpoint.weight
            break
        for place in passed:
            heappush(self._heap, place)
        if picked is not None:
            self._moved(picked)
        return picked

    def _place(self, endpoint: Endpoint) -> Place:
        return endpoint.outstanding / endpoint.weight, self._turns[endpoint.id], self._index[endpoint.id]

    def _moved(self, endpoint: Endpoint) -> None:
        """It has another load, or another turn."""
        if len(self._heap) > 4 * len(self._endpoints) + 16:  # mostly places that are not true any more
            self._rebuild()
        else:
            heappush(self._heap, self._place(endpoint))

    def _rebuild(self) -> None:
        self._heap = [self._place(endpoint) for endpoint in self._endpoints]
        heapify(self._heap)
