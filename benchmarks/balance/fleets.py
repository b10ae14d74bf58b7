"""The scenes: fleets that something is wrong with, and what is asked of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from switchgear.actors.machines.balancers import Balancer

from .simulation import Roomy, Slotted, Tally, drive

Make = Callable[[random.Random], Balancer]


def steady(rate: float, seconds: float, work: Callable[[], float]) -> Iterator[tuple[float, float]]:
    """One request after the other, at equal distances."""
    return ((n / rate, work()) for n in range(int(rate * seconds)))


def poisson(
    rate: float, seconds: float, rng: random.Random, work: Callable[[], float]
) -> Iterator[tuple[float, float]]:
    """Requests that know nothing of each other."""
    now = rng.expovariate(rate)
    while now < seconds:
        yield now, work()
        now += rng.expovariate(rate)


def slow_one(make: Make, seed: int) -> Tally:
    """Linkerd's: 11 servers, N(167 ms, 5 ms), 1000 requests a second for a minute; one takes 2 s from 15 to 45 s."""
    rng = random.Random(seed)

    def slow(now: float, work: float) -> tuple[float, bool]:
        return (2.0 if 15 <= now < 45 else work), False

    servers = [Roomy(slow), *(Roomy(lambda _, work: (work, False)) for _ in range(10))]
    arrivals = steady(1000, 60, lambda: rng.gauss(0.167, 0.005))
    return drive(servers, make, arrivals, clients=1, deadline=60, seed=seed)


def black_hole(make: Make, seed: int, rate: float = 1000.0) -> Tally:
    """One of ten fails within 2 ms, the others take 50 ms."""
    rng = random.Random(seed)
    servers = [Roomy(lambda _, __: (0.002, True)), *(Roomy(lambda _, work: (work, False)) for _ in range(9))]
    arrivals = poisson(rate, 60, rng, lambda: rng.gauss(0.05, 0.005))
    return drive(servers, make, arrivals, clients=1, deadline=60, seed=seed)


WORK = 0.08  # seconds, of the average request on a fast server
SPEEDS = [1.0] * 10 + [0.5] * 10
SLOTS = 4


def overloaded(make: Make, seed: int, load: float = 0.9) -> Tally:
    """After Prequal's: 20 servers of four slots, half at half speed, ten clients."""
    rng = random.Random(seed)
    mean = sum(abs(random.Random(0).gauss(1, 1)) for _ in range(1)) and 1.1665 * WORK  # of the folded normal
    rate = load * SLOTS * sum(SPEEDS) / mean
    servers = [Slotted(SLOTS, speed) for speed in SPEEDS]
    arrivals = poisson(rate, 40, rng, lambda: abs(rng.gauss(WORK, WORK)))
    return drive(servers, make, arrivals, clients=10, deadline=5, seed=seed, weights=SPEEDS if weighted(make) else None)


def weighted(make: Make) -> bool:
    """Is it told the weights?"""
    return getattr(make, "told", False)
