"""Which breaker lets a call in, and if the instances have breakers of their own, to which of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from ..errors import CircuitOpen
from ..machines.breaker import OPEN
from .breakers import operation

if TYPE_CHECKING:
    from ..machines.balancers import Endpoint
    from ..machines.breaker import BreakerState, Permit
    from .breakers import Breakers
    from .fleet import Fleet
    from .messages import Request
    from .target import Target

    Chosen: TypeAlias = tuple[Endpoint, Target]

_DRAWS = (
    4  # instances that chance may try; then all are asked, so that a fleet of which most are shut costs O(n) at most
)


class Admission:
    """Asks the breakers of a service."""

    __slots__ = ("_breakers", "_fleet")

    def __init__(self, breakers: Breakers, fleet: Fleet) -> None:
        self._breakers = breakers
        self._fleet = fleet

    def admit(self, request: Request, tried_at: list[str], now: float) -> tuple[Permit, Chosen | None]:
        """The breaker's leave; and the instance, if it is the instances that have breakers.

        Raises CircuitOpen, or NoHealthyInstances.
        """
        breakers = self._breakers
        if breakers.scope == "instance":
            return self._to_one(request, tried_at, now)
        breaker = breakers.one if breakers.scope == "service" else breakers.of(operation(request), now)
        permit = breaker.try_acquire(now)
        if permit is None:
            raise _shut(breaker.state, breaker.retry_at(now), now)
        return permit, None

    def _to_one(self, request: Request, tried_at: list[str], now: float) -> tuple[Permit, Chosen]:
        """The balancer's choice among the instances whose breakers let the call in.

        The balancer is asked first in any case: it may know of an instance more than when all of them were shut.
        """
        breakers = self._breakers
        refused: dict[str, float] = {}
        while True:
            chosen = self._fleet.pick(now, [*tried_at, *refused] if refused else tried_at, request.affinity)
            if chosen[0].id in refused:  # all others have been tried: better one of those again
                chosen = self._fleet.pick(now, list(refused), request.affinity)
            name = chosen[0].id
            if name in refused:
                raise _shut(OPEN, min(refused.values()), now)
            breaker = breakers.of(name, now)
            permit = breaker.try_acquire(now)
            if permit is not None:
                return permit, chosen
            if now < breakers.shut_until:
                raise _shut(OPEN, breakers.shut_until, now)
            refused[name] = breaker.retry_at(now) or now
            if len(refused) == _DRAWS:
                refused |= breakers.refusing(now)


def _shut(state: BreakerState, at: float | None, now: float) -> CircuitOpen:
    if at == math.inf:
        return CircuitOpen("an operator lets no calls through", retryable=False)
    wait = "" if at is None else f"; the next trial is in {max(0.0, at - now):.3g} s"
    return CircuitOpen(f"the circuit breaker is {state.value}{wait}", retry_at=at)
