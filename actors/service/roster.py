"""Which instances of a service get calls now, and with what weight: health checks, ejection, panic and slow start.

The registry says which instances there are and what their checks have found, the calls themselves say who fails. Only
here are both known, so here it is decided. It outlives the actor, as the rest of its state does: a crash must not bring
back those that are ejected.

Panic is what is left when most health checks fail: either most instances are down, or the checks are wrong, and in both
cases the few that are left must not get all the calls. Only health checks lead to it. An ejection that would is not
made, and those that are ejected come back first: it is better to call one that fails than all that do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from ..events import InstanceEjected, InstanceReturned, PanicEntered, PanicLeft
from ..instance import HealthStatus
from ..machines.outlier import OutlierDetector
from ..machines.slow_start import SlowStart

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from switchgear.runtime import Event

    from ..config import OutlierConfig, ServiceConfig
    from ..instance import ServiceInstance
    from ..machines.outlier import Host
    from ..registry import InstanceSet

    Shares: TypeAlias = list[tuple[ServiceInstance, float]]

_NONE: Mapping[str, Host] = {}


class InstanceStatus(msgspec.Struct, frozen=True):
    """Which instances of a service get calls, as of its last call (before the first, none is known). Ids, seconds."""

    used: tuple[str, ...]
    """Those that do."""
    unhealthy: tuple[str, ...]
    """Those that the health checks have taken out. In a panic they are used all the same."""
    ejected: dict[str, float]
    """Those that failed too often: in how many seconds each gets a call as its trial; 0.0 if that is due."""
    starting: tuple[str, ...]
    """Those that do not get their whole share yet (``slow_start``)."""
    panic: bool
    """So few are healthy that health is not looked at."""


class Roster:
    """Decides it, and tells when it has to be asked again.

    ``using`` is for the balancer, and another list each time that it has changed. `look` is to be called when the
    instances have changed or ``due`` has come: O(n) then, and O(1) for each call.
    """

    def __init__(
        self, config: ServiceConfig, path: str, emit: Callable[[Event], None], rng: random.Random, now: float
    ) -> None:
        self.due = -math.inf
        self.using: Shares = []
        """Instances, with the weights that count now."""
        self.panic = False
        self.record: Callable[[str, bool | None, float], None] | None = None
        """To be told of the end of each call: on which instance, whether it failed (None: that says nothing), and when.
        None: nothing depends on it, since there is no other instance, or no ejection."""
        self.trials: Mapping[str, Host] = _NONE
        """Not empty: the next call should go to `trial`."""
        self._name, self._path, self._emit, self._rng = config.name, path, emit, rng
        self._instances: InstanceSet | None = None
        self._known: dict[str, ServiceInstance] = {}
        self._version = 0
        self._threshold = config.panic_threshold
        self._outlier: OutlierDetector | None = None
        self._slow = SlowStart(config.slow_start)
        self.tune(config, now)

    def tune(self, config: ServiceConfig, now: float) -> None:
        """Take over a configuration. Who is ejected stays so, unless ejection is switched off."""
        self._threshold = config.panic_threshold
        self._slow.window = config.slow_start
        self._tune_outlier(config.outlier, now)
        self._instances, self.due = None, -math.inf  # all is looked at again

    def _tune_outlier(self, config: OutlierConfig | None, now: float) -> None:
        outlier = self._outlier
        if config is not None and outlier is not None:
            outlier.tune(config)
        elif config is not None:
            self._outlier = OutlierDetector(config, self._rng, self._ejected, self._returned)
            self.trials = self._outlier.trials
        elif outlier is not None:
            for name in tuple(outlier.ejected):
                outlier.pardon(name, "ejection is switched off", now)
            self._outlier, self.trials, self.record = None, _NONE, None

    def look(self, instances: InstanceSet, now: float) -> None:
        """Decide anew."""
        outlier, slow = self._outlier, self._slow
        if instances is not self._instances:
            self._take(instances, now)
        if outlier is not None and now >= outlier.due:
            outlier.sweep(now)
        version = 0 if outlier is None else outlier.version
        if instances is not self._instances or version != self._version or now >= slow.due:
            self._instances, self._version = instances, version
            self._share_out(instances, now)
        self.due = slow.due if outlier is None else min(outlier.due, slow.due)

    def _take(self, instances: InstanceSet, now: float) -> None:
        """The registry has news."""
        known = {one.id: one for one in instances.instances if one.weight > 0}
        least = math.ceil(self._threshold * len(known))
        panic = len(instances.routable) < least
        if panic != self.panic:
            self.panic = panic
            kind = PanicEntered if panic else PanicLeft
            healthy = len(instances.routable)
            self._emit(kind(path=self._path, service=self._name, healthy=healthy, instances=len(known)))
        outlier = self._outlier
        if outlier is not None:
            for one in known.values():
                if one.health is HealthStatus.HEALTHY and self._was_unhealthy(one.id):
                    outlier.pardon(one.id, "it passes its health checks again", now)
            healthy_ids = {one.id for one in instances.routable}
            outlier.update((one.id for one in instances.instances), healthy_ids, now, max(1, least))
            self.record = outlier.record if len(healthy_ids) > 1 else None
        self._known = known

    def _was_unhealthy(self, id: str) -> bool:
        one = self._known.get(id)
        return one is not None and one.health is HealthStatus.UNHEALTHY

    def _share_out(self, instances: InstanceSet, now: float) -> None:
        out = () if self._outlier is None else self._outlier.ejected
        well = [one for one in instances.routable if one.id not in out]
        self._slow.update(frozenset(one.id for one in well), now)
        if self.panic:
            self.using = [(one, one.weight) for one in self._known.values()]
        else:
            self.using = [(one, one.weight * self._slow.share(one.id, now)) for one in well]

    # ---- from the calls

    @property
    def trial(self) -> str | None:
        """Which instance the next call should go to, to find out whether it is well again."""
        return None if self._outlier is None else self._outlier.trial

    def begin(self, id: str, now: float) -> None:
        """A call goes to it, which may be its trial."""
        if id in self.trials and self._outlier is not None:
            self._outlier.begin(id, now)
            self.due = min(self.due, self._outlier.due)

    def _ejected(self, host: Host, why: str, seconds: float) -> None:
        self.due = -math.inf
        event = InstanceEjected(
            path=self._path,
            service=self._name,
            instance=host.id,
            reason=why,
            seconds=seconds,
            calls=host.calls,
            failures=host.failures,
            ejections=host.multiplier,
        )
        self._emit(event)

    def _returned(self, host: Host, why: str) -> None:
        self.due = -math.inf
        self._emit(InstanceReturned(path=self._path, service=self._name, instance=host.id, reason=why))

    @property
    def ejected(self) -> int:
        """How many are."""
        return 0 if self._outlier is None else len(self._outlier.ejected)

    def status(self, now: float) -> InstanceStatus:
        """For those who ask."""
        outlier = self._outlier
        return InstanceStatus(
            used=tuple(one.id for one, _ in self.using),
            unhealthy=tuple(one.id for one in self._known.values() if one.health is HealthStatus.UNHEALTHY),
            ejected={} if outlier is None else outlier.waits(now),
            starting=tuple(self._slow.starting),
            panic=self.panic,
        )
