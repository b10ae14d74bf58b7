"""Prequal's rule, to compare with: hot and cold servers, as they say themselves when they are asked.

(Wydrowski et al., "Load is not what you should balance".) It is here and not among our balancers because it asks the
servers how much they have in hand: they have to answer such probes, and other people's services do not.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from switchgear.actors.machines.balancers import Endpoint
from switchgear.actors.machines.balancers.base import NOBODY, Base

from .simulation import Slotted

PROBES = 3  # a request
POOL = 16
AGE = 1.0  # seconds after which an answer is not used any more
USES = 2
HOT = 0.84  # above this quantile of what probes have said


@dataclass
class Probe:
    """An answer."""

    endpoint: Endpoint
    under_way: int
    latency: float
    at: float
    uses: int = 0


class HotCold(Base):
    """Of the cold ones, who has little in hand, the one with the least latency; if all are hot, the least hot one."""

    def __init__(self, rng: random.Random, servers: Sequence[Slotted]) -> None:
        super().__init__(rng)
        self._servers = servers
        self._pool: list[Probe] = []
        self._seen: deque[int] = deque(maxlen=128)
        self._oldest_next = False

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint:
        """By the probes there are; others are sent for the requests to come, and are back before them."""
        self._pool = [probe for probe in self._pool if now - probe.at < AGE and probe.uses < USES]
        chosen = self._choose() if len(self._pool) >= 2 else None
        if chosen is not None:
            chosen.uses += 1
            chosen.under_way += 1  # as it will be by what we send
            self._forget_one()
        for n in self._rng.sample(range(len(self._endpoints)), PROBES):
            server = self._servers[n]
            self._seen.append(server.under_way)
            self._pool.append(Probe(self._endpoints[n], server.under_way, server.latency(), now))
        del self._pool[:-POOL]
        return self._rng.choice(self._endpoints) if chosen is None else chosen.endpoint

    def _hot(self) -> int:
        ordered = sorted(self._seen)
        return ordered[min(int(HOT * len(ordered)), len(ordered) - 1)]

    def _choose(self) -> Probe:
        hot = self._hot()
        cold = [probe for probe in self._pool if probe.under_way <= hot]
        if cold:
            return min(cold, key=lambda probe: probe.latency)
        return min(self._pool, key=lambda probe: probe.under_way)

    def _forget_one(self) -> None:
        """The oldest and the worst, in turn: or the pool fills with those that nobody picks."""
        self._oldest_next = not self._oldest_next
        if self._oldest_next:
            self._pool.pop(0)
        else:
            self._pool.remove(max(self._pool, key=lambda probe: (probe.under_way, probe.latency)))
