"""The processes of the demo: started together, known by their URLs, and all gone at the end, whatever ends it.

Three things see to it that none is left behind: the context manager kills and reaps them; a process ends by itself
when its stdin does, so also when this process is killed; and each wait here has a deadline.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

STARTING = 30.0  # seconds until all must have told their ports: a loaded machine imports slowly
_ENDING = 2.0  # seconds between the end of a process's stdin and its SIGKILL
_REAPING = 5.0  # seconds to reap what has been killed: only a process in the kernel's hands takes longer
_LINE = 1000  # bytes; more than a line with a port ever has


class DemoError(Exception):
    """A process of the demo did not start. Nothing a user has done: its own message, on stderr, says what it was."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One process to start: an instance (from 1) of a service."""

    service: str
    instance: int = 1


@dataclass(frozen=True, slots=True)
class Running:
    """One process that serves."""

    plan: Plan
    url: str
    pid: int


class _Told(msgspec.Struct):
    port: int


@asynccontextmanager
async def running(plans: Sequence[Plan], *, seed: int, seconds: float) -> AsyncIterator[list[Running]]:
    """Start the processes, give them once all serve, and end them.

    Args:
        plans: what to start.
        seed: of their faults.
        seconds: how long the demo will take.

    Raises:
        DemoError: one did not start, or not in time.
    """
    processes: list[trio.Process] = []
    try:
        for plan in plans:
            # Not a comprehension: cancelled in the middle, it would lose the processes that are there already.
            processes.append(await _start(plan, seed, seconds))  # noqa: PERF401
        yield await _all_serving(plans, processes)
    finally:
        # Shielded, for most often it is a cancelled demo that ends here; bounded in `_end`.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for process in processes:
                    nursery.start_soon(_end, process)


async def _start(plan: Plan, seed: int, seconds: float) -> trio.Process:
    command = [sys.executable, "-m", "switchgear.demo.servers", plan.service, "--instance", str(plan.instance)]
    command += ["--seed", str(seed), "--seconds", str(seconds)]
    return await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,  # a Ctrl-C in the terminal is for the demo, which then ends its processes in good order
    )


async def _all_serving(plans: Sequence[Plan], processes: Sequence[trio.Process]) -> list[Running]:
    """Wait until each process has told its port. One after the other is as fast as the slowest: they all start now."""
    serving: list[Running] = []
    with trio.move_on_after(STARTING):
        for plan, process in zip(plans, processes, strict=True):
            port = await _port(plan, process)
            serving.append(Running(plan, f"http://127.0.0.1:{port}", process.pid))
        return serving
    raise DemoError(f"{plans[len(serving)].service} does not serve within {STARTING:g} s")


async def _port(plan: Plan, process: trio.Process) -> int:
    """What a process tells in its first line."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n") and len(line) < _LINE:
        chunk = await process.stdout.receive_some(_LINE)
        if not chunk:
            break
        line += chunk
    try:
        return msgspec.json.decode(line, type=_Told).port
    except msgspec.DecodeError as error:
        raise DemoError(f"{plan.service} did not start: instead of its port it told {line!r}") from error


async def _end(process: trio.Process) -> None:
    """End one process, and take note of its end, so that it is no zombie."""
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.aclose()
    with trio.move_on_after(_ENDING):
        await process.wait()
    if process.returncode is None:
        process.kill()
        with trio.move_on_after(_REAPING):
            await process.wait()
    await process.stdout.aclose()
