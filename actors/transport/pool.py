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
    """Connections of one service, at one moment."""

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


class Pool:
    """The connections of one service.

    Args:
        expiry: seconds after which an idle connection is closed.
        per_instance: idle connections kept for each instance.
        total: idle connections kept in all.
    """

    def __init__(self, *, expiry: float, per_instance: int, total: int) -> None:
        self.expiry = expiry
        self._per_instance = per_instance
        self._total = total
        self._stacks: dict[Target, deque[Connection]] = {}
        self.idle = 0
        self.in_use = 0
        self._connected = self._reused = self._stale = self._expired = 0
        self._kept: set[Target] | None = None  # None: any

    def take(self, to: Target, now: float) -> Connection | None:
        """An idle connection that is still good, or None: connect one, and tell by `connected`."""
        stack = self._stacks.get(to)
        while stack:
            connection = stack.pop()
            self.idle -= 1
            if now - connection.idle_since >= self.expiry:
                self._expired += 1
            elif connection.link.is_stale():
                self._stale += 1
            else:
                self._reused += 1
                self.in_use += 1
                return connection
            connection.close()
        return None

    def connected(self) -> None:
        """One more is in use."""
        self._connected += 1
        self.in_use += 1

    def give_back(self, to: Target, connection: Connection, now: float) -> None:
        """An exchange has ended, somehow: kept if it is usable and there is room, closed otherwise."""
        self.in_use -= 1
        if not connection.usable or (self._kept is not None and to not in self._kept):
            connection.close()
            return
        stack = self._stacks.setdefault(to, deque())
        if len(stack) >= self._per_instance or self.idle >= self._total:
            self._expired += 1
            connection.close()
            return
        connection.idle_since = now
        stack.append(connection)
        self.idle += 1

    def expire(self, now: float) -> float | None:
        """Close what has grown too old; returns when to look again, or None if nothing is idle."""
        due = None
        for to, stack in list(self._stacks.items()):
            while stack and now - stack[0].idle_since >= self.expiry:
                stack.popleft().close()
                self.idle -= 1
                self._expired += 1
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
                self.idle -= 1
                connection.close()

    def close(self) -> None:
        """Close all that is idle, now, and all that is in use when it comes back."""
        self.keep_only(set())

    def statistics(self) -> PoolStatistics:
        """The figures of now."""
        return PoolStatistics(
            open=self.idle + self.in_use,
            idle=self.idle,
            connected=self._connected,
            reused=self._reused,
            stale=self._stale,
            expired=self._expired,
        )
