"""What a pick costs by each balancer, and what an update does, by the number of instances.

The promise is that the default's does not hang on that number: nothing on the road of a call may. The balancers are
alone here, without the fleet around them; endpoints have two calls under way each, and all latencies differ. Those that
go by a key are given one, another for each pick. The loop around a pick is measured with it (10 ns).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import partial

from switchgear.actors.machines.balancers import BALANCERS, Balancer, Endpoint

from .harness import Contender, Metric, Promise, Sample, Scenario

SIZES = (10, 100, 1_000, 10_000)
DEFAULT = "p2c"
FLAT = "the last : the first"
US, MS = 1e6, 1e3
BY_KEY = ("ring_hash", "maglev")


def fleet(name: str, size: int) -> tuple[Balancer, list[Endpoint]]:
    """A balancer over so many endpoints, of which something is known."""
    rng = random.Random(1)
    endpoints = [Endpoint(f"http://10.0.{n // 256}.{n % 256}:8080") for n in range(size)]
    balancer = BALANCERS[name](rng)
    balancer.update(endpoints)
    for endpoint in endpoints:
        for _ in range(3):
            endpoint.begin(0.0)
        endpoint.end(0.0, rng.uniform(0.05, 0.15), failed=False)
    return balancer, endpoints


def picks(name: str, sizes: Sequence[int], count: int) -> Sample:
    """Microseconds a pick, for each size."""
    keys = [f"user-{n}" if name in BY_KEY else None for n in range(count)]
    sample = {}
    for size in sizes:
        balancer, _ = fleet(name, size)
        pick = balancer.pick
        for key in keys[:500]:  # what is made when it is needed is made
            pick(0.2, key=key)
        if name == "weighted_round_robin":
            for _ in range(size):
                pick(0.2)
        start = time.process_time()
        for key in keys:
            pick(0.2, key=key)
        sample[f"{size:,}"] = (time.process_time() - start) / count * US
    return {**sample, FLAT: sample[f"{sizes[-1]:,}"] / sample[f"{sizes[0]:,}"]}


def calls(name: str, sizes: Sequence[int], count: int) -> Sample:
    """Microseconds a call: picked, begun and ended."""
    sample = {}
    for size in sizes:
        balancer, _ = fleet(name, size)
        if name == "weighted_round_robin":
            for _ in range(size):
                balancer.pick(0.2)
        start = time.process_time()
        for n in range(count):
            now = 0.2 + n * 1e-6
            endpoint = balancer.pick(now)
            assert endpoint is not None
            endpoint.begin(now)
            endpoint.end(now, now + 0.1, failed=False)
        sample[f"{size:,}"] = (time.process_time() - start) / count * US
    return {**sample, FLAT: sample[f"{sizes[-1]:,}"] / sample[f"{sizes[0]:,}"]}


def updates(name: str, sizes: Sequence[int]) -> Sample:
    """Milliseconds for the first update and pick; and when one has gone."""
    sample = {}
    for size in sizes:
        endpoints = [Endpoint(f"http://10.0.{n // 256}.{n % 256}:8080") for n in range(size)]
        balancer = BALANCERS[name](random.Random(1))
        for what, there in (("first", endpoints), ("one less", endpoints[:-1])):
            start = time.process_time()
            balancer.update(there)
            balancer.pick(0.0, key="user-42")
            sample[f"{size:,}, {what}"] = (time.process_time() - start) * MS
    return sample


def scenarios(*, quick: bool) -> Sequence[Scenario]:
    """Three tables."""
    sizes, few, count = (SIZES[:2], SIZES[:1], 200) if quick else (SIZES, SIZES[2:], 50_000)
    columns = (*(Metric(f"{size:,}", "us") for size in sizes), Metric(FLAT, "times"))
    whole = tuple(Metric(f"{size:,}, {what}", "ms") for size in few for what in ("first", "one less"))
    flat = [Promise(DEFAULT, FLAT, most=2.0)]  # what is more is memory that is not in the caches any more
    return [
        _scenario("A pick, by the number of instances", columns, flat, partial(picks, sizes=sizes, count=count)),
        _scenario("A call: pick, begin and end", columns, flat, partial(calls, sizes=sizes, count=count)),
        _scenario("An update, and the first pick after it", whole, [], partial(updates, sizes=few)),
    ]


def _scenario(
    name: str, metrics: Sequence[Metric], promises: Sequence[Promise], measure: Callable[[str], Sample]
) -> Scenario:
    contenders = [Contender(kind, partial(measure, kind)) for kind in BALANCERS]
    return Scenario(name, metrics, contenders, reference=DEFAULT, promises=promises)
