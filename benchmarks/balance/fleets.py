"""The scenes: fleets that something is wrong with. Each policy meets the same arrivals and the same work."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from .simulation import Make, Roomy, Slotted, Tally, drive

SLOW, WELL = 15.0, 45.0  # seconds: when one of Linkerd's servers is slow
WORK = 0.08  # seconds: the mean and the deviation of a request on a fast server, before its sign is dropped
FOLDED = 1.1666  # by which the mean grows with that: of |N(1, 1)|
SPEEDS = [1.0] * 10 + [0.5] * 10
SLOTS = 4


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
    slow = Roomy(lambda now, work: (2.0 if SLOW <= now < WELL else work, False))
    arrivals = steady(1000, 60, lambda: rng.gauss(0.167, 0.005))
    return drive([slow, *_good(10)], make, arrivals, deadline=60, seed=seed)


def black_hole(make: Make, seed: int, rate: float = 200) -> Tally:
    """One of ten fails within 2 ms, the others take 50 ms."""
    rng = random.Random(seed)
    hole = Roomy(lambda _, __: (0.002, True))
    arrivals = poisson(rate, 60, rng, lambda: rng.gauss(0.05, 0.005))
    return drive([hole, *_good(9)], make, arrivals, deadline=60, seed=seed)


def overloaded(make: Make, seed: int, load: float = 0.9, *, weights: Sequence[float] | None = None) -> Tally:
    """After Prequal's: 20 servers of four slots, half of them at half speed, ten clients, 40 s, a deadline of 5 s.

    Args:
        make: of each client.
        seed: of arrivals, work and clients.
        load: of what all servers can do together.
        weights: what the clients are told of the servers.
    """
    rng = random.Random(seed)
    servers = [Slotted(SLOTS, speed) for speed in SPEEDS]
    rate = load * SLOTS * sum(SPEEDS) / (FOLDED * WORK)
    arrivals = poisson(rate, 40, rng, lambda: abs(rng.gauss(WORK, WORK)))
    return drive(servers, make, arrivals, clients=10, deadline=5, seed=seed, weights=weights)


def _good(count: int) -> list[Roomy]:
    return [Roomy(lambda _, work: (work, False)) for _ in range(count)]
