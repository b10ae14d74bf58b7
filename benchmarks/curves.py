"""A picture of tables that differ in one number: a line for each contender, its name and last figure at its end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from .harness import Result
from .report import figure

WIDTH = 860
LEFT = 70
RIGHT = 190  # for the names
TOP = 44
PLOT = 300  # high
BOTTOM = 46
HEIGHT = TOP + PLOT + BOTTOM
LINE = 15  # a name under another

STYLE = """
.line { fill: none; stroke: #9fb3c8; stroke-width: 2; } .line.ours { stroke: #2f6fde; stroke-width: 3; }
.line.reference { stroke: #5b6b7b; }
.dot { fill: #9fb3c8; } .dot.ours { fill: #2f6fde; } .dot.reference { fill: #5b6b7b; }
.grid { stroke: #5b6b7b; stroke-opacity: 0.25; }
"""

Point = tuple[float, float]


class Scales:
    """Where on the picture a value is."""

    def __init__(self, results: Sequence[Result], top: int) -> None:
        self.metric = results[0].scenario.metrics[0]
        medians = [series.median(self.metric.name) for one in results for series in one.series.values()]
        values = [value for value in medians if value] or [1.0]
        self._low, self._high = math.log(min(values)) - 0.1, math.log(max(values)) + 0.1
        self._bottom = top + TOP + PLOT
        self._columns = [one.scenario.at for one in results]

    def x(self, at: int) -> float:
        """Evenly spread, in order: those who choose the numbers have spread them already."""
        return LEFT + (WIDTH - LEFT - RIGHT) * self._columns.index(at) / max(1, len(self._columns) - 1)

    def y(self, value: float) -> float:
        """Logarithmic."""
        return self._bottom - PLOT * (math.log(value) - self._low) / (self._high - self._low)

    def ticks(self) -> Iterator[float]:
        """1, 2 and 5 of each power of ten."""
        for power in range(-3, 9):
            for digit in (1, 2, 5):
                value = digit * 10.0**power
                if self._low <= math.log(value) <= self._high:
                    yield value


def panel(results: Sequence[Result], top: int) -> Iterator[str]:
    """One picture, `HEIGHT` high."""
    scales = Scales(results, top)
    scenario, metric = results[0].scenario, scales.metric
    yield f'<text class="title" x="10" y="{top + 16}">{escape(scenario.curve)}</text>'
    what = escape(f"{metric.name} in {metric.unit}, {'more' if metric.more else 'less'} is better")
    yield f'<text class="quiet" x="10" y="{top + 33}">{what}</text>'
    for value in scales.ticks():
        y = scales.y(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="quiet" x="{LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">{value:,g}</text>'
    for one in results:
        x, y = scales.x(one.scenario.at), top + TOP + PLOT + 20
        yield f'<text class="quiet" x="{x:.1f}" y="{y}" text-anchor="middle">{one.scenario.at:,}</text>'
    lines = {name: list(_points(results, name, scales)) for name in results[0].series}
    for name, points in lines.items():
        yield from _line(points, _kind(name, scenario.reference))
    ends = {name: points[-1][1] for name, points in lines.items() if points}
    for name, y in _apart(ends).items():
        last = figure(results[-1].series[name].median(metric.name))
        yield f'<text x="{WIDTH - RIGHT + 10}" y="{y + 4:.1f}">{escape(name)} {last}</text>'


def _points(results: Sequence[Result], name: str, scales: Scales) -> Iterator[Point]:
    for one in results:
        value = one.series[name].median(scales.metric.name)
        if value:
            yield scales.x(one.scenario.at), scales.y(value)


def _line(points: Sequence[Point], kind: str) -> Iterator[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline class="line {kind}" points="{path}"/>'
    for x, y in points:
        yield f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'


def _kind(name: str, reference: str) -> str:
    if name == reference:
        return "reference"
    return "ours" if name.lower().startswith("switchgear") else ""


def _apart(ends: dict[str, float]) -> dict[str, float]:
    """The names at their lines' ends, moved down where two would stand on each other."""
    placed: dict[str, float] = {}
    last = -math.inf
    for name, y in sorted(ends.items(), key=lambda item: item[1]):
        last = max(y, last + LINE)
        placed[name] = last
    return placed
