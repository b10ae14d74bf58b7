"""An event that weighs nothing until somebody waits for it.

An actor has several ends that may be waited for and mostly are not: a `trio.Event` for each costs 1 kB an actor.
"""

from __future__ import annotations

import trio


class Latch:
    """As `trio.Event`: once set, always set."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._event: trio.Event | None = None
        self._is_set = False

    def is_set(self) -> bool:
        """Whether it has been set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake whoever waits."""
        self._is_set = True
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait until it is set; a checkpoint in any case."""
        if self._is_set:
            await trio.lowlevel.checkpoint()
            return
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()
