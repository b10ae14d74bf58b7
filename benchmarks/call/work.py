"""One contender and one sample, in a process of its own: no heap, thread or crash of one is in the way of another.

    echo '{"urls": ["http://127.0.0.1:8001"], "callers": 64, "seconds": 0.7}' | python -m benchmarks.call.work httpx

Its outcome is a line on standard output. Then it ends without a goodbye: 1,000 calls of httpx's that are under way take
their time to be cancelled, and a thread of pyreqwest's crashes in the interpreter's.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec
import trio

from .contenders import ON_ASYNCIO, ON_TRIO, Call, Opener
from .job import Job, Outcome

WARM = 0.2  # of the measured time: connections are still opened when two calls first meet on an instance
PATIENCE = 5.0  # seconds: 1,000 callers of httpx's get 60 answers in one


class Tally:
    """Counts calls, and says when it is time to measure: when all callers have had an answer, or some have had many.

    The latter is for aiohttp. Of 1,000 callers 100 have its connections, and keep them from the others for as long as
    they go on calling. Calls that fail do not count, and are counted.
    """

    def __init__(self, callers: int, warm: trio.Event | asyncio.Event) -> None:
        self._strangers = callers
        self._enough = 3 * callers
        self._warm = warm
        self.calls = 0
        self.failed = 0
        self.error: Exception | None = None
        self.over = False

    async def keep_calling(self, call: Call) -> None:
        """One caller."""
        await self._once(call)
        self._strangers -= 1
        while not self.over:
            if not self._strangers or self.calls >= self._enough:
                self._warm.set()
            await self._once(call)

    async def _once(self, call: Call) -> None:
        try:
            await call()
            self.calls += 1
        except Exception as error:  # noqa: BLE001 - each library has its own
            self.failed += 1
            self.error = error


class Stopwatch:
    """From when it was made."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._calls, self._failed = tally.calls, tally.failed
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def read(self) -> Outcome:
        """What has been since."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        tally = self._tally
        error = "" if tally.error is None else repr(tally.error)
        return Outcome(tally.calls - self._calls, tally.failed - self._failed, wall, cpu, error)


async def on_trio(opener: Opener, job: Job, done: Callable[[Outcome], None]) -> None:
    """Measure."""
    tally = Tally(job.callers, warm := trio.Event())
    async with opener(job) as new_caller, trio.open_nursery() as nursery:
        for _ in range(job.callers):
            nursery.start_soon(tally.keep_calling, new_caller())
        with trio.move_on_after(PATIENCE):
            await warm.wait()
        await trio.sleep(WARM * job.seconds)
        stopwatch = Stopwatch(tally)
        await trio.sleep(job.seconds)
        if stopwatch.read().calls < job.callers:
            await trio.sleep(PATIENCE)
        done(stopwatch.read())
        tally.over = True


async def on_asyncio(opener: Opener, job: Job, done: Callable[[Outcome], None]) -> None:
    """The same."""
    tally = Tally(job.callers, warm := asyncio.Event())
    async with opener(job) as new_caller, asyncio.TaskGroup() as group:
        for _ in range(job.callers):
            group.create_task(tally.keep_calling(new_caller()))
        with suppress(TimeoutError):
            await asyncio.wait_for(warm.wait(), PATIENCE)
        await asyncio.sleep(WARM * job.seconds)
        stopwatch = Stopwatch(tally)
        await asyncio.sleep(job.seconds)
        if stopwatch.read().calls < job.callers:
            await asyncio.sleep(PATIENCE)
        done(stopwatch.read())
        tally.over = True


def work(name: str, job: Job, done: Callable[[Outcome], None]) -> None:
    """One sample. ``done`` takes it before the event loop ends: it need not let it."""
    if name in ON_TRIO:
        trio.run(on_trio, ON_TRIO[name], job, done)
    else:
        asyncio.run(on_asyncio(ON_ASYNCIO[name], job, done))


def say_and_go(outcome: Outcome) -> None:
    """The end of this process."""
    sys.stdout.write(msgspec.json.encode(outcome).decode())
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    work(sys.argv[1], msgspec.json.decode(sys.stdin.buffer.read(), type=Job), say_and_go)
