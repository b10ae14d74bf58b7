"""What a contender is asked to do."""

from __future__ import annotations

import msgspec


class Job(msgspec.Struct, frozen=True):
    """So many callers, who call one after the other, for so long."""

    urls: tuple[str, ...]
    """Of two instances; who cannot balance takes the first."""
    callers: int
    seconds: float
    """That are measured; connections are opened before."""
    ca: str | None = None
    """PEM file of the authority to trust, for https."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of it."""

    calls: int
    """With an answer of status 200."""
    failed: int
    wall: float
    """Seconds."""
    cpu: float
    """Seconds of this process, all of its threads."""
    error: str
    """One of those that calls failed of, if any did, also before the measuring."""
