"""What its faults make of one direction of a connection. Pure: time comes in, randomness is drawn from a given Random.

The bytes of a read are `due` at some time, are then cut into `pieces`, each of which waits for its `pause`; and of each
piece so much goes through as `admit` says, until a fault strikes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .faults import STRIKES, Bandwidth, Corrupt, Drip, Latency

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from .faults import Direction, Fault, Strike

_SMOOTH = 0.01  # seconds for which a `Bandwidth` may save up: a piece each, so that what is slow looks slow
_WHOLE = 1 << 20  # more than is read at once
_WIRE = 64  # reads on a long wire: 4 MB at most


class Course:
    """One direction."""

    def __init__(self, direction: Direction, faults: Sequence[Fault], rng: random.Random) -> None:
        mine = [fault for fault in faults if fault.direction == direction]
        self.direction = direction
        self._rng = rng
        self._latencies = [fault for fault in mine if isinstance(fault, Latency)]
        self._drips = [fault for fault in mine if isinstance(fault, Drip)]
        self._rates = [fault.rate for fault in mine if isinstance(fault, Bandwidth)]
        self._corrupt = [fault.at for fault in mine if isinstance(fault, Corrupt)]
        strikes = [fault for fault in mine if isinstance(fault, STRIKES)]
        self._strike = min(strikes, key=_after, default=None)  # a later one would find nothing left to strike
        sizes = [*(drip.size for drip in self._drips), *(max(1, int(rate * _SMOOTH)) for rate in self._rates)]
        self._size = min(sizes, default=_WHOLE)
        self._last_due = -math.inf
        self._seen = 0
        self._passed = 0

    @property
    def in_flight(self) -> int:
        """How many reads may be under way at once: on a wire without length, none."""
        return _WIRE if self._latencies else 0

    def due(self, now: float) -> float:
        """When what is read now comes out at the other end: never before what was read earlier."""
        delays = (one.seconds + self._rng.uniform(-one.jitter, one.jitter) for one in self._latencies)
        self._last_due = max(self._last_due, now + sum(max(0.0, delay) for delay in delays))
        return self._last_due

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """The bytes of a read as they are sent: corrupted, and cut."""
        changed = bytearray(data)
        for at in self._corrupt:
            if self._seen <= at < self._seen + len(data):
                changed[at - self._seen] ^= 0xFF
        self._seen += len(data)
        for start in range(0, len(data), self._size):
            yield bytes(changed[start : start + self._size])

    def pause(self, piece: bytes) -> float:
        """Seconds before a piece is sent."""
        return sum(drip.every for drip in self._drips) + sum(len(piece) / rate for rate in self._rates)

    def admit(self, piece: bytes) -> tuple[bytes, Strike | None]:
        """As much of a piece as goes through, and the fault that strikes after it."""
        if self._strike is None:
            return piece, None
        room = _after(self._strike) - self._passed
        self._passed += len(piece)
        return (piece, None) if len(piece) < room else (piece[:room], self._strike)


def _after(strike: Strike) -> int:
    return strike.after or 0
