"""The command: ``python -m benchmarks [NAME ...]``, with ``--help`` for what else it takes. Some have a
command line of their own: `OTHERS`.

Exit code 1 if a promise is broken, so that a figure in a document cannot quietly stop being true.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from . import chart, report, rst
from .balance.__main__ import main as balance
from .fleet.__main__ import main as fleet
from .harness import Result, run
from .outage.__main__ import main as outage
from .soak.__main__ import main as soak

BENCHMARKS = {
    "ask": "one round trip to an actor, and one message without a reply",
    "limiter": "10,000 callers wait for a token bucket",
    "actors": "what 10,000 idle actors weigh and take to start",
    "call": "a guarded HTTP call beside the bare clients",
    "road": "where the time of a guarded call goes",
    "guards": "what guards cost a call that succeeds, and those of others",
    "picks": "what a pick costs by each balancer",
}
OTHERS = {  # they measure nothing that contenders could take turns with
    "balance": balance,
    "fleet": fleet,
    "outage": outage,
    "soak": soak,
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Switchgear beside its alternatives.",
        epilog=f"{', '.join(OTHERS)} have options of their own: NAME --help tells them.",
    )
    listing = "; ".join(f"{name}: {what}" for name, what in BENCHMARKS.items())
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"which (all if none is named): {listing}")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each contender (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="two rounds of small samples: does it run? Judges no timing"
    )
    parser.add_argument("--only", metavar="TEXT", default="", help="of these, the tables with this in their title")
    parser.add_argument("--seed", type=int, default=1, help="of the order within each round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample, with machine and versions")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw a picture")
    parser.add_argument("--rst", type=Path, metavar="FILE", help="write tables for a document")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join([*BENCHMARKS, *OTHERS])}")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def rounds_of(options: argparse.Namespace) -> int:
    """How many rounds that is."""
    return 2 if options.quick else int(options.rounds)


def progress(text: str) -> None:
    """One line that overwrites itself, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def measure(options: argparse.Namespace) -> list[Result]:
    """Run what was asked for, printing each table as it comes."""
    rounds = rounds_of(options)
    results = []
    for name in options.names or BENCHMARKS:
        module = importlib.import_module(f".{name}", __package__)
        for scenario in module.scenarios(quick=options.quick):
            if options.only not in scenario.name:
                continue
            result = run(scenario, rounds, options.seed, progress)
            progress("")
            print(report.table(result))
            for verdict in result.verdicts(quick=options.quick):
                print(report.sentence(verdict))
            print(flush=True)
            results.append(result)
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] and words[0] in OTHERS:
        return OTHERS[words[0]](words[1:])
    options = parse(words)
    machine = report.machine()
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    hardware = f"{machine['cpu']}, {machine['cores']} cores (load before: {machine['load']:.2f})"
    caption = f"{hardware}; {machine['python']}; {versions}"
    rounds = rounds_of(options)
    print(f"{caption}\nMedians (quartiles) of {rounds} rounds; all contenders take turns.\n")
    results = measure(options)
    if options.json is not None:
        document = report.document(results, rounds=rounds, seed=options.seed, quick=options.quick)
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.svg is not None:
        options.svg.write_text(chart.svg(results, caption))
    if options.rst is not None:
        options.rst.write_text(rst.document(results, caption, rounds=rounds, quick=options.quick))
    return 0 if all(verdict.passed for result in results for verdict in result.verdicts(quick=options.quick)) else 1


if __name__ == "__main__":
    sys.exit(main())
