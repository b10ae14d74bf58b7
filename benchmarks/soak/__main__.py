"""The command: ``python -m benchmarks soak [--seconds N] [--seed N]``. Says what happened; 1 if anything is broken."""

from __future__ import annotations

import argparse
import ctypes
import gc
import random
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

import switchgear as sg
from switchgear.testing import FaultProxy

from ..harness import silence
from .callers import Caller, CancelAtStep, Tally
from .scene import ALWAYS, FAULTY, FAULTY_TLS, PASSING, Server, plan, server, services
from .trouble import Trouble

CALLERS = 40
GROWTH = 20_000_000  # bytes that the second half of a run may add
NAMES = (*ALWAYS, PASSING)


async def soak(there: Server, seconds: float, seed: int) -> tuple[Tally, dict[str, int]]:
    """Call for so long, then look at what is left."""
    knife, tally, figures = CancelAtStep(), Tally(), {}
    trio.lowlevel.add_instrument(knife)
    before = _descriptors()
    async with (
        FaultProxy.open("127.0.0.1", there.ports[0], plan=plan(random.Random(f"{seed} plain"), corrupt=False)) as plain,
        FaultProxy.open("127.0.0.1", there.tls_port, plan=plan(random.Random(f"{seed} TLS"), corrupt=True)) as secret,
    ):
        config = sg.RuntimeConfig(
            services=services(there, (plain.port, secret.port), seed), metrics=sg.MetricsConfig(websocket=False)
        )
        async with sg.open_runtime(config, seed=seed) as runtime:
            trouble = Trouble(runtime, there, random.Random(f"{seed} trouble"))
            until = trio.current_time() + seconds
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trouble.until, until)
                for number in range(CALLERS):
                    rng = random.Random(f"{seed}/{number}")
                    nursery.start_soon(Caller(runtime, NAMES, rng, tally, knife).call_until, until)
                await trio.sleep(seconds / 2)
                half = _resident()
            trio.lowlevel.remove_instrument(knife)
            figures["bytes grown in the second half"] = max(0, _resident() - half)
            for proxy in (plain, secret):
                proxy.heal()
                proxy.reset_all()
            await trio.sleep(0.5)  # the breaker's reset, a crashed actor's restart, and calls that were let go
            for name in ALWAYS:
                await _look(runtime, name, tally)
            figures["descriptors while idle"] = _descriptors() - before
        figures |= trouble.done
        for name, proxy in ((FAULTY, plain), (FAULTY_TLS, secret)):
            figures[f"connections to {name}"] = proxy.statistics().connections
    await trio.sleep(0.1)
    figures["descriptors at the end"] = _descriptors() - before
    if figures["descriptors at the end"] > 0:
        tally.broken.append(f"{figures['descriptors at the end']} descriptors are still open")
    if figures["bytes grown in the second half"] > GROWTH:
        tally.broken.append(f"it grew by {figures['bytes grown in the second half']} bytes in the second half")
    return tally, figures


async def _look(runtime: sg.Runtime, name: str, tally: Tally) -> None:
    """Nothing is in hand, and as much can be taken into hand as ever."""
    in_flight = runtime.tree().find(f"/services/{name}").in_flight
    connections = runtime.metrics.get(name).connections
    if in_flight or (connections is not None and connections.open != connections.idle):
        tally.broken.append(f"{name} has {in_flight} calls in hand, and of connections {connections}")
    await runtime.service(name).try_request("GET", "/slow/10", timeout=5)  # the trial of a breaker that is open
    ended: list[bool] = []

    async def again() -> None:
        ended.append((await runtime.service(name).try_request("GET", "/slow/10", timeout=5)).success)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(again)
    if not all(ended):
        tally.broken.append(f"{name} answers {sum(ended)} of 8 calls when all is quiet again")


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _resident() -> int:
    """Bytes, without what malloc keeps for later: that grows for minutes and is no leak."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with server() as there, silence():  # of crashes that are meant
        tally, figures = trio.run(soak, there, options.seconds, options.seed)
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
