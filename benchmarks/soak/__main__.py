"""The command: ``python -m benchmarks soak [--seconds N] [--seed N]``. Says what happened; 1 if anything is broken."""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trio

import switchgear as sg

from .callers import Caller, CancelAtStep, Tally

CALLERS = 40
GROWTH = 20_000_000  # bytes that the second half of a run may add


def services(urls: Sequence[str]) -> list[sg.ServiceConfig]:
    """One that lets everything through, and one with every guard set to bite."""
    instances = tuple(sg.InstanceConfig(url) for url in urls)
    off = sg.BreakerConfig(enabled=False)
    return [
        sg.ServiceConfig("open", instances=instances, breaker=off, retry=sg.RetryPolicy(max_attempts=1)),
        sg.ServiceConfig(
            "guarded",
            instances=instances,
            breaker=sg.BreakerConfig(failure_threshold=20, monitoring_period=0.2, reset_timeout=0.05),
            retry=sg.RetryPolicy(base_delay=0.001),
            rate_limit=sg.RateLimit(2000, burst=50),
            bulkhead=sg.BulkheadConfig(max_concurrent=8, max_queue=10),
            hedge=sg.HedgeConfig(delay=0.01),
        ),
    ]


async def soak(urls: Sequence[str], seconds: float, seed: int) -> tuple[Tally, dict[str, int]]:
    """Call for so long, then look at what is left."""
    knife, tally, figures = CancelAtStep(), Tally(), {}
    trio.lowlevel.add_instrument(knife)
    before = _descriptors()
    config = sg.RuntimeConfig(services=services(urls), metrics=sg.MetricsConfig(websocket=False))
    async with sg.open_runtime(config, seed=seed) as runtime:
        until = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for number in range(CALLERS):
                rng = random.Random(f"{seed}/{number}")
                nursery.start_soon(Caller(runtime, ("open", "guarded"), rng, tally, knife).call_until, until)
            await trio.sleep(seconds / 2)
            half = _resident()
        trio.lowlevel.remove_instrument(knife)
        figures["bytes grown in the second half"] = max(0, _resident() - half)
        await trio.sleep(0.2)  # the breaker's reset, and calls that were let go
        await _look(runtime, tally, figures)
        figures["descriptors while idle"] = _descriptors() - before
    await trio.sleep(0.1)
    figures["descriptors at the end"] = _descriptors() - before
    if figures["descriptors at the end"] > 0:
        tally.broken.append(f"{figures['descriptors at the end']} descriptors are still open")
    if figures["bytes grown in the second half"] > GROWTH:
        tally.broken.append(f"it grew by {figures['bytes grown in the second half']} bytes in the second half")
    return tally, figures


async def _look(runtime: sg.Runtime, tally: Tally, figures: dict[str, int]) -> None:
    """Nothing is in hand, and as much can be taken into hand as ever."""
    for name in ("open", "guarded"):
        info = runtime.tree().find(f"/services/{name}")
        figures[f"in flight at {name}"] = info.in_flight
        figures[f"restarts of {name}"] = info.restarts
        if info.in_flight or info.restarts:
            tally.broken.append(f"{name} has {info.in_flight} calls in hand and was restarted {info.restarts} times")
        await runtime.service(name).try_request("GET", "/slow/10", timeout=5)  # the trial of a breaker that is open
        ended: list[bool] = []

        async def again(service: sg.Service, ended: list[bool]) -> None:
            ended.append((await service.try_request("GET", "/slow/10", timeout=5)).success)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(again, runtime.service(name), ended)
        if not all(ended):
            tally.broken.append(f"{name} answers {sum(ended)} of 8 calls when all is quiet again")


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@contextmanager
def peer() -> Iterator[list[str]]:
    """The server, in a process of its own; gives its URLs."""
    command = [sys.executable, "-m", "benchmarks.soak.peer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield [f"http://127.0.0.1:{port}" for port in process.stdout.readline().split()]
        process.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with peer() as urls:
        tally, figures = trio.run(soak, urls, options.seconds, options.seed)
    print(f"{tally.calls:,} calls in {options.seconds:g} s, seed {options.seed}")
    for what, count in tally.outcomes.most_common():
        print(f"  {what:<24}{count:>9,}")
    print("cancelled at task step (from)  " + ", ".join(f"{at}: {n}" for at, n in sorted(tally.steps.items())))
    print(f"worst overrun of a timeout     {tally.overrun:.3f} s")
    for what, count in figures.items():
        print(f"  {what:<32}{count:>11,}")
    for what in tally.broken[:20]:
        print(f"BROKEN  {what}")
    print(f"{len(tally.broken)} broken")
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
