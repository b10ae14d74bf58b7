"""Sources of instances that do what a test says, in place of those that read files; and waiting for what any have said.

    scripted = Scripted(monkeypatch)
    ... sg.ServiceConfig("svc", sources=[source("one"), source("two")])
    await scripted.say("one", {"a": 1.0, "b": 2.0})     # ids and weights; None: the same as before
    await scripted.fail("one", "no answer")
    await scripted.crash("one")

Each returns when everything that follows from it has happened.
"""

from __future__ import annotations

from collections import Counter

import trio

import switchgear as sg
from switchgear.actors.registry.sources.kinds import KINDS


async def until_known(runtime, *wanted, by="id"):
    """The instances of "svc" by that field, once it has these and no others."""
    async with runtime.registry.watch("svc") as changes:
        async for now in changes:
            found = {getattr(one, by): one for one in now.instances}
            if found.keys() == set(wanted):
                return found
    raise AssertionError


async def until(events, kind):
    """The next event of that kind."""
    async for one in events:
        if isinstance(one, kind):
            return one
    raise AssertionError


def source(name):
    return sg.FileSource("script.toml", name=name)


def instances(ids):
    return [sg.InstanceConfig(f"http://{one}.test", one, weight) for one, weight in dict(ids).items()]


class Scripted:
    def __init__(self, monkeypatch, *, first=None):
        self.lives = Counter()
        self.running = Counter()
        self.memories = []
        self._first = first or {}
        self._scripts = {}
        monkeypatch.setitem(KINDS, sg.FileSource, self._follow)

    async def _follow(self, source, publish):
        self.lives[source.name] += 1
        self.running[source.name] += 1
        self.memories.append(publish.memory)
        publish.memory = self.lives[source.name]
        try:
            if self.lives[source.name] == 1 and source.name in self._first:
                await publish(instances(self._first[source.name]))
            while True:
                step = await self._script(source.name)[1].receive()
                await step(publish)
        finally:
            self.running[source.name] -= 1

    def _script(self, name):
        if name not in self._scripts:
            self._scripts[name] = trio.open_memory_channel(100)
        return self._scripts[name]

    async def _do(self, name, step):
        self._script(name)[0].send_nowait(step)
        await trio.testing.wait_all_tasks_blocked()

    async def say(self, name, ids):
        await self.say_exactly(name, None if ids is None else instances(ids))

    async def say_exactly(self, name, configs):
        await self._do(name, lambda publish: publish.same() if configs is None else publish(configs))

    async def fail(self, name, reason):
        await self._do(name, lambda publish: publish.failed(reason))

    async def crash(self, name):
        async def step(publish):
            raise ZeroDivisionError("a source with a fault")

        await self._do(name, step)
