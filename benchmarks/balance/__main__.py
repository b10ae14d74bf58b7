"""The command: which policies meet which scene, a table of each, and which promises are kept."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from switchgear.actors.machines.balancers import (
    LeastOutstanding,
    PeakEwma,
    RoundRobin,
    SmoothWeighted,
    WeightedRandom,
)

from ..rst import list_table
from .fleets import SPEEDS, black_hole, overloaded, slow_one
from .prequal import HotCold
from .simulation import Make, Tally

Figures: TypeAlias = Mapping[str, float]
"""By the head of their column."""

P2C, TOLD = "p2c", "p2c, told the speeds"
SUCCEEDED, FAILED = "within 1 s [%]", "failed [%]"
P99, P999, MOST = "p99 [ms]", "p99.9 [ms]", "most on one server"
DEADLINE = 5.0  # seconds, of the overloaded fleet

EVEN: Mapping[str, Make] = {
    "round_robin": lambda rng, _: RoundRobin(rng),
    "weighted_random": lambda rng, _: WeightedRandom(rng),
    "least_outstanding": lambda rng, _: LeastOutstanding(rng),
    P2C: lambda rng, _: PeakEwma(rng),
}
RANDOM = "weighted_random, told the speeds"
UNEVEN: Mapping[str, tuple[Make, Sequence[float] | None]] = {
    "round_robin": (EVEN["round_robin"], None),
    RANDOM: (EVEN["weighted_random"], SPEEDS),
    "weighted_round_robin, told the speeds": (lambda rng, _: SmoothWeighted(rng), SPEEDS),
    "least_outstanding": (EVEN["least_outstanding"], None),
    P2C: (EVEN[P2C], None),
    TOLD: (EVEN[P2C], SPEEDS),
    "Prequal (asks the servers)": (HotCold, None),
}


def _of_slow(tally: Tally) -> Figures:
    return {SUCCEEDED: 100 * tally.within(1.0), P99: 1000 * tally.quantile(0.99), P999: 1000 * tally.quantile(0.999)}


def _of_hole(tally: Tally) -> Figures:
    return {FAILED: 100 * tally.failed / (tally.failed + len(tally.latencies))}


def _of_load(tally: Tally) -> Figures:
    quantiles = {P99: 1000 * tally.quantile(0.99, DEADLINE), P999: 1000 * tally.quantile(0.999, DEADLINE)}
    return {**quantiles, MOST: tally.most, **_of_hole(tally)}


def scenes() -> Iterator[tuple[str, str, Callable[[int], Figures]]]:
    """Scene, policy, and what gives its figures for a seed."""
    for name, make in EVEN.items():
        yield "One of eleven is slow for 30 s", name, lambda seed, make=make: _of_slow(slow_one(make, seed))
    for name, make in EVEN.items():
        yield "One of ten fails at once", name, lambda seed, make=make: _of_hole(black_hole(make, seed))
    for load in (0.9, 0.97):
        for name, (make, weights) in UNEVEN.items():
            run = partial(overloaded, make, load=load, weights=weights)
            yield f"Half of twenty are half as fast, load {load:g}", name, lambda seed, run=run: _of_load(run(seed))


def measure(seeds: int) -> dict[str, dict[str, Figures]]:
    """The mean over the seeds, by scene and policy."""
    found: dict[str, dict[str, Figures]] = {}
    for scene, policy, figures in scenes():
        runs = [figures(seed) for seed in range(1, seeds + 1)]
        found.setdefault(scene, {})[policy] = {key: statistics.fmean(run[key] for run in runs) for key in runs[0]}
    return found


def promises(found: Mapping[str, Mapping[str, Figures]]) -> Iterator[tuple[str, bool]]:
    """What must hold, and whether it does."""
    slow, hole, load, _ = found.values()
    even = slow["round_robin"][SUCCEEDED]
    yield f"round robin is Linkerd's, so the simulation is right: {even:.2f} %, 95.3 to 95.6", 95.3 <= even <= 95.6
    least = slow["least_outstanding"][SUCCEEDED]
    yield f"least outstanding: {least:.2f} %, at least 99.4", least >= 99.4
    ours = slow[P2C][SUCCEEDED]
    yield f"the default: {ours:.3f} % within a second, at least 99.92", ours >= 99.92
    failed = hole[P2C][FAILED]
    yield f"the default: {failed:.3f} % failed, at most 0.1", failed <= 0.1
    ratio = load[TOLD][P99] / load[RANDOM][P99]
    yield f"the default, told the speeds: p99 is {ratio:.2f} of weighted random's, at most 0.5", ratio <= 0.5


def rows(figures: Mapping[str, Figures]) -> list[list[str]]:
    """The table of a scene."""
    columns = list(next(iter(figures.values())))
    digits = {SUCCEEDED: 3, FAILED: 3}
    body = [
        [name, *(f"{one[column]:.{digits.get(column, 0)}f}" for column in columns)] for name, one in figures.items()
    ]
    return [["", *columns], *body]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks balance", description="Balancers in virtual time.")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (default: %(default)s)")
    for kind in ("json", "rst"):
        parser.add_argument(f"--{kind}", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    found = measure(options.seeds)
    for scene, figures in found.items():
        print(f"\n{scene}")
        for row in rows(figures):
            print(f"{row[0]:<40}" + "".join(f"{cell:>20}" for cell in row[1:]))
    verdicts = list(promises(found))
    for text, kept in verdicts:
        print(f"{'kept' if kept else 'BROKEN'}: {text}")
    if options.json is not None:
        options.json.write_text(json.dumps({"seeds": options.seeds, "found": found}, indent=1) + "\n")
    if options.rst is not None:
        tables = [list_table(scene, *_head_and_body(figures)) for scene, figures in found.items()]
        options.rst.write_text("\n".join(line for table in tables for line in table) + "\n")
    return 0 if all(kept for _, kept in verdicts) else 1


def _head_and_body(figures: Mapping[str, Figures]) -> tuple[list[str], list[list[str]]]:
    head, *body = rows(figures)
    return head, body


if __name__ == "__main__":
    sys.exit(main())
