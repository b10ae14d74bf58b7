"""What 10,000 idle actors weigh, and how long they take to start and to stop.

The promises, for service actors as they come from a configuration: at most 15 kB each, at most 3 s to start all, and no
TLS context and no HTTP client for each service (that alone would be far more than all of this). The kernel's own actors
stand beside them, to show what the service adds. `idle.py` is the process that is weighed.

"memory" is resident memory, which counts what the allocator holds; "heap" is what Python objects take.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from .harness import Contender, Metric, Promise, Sample, Scenario

METRICS = (
    Metric("memory", "bytes/actor"),
    Metric("heap", "bytes/actor"),
    Metric("start", "s"),
    Metric("stop", "s"),
    Metric("TLS contexts", "in all"),
    Metric("HTTP clients", "in all"),
)


def child(kind: str, count: int, *options: str) -> Sample:
    """One process, one sample."""
    program = [sys.executable, "-m", "benchmarks.idle", kind, str(count), *options]
    done = subprocess.run(program, stdout=subprocess.PIPE, check=True, timeout=600)
    sample: Sample = json.loads(done.stdout)
    return sample


def weigh(kind: str, count: int) -> Sample:
    """Times and resident memory from one process, the heap from another: tracing slows everything down."""
    return {**child(kind, count), "heap": child(kind, count, "--heap")["memory"]}


def scenarios(*, quick: bool) -> Sequence[Scenario]:
    """One table."""
    count = 500 if quick else 10_000
    contenders = [
        Contender("switchgear, kernel actor", partial(weigh, "kernel", count)),
        Contender("switchgear, service actor", partial(weigh, "service", count)),
    ]
    ours = "switchgear, service actor"
    return [
        Scenario(
            name=f"{count:,} idle actors",
            metrics=METRICS,
            contenders=contenders,
            reference="switchgear, kernel actor",
            promises=[
                Promise(ours, "memory", most=15_000, timing=True),
                Promise(ours, "start", most=3.0, timing=True),
                Promise(ours, "TLS contexts", most=1, worst=True, timing=False),
                Promise(ours, "HTTP clients", most=1, worst=True, timing=False),
            ],
        )
    ]
