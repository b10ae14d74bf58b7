"""The command: prints a table, draws the requests that reach the service, and says which promises are kept."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from ..harness import silence
from ..rst import list_table
from .simulation import DOWN, END, RATE, UP, Course, simulate

BUDGET, BOTH, NAIVE = "retries within the budget", "budget and breaker", "retries without a budget"
MOST = 1.21  # a budget of a fifth: of the calls of the last ten seconds, which may have been a few more
COLOURS = ("#888888", "#c23b22", "#2a78b5", "#2e8b57")
WIDTH, HEIGHT, LEFT, TOP = 760, 320, 56, 24


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


def svg(courses: Mapping[str, Course]) -> str:
    """Requests a second, one line a variant; the outage is grey."""
    most = max(max(course.attempts.values()) for course in courses.values())

    def place(second: float, count: float) -> str:
        return f"{LEFT + second / END * (WIDTH - LEFT - 12):.1f},{TOP + HEIGHT - count / most * HEIGHT:.1f}"

    x1, x2 = (float(place(second, 0).partition(",")[0]) for second in (DOWN, UP))
    whole = HEIGHT + TOP + 40 + 18 * len(courses)
    head = f'viewBox="0 0 {WIDTH} {whole}" font-family="sans-serif" font-size="12"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {head}>']
    parts.append(f'<rect x="{x1}" y="{TOP}" width="{x2 - x1:.1f}" height="{HEIGHT}" fill="#888" fill-opacity="0.25"/>')
    parts.append(f'<text x="{x1 + 6}" y="{TOP + 14}" fill="#888">down</text>')
    for count in range(0, most + 1, 100):
        y = place(0, count).partition(",")[2]
        parts.append(f'<path d="M{LEFT} {y}H{WIDTH - 12}" stroke="#888" stroke-width="0.3"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y}" text-anchor="end" fill="#888">{count}</text>')
    for at in range(0, END + 1, 30):
        x = place(at, 0).partition(",")[0]
        parts.append(f'<text x="{x}" y="{TOP + HEIGHT + 16}" text-anchor="middle" fill="#888">{at} s</text>')
    for number, (name, course) in enumerate(courses.items()):
        line = " ".join(place(second, course.attempts[second]) for second in range(END))
        y = TOP + HEIGHT + 40 + 18 * number
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[number]}" stroke-width="1.5"/>')
        parts.append(f'<path d="M{LEFT} {y - 4}h24" stroke="{COLOURS[number]}" stroke-width="2"/>')
        parts.append(f'<text x="{LEFT + 32}" y="{y}" fill="#888">{escape(name)}: requests a second</text>')
    return "".join([*parts, "</svg>\n"])


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
        options.svg.write_text(svg(courses))
    if options.rst is not None:
        options.rst.write_text(rst(courses, options.seed))
    return 0 if all(kept for _, kept in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
