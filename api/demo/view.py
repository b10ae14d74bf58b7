"""How the demo is shown: a live table on a terminal that has rich, plain lines elsewhere, or nothing.

Each view is a context manager with two methods: ``show(board)`` now and then, ``changed(transition)`` when a breaker
has changed.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, Self

from .board import HEADINGS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import Group
    from rich.live import Live

    from .board import Board
    from .tally import Transition

_SHOWN = 8  # of the last changes, below the table
_STYLES = {"closed": "green", "OPEN": "bold red", "HALF-OPEN": "yellow"}


class View(AbstractContextManager["View"], Protocol):
    """What a view can do."""

    every: float
    """Seconds between two calls of `show`."""

    def show(self, board: Board) -> None:
        """Show everything as it is now."""

    def changed(self, transition: Transition) -> None:
        """Show that a breaker has changed."""


def best_view() -> View:
    """A live table if stdout is a terminal and rich is installed, else plain lines."""
    if not sys.stdout.isatty():
        return PlainLines()
    try:
        return LiveTable()
    except ImportError:
        print("(pip install 'switchgear[demo]' shows this as a live table)")
        return PlainLines()


class _Still:
    """A view with nothing to open or close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Nothing(_Still):
    """Shows nothing: a program reads the summary."""

    every = 1.0

    def show(self, board: Board) -> None:
        """Not shown."""

    def changed(self, transition: Transition) -> None:
        """Not shown."""


class PlainLines(_Still):
    """One line a second, and one for each change of a breaker."""

    every = 1.0
    _told = False

    def show(self, board: Board) -> None:
        """See `View.show`."""
        if not self._told:
            print(f"metrics stream: {board.metrics_url}", flush=True)
            self._told = True
        services = " | ".join(
            f"{name} {board.breaker(name)} {tally.calls} calls {tally.failed} failed"
            for name, tally in board.tallies.items()
        )
        print(f"{board.elapsed:5.1f} s  {services}", flush=True)

    def changed(self, transition: Transition) -> None:
        """See `View.changed`."""
        print(describe(transition), flush=True)


class LiveTable:
    """A table that is drawn anew four times a second. Raises ImportError without rich."""

    every = 0.25

    def __init__(self) -> None:
        from rich.live import Live  # noqa: PLC0415 - an extra: a runtime without a demo does not need it

        # Drawn when we say so: rich's own refresh would be a thread that looks into our state. Gone at the end: the
        # summary says the same, and stays.
        self._live: Live = Live(auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, board: Board) -> None:
        """See `View.show`."""
        self._live.update(_picture(board), refresh=True)

    def changed(self, transition: Transition) -> None:
        """The next `show` shows it."""


def _picture(board: Board) -> Group:
    from rich import box  # noqa: PLC0415 - as above
    from rich.console import Group  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    title = f"switchgear demo  {min(board.elapsed, board.seconds):.0f} of {board.seconds:g} s"
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))  # 80 columns
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=True)
    for service, breaker, *figures in board.rows():
        table.add_row(service, Text(breaker, style=_STYLES[breaker]), *figures)
    changes = [describe(transition) for transition in board.transitions[-_SHOWN:]]
    return Group(table, Text("\n".join(["", f"metrics stream: {board.metrics_url}", *changes])))


def describe(transition: Transition) -> str:
    """One change of a breaker in words."""
    return (
        f"{transition.at:5.1f} s  {transition.service}: breaker {transition.old} -> {transition.new}"
        f" ({transition.reason})"
    )


def describe_all(board: Board) -> str:
    """The summary in words, for people."""
    lines = ["", _columns([HEADINGS, *board.rows()]), ""]
    lines += [f"{len(board.transitions)} breaker transitions", *map(describe, board.transitions)]
    for what in ("sources", "errors"):
        counted = [(name, getattr(tally, what)) for name, tally in board.tallies.items() if getattr(tally, what)]
        if counted:
            lines.append("answered by fallbacks" if what == "sources" else "errors behind them, and of failed calls")
        for name, counts in counted:
            lines.append(f"  {name}: " + ", ".join(f"{key} {count}" for key, count in counts.most_common()))
    return "\n".join(lines)


def _columns(lines: Sequence[Sequence[str]]) -> str:
    """Cells of text in columns: the first two to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
