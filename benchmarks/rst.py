"""Results as a piece of reStructuredText, for a document to include: what it says was then measured, by whom and when.

Tables that differ in one number (callers, say) become one, with a column for each; the others stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from .harness import Result
from .report import cell, command, curves, figure, sentence


def document(results: Sequence[Result], caption: str, *, rounds: int, quick: bool) -> str:
    """The piece."""
    return "\n".join([*_head(caption, rounds), *_tables(results), *_promises(results, quick=quick)]) + "\n"


def _head(caption: str, rounds: int) -> Iterator[str]:
    yield f".. Written by: {' '.join(command())}"
    yield ""
    yield f"Measured {datetime.now(UTC):%Y-%m-%d} with ``{' '.join(command())}`` on {caption}."
    yield f"Medians of {rounds} rounds."
    yield ""


def _tables(results: Sequence[Result]) -> Iterator[str]:
    for group in curves(results):
        if group[0].scenario.curve:
            for metric in group[0].scenario.metrics:
                if not any(series.median(metric.name) for one in group for series in one.series.values()):
                    continue  # of a table of noughts nobody learns anything
                yield from _by_columns(group, metric.name, f"{group[0].scenario.curve}: {metric.name}, {metric.unit}")
        else:
            yield from _as_it_is(group[0])


def _by_columns(group: Sequence[Result], metric: str, title: str) -> Iterator[str]:
    first = group[0].scenario
    head = ["", *(f"{one.scenario.at:,}" for one in group)]
    rows = [[name, *(_with_ratio(one, name, metric) for one in group)] for name in group[0].series]
    yield from list_table(f"{title} (x {first.reference})", head, rows)


def _with_ratio(result: Result, name: str, metric: str) -> str:
    series = result.series[name]
    median = series.median(metric)
    if median is None:
        return "not installed" if series.absent else "-"
    return f"{figure(median)} (x {figure(series.ratio(metric, result.series[result.scenario.reference]))})"


def _as_it_is(result: Result) -> Iterator[str]:
    metrics = result.scenario.metrics
    head = ["", *(f"{metric.name}, {metric.unit}" for metric in metrics)]
    rows = [[name, *(cell(series, metric) for metric in metrics)] for name, series in result.series.items()]
    yield from list_table(result.scenario.name, head, rows)


def list_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table."""
    yield f".. list-table:: {title}"
    yield "   :header-rows: 1"
    yield "   :stub-columns: 1"
    yield ""
    for row in (head, *rows):
        for number, text in enumerate(row):
            yield f"   {'*' if number == 0 else ' '} - {text}".rstrip()
    yield ""


def _promises(results: Sequence[Result], *, quick: bool) -> Iterator[str]:
    said = [(one.scenario.name, verdict) for one in results for verdict in one.verdicts(quick=quick)]
    if said:
        yield "What was promised, and what became of it:"
        yield ""
        for name, verdict in said:
            yield f"* {name}: {sentence(verdict)}"
        yield ""
