"""Connections to instances that have gone: the idle ones are closed at once, the others when their calls have ended.

Calls have an end of their own, but a stream may be read for days. So there is a last moment, after which what is still
under way is cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..transport import Door
    from .target import Target


class Drain:
    """Of one door.

    Args:
        door: which has the connections.
        seconds: how long calls have from now on.
        start_soon: runs a task.
    """

    def __init__(
        self, door: Door, seconds: Callable[[], float], start_soon: Callable[[Callable[[], Awaitable[None]]], None]
    ) -> None:
        self._door = door
        self._seconds = seconds
        self._start_soon = start_soon
        self._there: set[Target] = set()
        self._leaving: dict[Target, float] = {}  # when what is left is cut off
        self._cutting = False

    def moved(self, there: set[Target]) -> None:
        """The instances are these now."""
        gone, self._there = self._there - there, there
        self._door.keep_only(there)
        for target in there & self._leaving.keys():
            del self._leaving[target]
        if gone:
            self._leaving |= dict.fromkeys(gone, trio.current_time() + self._seconds())
            if not self._cutting:
                self._cutting = True
                self._start_soon(self._cut)

    async def _cut(self) -> None:
        while self._leaving:
            await trio.sleep_until(min(self._leaving.values()))
            now = trio.current_time()
            over = {target for target, end in self._leaving.items() if end <= now}
            for target in over:
                del self._leaving[target]
            await self._door.cut(over)
        self._cutting = False
