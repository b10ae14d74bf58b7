"""What the registry says and is told."""

from __future__ import annotations

import msgspec

from switchgear.runtime import Watch

from ..config import InstanceConfig, ServiceConfig
from ..instance import HealthStatus, ServiceInstance


class InstanceSet(msgspec.Struct, frozen=True):
    """The instances of one service at one moment: what the registry publishes, and service actors read."""

    service: str
    version: int
    """Grows by one with each change."""
    instances: tuple[ServiceInstance, ...]
    routable: tuple[ServiceInstance, ...]
    """Those that nothing speaks against here: not unhealthy, and of a weight above zero. The service may use fewer, for
    how their calls end, or all, if these are too few to be believed: see `Service.instances`."""
    gone: bool = False
    """The service has been removed: nothing comes after this."""


class SourceStatus(msgspec.Struct, frozen=True):
    """How one source of a service's instances is doing."""

    name: str
    instances: int
    """How many it named last."""
    error: str | None
    """Why it cannot say at present which there are, or not of all: what it said last stays."""
    age: float | None
    """Seconds since it was last sure of them; None: it has not said anything yet."""

    @property
    def ok(self) -> bool:
        """Whether it says which instances there are."""
        return self.error is None and self.age is not None


class LeaseCounts(msgspec.Struct, frozen=True):
    """The leases of all services."""

    leases: int
    late: int
    """Not heard of in the last half of their time."""
    doubted: int
    """Lapsed, and kept: so many are late that it may be we who do not hear. Each is heard of or goes in the end."""

    @property
    def preserving(self) -> bool:
        """Whether any is kept beyond its time."""
        return self.doubted > 0


class HealthCheckResult(msgspec.Struct, frozen=True):
    """The outcome of checking a service, or one instance of it."""

    service: str
    status: HealthStatus
    """Of a service: healthy if any instance is; unknown if there was nothing to check."""
    instance: str | None = None
    """Id of the instance; None for a whole service."""
    latency: float = 0.0
    """Seconds; of a service, the longest of its instances."""
    detail: str = ""
    """What the check saw."""
    at: float = 0.0
    """Trio time."""
    instances: tuple["HealthCheckResult", ...] = ()
    """Of a service: the result of each instance."""


# ---- messages


class Configure(msgspec.Struct, frozen=True):
    """Take over the instances and health checks of a service's configuration. Reply: its watch."""

    config: ServiceConfig


class Forget(msgspec.Struct, frozen=True):
    """The service is gone, with all its instances."""

    service: str


class Register(msgspec.Struct, frozen=True):
    """There is an instance; a known id keeps its health, all else is replaced. Reply: it, or None: no such service."""

    instance: ServiceInstance
    ttl: float | None = None
    """Seconds for which it is there, unless it is heard of again; None: until it is deregistered."""


class Heartbeat(msgspec.Struct, frozen=True):
    """An instance is still there. Reply: whether it has a lease."""

    service: str
    id: str


class CountLeases(msgspec.Struct, frozen=True):
    """Reply: `LeaseCounts`."""


class Deregister(msgspec.Struct, frozen=True):
    """There is no such instance any more. Reply: whether there was."""

    service: str
    id: str


class Sourced(msgspec.Struct, frozen=True):
    """A source says which instances there are: these, all of them; None: as before. Only who has changed is told."""

    service: str
    source: str
    instances: tuple[InstanceConfig, ...] | None
    problem: str | None = None
    """What is wrong with that set; it holds as long as the set does."""


class SourceFailed(msgspec.Struct, frozen=True):
    """A source cannot say which instances there are."""

    service: str
    source: str
    reason: str


class Check(msgspec.Struct, frozen=True):
    """Ask all instances of a service how they are, now. Reply: a `HealthCheckResult`, or None for no such service."""

    service: str


class Look(msgspec.Struct, frozen=True):
    """Reply: what is known of a service, or None for no such service."""

    service: str


class Found(msgspec.Struct, frozen=True):
    """The answer to `Look` and `Configure`."""

    watch: Watch[InstanceSet]
    instances: tuple[ServiceInstance, ...]
    """As of now. (The watch has them as of the last change; being seen once more is none.)"""
    sources: tuple[SourceStatus, ...]
