"""What one message to an actor costs: ask (a round trip) by 1, 64 and 1,000 callers at once, and tell (one way).

All do nothing with the message, behind a pool of 16 workers, so that what is measured is the way there and back.

* channel, one reply channel a call: what one writes first. It has no cancellation, no errors, no supervision.
* channel ping-pong: two tasks, two channels: the least that two plain channels can do; for one caller only.
* best correct: `yardstick.py`. The promise is to stay within 1.3 times of it.
* pykka: threads. Its callers are futures of one thread, 1, 64 or 1,000 at a time, which is kinder to it than as many
  threads. Its best figure is on one core, where no lock changes hands between cores; that is a contender of its own.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import trio

from switchgear.runtime import Actor, open_system

from .harness import Contender, Metric, Promise, Sample, Scenario
from .yardstick import Yardstick

WORKERS = 16
CAPACITY = 2000
US = 1e6

Ask = Callable[[Any], Awaitable[Any]]
Opener = Callable[[], AbstractAsyncContextManager[Ask]]
METRICS = (Metric("time", "us/message"), Metric("CPU", "us/message"))


async def nothing(message: Any) -> Any:
    """What every handler here does."""
    return message


class Echo(Actor):
    """Ours."""

    concurrency = WORKERS

    async def handle(self, message: Any) -> Any:
        return message


# ---- contenders for ask: each opens something that can be asked


@asynccontextmanager
async def open_switchgear() -> AsyncIterator[Ask]:
    """An actor as users have it: supervised, watched, with a bounded mailbox."""
    async with open_system() as system:
        ref = await system.start(Echo, "echo", capacity=CAPACITY)
        yield ref.ask


@asynccontextmanager
async def open_switchgear_timeout() -> AsyncIterator[Ask]:
    """The same, with an explicit timeout for every ask."""
    async with open_system() as system:
        ref = await system.start(Echo, "echo", capacity=CAPACITY)
        yield partial(ref.ask, timeout=30.0)


@asynccontextmanager
async def open_yardstick() -> AsyncIterator[Ask]:
    """The best that is correct."""
    pool = Yardstick(nothing, CAPACITY)
    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(pool.work)
        yield pool.ask
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_channel_per_call() -> AsyncIterator[Ask]:
    """A request channel, and for each call a new channel for its reply."""
    send, receive = trio.open_memory_channel[tuple[Any, trio.MemorySendChannel[Any]]](CAPACITY)

    async def work() -> None:
        async for message, reply in receive:
            await reply.send(await nothing(message))

    async def ask(message: Any) -> Any:
        reply_send, reply_receive = trio.open_memory_channel[Any](1)
        await send.send((message, reply_send))
        return await reply_receive.receive()

    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(work)
        yield ask
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_ping_pong() -> AsyncIterator[Ask]:
    """Two channels that are never made anew: right for one caller only, since replies have no address."""
    there, work_receive = trio.open_memory_channel[Any](1)
    work_send, back = trio.open_memory_channel[Any](1)

    async def work() -> None:
        async for message in work_receive:
            await work_send.send(await nothing(message))

    async def ask(message: Any) -> Any:
        await there.send(message)
        return await back.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        yield ask
        nursery.cancel_scope.cancel()


# ---- measuring


class Stopwatch:
    """Wall and CPU time since it was made, for so many messages."""

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def stop(self) -> Sample:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"time": wall / self._messages * US, "CPU": cpu / self._messages * US}


def ask_by(opener: Opener, callers: int, messages: int) -> Sample:
    """So many callers, who ask one after the other until all messages have been answered."""
    each = messages // callers

    async def caller(ask: Ask, gate: trio.Event, task_status: trio.TaskStatus[None]) -> None:
        await ask(0)  # so that nobody's first worker is hired on the clock
        task_status.started()
        await gate.wait()
        for number in range(each):
            await ask(number)

    async def main() -> Sample:
        async with opener() as ask:
            gate = trio.Event()
            async with trio.open_nursery() as nursery:
                for _ in range(callers):
                    await nursery.start(caller, ask, gate)
                stopwatch = Stopwatch(each * callers)
                gate.set()
            return stopwatch.stop()

    return trio.run(main)


def tell_switchgear(messages: int) -> Sample:
    """Tell, and at the end ask once: all have been handled then."""

    async def main() -> Sample:
        async with open_system() as system:
            ref = await system.start(Echo, "echo", capacity=CAPACITY)
            await ref.ask(0)
            stopwatch = Stopwatch(messages)
            for number in range(messages):
                await ref.tell(number)
            await ref.ask(0)
            return stopwatch.stop()

    return trio.run(main)


def tell_switchgear_nowait(messages: int) -> Sample:
    """Without waiting, half a mailbox at a time."""

    async def main() -> Sample:
        async with open_system() as system:
            ref = await system.start(Echo, "echo", capacity=CAPACITY)
            await ref.ask(0)
            stopwatch = Stopwatch(messages)
            for number in range(messages):
                ref.tell_nowait(number)
                if number % (CAPACITY // 2) == 0:
                    await ref.ask(0)
            await ref.ask(0)
            return stopwatch.stop()

    return trio.run(main)


def tell_channel(messages: int) -> Sample:
    """A channel and one task that empties it."""

    async def main() -> Sample:
        send, receive = trio.open_memory_channel[Any](CAPACITY)

        async def work() -> None:
            async for message in receive:
                await nothing(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            stopwatch = Stopwatch(messages)
            async with send:
                for number in range(messages):
                    await send.send(number)
        return stopwatch.stop()

    return trio.run(main)


# ---- pykka


@contextlib.contextmanager
def cores(*, one: bool) -> Iterator[None]:
    """Keep this process on one core for a while."""
    if not one or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def pykka_ref() -> Iterator[Any]:
    """An actor of pykka's."""
    import pykka

    class PykkaEcho(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            return message

    ref = PykkaEcho.start()
    try:
        ref.ask(0)
        yield ref
    finally:
        ref.stop()


def pykka_ask(callers: int, messages: int, *, one_core: bool) -> Sample:
    """So many futures at a time."""
    import pykka

    with cores(one=one_core), pykka_ref() as ref:
        stopwatch = Stopwatch(messages // callers * callers)
        for _ in range(messages // callers):
            if callers == 1:
                ref.ask(0)
            else:
                pykka.get_all([ref.ask(0, block=False) for _ in range(callers)])
        return stopwatch.stop()


def pykka_tell(messages: int, *, one_core: bool) -> Sample:
    """Tell, and at the end ask once."""
    with cores(one=one_core), pykka_ref() as ref:
        stopwatch = Stopwatch(messages)
        for number in range(messages):
            ref.tell(number)
        ref.ask(0)
        return stopwatch.stop()


# ---- the tables


def scenarios(*, quick: bool) -> Sequence[Scenario]:
    """Ask by 1, 64 and 1,000 callers; tell."""
    messages = 2_000 if quick else 20_000
    return [*(_ask(callers, messages) for callers in (1, 64, 1000)), _tell(messages)]


def _ask(callers: int, messages: int) -> Scenario:
    openers: dict[str, Opener] = {
        "best correct": open_yardstick,
        "switchgear ask": open_switchgear,
        "switchgear ask, timeout=": open_switchgear_timeout,
        "channel, one reply channel a call": open_channel_per_call,
    }
    if callers == 1:
        openers["channel ping-pong"] = open_ping_pong
    return Scenario(
        name=f"ask, {callers:,} caller{'s' if callers > 1 else ''}",
        metrics=METRICS,
        contenders=[
            *(Contender(name, partial(ask_by, opener, callers, messages)) for name, opener in openers.items()),
            Contender("pykka ask", partial(pykka_ask, callers, messages, one_core=False), needs="pykka"),
            Contender("pykka ask, on one core", partial(pykka_ask, callers, messages, one_core=True), needs="pykka"),
        ],
        reference="best correct",
        promises=[Promise("switchgear ask", "time", most=1.3, to="best correct")],
    )


def _tell(messages: int) -> Scenario:
    return Scenario(
        name="tell, 1 caller",
        metrics=METRICS,
        contenders=[
            Contender("channel send", partial(tell_channel, messages)),
            Contender("switchgear tell", partial(tell_switchgear, messages)),
            Contender("switchgear tell_nowait", partial(tell_switchgear_nowait, messages)),
            Contender("pykka tell", partial(pykka_tell, messages, one_core=False), needs="pykka"),
            Contender("pykka tell, on one core", partial(pykka_tell, messages, one_core=True), needs="pykka"),
        ],
        reference="channel send",
    )
