"""The registry actor: the truth about which instances there are and how they are.

State changes synchronously, so several messages may be in hand and none meets another's half. What has changed is
published as an immutable `InstanceSet` through a watch, so reading it costs nobody a round trip. Only a health check on
demand waits for anybody (`checks.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from switchgear.runtime import Actor
from switchgear.runtime.wall import wall_time

from ..events import InstanceDeregistered, InstanceRegistered
from ..instance import HealthStatus, ServiceInstance
from .checks import Checks
from .entry import Entry
from .records import Check, Configure, Deregister, Forget, Found, HealthCheckResult, Look, Register

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear.runtime import Context

    from ..config import ServiceConfig
    from ..transport import Door


class RegistryActor(Actor):
    """Answers the messages of `records.py`."""

    # Health checks on demand, each of which waits for its peers. Far more than there are services: if hanging checks
    # could fill it, who registers would wait for them, and `check_all` would check some after the others.
    concurrency = 10_000

    def __init__(self, door: Callable[[ServiceConfig | None], Door], *, check_health: bool) -> None:
        self._open_door = door
        self._check_health = check_health
        self._entries: dict[str, Entry] = {}

    async def setup(self, ctx: Context) -> None:
        """Go on from the last life, checks included."""
        self._ctx = ctx
        self._checks = Checks(ctx, self._open_door, by_themselves=self._check_health)
        if isinstance(ctx.previous, dict):
            self._entries = ctx.previous
        for entry in self._entries.values():
            self._checks.begin(entry)

    def snapshot(self) -> object:
        """All of it: services hold on to the watches."""
        return self._entries

    async def teardown(self) -> None:
        """Close the connections of the health checks."""
        await self._checks.aclose()

    async def handle(self, message: Any) -> Any:
        """One message."""
        match message:
            case Look(service):
                entry = self._entries.get(service)
                return None if entry is None else entry.found()
            case Check(service):
                return await self._check(service)
            case Register(instance):
                return self._register(instance)
            case Deregister(service, id):
                return self._deregister(service, id)
            case Configure(config):
                return self._configure(config)
            case Forget(service):
                return self._forget(service)
        raise TypeError(f"the registry does not understand {type(message).__name__}")

    # ---- what the messages do

    async def _check(self, service: str) -> HealthCheckResult | None:
        entry = self._entries.get(service)
        return None if entry is None else await self._checks.check(entry)

    def _configure(self, config: ServiceConfig) -> Found:
        entry = self._entries.setdefault(config.name, Entry(config.name))
        entry.config = config
        wanted = {one.id: one for one in _static(config)}
        # Sorted: the order of events must not hang on how Python hashes strings today.
        changed = [self._remove(entry, gone) for gone in sorted(entry.configured - wanted.keys())]
        entry.configured = frozenset(wanted)
        changed += [self._put(entry, instance) for instance in wanted.values()]
        changed.append(self._checks.configure(entry, config.health_check))
        if any(changed):  # a new rate limit, say, is nothing to those who follow the instances
            entry.publish()
        return entry.found()

    def _forget(self, service: str) -> bool:
        entry = self._entries.pop(service, None)
        if entry is None:
            return False
        self._checks.end(entry, "the service is gone")
        for instance in list(entry.instances):
            self._remove(entry, instance)
        entry.publish(gone=True)
        return True

    def _register(self, instance: ServiceInstance) -> ServiceInstance | None:
        entry = self._entries.get(instance.name)
        if entry is None:
            return None
        if self._put(entry, instance):
            entry.publish()
        return entry.instances[instance.id]

    def _put(self, entry: Entry, instance: ServiceInstance) -> bool:
        """True if that has changed anything but when it was last seen: who registers as a heartbeat wakes nobody."""
        known = entry.instances.get(instance.id)
        now = wall_time()
        health, since = (HealthStatus.UNKNOWN, now) if known is None else (known.health, known.registered_at)
        put = msgspec.structs.replace(instance, health=health, registered_at=since, last_seen=now)
        entry.instances[instance.id] = put
        if known is None:
            self._emit(InstanceRegistered, instance)
        elif known.endpoint != instance.endpoint:
            self._checks.moved(entry, instance.id)
        return known is None or msgspec.structs.replace(put, last_seen=known.last_seen) != known

    def _deregister(self, service: str, id: str) -> bool:
        entry = self._entries.get(service)
        if entry is None or not self._remove(entry, id):
            return False
        entry.publish()
        return True

    def _remove(self, entry: Entry, id: str) -> bool:
        self._checks.removed(entry, id)
        instance = entry.instances.pop(id, None)
        if instance is not None:
            self._emit(InstanceDeregistered, instance)
        return instance is not None

    def _emit(self, kind: Any, instance: ServiceInstance) -> None:
        self._ctx.emit(kind(path=self._ctx.path, service=instance.name, instance=instance.id))


def _static(config: ServiceConfig) -> list[ServiceInstance]:
    """The instances that a configuration names."""
    if config.base_url is not None:
        return [ServiceInstance(config.base_url, config.name, config.version, config.base_url)]
    return [
        ServiceInstance(
            one.id or one.endpoint, config.name, config.version, one.endpoint, metadata=one.metadata, weight=one.weight
        )
        for one in config.instances
    ]
