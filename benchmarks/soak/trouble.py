"""What is done to a runtime while it is called: actors crash, services come and go, are changed, and move."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import trio

import switchgear as sg

from .scene import ALWAYS, GUARDED, OPEN, PASSING, Server, guarded, passing

_CRASHES = 4  # of each actor


class Trouble:
    """One kind at a time, as the seed says."""

    def __init__(self, runtime: sg.Runtime, there: Server, rng: random.Random) -> None:
        self.done: Counter[str] = Counter()
        """How often what was done."""
        self._crashes: Counter[str] = Counter()
        self._runtime = runtime
        self._there = there
        self._rng = rng

    async def until(self, end: float) -> None:
        """Make trouble until then, and leave everything as it was found."""
        kinds: list[Callable[[], Awaitable[None]]] = [self._crash, self._change, self._pass, self._move]
        while trio.current_time() < end:
            await trio.sleep(self._rng.random() * 0.05)
            await self._rng.choice(kinds)()
        await self._runtime.reconfigure(GUARDED, guarded(self._there.urls, self._rng))

    async def _crash(self) -> None:
        """There is no public way: this is a message that the actor does not understand.

        Not often, for an actor that crashes again and again is restarted later and later.
        """
        name = self._rng.choice(ALWAYS)
        if self._crashes[name] < _CRASHES:
            self._crashes[name] += 1
            await self._runtime.service(name)._ref.tell("no request")
            self.done["actors crashed"] += 1

    async def _change(self) -> None:
        await self._runtime.reconfigure(GUARDED, guarded(self._there.urls, self._rng))
        self.done["configurations changed"] += 1

    async def _pass(self) -> None:
        if PASSING in self._runtime.services:
            await self._runtime.remove_service(PASSING)
        else:
            await self._runtime.add_service(passing(self._there.urls))
        self.done["services added or removed"] += 1

    async def _move(self) -> None:
        """An instance goes for a moment; the other one is still there."""
        url = self._rng.choice(self._there.urls)
        await self._runtime.registry.deregister(OPEN, url)
        await trio.sleep(self._rng.random() * 0.01)
        await self._runtime.registry.register(sg.ServiceInstance(url, OPEN, endpoint=url))
        self.done["instances moved"] += 1
