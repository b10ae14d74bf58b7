"""Which tables there are, and what is promised in them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import trio

import switchgear as sg

from ..harness import Contender, Metric, Promise, Sample, Scenario
from . import peers
from .ours import Guard, Ours, Work

OURS = "switchgear"
RATES = "switchgear, breaker by rates"
STACK = "tenacity + purgatory + aiolimiter"
METRICS = (Metric("added", "us/call"), Metric("with the work", "us/call"))
US = 1e6

Peer = tuple[Guard, tuple[str, ...]]
"""And the packages that it needs."""


async def nothing() -> None:
    """The work."""


async def compare(work: Work, guarded: Work, calls: int) -> Sample:
    """CPU time. In slices, bare and guarded in turn: a clock that changes its speed meanwhile changes it for both."""
    slices = 10
    bare = whole = 0.0
    for _ in range(slices):
        bare += await again(work, calls // slices)
        whole += await again(guarded, calls // slices)
    done = calls // slices * slices
    return {"added": (whole - bare) / done * US, "with the work": whole / done * US}


async def again(action: Work, calls: int) -> float:
    """CPU seconds."""
    start = time.process_time()
    for _ in repeat(None, calls):
        await action()
    return time.process_time() - start


def on_trio(choose: Callable[[Ours], Guard], calls: int, **config: Any) -> Sample:
    """Of ours."""

    async def main() -> Sample:
        async with trio.open_nursery() as nursery:
            guarded = choose(Ours(nursery, **config))(nothing)
            return await compare(nothing, guarded, calls)

    return trio.run(main)


def on_asyncio(guard: Guard, calls: int) -> Sample:
    """Of a peer: put around the work where the loop runs, since some ask for it."""

    async def main() -> Sample:
        return await compare(nothing, guard(nothing), calls)

    return asyncio.run(main())


ALL: dict[str, Peer] = {
    STACK: (peers.tenacity_purgatory_aiolimiter, ("tenacity", "purgatory", "aiolimiter")),
    "stamina + aiobreaker + aiolimiter": (
        peers.stamina_aiobreaker_aiolimiter,
        ("stamina", "aiobreaker", "aiolimiter"),
    ),
    "hyx: retry, breaker, bucket": (peers.hyx_all, ("hyx",)),
}
RETRIES: dict[str, Peer] = {
    "tenacity, decorator": (peers.tenacity_decorator, ("tenacity",)),
    "tenacity, async for": (peers.tenacity_loop, ("tenacity",)),
    "stamina, decorator": (peers.stamina_decorator, ("stamina",)),
    "stamina, async for": (peers.stamina_loop, ("stamina",)),
    "hyx": (peers.hyx_retry, ("hyx",)),
}
BREAKERS: dict[str, Peer] = {
    "purgatory": (peers.purgatory, ("purgatory",)),
    "aiobreaker": (peers.aiobreaker, ("aiobreaker",)),
    "hyx": (peers.hyx_breaker, ("hyx",)),
}
LIMITERS: dict[str, Peer] = {
    "aiolimiter": (peers.aiolimiter, ("aiolimiter",)),
    "hyx, which does not wait": (peers.hyx_bucket, ("hyx",)),
}
AIMD = f"{OURS}, AIMD"
LEARNED = {
    AIMD: sg.BulkheadConfig(adaptive=sg.AimdConfig()),
    f"{OURS}, Gradient2": sg.BulkheadConfig(adaptive=sg.Gradient2Config()),
}
BY_RATE = sg.BreakerConfig(trip="rate", slow_rate=0.5)


def scenarios(*, quick: bool) -> Sequence[Scenario]:
    """All guards together, and each kind alone."""
    calls = 200 if quick else 20_000
    return [
        Scenario(
            "all guards together, one call",
            METRICS,
            [
                Contender(OURS, partial(on_trio, lambda ours: ours.all_together, calls)),
                Contender(
                    f"{OURS}, breaker by rates",
                    partial(on_trio, lambda ours: ours.all_together, calls, breaker=BY_RATE),
                ),
                *others(ALL, calls),
            ],
            reference=STACK,
            promises=[
                Promise(OURS, "added", most=3),
                Promise(RATES, "added", most=3),
                Promise(STACK, "added", least=5, to=OURS),
            ],
        ),
        alone("a retry that is not needed", lambda ours: ours.retry, RETRIES, calls),
        alone("a circuit breaker that is closed", lambda ours: ours.breaker, BREAKERS, calls),
        alone("a limiter that lets pass", lambda ours: ours.limiter, LIMITERS, calls),
        Scenario(
            "a limit that is learned",
            METRICS,
            [
                Contender(name, partial(on_trio, lambda ours: ours.bulkhead, calls, bulkhead=bulkhead))
                for name, bulkhead in LEARNED.items()
            ],
            reference=AIMD,
        ),
    ]


def alone(name: str, choose: Callable[[Ours], Guard], theirs: dict[str, Peer], calls: int) -> Scenario:
    """One kind."""
    mine = Contender(OURS, partial(on_trio, choose, calls))
    return Scenario(name, METRICS, [mine, *others(theirs, calls)], reference=next(iter(theirs)))


def others(peers: dict[str, Peer], calls: int) -> list[Contender]:
    """To compare with."""
    return [Contender(name, partial(on_asyncio, guard, calls), needs) for name, (guard, needs) in peers.items()]
