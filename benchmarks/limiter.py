"""10,000 callers wait for a token bucket of 5,000/s with a burst of 100: is the rate kept, and what does waiting cost?

The ideal run lasts (10,000 - 100) / 5,000 = 1.98 s. Callers arrive in chunks of 100, or all in one pass of the loop,
which is what happens after a stall.

* over the rate: in any window of t seconds no more than 100 + 5,000 t may be let in. This is the largest excess over
  all windows there are, by when callers came out of their wait. For ours also by when the limiter granted: that must
  be 0.
* in 50 ms: the most that came out in a window of 50 ms; 350 are allowed.

"one sleep a waiter" is what one writes first: reserve a time, sleep until then. After a stall all who are overdue wake
at once. aiolimiter runs on asyncio; the others on trio, so CPU includes what a task costs on each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import trio

from switchgear.actors.machines.bucket import TokenBucket
from switchgear.actors.machines.limiter import NORMAL, Limiter, Waiter
from switchgear.actors.service.gate import Gate

from .harness import Contender, Metric, Promise, Sample, Scenario

RATE = 5_000.0
BURST = 100
WINDOW = 0.05
CHUNK = 100
SLACK = 1e-6  # a float holds trio's time to about a nanosecond
METRICS = (
    Metric("CPU", "us/waiter"),
    Metric("wall", "s"),
    Metric("in 50 ms", "waiters"),
    Metric("over the rate", "waiters"),
    Metric("granted over the rate", "waiters"),
)


def excess(times: Sequence[float]) -> float:
    """How many more than allowed were let in, in the window where that is largest; 0 if the rate was kept.

    A window from the i-th to the j-th holds j - i + 1 and may hold burst + rate * (t_j - t_i). With
    g_k = k - rate * t_k the excess is g_j - g_i + 1 - burst: one pass that remembers the least g so far finds its
    maximum over all i <= j.
    """
    worst, least = 0.0, float("inf")
    for number, when in enumerate(sorted(times)):
        level = number - RATE * when
        least = min(least, level)
        worst = max(worst, level - least + 1 - BURST)
    return worst if worst > SLACK * RATE else 0.0


def most_within(times: Sequence[float], window: float) -> int:
    """The most that fall into any window of this length."""
    ordered = sorted(times)
    most = first = 0
    for last, when in enumerate(ordered):
        while when - ordered[first] > window:
            first += 1
        most = max(most, last - first + 1)
    return most


class Measurement:
    """The clock of one run, and when each caller came out of its wait."""

    def __init__(self, waiters: int) -> None:
        self._waiters = waiters
        self.times: list[float] = []
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def out(self) -> None:
        self.times.append(time.perf_counter())

    def sample(self) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        if len(self.times) != self._waiters:
            raise RuntimeError(f"{len(self.times)} of {self._waiters} came out")
        return {
            "CPU": cpu / self._waiters * 1e6,
            "wall": wall,
            "in 50 ms": most_within(self.times, WINDOW),
            "over the rate": excess(self.times),
        }


# ---- trio


class Recording(Limiter):
    """Ours, with a record of when it granted what."""

    def __init__(self, bucket: TokenBucket) -> None:
        super().__init__(bucket)
        self.granted: list[float] = []

    def admits(self, now: float, weight: float = 1) -> bool:
        at_once = super().admits(now, weight)
        if at_once:
            self.granted.append(now)
        return at_once

    def pump(self, now: float) -> list[Waiter]:
        out = super().pump(now)
        self.granted.extend([now] * len(out))
        return out


async def arrive(nursery: trio.Nursery, caller: Callable[[], Awaitable[None]], waiters: int, chunk: int) -> None:
    """Start the callers, a chunk in each pass of the loop."""
    for number in range(waiters):
        nursery.start_soon(caller)
        if number % chunk == chunk - 1:
            await trio.lowlevel.checkpoint()


def switchgear_gate(waiters: int, chunk: int) -> Sample:
    """The queue and the pump of a service actor."""

    async def main() -> Sample:
        limiter = Recording(TokenBucket(RATE, BURST))
        measurement = Measurement(waiters)
        async with trio.open_nursery() as nursery:
            gate = Gate(limiter, nursery.start_soon)

            async def caller() -> None:
                now = trio.current_time()
                if not limiter.admits(now):
                    await gate.enter(now, float("inf"), 1, NORMAL)
                measurement.out()

            await arrive(nursery, caller, waiters, chunk)
        return {**measurement.sample(), "granted over the rate": excess(limiter.granted)}

    return trio.run(main)


def sleepers(waiters: int, chunk: int) -> Sample:
    """Reserve, then sleep: no queue and no pump."""

    async def main() -> Sample:
        bucket = TokenBucket(RATE, BURST)
        measurement = Measurement(waiters)

        async def caller() -> None:
            await trio.sleep(bucket.reserve(trio.current_time()))
            measurement.out()

        async with trio.open_nursery() as nursery:
            await arrive(nursery, caller, waiters, chunk)
        return measurement.sample()

    return trio.run(main)


# ---- asyncio


def aiolimiter(waiters: int, chunk: int) -> Sample:
    """The limiter of that name."""
    from aiolimiter import AsyncLimiter

    async def main() -> Sample:
        limiter = AsyncLimiter(BURST, BURST / RATE)
        measurement = Measurement(waiters)

        async def caller() -> None:
            await limiter.acquire()
            measurement.out()

        tasks: list[asyncio.Task[Any]] = []
        for number in range(waiters):
            tasks.append(asyncio.create_task(caller()))
            if number % chunk == chunk - 1:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return measurement.sample()

    return asyncio.run(main())


# ---- the tables


def scenarios(*, quick: bool) -> Sequence[Scenario]:
    """Arrivals in chunks, and all at once."""
    waiters = 1_000 if quick else 10_000
    return [
        _scenario(f"limiter, {waiters:,} waiters, {CHUNK} in a pass", waiters, CHUNK),
        _scenario(f"limiter, {waiters:,} waiters, all in one pass", waiters, waiters),
    ]


def _scenario(name: str, waiters: int, chunk: int) -> Scenario:
    return Scenario(
        name=name,
        metrics=METRICS,
        contenders=[
            Contender("switchgear", partial(switchgear_gate, waiters, chunk)),
            Contender("one sleep a waiter", partial(sleepers, waiters, chunk)),
            Contender("aiolimiter", partial(aiolimiter, waiters, chunk), needs="aiolimiter"),
        ],
        reference="aiolimiter",
        promises=[
            Promise("switchgear", "granted over the rate", most=0, worst=True, timing=False),
            Promise("switchgear", "CPU", most=1.0, to="aiolimiter"),
        ],
    )
