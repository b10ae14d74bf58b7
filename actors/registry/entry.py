"""What the registry knows of one service: plain state, which one life of the actor hands to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchgear.runtime import Watch

from ..instance import HealthStatus
from .records import Found, InstanceSet

if TYPE_CHECKING:
    import trio

    from ..config import HealthCheckConfig, ServiceConfig
    from ..instance import ServiceInstance
    from ..machines.health import HealthTracker


class Entry:
    """One service, its instances, and what the checks of their health have found."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.instances: dict[str, ServiceInstance] = {}
        self.config: ServiceConfig | None = None
        self.configured: frozenset[str] = frozenset()
        """Ids that came with the configuration: they go with it too."""
        self.watch = Watch(InstanceSet(service, 0, (), ()))
        self.check: HealthCheckConfig | None = None
        self.trackers: dict[str, HealthTracker] = {}
        self.probes: dict[str, set[trio.CancelScope]] = {}
        """Checks under way, by instance: they end with it."""
        self.scope: trio.CancelScope | None = None
        """Of the task that checks its health."""

    def found(self) -> Found:
        """All that anybody may know of it."""
        return Found(self.watch, tuple(self.instances.values()))

    def publish(self, *, gone: bool = False) -> None:
        """Make the present state known."""
        instances = tuple(self.instances.values())
        routable = tuple(one for one in instances if one.health is not HealthStatus.UNHEALTHY and one.weight > 0)
        self.watch.set(InstanceSet(self.service, self.watch.value.version + 1, instances, routable, gone))
