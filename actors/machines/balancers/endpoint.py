"""What all balancers share: the endpoint, and the shape of a balancer.

    update(endpoints)                  the instances, or their weights, have changed
    pick(now, avoid, key)              an endpoint, none of `avoid`, or None
    begin(e, now)                      a call on it starts
    headed(e, began, now)              its answer has begun, and will be read for as long as its reader likes
    end(e, began, now, failed)         it has ended

What is known of an endpoint is kept in it and not in the balancer, so it outlives both a change of the instances and a
change of the balancer. An endpoint of weight zero is never picked (RFC 2782 would give it a small chance; one rule, and
this one is the simplest to reason about).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

NOBODY: frozenset[str] = frozenset()


class Endpoint:
    """An instance as a balancer sees it."""

    __slots__ = ("failing", "id", "latency", "outstanding", "seen", "starts", "weight")

    def __init__(self, id: str, weight: float = 1.0) -> None:
        self.id = id
        self.weight = weight
        """Its share. The effective one: whoever changes it (a slow start does) calls `Balancer.update`."""
        self.outstanding = 0
        """Calls that have begun and not ended."""
        self.latency: float | None = None
        """Seconds that a call takes, as of ``seen``; None if none has ended yet."""
        self.failing = 0.0
        """The share of calls that failed lately, as of ``seen``."""
        self.seen = 0.0
        """When a call ended last."""
        self.starts: OrderedDict[float, int] = OrderedDict()
        """When the calls that wait for their answer began, the oldest first; and how many then."""

    def __repr__(self) -> str:
        return f"<Endpoint {self.id} weight {self.weight:g}, {self.outstanding} outstanding>"


class Balancer(Protocol):
    """What the service actor needs of a balancer. All times are seconds of one clock that never goes back."""

    def __init__(self, rng: random.Random) -> None: ...

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now, with these weights."""

    def pick(self, now: float, avoid: frozenset[str] = NOBODY, key: str | None = None) -> Endpoint | None:
        """An endpoint that can be used and is none of ``avoid`` (ids), or None.

        Calls with the same ``key`` go to the same one, where the balancer can do that.
        """

    def begin(self, endpoint: Endpoint, now: float) -> None:
        """A call on ``endpoint`` starts."""

    def headed(self, endpoint: Endpoint, began: float, now: float) -> None:
        """The answer to a call that is read piece by piece has begun: how long it lasts says nothing any more."""

    def end(self, endpoint: Endpoint, began: float | None, now: float, *, failed: bool | None) -> None:
        """A call on ``endpoint`` has ended.

        Args:
            endpoint: that it was on.
            began: the time of its `begin`; None if it was `headed`.
            now: the time.
            failed: None if that cannot be told: the caller has gone. (It has taken that long at least.)
        """


class Base:
    """The usable endpoints, and the counting. Its children pick."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._endpoints: list[Endpoint] = []

    def update(self, endpoints: Sequence[Endpoint]) -> None:
        """These are the instances now, with these weights."""
        self._endpoints = [endpoint for endpoint in endpoints if endpoint.weight > 0]

    def begin(self, endpoint: Endpoint, now: float) -> None:
        """A call on ``endpoint`` starts."""
        endpoint.outstanding += 1

    def headed(self, endpoint: Endpoint, began: float, now: float) -> None:
        """Its answer has begun."""

    def end(self, endpoint: Endpoint, began: float | None, now: float, *, failed: bool | None) -> None:
        """A call on ``endpoint`` has ended."""
        endpoint.outstanding -= 1

    def _others(self, avoid: frozenset[str]) -> list[Endpoint]:
        """Those not to be avoided: O(n), and only where chance has not found one of them."""
        return [endpoint for endpoint in self._endpoints if endpoint.id not in avoid]
