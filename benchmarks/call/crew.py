"""A contender's process, seen from the one that measures."""

from __future__ import annotations

import subprocess
import sys

import msgspec

from ..harness import Sample
from .job import Job, Outcome
from .servers import on_core

US = 1e6
LONGEST = 60.0  # seconds


def measure(name: str, job: Job) -> Sample:
    """One sample: calls a second, microseconds of CPU a call, and what percentage failed."""
    command = [sys.executable, "-m", "benchmarks.call.work", name]
    with on_core(0):
        done = subprocess.run(
            command, input=msgspec.json.encode(job), stdout=subprocess.PIPE, check=True, timeout=LONGEST
        )
    return sample(msgspec.json.decode(done.stdout, type=Outcome))


def sample(outcome: Outcome) -> Sample:
    """In the units of the tables."""
    if not outcome.calls:
        raise RuntimeError(f"not one answer in {outcome.wall:.3g} s, but {outcome.error or 'nothing'}")
    return {
        "throughput": outcome.calls / outcome.wall,
        "CPU": outcome.cpu / outcome.calls * US,
        "failed": outcome.failed / (outcome.calls + outcome.failed) * 100,
    }
