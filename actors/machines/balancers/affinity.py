"""What the balancers share that send calls with the same key to the same endpoint."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from .base import NOBODY
from .p2c import PeakEwma

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from .endpoint import Endpoint

_WORD = (1 << 64) - 1
_CHANGED = 0.1  # of a share: a slow start changes weights every second, and each time some keys would move
_JUMPS = 64


class ByKey(PeakEwma):
    """Calls with a key go to the key's endpoint; those without one as `PeakEwma` has it.

    A key's endpoint is looked for at places that follow from the key alone, one after the other, until one is found
    that can take the call: a detour is the same in all processes, and another for keys that lie side by side. (To go
    to the next on the ring instead lets one full endpoint fill its neighbour, and that one the next.)
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self._shape: dict[str, float] = {}  # what the table was made for: shares of the heaviest's weight
        self._weight = 0.0  # of all

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now, with these weights. The table is made anew if one changed by a tenth or more."""
        super().update(endpoints)
        self._weight = sum(endpoint.weight for endpoint in self._endpoints)
        heaviest = max((endpoint.weight for endpoint in self._endpoints), default=1.0)
        shape = {endpoint.id: endpoint.weight / heaviest for endpoint in self._endpoints}
        if shape.keys() != self._shape.keys() or any(
            abs(share - self._shape[name]) >= _CHANGED * self._shape[name] for name, share in shape.items()
        ):
            self._shape = shape
            self._reshape(shape)

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint | None:
        """The key's endpoint, or the first on its way that can be used."""
        if key is None or not self._endpoints:
            return super().pick(now, avoid)
        place = stable_hash(key)
        for _ in range(_JUMPS):
            endpoint = self._at(place)
            if endpoint.id not in avoid and self._takes(endpoint):
                return endpoint
            place = (place * 0x5851F42D4C957F2D + 0x14057B7EF767814F) & _WORD  # Knuth's MMIX
        return next((one for one in self._others(avoid) if self._takes(one)), None) or super().pick(now, avoid)

    def _reshape(self, shape: dict[str, float]) -> None:
        """The table has to be made anew, when it is needed."""
        raise NotImplementedError

    def _at(self, place: int) -> Endpoint:
        """Whose place (64 bits) that is."""
        raise NotImplementedError

    def _takes(self, endpoint: Endpoint) -> bool:
        """Can it take one more call?"""
        raise NotImplementedError


def stable_hash(text: str) -> int:
    """64 bits, the same in each process (`hash` is not): one call costs half a microsecond."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
