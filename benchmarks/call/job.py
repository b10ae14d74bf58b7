"""What a contender is asked to do."""

from __future__ import annotations

import msgspec


class Job(msgspec.Struct, frozen=True):
    """So many callers, who call one after the other, for so long."""

    urls: tuple[str, ...]
    """Of two instances; who cannot balance takes the first."""
    ca: str | None
    """PEM file of the authority to trust, for https."""
    callers: int
    seconds: float
    """That are measured; connections are opened before."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of it."""

    calls: int
    wall: float
    """Seconds."""
    cpu: float
    """Seconds of this process, all of its threads."""
