"""The child process of `actors.py`: start so many idle actors, say what they weigh and took, and end.

A process of its own for each sample, for memory that an earlier sample freed would be used again and not be seen.

    python -m benchmarks.idle kernel 10000
    python -m benchmarks.idle service 10000

One line of JSON: seconds to start and to stop, bytes of resident memory and of Python's heap for each actor, and how
many TLS contexts and HTTP clients there are.
"""

from __future__ import annotations

import gc
import json
import logging
import resource
import ssl
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import trio
import trio.testing

import switchgear as sg
from switchgear.runtime import Actor, open_system

PAGE = resource.getpagesize()


def resident() -> int:
    """Bytes of memory that the process has in use, without what it shares with its programme file."""
    fields = Path("/proc/self/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * PAGE


class Idle(Actor):
    """Does nothing, as most actors do most of the time."""


@asynccontextmanager
async def kernel(count: int) -> AsyncIterator[None]:
    """Actors without a service: the kernel's share."""
    async with open_system() as system:
        for number in range(count):
            await system.start(Idle, f"idle{number}")
        yield


@asynccontextmanager
async def service(count: int) -> AsyncIterator[None]:
    """Service actors as they come, from a configuration, each with a breaker, a limiter, retries and credentials."""
    services = [
        sg.ServiceConfig(
            f"service{number}",
            base_url=f"http://127.0.0.1:9/{number}",
            rate_limit=sg.RateLimit(100),
            auth=sg.BearerAuth(sg.Secret("secret")),
        )
        for number in range(count)
    ]
    async with sg.open_runtime(sg.RuntimeConfig(services=services)):
        yield


KINDS: dict[str, Callable[[int], AbstractAsyncContextManager[None]]] = {"kernel": kernel, "service": service}


def living(kind: type) -> int:
    """How many objects of a class there are. Looks at the type only: some objects act up when they are asked."""
    return sum(issubclass(type(thing), kind) for thing in gc.get_objects())


async def weigh(kind: str, count: int) -> dict[str, float]:
    """Start, look, stop."""
    async with KINDS[kind](10):  # imports, caches, arenas: paid once, and not by the actors
        pass
    gc.collect()
    traced = tracemalloc.is_tracing()
    before = tracemalloc.get_traced_memory()[0] if traced else resident()
    start = time.perf_counter()
    async with KINDS[kind](count):
        started = time.perf_counter()
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0] if traced else resident()
        contexts, clients = living(ssl.SSLContext), living(httpx.AsyncClient)
        stop = time.perf_counter()
    return {
        "start": started - start,
        "stop": time.perf_counter() - stop,
        "memory": (after - before) / count,
        "TLS contexts": contexts,
        "HTTP clients": clients,
    }


def main() -> None:
    """Print the sample. ``--heap`` weighs with tracemalloc, which makes starting several times slower."""
    # To look at all objects takes long enough for the runtime to complain of a blocked loop.
    logging.getLogger("switchgear").setLevel(logging.ERROR)
    if "--heap" in sys.argv:
        tracemalloc.start()
    print(json.dumps(trio.run(weigh, sys.argv[1], int(sys.argv[2]))))


if __name__ == "__main__":
    main()
