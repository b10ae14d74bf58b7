"""How something is measured alone: CPU time of many times the same."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import repeat
from typing import Any

import trio
import trio.testing

from switchgear.actors.transport.link import connect

from ..ask import open_switchgear
from ..call import servers
from ..call.job import Job
from .parts import Action, Parts, a_head, actor, open_parts

US = 1e6


def again(action: Action, calls: int) -> float:
    """CPU seconds."""
    start = time.process_time()
    for _ in repeat(None, calls):
        action()
    return time.process_time() - start


async def again_and_wait(action: Callable[[], Awaitable[Any]], calls: int) -> float:
    """The same for what has to be awaited."""
    start = time.process_time()
    for _ in repeat(None, calls):
        await action()
    return time.process_time() - start


async def by_all(callers: int, new_action: Callable[[], Action], calls: int) -> float:
    """The same for so many callers at once, who share the calls."""
    begin = trio.Event()

    async def caller(action: Action) -> None:
        await action()
        await begin.wait()
        for _ in repeat(None, calls // callers):
            await action()

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller, new_action())
        await trio.testing.wait_all_tasks_blocked(0.01)
        start = time.process_time()
        begin.set()
    return time.process_time() - start


async def sockets(parts: Parts, calls: int) -> float:
    """What is left: every caller has a connection of his own."""
    head = a_head(parts)
    links = [await connect(parts.target, None) for _ in range(parts.callers)]

    def new_action() -> Action:
        link = links.pop()

        async def there_and_back() -> None:
            link.is_stale()
            link.send_nowait(head)
            await link.receive_some()

        return there_and_back

    return await by_all(parts.callers, new_action, calls)


async def actor_by_all(parts: Parts, calls: int) -> float:
    """The stretch that has other tasks in it."""
    action = actor(parts)
    return await by_all(parts.callers, lambda: action, calls)


async def one_by_one(step: Callable[[Parts], Action], parts: Parts, calls: int) -> float:
    """A part that waits for nobody costs the same however many call."""
    action = step(parts)
    first = action()
    if not hasattr(first, "__await__"):
        return again(action, calls)
    await first
    return await again_and_wait(action, calls)


Measure = Callable[[Parts, int], Awaitable[float]]


def part(step: Callable[[Parts], Action]) -> Measure:
    """A part, to be measured alone."""
    return partial(one_by_one, step)


async def ask(parts: Parts, calls: int) -> float:
    """The kernel's share of the actor."""
    async with open_switchgear() as ask:
        return await by_all(parts.callers, lambda: partial(ask, parts.request), calls)


def alone(measures: Iterable[Measure], job: Job, calls: int) -> float:
    """Microseconds of some, one after the other, each on a service of its own."""

    async def main() -> float:
        total = 0.0
        for how in measures:
            async with open_parts(job) as parts:
                total += await how(parts, calls)
        return total

    with servers.on_core(0):
        return trio.run(main) / calls * US
