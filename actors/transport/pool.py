"""Idle connections: one stack for each instance, never searched.

Take the top, put back on top: the most recently used is the least likely to have been closed by the peer, and those at
the bottom grow old and expire. Everything here is synchronous and O(1). (httpx 0.28 looks at all connections at the
start and at the end of each request.)
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from ..service.target import Target
    from .connection import Connection


class PoolStatistics(msgspec.Struct, frozen=True):
    """Connections of one service: how many there are, and what has become of all since it was added."""

    open: int
    """Connected, in use or idle."""
    idle: int
    connected: int
    """Ever connected."""
    reused: int
    """Exchanges that found an idle one."""
    stale: int
    """Idle ones that the peer had closed."""
    expired: int
    """Idle ones that grew too old, or were one too many."""


class PoolCounts:
    """What is counted of the connections of one service, over all the pools that it has, one after the other."""

    __slots__ = ("connected", "expired", "idle", "in_use", "reused", "stale")

    def __init__(self) -> None:
        self.idle = self.in_use = 0
        self.connected = self.reused = self.stale = self.expired = 0

    def statistics(self) -> PoolStatistics:
        """The figures of now."""
        return PoolStatistics(
            open=self.idle + self.in_use,
            idle=self.idle,
            connected=self.connected,
            reused=self.reused,
            stale=self.stale,
            expired=self.expired,
        )


class Pool:
    """The connections of one service.

    Args:
        counts: where it counts.
        expiry: seconds after which an idle connection is closed.
        per_instance: idle connections kept for each instance.
        total: idle connections kept in all.
    """

    def __init__(self, counts: PoolCounts, *, expiry: float, per_instance: int, total: int) -> None:
        self.counts = counts
        self.expiry = expiry
        self._per_instance = per_instance
        self._total = total
        self._stacks: dict[Target, deque[Connection]] = {}
        self._kept: set[Target] | None = None  # None: any

    def take(self, to: Target, now: float) -> Connection | None:
        """An idle connection that is still good, or None: connect one, and tell by `connected`."""
        stack = self._stacks.get(to)
        while stack:
            connection = stack.pop()
            self.counts.idle -= 1
            if now - connection.idle_since >= self.expiry:
                self.counts.expired += 1
            elif connection.link.is_stale():
                self.counts.stale += 1
            else:
                self.counts.reused += 1
                self.counts.in_use += 1
                return connection
            connection.close()
        return None

    def connected(self) -> None:
        """One more is in use."""
        self.counts.connected += 1
        self.counts.in_use += 1

    def give_back(self, to: Target, connection: Connection, now: float) -> None:
        """An exchange has ended, somehow: kept if it is usable and there is room, closed otherwise."""
        self.counts.in_use -= 1
        if not connection.usable or (self._kept is not None and to not in self._kept):
            connection.close()
            return
        stack = self._stacks.setdefault(to, deque())
        if len(stack) >= self._per_instance or self.counts.idle >= self._total:
            self.counts.expired += 1
            connection.close()
            return
        connection.idle_since = now
        stack.append(connection)
        self.counts.idle += 1

    def expire(self, now: float) -> float | None:
        """Close what has grown too old; returns when to look again, or None if nothing is idle."""
        due = None
        for to, stack in list(self._stacks.items()):
            while stack and now - stack[0].idle_since >= self.expiry:
                stack.popleft().close()
                self.counts.idle -= 1
                self.counts.expired += 1
            if not stack:
                del self._stacks[to]
            elif due is None or stack[0].idle_since + self.expiry < due:
                due = stack[0].idle_since + self.expiry
        return due

    def keep_only(self, targets: set[Target]) -> None:
        """Other instances have gone: their idle connections go now, those in use when their exchange has ended."""
        self._kept = targets
        for to in self._stacks.keys() - targets:
            for connection in self._stacks.pop(to):
                self.counts.idle -= 1
                connection.close()

    def close(self) -> None:
        """Close all that is idle, now, and all that is in use when it comes back."""
        self.keep_only(set())
