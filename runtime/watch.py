"""A watch channel: one writer, any number of readers, and only the latest value counts.

For snapshots that many read and few change (the instances of a service). Reading is an attribute, so it costs the
call path nothing; a reader that sleeps through ten changes sees the tenth. A memory channel would hold ten and need
a reader that keeps up.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Watch(Generic[T]):
    """The latest ``value`` and its ``version``, which grows by one with each ``set``."""

    __slots__ = ("_changed", "value", "version")

    def __init__(self, value: T) -> None:
        self.value = value
        self.version = 0
        self._changed: trio.lowlevel.ParkingLot | None = None  # made for the first who waits: most never do

    def set(self, value: T) -> None:
        """Publish a new value and wake whoever waits. Synchronous: the writer never waits for a reader."""
        self.value = value
        self.version += 1
        if self._changed is not None:
            self._changed.unpark_all()

    async def changed(self, since: int) -> int:
        """Wait until the version is past ``since``; return it. Returns at once (after a checkpoint) if it is."""
        await trio.lowlevel.checkpoint()
        if self._changed is None:
            self._changed = trio.lowlevel.ParkingLot()
        while self.version <= since:
            await self._changed.park()
        return self.version
