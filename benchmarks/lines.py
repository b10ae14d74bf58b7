"""Pictures with lines in them, drawn as SVG by hand, since a plotting library is a heavy thing to need.

Text is grey, so that it can be read on a light page and on a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP = 780, 320, 56, 32, 40
COLOURS = ("#888888", "#c23b22", "#2a78b5", "#2e8b57", "#b8860b")
LEGEND = 18  # the height of a line of it
GAP = 30

Point = tuple[float, float]


@dataclass(frozen=True)
class Panel:
    """One picture: a line for each series, on axes with these marks."""

    title: str
    series: Mapping[str, Sequence[Point]]
    x_marks: Sequence[tuple[float, str]]
    y_marks: Sequence[tuple[float, str]]
    log: bool = False
    """Whether the upright axis is logarithmic."""
    shaded: tuple[float, float, str] | None = None
    """A span of the other axis, and what was then."""

    @property
    def height(self) -> int:
        """With its legend."""
        return TOP + HEIGHT + GAP + LEGEND * len(self.series) + 10

    def draw(self, top: float) -> Iterator[str]:
        """Its parts, from there downwards."""
        bottom = top + TOP + HEIGHT
        yield f'<text x="{LEFT}" y="{top + 22:.0f}" font-weight="600" fill="#888">{escape(self.title)}</text>'
        if self.shaded is not None:
            left, right = self._x(self.shaded[0]), self._x(self.shaded[1])
            area = f'x="{left:.1f}" y="{top + TOP:.1f}" width="{right - left:.1f}" height="{HEIGHT}"'
            yield f'<rect {area} fill="#888" fill-opacity="0.25"/>'
            yield f'<text x="{left + 6:.1f}" y="{top + TOP + 14:.1f}" fill="#888">{escape(self.shaded[2])}</text>'
        for value, word in self.y_marks:
            y = bottom - self._up(value)
            yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#888" stroke-width="0.3"/>'
            yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#888">{escape(word)}</text>'
        for value, word in self.x_marks:
            where = f'x="{self._x(value):.1f}" y="{bottom + 16:.1f}"'
            yield f'<text {where} text-anchor="middle" fill="#888">{escape(word)}</text>'
        for number, (name, points) in enumerate(self.series.items()):
            line = " ".join(f"{self._x(x):.1f},{bottom - self._up(y):.1f}" for x, y in points)
            y = bottom + GAP + 10 + LEGEND * number
            yield f'<polyline points="{line}" fill="none" stroke="{COLOURS[number]}" stroke-width="1.5"/>'
            yield f'<path d="M{LEFT} {y - 4:.0f}h24" stroke="{COLOURS[number]}" stroke-width="2"/>'
            yield f'<text x="{LEFT + 32}" y="{y:.0f}" fill="#888">{escape(name)}</text>'

    def _x(self, value: float) -> float:
        first, last = self.x_marks[0][0], self.x_marks[-1][0]
        return LEFT + (value - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def _up(self, value: float) -> float:
        """How high above the bottom, within the picture."""
        low, high = self.y_marks[0][0], self.y_marks[-1][0]
        value = min(max(value, low), high)
        if self.log:
            return math.log(value / low) / math.log(high / low) * HEIGHT
        return (value - low) / (high - low) * HEIGHT


def svg(panels: Sequence[Panel]) -> str:
    """The pictures, one above the other."""
    whole, parts = 0, []
    for panel in panels:
        parts.extend(panel.draw(whole))
        whole += panel.height
    head = f'viewBox="0 0 {WIDTH} {whole}" font-family="sans-serif" font-size="12"'
    return "".join([f'<svg xmlns="http://www.w3.org/2000/svg" {head}>', *parts, "</svg>\n"])
