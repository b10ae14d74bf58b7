"""The core: a queue of events, servers that serve them, clients that pick a server for each request."""

from __future__ import annotations

import heapq
import itertools
import random
import statistics
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from switchgear.actors.machines.balancers import Balancer, Endpoint

Done: TypeAlias = Callable[[float, bool], None]
"""Told when a request has ended, and whether it failed."""


class Loop:
    """Events in the order of their times."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = itertools.count()

    def at(self, time: float, action: Callable[[float], None]) -> None:
        """Do this then."""
        heapq.heappush(self._events, (time, next(self._number), action))

    def run(self) -> None:
        """Until nothing is left to happen."""
        while self._events:
            time, _, action = heapq.heappop(self._events)
            action(time)


class Server(Protocol):
    """What serves requests."""

    under_way: int
    most: int
    """Of ``under_way``, ever."""

    def serve(self, loop: Loop, now: float, work: float, done: Done) -> None:
        """Take a request that is ``work`` seconds long on a server of speed 1."""


Make: TypeAlias = Callable[[random.Random, Sequence[Server]], Balancer]
"""Makes a client's balancer. (The servers are for those that ask them.)"""


class Roomy:
    """Has room for any number of requests: how long one takes hangs on nothing but when it comes."""

    def __init__(self, answer: Callable[[float, float], tuple[float, bool]]) -> None:
        self.under_way = self.most = 0
        self._answer = answer

    def serve(self, loop: Loop, now: float, work: float, done: Done) -> None:
        """At once."""
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        took, failed = self._answer(now, work)

        def end(now: float) -> None:
            self.under_way -= 1
            done(now, failed)

        loop.at(now + took, end)


class Slotted:
    """Serves so many at a time, the others wait in a line."""

    def __init__(self, slots: int, speed: float) -> None:
        self.under_way = self.most = 0
        self._free = slots
        self._speed = speed
        self._line: deque[tuple[float, Done]] = deque()
        self._took: dict[int, deque[float]] = {}  # lately, by what was under way when they came

    def serve(self, loop: Loop, now: float, work: float, done: Done) -> None:
        """When a slot is free."""
        before = self.under_way
        self.under_way += 1
        self.most = max(self.most, self.under_way)

        def noted(then: float, failed: bool) -> None:  # noqa: FBT001 - a `Done`
            self._took.setdefault(before, deque(maxlen=16)).append(then - now)
            done(then, failed)

        if self._free:
            self._free -= 1
            self._start(loop, now, work, noted)
        else:
            self._line.append((work, noted))

    def latency(self) -> float:
        """What it would say to a probe: the median of requests that came when as much was under way as now."""
        if not self._took:
            return 0.0
        nearest = min(self._took, key=lambda under_way: abs(under_way - self.under_way))
        return statistics.median(self._took[nearest])

    def _start(self, loop: Loop, now: float, work: float, done: Done) -> None:
        def end(now: float) -> None:
            self.under_way -= 1
            done(now, False)  # noqa: FBT003 - as above
            if self._line:
                self._start(loop, now, *self._line.popleft())
            else:
                self._free += 1

        loop.at(now + work / self._speed, end)


@dataclass
class Tally:
    """What became of the requests."""

    latencies: list[float] = field(default_factory=list)
    """Of those that succeeded."""
    failed: int = 0
    picked: Counter[str] = field(default_factory=Counter)
    most: int = 0
    """Under way on one server at once, at worst."""

    def quantile(self, q: float, deadline: float = 0.0) -> float:
        """Of the latencies, in seconds; one that failed counts as ``deadline``."""
        ordered = sorted([*self.latencies, *[deadline] * self.failed])
        return ordered[min(int(q * len(ordered)), len(ordered) - 1)]

    def within(self, seconds: float) -> float:
        """The share of requests that succeeded within so long."""
        return sum(one <= seconds for one in self.latencies) / (len(self.latencies) + self.failed)


def drive(
    servers: Sequence[Server],
    make: Make,
    arrivals: Iterable[tuple[float, float]],
    *,
    clients: int = 1,
    deadline: float,
    seed: int,
    weights: Sequence[float] | None = None,
) -> Tally:
    """Send the arrivals (time, work) to the servers, each by one of the clients by chance.

    Args:
        servers: of the fleet.
        make: a balancer for each client.
        arrivals: in order.
        clients: each with a balancer of its own, which knows only what it sent itself.
        deadline: seconds after which a request has failed, though it is served still.
        seed: of the balancers.
        weights: of the servers; all the same if None.
    """
    loop, tally, rng = Loop(), Tally(), random.Random(seed)
    known = {f"s{n}": server for n, server in enumerate(servers)}
    balancers = []
    for _ in range(clients):
        balancer = make(random.Random(rng.random()), servers)
        balancer.update(
            [Endpoint(name, share) for name, share in zip(known, weights or [1.0] * len(known), strict=True)]
        )
        balancers.append(balancer)

    def arrive(now: float, work: float) -> None:
        endpoint = rng.choice(balancers).pick(now)
        assert endpoint is not None
        tally.picked[endpoint.id] += 1
        endpoint.begin(now)
        under_way = True

        def end(then: float, failed: bool) -> None:  # noqa: FBT001 - a `Done`
            nonlocal under_way
            if not under_way:
                return
            under_way = False
            endpoint.end(now, then, failed=failed)
            if failed:
                tally.failed += 1
            else:
                tally.latencies.append(then - now)

        known[endpoint.id].serve(loop, now, work, end)
        loop.at(now + deadline, lambda then: end(then, True))  # noqa: FBT003 - a `Done`

    stream = iter(arrivals)

    def arrive_and_go_on(work: float, now: float) -> None:
        arrive(now, work)
        go_on()

    def go_on() -> None:
        coming = next(stream, None)
        if coming is not None:
            time, work = coming
            loop.at(time, lambda now: arrive_and_go_on(work, now))

    go_on()
    loop.run()
    tally.most = max(server.most for server in servers)
    return tally
