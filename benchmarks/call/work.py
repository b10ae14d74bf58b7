"""One contender, in a process of its own for the whole run: no garbage, thread or crash of one is in another's way.

    python -m benchmarks.call.work httpx

A job a line on standard input, its outcome a line on standard output; each has an event loop of its own. It ends when
its input does, without the interpreter's goodbye: threads of pyreqwest's crash in that.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
import traceback

import msgspec
import trio

from .contenders import ON_ASYNCIO, ON_TRIO, Call, Opener
from .job import Job, Outcome

WARM = 0.2  # of the measured time: connections are still opened when two calls first meet on an instance


class Tally:
    """Counts calls, and says when all callers have had an answer."""

    def __init__(self, callers: int, warm: trio.Event | asyncio.Event) -> None:
        self._strangers = callers
        self._warm = warm
        self.calls = 0
        self.over = False

    async def keep_calling(self, call: Call) -> None:
        """One caller."""
        await call()
        self._strangers -= 1
        if not self._strangers:
            self._warm.set()
        while not self.over:
            await call()
            self.calls += 1


class Stopwatch:
    """From when it was made."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._calls, self._cpu, self._wall = tally.calls, time.process_time(), time.perf_counter()

    def stop(self) -> Outcome:
        """And end the calling."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self._tally.over = True
        return Outcome(self._tally.calls - self._calls, wall, cpu)


async def on_trio(opener: Opener, job: Job) -> Outcome:
    """Measure."""
    tally = Tally(job.callers, warm := trio.Event())
    async with opener(job) as new_caller, trio.open_nursery() as nursery:
        for _ in range(job.callers):
            nursery.start_soon(tally.keep_calling, new_caller())
        await warm.wait()
        await trio.sleep(WARM * job.seconds)
        stopwatch = Stopwatch(tally)
        await trio.sleep(job.seconds)
        return stopwatch.stop()


async def on_asyncio(opener: Opener, job: Job) -> Outcome:
    """The same."""
    tally = Tally(job.callers, warm := asyncio.Event())
    async with opener(job) as new_caller, asyncio.TaskGroup() as group:
        for _ in range(job.callers):
            group.create_task(tally.keep_calling(new_caller()))
        await warm.wait()
        await asyncio.sleep(WARM * job.seconds)
        stopwatch = Stopwatch(tally)
        await asyncio.sleep(job.seconds)
        return stopwatch.stop()


def work(name: str, job: Job) -> Outcome:
    """One sample."""
    gc.collect()
    if name in ON_TRIO:
        return trio.run(on_trio, ON_TRIO[name], job)
    return asyncio.run(on_asyncio(ON_ASYNCIO[name], job))


def main() -> None:
    """Until there are no more jobs."""
    for line in sys.stdin:
        outcome = work(sys.argv[1], msgspec.json.decode(line, type=Job))
        print(msgspec.json.encode(outcome).decode(), flush=True)


if __name__ == "__main__":
    try:
        main()
    finally:
        failed = sys.exception() is not None
        if failed:
            traceback.print_exc()
        os._exit(failed)
