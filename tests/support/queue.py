"""A runtime with a queue, and ways to wait for what comes out of it."""

from __future__ import annotations

import trio

import switchgear as sg
from switchgear.actors.events import ItemDelivered

from .service import ONCE, QUIET, SAFE

MEMORY = sg.QueueConfig(":memory:")


def runtime_with(upstream, *fallbacks, queue=MEMORY, others=(), seed=1, **fields):
    """One service, ``svc``, whose calls are queued unless other ``fallbacks`` are given."""
    fields.setdefault("retry", ONCE)
    service = sg.ServiceConfig("svc", SAFE, fallbacks=fallbacks or (sg.QueueFallback(),), **fields)
    config = sg.RuntimeConfig(services=(service, *others), queue=queue, metrics=QUIET)
    return sg.open_runtime(config, transport=upstream, seed=seed)


async def seen(runtime, count, kind=ItemDelivered):
    """Wait until there have been so many of these events from now on."""
    async with runtime.events(10_000) as events:
        async for event in events:
            count -= isinstance(event, kind)
            if not count:
                return


async def empty(runtime, every=1.0):
    """Wait until nothing is in the queue, not even dead."""
    while await runtime.queue.stats():  # noqa: ASYNC110 - mostly in virtual time
        await trio.sleep(every)
