"""Leases: who is there for as long as he says so in time. Pure.

A lease that was not renewed for its ``ttl`` has lapsed, and goes. But when most fall silent together it is more likely
that we do not hear (a network that is cut, a listener that is stuck) than that all of them died in one moment. So a
lease that lapses while less than 85 % of all are *fresh*, heard of in the last half of their time, is *doubted*: it is
kept for another four times its ttl. (Eureka's self-preservation, with its 85 %. Eureka counts renewals against those it
expects, goes on expecting them of who has gone, and so never leaves that state after a fleet has become smaller,
Netflix/eureka #1267. Here there is no state to leave: each doubt is one lease's, and has its end.) Two silent leases
are no crowd, whatever their share.

Time in which we did not look is nobody's silence: a process that was stopped, or a loop that was blocked, hears no
heartbeats. `expire` is called each `BEAT` seconds; by how much it comes later than that is left out of all ages.

Half a ttl is the middle between what an owner does who renews three times in it and the age, two thirds, that all his
neighbours have when the first of them lapses in a silence. Who renews less often than twice is taken for late.
"""

from __future__ import annotations

import heapq
import itertools
from typing import Generic, TypeVar

K = TypeVar("K")

BEAT = 1.0
"""Seconds between two calls of `Leases.expire`, while there are leases."""
PATIENCE = 4.0
"""How many ttls more a lease is kept that is doubted."""
_FRESH = 0.85  # the share of leases below which we doubt
_CROWD = 3  # so many late ones at least
_LATE = 0.5  # shares of a ttl
_TOLERANCE = 0.25  # seconds that a call may come late without being taken for a pause


class _Lease(Generic[K]):
    __slots__ = ("entry", "heard", "key", "stage", "ttl")

    def __init__(self, key: K, ttl: float, now: float) -> None:
        self.key = key
        self.ttl = ttl
        self.heard = now
        self.stage = _LATE  # how many ttls of silence it takes to the next stage: late, lapsed, at an end
        self.entry = 0  # the number of the one in the heap that counts; 0: none, it is gone

    @property
    def turn(self) -> float:
        """When its stage ends if it stays silent."""
        return self.heard + self.stage * self.ttl


class Leases(Generic[K]):
    """All leases, by key. O(1) to renew, amortised O(log n) to expire."""

    def __init__(self) -> None:
        self._leases: dict[K, _Lease[K]] = {}
        # A heap that has one entry for each that counts, at its turn or before; a renewal leaves it where it is.
        self._turns: list[tuple[float, int, _Lease[K]]] = []
        self._number = itertools.count(1)
        self._clock = 0.0
        self._paused = 0.0  # what it is behind
        self._looked = 0.0  # when somebody did last
        self.late = 0
        """Not fresh: silent for half of their time or more, the doubted ones among them."""
        self.doubted = 0
        """Lapsed, and kept."""

    def __len__(self) -> int:
        return len(self._leases)

    def grant(self, key: K, ttl: float, now: float) -> None:
        """A lease of ``ttl`` seconds from now on, in place of the one there was."""
        awake = self._awake(now)
        known = self._leases.get(key)
        if known is not None and known.ttl == ttl:
            self.renew(key, now)
            return
        self.drop(key)
        lease = self._leases[key] = _Lease(key, ttl, awake)
        self._push(lease)

    def renew(self, key: K, now: float) -> bool:
        """It has been heard of. False: there is no such lease (any more)."""
        lease = self._leases.get(key)
        if lease is None:
            return False
        lease.heard = self._awake(now)
        doubted = lease.stage > 1.0
        self._forgive(lease)
        if doubted:  # its entry is for the end of the doubt, which may be after its turn
            self._push(lease)
        return True

    def drop(self, key: K) -> None:
        """There is no such lease any more."""
        lease = self._leases.pop(key, None)
        if lease is not None:
            self._forgive(lease)
            lease.entry = 0

    def expire(self, now: float) -> list[K]:
        """Forget the leases that are at an end, and return them. To be called each `BEAT`."""
        awake = self._awake(now)
        self._looked = now
        lapsed: list[_Lease[K]] = []
        ended: list[_Lease[K]] = []
        while self._turns and self._turns[0][0] <= awake:
            _, number, lease = heapq.heappop(self._turns)
            if number != lease.entry:
                continue
            if lease.turn > awake:  # renewed meanwhile
                self._push(lease)
            elif lease.stage == _LATE:
                lease.stage = 1.0
                self.late += 1
                self._push(lease)
            else:
                (lapsed if lease.stage == 1.0 else ended).append(lease)
        for lease in ended:
            self.drop(lease.key)
        if self.late >= _CROWD and self.late > (1.0 - _FRESH) * len(self._leases):
            for lease in lapsed:
                lease.stage = 1.0 + PATIENCE
                self.doubted += 1
                self._push(lease)
            return [lease.key for lease in ended]
        for lease in lapsed:
            self.drop(lease.key)
        return [lease.key for lease in (*ended, *lapsed)]

    def _push(self, lease: _Lease[K]) -> None:
        lease.entry = next(self._number)
        heapq.heappush(self._turns, (lease.turn, lease.entry, lease))
        if len(self._turns) > 2 * len(self._leases) + 100:  # most count for nothing, and perhaps for years to come
            self._turns = [turn for turn in self._turns if turn[1] == turn[2].entry]
            heapq.heapify(self._turns)

    def _forgive(self, lease: _Lease[K]) -> None:
        """It counts as fresh again, or not at all."""
        self.late -= lease.stage > _LATE
        self.doubted -= lease.stage > 1.0
        lease.stage = _LATE

    def _awake(self, now: float) -> float:
        """Of a clock that stands still from when somebody should have looked until he does. Never goes back."""
        if self._leases and now > self._looked + BEAT + _TOLERANCE:
            self._paused = now - max(self._clock, self._looked + BEAT - self._paused)
            self._looked = now
        elif not self._leases:
            self._looked = now
        self._clock = now - self._paused
        return self._clock
