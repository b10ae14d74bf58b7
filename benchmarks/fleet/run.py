"""Callers of a fleet, and what became of their calls."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing

import switchgear as sg

from .servers import Network, Server


@dataclass
class Course:
    """The calls of one variant."""

    latencies: list[float] = field(default_factory=list)
    """Seconds, of the calls that were answered."""
    failures: list[str] = field(default_factory=list)
    """Codes of the others."""
    attempts: int = 0
    events: list[sg.Event] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """All of them."""
        return len(self.latencies) + len(self.failures)

    def answered(self, within: float = float("inf")) -> float:
        """The share of calls with an answer within so many seconds."""
        return sum(latency <= within for latency in self.latencies) / self.calls

    def quantile(self, q: float) -> float:
        """Of the calls, in seconds; one that failed has taken for ever."""
        ordered = sorted(self.latencies)
        at = int(q * self.calls)
        return ordered[at] if at < len(ordered) else float("inf")

    def of(self, kind: type[sg.Event]) -> int:
        """How many events of this kind there were."""
        return sum(isinstance(event, kind) for event in self.events)


Servers = Callable[[random.Random], Mapping[str, Server]]
Arrivals = Callable[[random.Random], Iterable[float]]


def steady(rate: float, seconds: float) -> Arrivals:
    """One call after the other, at equal distances."""
    return lambda _: (number / rate for number in range(int(rate * seconds)))


def by_chance(rate: float, seconds: float) -> Arrivals:
    """Calls that know nothing of each other."""

    def times(rng: random.Random) -> Iterable[float]:
        now = rng.expovariate(rate)
        while now < seconds:
            yield now
            now += rng.expovariate(rate)

    return times


async def _run(  # noqa: PLR0917 - a scene, written out
    servers: Servers,
    arrivals: Arrivals,
    clients: int,
    timeout: float,
    weights: Sequence[float],
    options: Any,
    seed: int,
) -> Course:
    course, rng = Course(), random.Random(seed)
    there = servers(random.Random(f"{seed} servers"))
    shares = weights or [1.0] * len(there)
    instances = [sg.InstanceConfig(f"http://{name}", weight=share) for name, share in zip(there, shares, strict=True)]
    service = sg.ServiceConfig("svc", instances=instances, bulkhead=sg.BulkheadConfig(max_concurrent=10_000), **options)
    config = sg.RuntimeConfig([service], metrics=sg.MetricsConfig(websocket=False))

    async def call(one: sg.Service) -> None:
        response = await one.try_request("GET", "/", timeout=timeout)
        course.attempts += response.attempts
        if response.error is None:
            course.latencies.append(response.elapsed)
        else:
            course.failures.append(response.error.code.value)

    async with AsyncExitStack() as stack:
        network = Network(there)
        # Each client is a runtime of its own, which knows only what it has seen itself.
        runtimes = [
            await stack.enter_async_context(sg.open_runtime(config, transport=network, seed=seed * 1000 + number))
            for number in range(clients)
        ]
        events = await stack.enter_async_context(runtimes[0].events())
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            for at in arrivals(rng):
                await trio.sleep_until(begun + at)
                nursery.start_soon(call, rng.choice(runtimes).service("svc"))
        while True:
            try:
                course.events.append(events.receive_nowait())
            except trio.WouldBlock:
                return course


def run(  # noqa: PLR0917 - a scene, written out
    servers: Servers,
    arrivals: Arrivals,
    options: Mapping[str, Any],
    seed: int,
    clients: int = 1,
    timeout: float = 60.0,
    weights: Sequence[float] = (),
) -> Course:
    """Call the fleet, in virtual time, under these settings of the service."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(_run, servers, arrivals, clients, timeout, weights, dict(options), seed, clock=clock)
