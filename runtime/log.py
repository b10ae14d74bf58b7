"""Events in the standard `logging` module, for those who watch logs and not streams.

Logger ``switchgear``, one line an event. What can come in floods (dead letters) is logged at a limited rate: the
first few of a kind and path in each period, then one line that says how many were held back.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .events import Event

logger = logging.getLogger("switchgear")

_PERIOD = 10.0  # seconds
_IN_A_PERIOD = 5  # lines of one kind and path
_KINDS = 1000  # kinds and paths remembered: a bound, not a limit anybody meets


class RateLimit:
    """How many lines of one key may pass in a period. Pure: the time is an argument."""

    def __init__(self) -> None:
        self._periods: dict[object, tuple[float, int]] = {}

    def admit(self, key: object, now: float) -> tuple[bool, int]:
        """May a line pass at ``now``, and how many were held back in the period that ended with it?"""
        start, count = self._periods.get(key, (now, 0))
        held = 0
        if now - start >= _PERIOD or now < start:
            start, count, held = now, 0, max(0, count - _IN_A_PERIOD)
        if len(self._periods) >= _KINDS:
            self._periods.clear()
        self._periods[key] = (start, count + 1)
        return count < _IN_A_PERIOD, held


def log_event(event: Event, limit: RateLimit) -> None:
    """Log one event at its level. ``limit``: of the stream that it comes from."""
    kind = type(event).__name__
    if not logger.isEnabledFor(event.level):
        return
    held = 0
    if kind == "DeadLetter":
        passes, held = limit.admit((kind, event.path), event.at)
        if not passes:
            return
    logger.log(event.level, "%s %s%s%s", event.path, kind, _details(event), f" ({held} more held back)" if held else "")


def _details(event: Event) -> str:
    fields = (name for name in event.__struct_fields__ if name not in {"path", "seq", "at", "traceback"})
    text = "".join(f" {name}={getattr(event, name)!r}" for name in fields)
    traceback = getattr(event, "traceback", "")
    return f"{text}\n{traceback}" if traceback else text
