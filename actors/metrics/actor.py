"""The metrics actor: adds up what services report, and publishes a snapshot once a tick.

Services report once a tick and only when something has happened, never per call. A snapshot is an immutable record,
made when the first subscriber looks after a tick; each takes the latest when it is ready, so a slow one delays nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio

from switchgear.runtime import Actor, Watch
from switchgear.runtime.wall import wall_time

from .ledger import Ledger
from .records import Report, ServiceMetrics, Snapshot

if TYPE_CHECKING:
    from switchgear.runtime import Context

_FLOATS = tuple(name for name, kind in ServiceMetrics.__annotations__.items() if str(kind).startswith("float"))


class Board:
    """What is published: it ticks, and who looks after a tick gets the snapshot of it. Nobody looks: no snapshot."""

    def __init__(self, ledger: Ledger) -> None:
        self.ticks = Watch(0)
        self._ledger = ledger
        self._snapshot: Snapshot | None = None

    def latest(self) -> Snapshot:
        """The figures as of the first look after the last tick, the same for all."""
        if self._snapshot is None or self._snapshot.seq != self.ticks.version:
            now = trio.current_time()
            services = {name: _rounded(self._ledger.metrics(name, now)) for name in self._ledger.accounts}
            self._snapshot = Snapshot(self.ticks.version, wall_time(), services)
        return self._snapshot


class MetricsActor(Actor):
    """Takes `Report`; told, not asked."""

    def __init__(self, ledger: Ledger, board: Board, interval: float) -> None:
        self._ledger = ledger
        self._board = board
        self._interval = interval

    async def setup(self, ctx: Context) -> None:
        """Start ticking."""
        ctx.start_soon(self._tick)

    async def handle(self, message: Any) -> None:
        """One report."""
        if not isinstance(message, Report):
            raise TypeError(f"the metrics actor does not understand {type(message).__name__}")
        self._ledger.book(message)

    async def _tick(self) -> None:
        """Also when nothing has changed: a snapshot is the heartbeat of the stream, and carries the uptimes."""
        while True:
            await trio.sleep(self._interval)
            self._board.ticks.set(self._board.ticks.value + 1)


def _rounded(metrics: ServiceMetrics) -> ServiceMetrics:
    """To the microsecond: a quarter less to send, and nobody measures finer."""
    return msgspec.structs.replace(
        metrics, **{name: round(value, 6) for name in _FLOATS if (value := getattr(metrics, name)) is not None}
    )
