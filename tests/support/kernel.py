"""Actors for the tests of the kernel, and ways to look at what they have done."""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager

import trio

from switchgear.runtime import Actor, open_system


class Declared(Exception):
    """An answer of a `Doer`, not a crash."""


class Doer(Actor):
    """Its messages are what it is to do: ``async def message(actor)``. Anything else is echoed."""

    errors = (Declared,)

    def __init__(self, *, concurrency=1, setup=None, teardown=None, snapshot=None):
        self.concurrency = concurrency
        self._setup, self._teardown, self._snapshot = setup, teardown, snapshot
        self.log = []

    async def setup(self, ctx):
        self.ctx = ctx
        if self._setup is not None:
            await self._setup(self)

    async def handle(self, message):
        return await message(self) if callable(message) else message

    async def teardown(self):
        if self._teardown is not None:
            await self._teardown(self)

    def snapshot(self):
        return None if self._snapshot is None else self._snapshot(self)


def doer(**options):
    """A factory of `Doer`s."""
    return lambda: Doer(**options)


async def crash(actor):
    raise ValueError("crash")


async def declared(actor):
    raise Declared("declared")


async def forever(actor):
    await trio.sleep_forever()


def sleeps(seconds, reply=None):
    async def sleep(actor):
        await trio.sleep(seconds)
        return reply

    return sleep


def shielded(seconds, reply=None):
    async def sleep_shielded(actor):
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        return reply

    return sleep_shielded


def appends(log, value, seconds=0.0):
    """Log when it has begun, and again when it is done if it takes time."""

    async def append(actor):
        log.append(value)
        if seconds:
            await trio.sleep(seconds)
            log.append(f"{value} done")
        return value

    return append


class Asked:
    """The end of one ask that runs in a task of its own. Counts how often it ended."""

    def __init__(self):
        self.ends = []
        self.done = trio.Event()
        self.scope = trio.CancelScope()
        self.at = None

    @property
    def end(self):
        assert len(self.ends) == 1, self.ends
        return self.ends[0]

    async def run(self, ref, message, timeout=None):
        try:
            with self.scope:
                try:
                    self.ends.append(await ref.ask(message, timeout))
                except Exception as error:  # noqa: BLE001 (whatever it is, it is how the ask ended)
                    self.ends.append(error)
            if self.scope.cancelled_caught:
                self.ends.append("cancelled")
        finally:
            self.at = trio.current_time()
            self.done.set()


async def ask_soon(nursery, ref, message, timeout=None):
    """Ask in the background; return once the message is on its way (or settled)."""
    asked = Asked()
    nursery.start_soon(asked.run, ref, message, timeout)
    await trio.testing.wait_all_tasks_blocked()
    return asked


@asynccontextmanager
async def system_and_events(**options):
    """A runtime, and a list that fills with its events."""
    async with open_system(**options) as system, system.events.subscribe(100_000) as receive:
        yield system, Log(receive)


class Log:
    """What has been received so far."""

    def __init__(self, receive):
        self._receive = receive
        self._events = []

    def all(self, *kinds, path=None):
        while True:
            try:
                self._events.append(self._receive.receive_nowait())
            except trio.WouldBlock:
                break
        return [
            event
            for event in self._events
            if (not kinds or type(event).__name__ in kinds) and (path is None or event.path == path)
        ]

    def kinds(self, path=None):
        return [(event.path, type(event).__name__) for event in self.all(path=path)]


def alive(kind):
    """Objects of exactly this type that somebody still holds."""
    return sum(type(one) is kind for one in gc.get_objects())
