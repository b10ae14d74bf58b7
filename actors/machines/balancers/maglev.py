"""Maglev hashing: a table of places, each of which belongs to an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .affinity import ByKey, stable_hash

if TYPE_CHECKING:
    import random
    from collections.abc import Generator, Sequence

    from .endpoint import Endpoint

SIZE = 65_537
"""Places: a prime, and a hundred for each of 655 endpoints, so that their shares differ by 1 % at most."""

_SLICE = 256  # places that are filled at a time: a tenth of a millisecond


class Maglev(ByKey):
    """Each endpoint has the same number of places for its weight, so keys are spread more evenly than by a ring. O(1).

    (Eisenbud et al., "Maglev".) When one comes or goes, a few keys of the others move as well: one in two hundred.
    Loads are not bounded. To fill the table takes 30 to 60 ms: the first time at once, when it is needed; later a slice
    with each call that has a key, and until it is full, the old one is used. Places of one that has gone are passed by.

    Args:
        rng: for calls without a key.
        size: of the table: a prime.
    """

    def __init__(self, rng: random.Random, size: int = SIZE) -> None:
        super().__init__(rng)
        self._size = size
        self._table: list[Endpoint] = []
        self._filling: Generator[None, None, list[Endpoint]] | None = None

    def _reshape(self, shape: dict[str, float]) -> None:
        self._filling = _fill(self._endpoints, shape, self._size)

    def _at(self, place: int) -> Endpoint:
        while self._filling is not None:
            try:
                next(self._filling)
            except StopIteration as full:
                self._table, self._filling = full.value, None
            if self._table:
                break
        return self._table[place % self._size]

    def _takes(self, endpoint: Endpoint) -> bool:
        return endpoint.id in self._shape


def _fill(endpoints: Sequence[Endpoint], shape: dict[str, float], size: int) -> Generator[None, None, list[Endpoint]]:
    """The table, after some pauses. In turn, each takes the first place free on its way through the table."""
    at = [stable_hash(f"at {endpoint.id}") % size for endpoint in endpoints]
    step = [stable_hash(f"step {endpoint.id}") % (size - 1) + 1 for endpoint in endpoints]
    credit, shares = [0.0] * len(endpoints), [shape[endpoint.id] for endpoint in endpoints]
    table: list[Endpoint | None] = [None] * size
    left = size
    while True:
        for n, endpoint in enumerate(endpoints):
            credit[n] += shares[n]
            if credit[n] < 1.0:
                continue
            credit[n] -= 1.0
            place = at[n]
            while table[place] is not None:
                place = (place + step[n]) % size
            table[place], at[n] = endpoint, place
            left -= 1
            if not left:
                return table  # type: ignore[return-value]  # none of it is None any more
            if not left % _SLICE:
                yield
