"""Ring hash with bounded loads."""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from hashlib import blake2b
from typing import TYPE_CHECKING

from .affinity import ByKey

if TYPE_CHECKING:
    import random

    from .endpoint import Endpoint

BOUND = 1.25
"""Of the average load (for its weight) an endpoint takes at most so much. (Mirrokni, Thorup and Zadimoghaddam's c.)"""

_MOST = 128  # points of the heaviest endpoint
_RING = 32_768  # points of all, about: a thousand endpoints have 32 each, and are sorted within 15 ms
_INDEX = (1 << 20) - 1  # the low bits of a point are its endpoint's number
_EIGHT = struct.Struct(">8Q")


class RingHash(ByKey):
    """Each endpoint has points on a ring, by its weight; a key belongs to the next point. O(log n).

    When an endpoint comes or goes, only its own keys move. But a ring is uneven, and so are keys; hence the bound: one
    that has 1.25 times its share of the calls under way already gets no more of them, and the key makes a detour
    ("Consistent hashing with bounded loads"; by jumps, after Chen et al., "Revisiting consistent hashing with bounded
    loads"). A fifth of the endpoints has always room, so it is found soon.

    The ring is made when it is first needed. Points are remembered: one more endpoint costs its own, and a sort.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._points: dict[str, list[int]] = {}
        self._ring: list[int] = []

    def _reshape(self, shape: dict[str, float]) -> None:
        self._points = {name: points for name, points in self._points.items() if name in shape}
        self._ring = []

    def _at(self, place: int) -> Endpoint:
        ring = self._ring or self._build()
        at = bisect_left(ring, place & ~_INDEX)
        return self._endpoints[ring[at if at < len(ring) else 0] & _INDEX]

    def _takes(self, endpoint: Endpoint) -> bool:
        fair = (self._group.outstanding + 1) * endpoint.weight / self._weight
        return endpoint.outstanding < math.ceil(BOUND * fair)

    def _build(self) -> list[int]:
        # A power of two, so that a few endpoints more or less do not change the number of everybody's points.
        most = min(_MOST, 1 << max(3, (_RING // len(self._endpoints)).bit_length() - 1))
        for index, endpoint in enumerate(self._endpoints):
            count = math.ceil(most * self._shape[endpoint.id])
            points = self._points.setdefault(endpoint.id, [])
            while len(points) < count:
                points += _points(endpoint.id, len(points) // 8)
            self._ring += [(point & ~_INDEX) | index for point in points[:count]]
        self._ring.sort()
        return self._ring


def _points(name: str, number: int) -> tuple[int, ...]:
    """Eight of them, by one hash."""
    return _EIGHT.unpack(blake2b(f"{number} {name}".encode("utf-8", "surrogatepass"), digest_size=64).digest())
