"""What the registry knows of one service: plain state, which one life of the actor hands to the next.

An instance is there while anybody names it: the program that registered it, the configuration, or a source. What
each of them says is kept by itself, in the order in which they are believed, so that one can fall silent or change
its mind without a word about the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from switchgear.runtime import Watch

from ..config.sources import REGISTERED, STATIC
from ..machines.fate import FATES, Fate
from .records import Found, InstanceSet, SourceStatus

if TYPE_CHECKING:
    from ..config import HealthCheckConfig, ServiceConfig
    from ..instance import ServiceInstance
    from ..machines.health import HealthTracker


class Holder:
    """What one of those who name instances has said last, and when."""

    __slots__ = ("at", "error", "fault", "instances")

    def __init__(self) -> None:
        self.instances: dict[str, ServiceInstance] = {}
        """The last good set."""
        self.at: float | None = None
        """When it was last said or confirmed (trio time)."""
        self.error: str | None = None
        """Why it cannot say more at present."""
        self.fault: str | None = None
        """What is wrong with the last good set, as long as that is the last."""

    def status(self, name: str, now: float) -> SourceStatus:
        """For those who ask."""
        age = None if self.at is None else now - self.at
        return SourceStatus(name, len(self.instances), self.error, age)


class Entry:
    """One service, its instances, and what the checks of their health have found."""

    __slots__ = (
        *("check", "config", "instances", "probes", "registered", "scopes"),
        *("service", "sourced", "static", "trackers", "watch"),
    )

    def __init__(self, service: str) -> None:
        self.service = service
        self.instances: dict[str, ServiceInstance] = {}
        """What comes of all that the holders say."""
        self.config: ServiceConfig | None = None
        self.registered = Holder()
        self.static = Holder()
        self.sourced: dict[str, Holder] = {}
        """By name of the source, in the order of the configuration."""
        self.watch = Watch(InstanceSet(service, 0, (), ()))
        self.check: HealthCheckConfig | None = None
        self.trackers: dict[str, HealthTracker] = {}
        self.probes: dict[str, set[trio.CancelScope]] = {}
        """Checks under way, by instance: they end with it."""
        self.scopes: dict[str, trio.CancelScope] = {}
        """Of the tasks that check the health of its instances, each in its own time."""

    def named(self, id: str) -> tuple[ServiceInstance | None, tuple[str, ...]]:
        """An instance as the first of those says who name it, and all of their names."""
        said, names = None, []
        for name, holder in ((REGISTERED, self.registered), (STATIC, self.static), *self.sourced.items()):
            one = holder.instances.get(id)
            if one is not None:
                said = said or one
                names.append(name)
        return said, tuple(names)

    def found(self) -> Found:
        """All that anybody may know of it."""
        now = trio.current_time()
        sources = tuple(holder.status(name, now) for name, holder in self.sourced.items())
        return Found(self.watch, tuple(self.instances.values()), sources)

    def publish(self, *, gone: bool = False) -> None:
        """Make the present state known."""
        instances = tuple(self.instances.values())
        routable = tuple(
            one for one in instances if one.weight > 0 and FATES[bool(one.sources), one.health] is Fate.ROUTE
        )
        self.watch.set(InstanceSet(self.service, self.watch.value.version + 1, instances, routable, gone))
