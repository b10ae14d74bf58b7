"""What the operations of a service have done: counts and times by method and path template. Pure, and bounded.

Templates are written by a program, so there are few of them. One that makes them up gets names for the first hundred,
and for all others together the name ``other``: figures never grow with what a service is called for.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Operation: TypeAlias = tuple[str, str]
"""Method and path template."""

OTHER: Operation = ("", "other")
MOST = 100
"""Operations that have a name of their own."""


class Tally(msgspec.Struct):
    """Of one operation, in one stretch of time. Two of them add up to one, exactly."""

    count: int = 0
    seconds: float = 0.0
    """All together."""
    longest: float = 0.0
    errors: dict[str, int] = {}
    """By code."""

    def record(self, code: str | None, seconds: float) -> None:
        """A call has ended: ``code`` is None for success."""
        self.count += 1
        self.seconds += seconds
        if seconds > self.longest:
            self.longest = seconds
        if code is not None:
            self.errors[code] = self.errors.get(code, 0) + 1

    def add(self, more: Tally) -> None:
        """Add ``more`` to it."""
        self.count += more.count
        self.seconds += more.seconds
        self.longest = max(self.longest, more.longest)
        for code, count in more.errors.items():
            self.errors[code] = self.errors.get(code, 0) + count


class Names:
    """Which operations have a name: the first that came."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: set[Operation] = set()

    def of(self, operation: Operation) -> Operation:
        """Its own name, or `OTHER`."""
        if operation in self._known:
            return operation
        if len(self._known) == MOST:
            return OTHER
        self._known.add(operation)
        return operation
