"""The command: prints a table, draws the requests that reach the service, and says which promises are kept."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .. import lines
from ..harness import silence
from ..rst import list_table
from .simulation import DOWN, END, RATE, UP, Course, simulate

BUDGET, BOTH, NAIVE = "retries within the budget", "budget and breaker", "retries without a budget"
MOST = 1.21  # a budget of a fifth: of the calls of the last ten seconds, which may have been a few more


def promises(courses: Mapping[str, Course]) -> Iterator[tuple[str, bool]]:
    """What must hold, and whether it does."""
    for name in (BUDGET, BOTH):
        course = courses[name]
        yield (
            f"{name}: {course.amplification:.2f} requests a call in the outage, at most {MOST}",
            (course.amplification <= MOST),
        )
        yield f"{name}: it recovers, after {course.recovery} s", course.recovery is not None
    naive, both = courses[NAIVE].amplification, courses[BOTH].amplification
    yield f"the breaker spares the service: {both:.2f} requests a call, without it {naive:.2f}", both < naive / 2


def rows(courses: Mapping[str, Course]) -> list[tuple[str, str, str, str]]:
    """The table."""
    found = [("", "requests a call in the outage", "recovered after [s]", "calls that succeeded [%]")]
    for name, course in courses.items():
        share = 100 * course.succeeded.total() / course.wanted.total()
        recovery = "never" if course.recovery is None else str(course.recovery)
        found.append((name, f"{course.amplification:.2f}", recovery, f"{share:.1f}"))
    return found


def picture(courses: Mapping[str, Course]) -> str:
    """Requests a second, one line a variant; the outage is grey."""
    most = max(max(course.attempts.values()) for course in courses.values())
    panel = lines.Panel(
        "Requests a second that reach the service",
        {name: [(second, course.attempts[second]) for second in range(END)] for name, course in courses.items()},
        x_marks=[(second, f"{second} s") for second in range(0, END + 1, 30)],
        y_marks=[(count, str(count)) for count in range(0, most + 100, 100)],
        shaded=(DOWN, UP, "down"),
    )
    return lines.svg([panel])


def rst(courses: Mapping[str, Course], seed: int) -> str:
    """The table for a document."""
    head, *others = rows(courses)
    return "\n".join([*list_table(f"{RATE:g} calls a second, seed {seed}", head, others), ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks outage", description="An outage in virtual time.")
    parser.add_argument("--seed", type=int, default=1)
    for kind in ("json", "svg", "rst"):
        parser.add_argument(f"--{kind}", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    with silence():  # of breakers that open
        courses = simulate(options.seed)
    for row in rows(courses):
        print(f"{row[0]:<28}" + "".join(f"{cell:>32}" for cell in row[1:]))
    verdicts = list(promises(courses))
    for text, kept in verdicts:
        print(f"{'kept' if kept else 'BROKEN'}: {text}")
    if options.json is not None:
        document = {name: vars(course) for name, course in courses.items()}
        options.json.write_text(json.dumps({"seed": options.seed, "by second": document}) + "\n")
    if options.svg is not None:
        options.svg.write_text(picture(courses))
    if options.rst is not None:
        options.rst.write_text(rst(courses, options.seed))
    return 0 if all(kept for _, kept in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
