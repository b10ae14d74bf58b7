"""The instances of a service as its actor sees them: the registry's last snapshot, and a balancer over it.

Reading the snapshot is an attribute, so a call costs no round trip to the registry. The balancer is told only when
the snapshot has changed; calls in flight on an instance are counted on, whatever the registry says meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import NoHealthyInstances
from ..machines.balancers import BALANCERS, Endpoint
from .target import Target

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection

    from switchgear.runtime import Watch

    from ..registry import InstanceSet


class Fleet:
    """Picks an instance for each attempt."""

    def __init__(
        self,
        instances: Watch[InstanceSet],
        balancer: str,
        rng: random.Random,
        changed: Callable[[InstanceSet], None],
    ) -> None:
        self.balancer = balancer
        self._changed = changed  # told which instances there are
        self._instances = instances
        self._balancer = BALANCERS[balancer](rng)
        self._endpoints: dict[str, Endpoint] = {}
        self._targets: dict[str, Target] = {}
        self._seen: InstanceSet | None = None

    def pick(self, now: float, avoid: Collection[str] = (), key: str | None = None) -> tuple[Endpoint, Target]:
        """An instance to try, preferably none of ``avoid``, and the same for each ``key`` if the balancer does that.

        Raises:
            NoHealthyInstances: none is known, healthy and of a weight above zero.
        """
        if self._instances.value is not self._seen:
            self._refresh(self._instances.value)
        pick = self._balancer.pick
        endpoint = (pick(now, frozenset(avoid), key) if avoid else None) or pick(now, key=key)
        if endpoint is None:
            known = len(self._instances.value.instances)
            raise NoHealthyInstances(f"none of the {known} known instances can be used; register one or mend them")
        return endpoint, self._targets[endpoint.id]

    def begin(self, endpoint: Endpoint, now: float) -> None:
        """An attempt on this instance is under way."""
        endpoint.begin(now)

    def headed(self, endpoint: Endpoint, began: float, now: float) -> None:
        """The head of an answer has come whose body the caller reads himself."""
        endpoint.headed(began, now)

    def end(self, endpoint: Endpoint, began: float | None, now: float, *, failed: bool | None) -> None:
        """It is over. See `Endpoint.end`."""
        endpoint.end(began, now, failed=failed)

    def _refresh(self, instances: InstanceSet) -> None:
        self._seen = instances
        self._targets = {one.id: Target.of(one) for one in instances.routable}
        old = self._endpoints
        self._endpoints = {}
        for one in instances.routable:
            endpoint = old.get(one.id) or Endpoint(one.id, one.weight)
            endpoint.weight = one.weight
            self._endpoints[one.id] = endpoint
        self._balancer.update(list(self._endpoints.values()))
        self._changed(instances)
