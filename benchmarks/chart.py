"""The picture: one group of bars a scenario, drawn as SVG by hand, since a plotting library is a heavy thing to need.

Scenarios that are points of a curve are drawn by `curves.py` instead. A bar is the median of the scenario's first
metric, the thin line on it goes from the first to the third quartile, and each scenario has a scale of its own that
begins at zero. Colours come from the page: text follows the reader's theme.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from html import escape

from . import curves, report
from .harness import Result, Series
from .report import figure

WIDTH = 860
LEFT = 300  # names end here
RIGHT = 150  # figures begin this far from the right edge
ROW = 24
HEAD = 44

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1c2733; }
.title { font-weight: 600; }
.quiet { fill: #5b6b7b; }
.bar { fill: #9fb3c8; } .ours { fill: #2f6fde; } .reference { fill: #5b6b7b; }
.spread { stroke: #1c2733; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .quiet { fill: #93a1b0; } .spread { stroke: #e6edf3; }
}
"""


def svg(results: Sequence[Result], caption: str) -> str:
    """The whole picture."""
    parts: list[str] = []
    top = 10
    for group in report.curves(results):
        if len(group) > 1:
            parts.extend(curves.panel(group, top))
            top += curves.HEIGHT
        else:
            parts.extend(_group(group[0], top))
            top += HEAD + ROW * len(group[0].series) + 16
    for line in textwrap.wrap(caption, 115):
        parts.append(f'<text class="quiet" x="10" y="{top + 12}">{escape(line)}</text>')
        top += 18
    height = top + 8
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    return "\n".join([head, f"<style>{STYLE}{curves.STYLE}</style>", *parts, "</svg>", ""])


def _group(result: Result, top: int) -> Iterator[str]:
    scenario = result.scenario
    metric = scenario.metrics[0]
    yield f'<text class="title" x="10" y="{top + 16}">{escape(scenario.name)}</text>'
    what = escape(f"{metric.name} in {metric.unit}, {'more' if metric.more else 'less'} is better")
    yield f'<text class="quiet" x="10" y="{top + 33}">{what}</text>'
    most = max((_end(series, metric.name) for series in result.series.values()), default=0.0) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / most
    for number, series in enumerate(result.series.values()):
        yield from _bar(series, result, top + HEAD + ROW * number, scale)


def _end(series: Series, metric: str) -> float:
    """How far to the right the bar and its spread reach."""
    quartiles = series.quartiles(metric)
    return max(quartiles[1], series.median(metric) or 0.0) if quartiles else 0.0


def _bar(series: Series, result: Result, y: int, scale: float) -> Iterator[str]:
    metric = result.scenario.metrics[0].name
    middle = y + ROW // 2
    yield f'<text x="{LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(series.contender)}</text>'
    median, quartiles = series.median(metric), series.quartiles(metric)
    if median is None or quartiles is None:
        yield f'<text class="quiet" x="{LEFT}" y="{middle + 4}">{escape(series.absent or "not measured")}</text>'
        return
    kind = "bar"
    if series.contender.lower().startswith("switchgear"):
        kind = "bar ours"
    elif series.contender == result.scenario.reference:
        kind = "bar reference"
    low, high = (LEFT + value * scale for value in quartiles)
    yield f'<rect class="{kind}" x="{LEFT}" y="{y + 3}" width="{median * scale:.1f}" height="{ROW - 6}" rx="2"/>'
    yield f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>'
    ratio = series.ratio(metric, result.series[result.scenario.reference])
    end = LEFT + _end(series, metric) * scale + 8
    text = f"{figure(median)} (x {figure(ratio)})"
    yield f'<text class="quiet" x="{end:.1f}" y="{middle + 4}">{escape(text)}</text>'
