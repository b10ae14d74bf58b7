"""Balancers that take turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .endpoint import NOBODY, Base, Endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence


class RoundRobin(Base):
    """One after the other, from a random start: many clients that start together must not all begin with the first."""

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now; the round begins anew."""
        super().update(endpoints)
        self._next = self._rng.randrange(len(self._endpoints)) if self._endpoints else 0

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint | None:
        """The next in turn that is not to be avoided."""
        for _ in range(len(self._endpoints)):
            endpoint = self._endpoints[self._next % len(self._endpoints)]
            self._next += 1
            if endpoint.id not in avoid:
                return endpoint
        return None
