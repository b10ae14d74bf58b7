"""What a service has done since it last reported: counts and latencies. Pure, and cheap enough for every call."""

from __future__ import annotations

import msgspec

from .histogram import LatencyHistogram
from .operations import Names, Operation, Tally


class Delta(msgspec.Struct):
    """What happened in one stretch of time. Two of them add up to one, exactly."""

    histogram: LatencyHistogram
    """Of all calls that reached the actor, from its taking them up to their end (seconds)."""
    errors: dict[str, int]
    """Calls that ended with an error, by code."""
    attempts: int = 0
    """Tries on the wire, or refused on the way there."""
    retries: int = 0
    """Attempts beyond the first of their call."""
    refused: dict[str, int] = {}
    """Calls that never got to the actor, or outlived their time, by code."""
    fallbacks: dict[str, int] = {}
    """Answers that a fallback gave, by source."""
    last_error: tuple[str, float] | None = None
    """Code and time (trio) of the latest error."""
    operations: dict[Operation, Tally] = {}
    """Of the calls that were made by a path template."""
    booked: bool = False
    """It has arrived at the metrics actor."""


class Meter:
    """Collects a `Delta`."""

    __slots__ = ("_delta", "_names", "_taken", "dirty")

    def __init__(self) -> None:
        self._names: Names | None = None  # until there is an operation
        self._delta: Delta | None = None  # until something happens
        self._taken: list[Delta] = []  # perhaps still on their way
        self.dirty = False
        """Something has happened since the last `take`."""

    def record(self, code: str | None, seconds: float, *, attempts: int, now: float) -> None:
        """A call has ended: ``code`` is None for success, or its error's."""
        delta = self._delta
        if delta is None:
            delta = self._delta = empty()
        delta.histogram.record(seconds)
        delta.attempts += attempts
        if attempts > 1:
            delta.retries += attempts - 1
        if code is not None:
            delta.errors[code] = delta.errors.get(code, 0) + 1
            delta.last_error = (code, now)
        self.dirty = True

    def operated(self, operation: Operation, code: str | None, seconds: float) -> None:
        """A call by a path template has ended, which `record` or `refused` has been told of."""
        delta = self._delta
        if delta is None:
            delta = self._delta = empty()
        tally = delta.operations.get(operation)
        if tally is None:
            tally = self._begun(delta, operation)
        tally.record(code, seconds)
        self.dirty = True

    def _begun(self, delta: Delta, operation: Operation) -> Tally:
        if self._names is None:
            self._names = Names()
        return delta.operations.setdefault(self._names.of(operation), Tally())

    def refused(self, code: str, now: float) -> None:
        """A call ended without the actor: it was full, gone, or too slow to answer."""
        delta = self._delta = self._delta or empty()
        delta.refused[code] = delta.refused.get(code, 0) + 1
        delta.last_error = (code, now)
        self.dirty = True

    def fell_back(self, source: str) -> None:
        """A fallback has answered."""
        delta = self._delta = self._delta or empty()
        delta.fallbacks[source] = delta.fallbacks.get(source, 0) + 1
        self.dirty = True

    def take(self) -> Delta:
        """All since the last `take`; counting begins anew."""
        delta, self._delta = self._delta or empty(), None
        self._taken = [*(one for one in self._taken if not one.booked), delta]
        self.dirty = False
        return delta

    def unbooked(self) -> list[Delta]:
        """What nobody else has counted yet: what was taken and is still on its way, and all since the last `take`."""
        taken = [delta for delta in self._taken if not delta.booked]
        return taken if self._delta is None else [*taken, self._delta]

    def give_back(self, delta: Delta) -> None:
        """What was taken could not be delivered: it is counted with what comes next."""
        self._taken = [one for one in self._taken if one is not delta]
        later, self._delta = self._delta, delta
        if later is not None:
            add(delta, later)
        self.dirty = True


def add(total: Delta, more: Delta) -> None:
    """Add ``more`` to ``total``."""
    total.histogram.merge(more.histogram)
    total.attempts += more.attempts
    total.retries += more.retries
    for mine, theirs in (
        (total.errors, more.errors),
        (total.refused, more.refused),
        (total.fallbacks, more.fallbacks),
    ):
        for key, count in theirs.items():
            mine[key] = mine.get(key, 0) + count
    for operation, tally in more.operations.items():
        total.operations.setdefault(operation, Tally()).add(tally)
    if total.last_error is None or (more.last_error is not None and more.last_error[1] >= total.last_error[1]):
        total.last_error = more.last_error


def empty() -> Delta:
    """Nothing has happened."""
    return Delta(LatencyHistogram(), {}, refused={}, fallbacks={})
