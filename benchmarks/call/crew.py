"""The processes of the contenders, started when first needed, and all ended together."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self

import msgspec

from ..harness import Sample
from .job import Job, Outcome
from .servers import on_core

US = 1e6


class Crew:
    """Give a contender a job, and get its sample."""

    def __init__(self) -> None:
        self._members: dict[str, subprocess.Popen[bytes]] = {}

    def measure(self, name: str, job: Job) -> Sample:
        """One sample: calls a second, and microseconds of CPU a call."""
        member = self._member(name)
        assert member.stdin is not None
        assert member.stdout is not None
        member.stdin.write(msgspec.json.encode(job) + b"\n")
        member.stdin.flush()
        line = member.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} did not live to tell what became of {job}")
        outcome = msgspec.json.decode(line, type=Outcome)
        if not outcome.calls:
            raise RuntimeError(f"{name} had not one answer: {job}")
        return {"throughput": outcome.calls / outcome.wall, "CPU": outcome.cpu / outcome.calls * US}

    def _member(self, name: str) -> subprocess.Popen[bytes]:
        if name not in self._members:
            command = [sys.executable, "-m", "benchmarks.call.work", name]
            with on_core(0):
                self._members[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._members[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for member in self._members.values():
            if kind is not None:
                member.kill()  # it may be in the middle of a job
            assert member.stdin is not None
            member.stdin.close()
            member.wait(30)
