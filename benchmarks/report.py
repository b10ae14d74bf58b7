"""What is said about results: a table for people, JSON for programs, and the machine that both came from."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from .harness import Metric, Result, Series, Verdict

PACKAGES = (
    "switchgear",
    "trio",
    "httptools",
    "msgspec",
    "httpx",
    "httpx2",
    "aiohttp",
    "pyreqwest",
    "pykka",
    "aiolimiter",
    "tenacity",
    "stamina",
    "purgatory",
    "aiobreaker",
    "hyx",
)


LOAD = getattr(os, "getloadavg", lambda: (0.0,))()[0]
"""Processes that wanted to run in the last minute, before we have added to them: with 1 and more, trust nothing."""


def figure(value: float | None) -> str:
    """Three significant digits, without exponents: 0.0123, 1.23, 123, 12300."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    digits = 2
    size = abs(value)
    while size >= 10:
        size /= 10
        digits -= 1
    while size < 1:
        size *= 10
        digits += 1
    return f"{round(value, digits):.{max(digits, 0)}f}"


def table(result: Result) -> str:
    """One line a contender: for each metric the median and, in brackets, the quartiles; then the ratio."""
    scenario = result.scenario
    head = ["", *(f"{metric.name} [{metric.unit}]" for metric in scenario.metrics), f"x {scenario.reference}"]
    rows = [head, *(_row(series, result) for series in result.series.values())]
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(len(head))]
    lines = [scenario.name, "-" * len(scenario.name)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(widths[n]) for n, cell in enumerate(row[1:], 1))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(series: Series, result: Result) -> list[str]:
    if series.absent is not None:
        return [series.contender, f"absent, {series.absent}", *[""] * len(result.scenario.metrics)]
    reference = result.series[result.scenario.reference]
    ratio = series.ratio(result.scenario.metrics[0].name, reference)
    return [series.contender, *(cell(series, metric) for metric in result.scenario.metrics), figure(ratio)]


def cell(series: Series, metric: Metric) -> str:
    """The median and, in brackets, the quartiles."""
    quartiles = series.quartiles(metric.name)
    if quartiles is None:
        return "-"
    low, high = quartiles
    return f"{figure(series.median(metric.name))} ({figure(low)}..{figure(high)})"


def sentence(verdict: Verdict) -> str:
    """A promise and what became of it, in one line."""
    promise = verdict.promise
    what = f"{promise.contender}: {promise.metric}"
    if promise.to is not None:
        what += f" against {promise.to}"
    elif promise.worst:
        what += ", at worst"
    wanted = "hoped for" if promise.stretch else "promised"
    bound = f"at most {figure(promise.most)}" if promise.least is None else f"at least {figure(promise.least)}"
    return f"{_state(verdict)}: {what} is {figure(verdict.value)}, {wanted} {bound}"


def _state(verdict: Verdict) -> str:
    if verdict.value is None:
        return "NOT JUDGED"
    if verdict.promise.stretch:
        return "reached" if verdict.kept else "not reached"
    return "kept" if verdict.kept else "BROKEN"


def command() -> list[str]:
    """How to measure all this again."""
    return ["python", "-m", "benchmarks", *sys.argv[1:]]


def curves(results: Sequence[Result]) -> Iterator[list[Result]]:
    """Neighbours that are points of the same curve together, the others each alone."""
    for curve, group in groupby(results, key=lambda result: result.scenario.curve):
        if curve:
            yield list(group)
        else:
            yield from ([one] for one in group)


def machine() -> dict[str, Any]:
    """What the figures were made on."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": LOAD,
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": dict(_versions()),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue


def document(results: Sequence[Result], *, rounds: int, seed: int, quick: bool) -> dict[str, Any]:
    """Everything that was measured, every sample of it, ready for `json.dump`."""
    return {
        "command": command(),
        "machine": machine(),
        "rounds": rounds,
        "seed": seed,
        "quick": quick,
        "scenarios": [_scenario(result, quick=quick) for result in results],
    }


def _scenario(result: Result, *, quick: bool) -> dict[str, Any]:
    scenario = result.scenario
    reference = result.series[scenario.reference]
    return {
        "name": scenario.name,
        "metrics": {metric.name: metric.unit for metric in scenario.metrics},
        "reference": scenario.reference,
        "contenders": {
            name: {
                "absent": series.absent,
                "samples": [dict(sample) for sample in series.samples],
                "median": {metric.name: series.median(metric.name) for metric in scenario.metrics},
                "quartiles": {metric.name: series.quartiles(metric.name) for metric in scenario.metrics},
                "ratio": series.ratio(scenario.metrics[0].name, reference),
            }
            for name, series in result.series.items()
        },
        "promises": [
            {
                "text": sentence(verdict),
                "kept": verdict.kept,
                "value": verdict.value,
                "most": verdict.promise.most,
                "least": verdict.promise.least,
            }
            for verdict in result.verdicts(quick=quick)
        ],
    }
