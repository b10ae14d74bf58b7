"""The instances of a service as its actor sees them: the registry's last snapshot, and a balancer over those in use.

Reading the snapshot is an attribute, so a call costs no round trip to the registry. Which of its instances are in use
the roster says, and when it has to be asked again. The balancer is told only what has changed; calls in flight on an
instance are counted on, whatever becomes of it meanwhile.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ..errors import NoHealthyInstances
from ..machines.balancers import BALANCERS, Endpoint
from ..machines.balancers.levels import Levels, level_of
from .target import Target

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection

    from switchgear.runtime import Watch

    from ..config import ServiceConfig
    from ..registry import InstanceSet
    from .roster import Roster, Shares


class Memory:
    """What is known of the instances from the calls so far: it outlives a configuration, and a crash of the actor."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.seed: int | None = None
        """Of this process's subset of the instances, once there is one."""


class Fleet:
    """Picks an instance for each attempt."""

    def __init__(
        self,
        instances: Watch[InstanceSet],
        config: ServiceConfig,
        memory: Memory,
        *,
        rng: random.Random,
        roster: Roster,
        changed: Callable[[InstanceSet, set[str]], None],
    ) -> None:
        self.config = config.balancing
        self._zone = config.zone
        self._memory = memory
        self._roster = roster
        self._changed = changed  # told which instances there are, and the ids of those in use
        self._instances = instances
        if config.subset_size is not None and memory.seed is None:
            memory.seed = rng.getrandbits(64)
        self._balancer = Levels(BALANCERS[config.balancer], rng, config.subset_size, memory.seed or 0)
        self._pick = self._balancer.pick
        self._targets: dict[str, Target] = {}
        self._seen: InstanceSet | None = None
        self._using: Shares | None = None  # of the roster; another fleet may have had it decide anew

    def pick(self, now: float, avoid: Collection[str] = (), key: str | None = None) -> tuple[Endpoint, Target]:
        """An instance to try, preferably none of ``avoid``, and the same for each ``key`` if the balancer does that.

        Raises:
            NoHealthyInstances: none is known, healthy and of a weight above zero.
        """
        roster = self._roster
        if self._instances.value is not self._seen or roster.using is not self._using or now >= roster.due:
            self._refresh(self._instances.value, now)
        if roster.trials and not avoid and (name := roster.trial) is not None:  # a retry has been through enough
            return self._memory.endpoints[name], self._targets[name]
        pick = self._pick
        endpoint = (pick(now, frozenset(avoid), key) if avoid else None) or pick(now, key=key)
        if endpoint is None:
            raise NoHealthyInstances(_nobody(len(self._instances.value.instances)))
        return endpoint, self._targets[endpoint.id]

    def follow(self, now: float) -> None:
        """The registry has said something: what comes of that is seen at once, though no call may come for long."""
        if self._instances.value is not self._seen:
            self._refresh(self._instances.value, now)

    def begin(self, endpoint: Endpoint, now: float) -> None:
        """An attempt on this instance is under way."""
        endpoint.begin(now)
        if self._roster.trials:
            self._roster.begin(endpoint.id, now)

    def headed(self, endpoint: Endpoint, began: float, now: float) -> None:
        """The head of an answer has come whose body the caller reads himself."""
        endpoint.headed(began, now)
        record = self._roster.record
        if record is not None:
            record(endpoint.id, False, now)  # noqa: FBT003 - an outcome, not a mode

    def end(self, endpoint: Endpoint, began: float | None, now: float, *, failed: bool | None) -> None:
        """It is over. See `Endpoint.end`."""
        endpoint.end(began, now, failed=failed)
        record = self._roster.record
        if record is not None and (began is not None or failed):  # else it has been told, by `headed`
            record(endpoint.id, failed, now)

    def _refresh(self, instances: InstanceSet, now: float) -> None:
        self._roster.look(instances, now)
        if instances is not self._seen:
            self._seen = instances
            usable = [one for one in instances.instances if one.weight > 0]
            self._targets = {one.id: Target.of(one) for one in usable}
            self._levels = {one.id: level_of(one, self._zone) for one in usable}
            self._known = Counter(self._levels.values())
            there, old = instances.instances, self._memory.endpoints  # also of who has no weight for a while
            self._memory.endpoints = {one.id: old.get(one.id) or Endpoint(one.id, one.weight) for one in there}
        elif self._roster.using is self._using:
            return
        self._using = self._roster.using
        using = []
        for one, weight in self._using:
            endpoint = self._memory.endpoints[one.id]
            endpoint.weight = weight
            using.append((self._levels[one.id], endpoint))
        self._balancer.update(using, self._known)
        self._pick = self._balancer.picker()
        self._changed(instances, {endpoint.id for _, endpoint in using})


def _nobody(known: int) -> str:
    """Why there is nobody to call, and where to look."""
    if not known:
        return "no instance is known: register one, or see runtime.registry.sources if sources should have named some"
    why = "they are unhealthy, as service.instances says, or have no weight"
    return f"none of the {known} known instances can be used: {why}"
