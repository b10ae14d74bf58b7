"""The pictures: how long calls take, from the fastest to the slowest of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..lines import Panel
from .run import Course
from .scenes import Scene

QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)
SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
FINE = 40  # points from one mark to the next


def panel(scene: Scene, courses: Mapping[str, Course]) -> Panel | None:
    """Latency over quantile, for a scene that has a picture."""
    if scene.name not in {"slow", "hole", "overload"}:
        return None
    marks = [(_at(q), f"p{100 * q:g}") for q in QUANTILES]
    steps = range(int(marks[0][0] * FINE), int(marks[-1][0] * FINE) + 1)
    series = {}
    for name, course in courses.items():
        points = ((step / FINE, course.quantile(1 - 10 ** (-step / FINE))) for step in steps)
        series[name] = [(at, seconds) for at, seconds in points if seconds < math.inf]
    reached = [y for points in series.values() for _, y in points]
    values = [value for value in SECONDS if min(reached) / 2.5 <= value <= 2.5 * max(reached)]
    return Panel(
        scene.title,
        series,
        x_marks=marks,
        y_marks=[(value, f"{value:g} s") for value in values],
        log=True,
    )


def _at(quantile: float) -> float:
    """Where a quantile is: each nine as wide as the others."""
    return -math.log10(1 - quantile)
