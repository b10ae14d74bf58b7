"""The registry actor: the truth about which instances there are and how they are.

State changes only in ``handle``, one message at a time. What has changed is published as an immutable `InstanceSet`
through a watch, so reading it costs nobody a round trip, and nobody ever sees half a change. Health checks run as
background tasks, one for each service, and report to the actor by message like anybody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio

from switchgear.runtime import Actor, Watch
from switchgear.runtime.wall import wall_time

from ..events import InstanceDeregistered, InstanceHealthChanged, InstanceRegistered
from ..instance import HealthStatus, ServiceInstance
from ..machines.health import HealthTracker
from .probe import probe_all
from .records import Configure, Deregister, Forget, Found, InstanceSet, Look, Observed, Register

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear.runtime import Context

    from ..config import HealthCheckConfig, ServiceConfig
    from ..transport import Door


class Entry:
    """What the registry knows of one service. Handed from one life to the next."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.instances: dict[str, ServiceInstance] = {}
        self.trackers: dict[str, HealthTracker] = {}
        self.check: HealthCheckConfig | None = None
        self.configured: frozenset[str] = frozenset()
        """Ids that came with the configuration: they go with it too."""
        self.watch = Watch(InstanceSet(service, 0, (), ()))
        self.scope: trio.CancelScope | None = None  # of the task that checks its health

    def end_checks(self, reason: str) -> None:
        """Stop the task that checks its health, if there is one."""
        if self.scope is not None:
            self.scope.cancel(reason=reason)
            self.scope = None

    def publish(self) -> None:
        """Make the present state known."""
        instances = tuple(self.instances.values())
        routable = tuple(one for one in instances if one.health is not HealthStatus.UNHEALTHY and one.weight > 0)
        self.watch.set(InstanceSet(self.service, self.watch.value.version + 1, instances, routable))


class RegistryActor(Actor):
    """Answers the messages of `records.py`."""

    def __init__(self, door: Callable[[ServiceConfig | None], Door], *, check_health: bool) -> None:
        self._open_door = door
        self._check_health = check_health
        self._entries: dict[str, Entry] = {}

    async def setup(self, ctx: Context) -> None:
        """Go on from the last life, checks included."""
        self._ctx = ctx
        self._door = self._open_door(None)
        if isinstance(ctx.previous, dict):
            self._entries = ctx.previous
        for entry in self._entries.values():
            self._watch_health(entry)

    def snapshot(self) -> object:
        """All of it: services hold on to the watches."""
        return self._entries

    async def teardown(self) -> None:
        """Close the connections of the health checks."""
        await self._door.aclose()

    async def handle(self, message: Any) -> Any:
        """One message."""
        match message:
            case Observed(service, id, healthy, detail):
                return self._observed(service, id, healthy, detail)
            case Look(service):
                entry = self._entries.get(service)
                return None if entry is None else Found(entry.watch, entry.check)
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

    def _configure(self, config: ServiceConfig) -> Found:
        entry = self._entries.setdefault(config.name, Entry(config.name))
        wanted = {one.id: one for one in _static(config)}
        for gone in entry.configured - wanted.keys():
            entry.instances.pop(gone, None)
            entry.trackers.pop(gone, None)
        entry.configured = frozenset(wanted)
        for instance in wanted.values():
            self._put(entry, instance)
        if entry.check != config.health_check:
            entry.check = config.health_check
            entry.trackers.clear()  # the thresholds are others
            entry.end_checks("the health check has been configured anew")
            self._watch_health(entry)
        entry.publish()
        return Found(entry.watch, entry.check)

    def _forget(self, service: str) -> bool:
        entry = self._entries.pop(service, None)
        if entry is None:
            return False
        entry.end_checks("the service is gone")
        entry.instances.clear()
        entry.publish()
        return True

    def _register(self, instance: ServiceInstance) -> ServiceInstance:
        entry = self._entries.setdefault(instance.name, Entry(instance.name))
        put = self._put(entry, instance)
        entry.publish()
        return put

    def _put(self, entry: Entry, instance: ServiceInstance) -> ServiceInstance:
        known = entry.instances.get(instance.id)
        now = wall_time()
        if known is None:
            put = msgspec.structs.replace(instance, registered_at=now, last_seen=now)
            self._emit(InstanceRegistered, instance)
        else:
            put = msgspec.structs.replace(
                instance, health=known.health, registered_at=known.registered_at, last_seen=now
            )
        entry.instances[instance.id] = put
        return put

    def _deregister(self, service: str, id: str) -> bool:
        entry = self._entries.get(service)
        instance = None if entry is None else entry.instances.pop(id, None)
        if entry is None or instance is None:
            return False
        entry.trackers.pop(id, None)
        self._emit(InstanceDeregistered, instance)
        entry.publish()
        return True

    def _observed(self, service: str, id: str, healthy: bool, detail: str) -> None:
        entry = self._entries.get(service)
        instance = None if entry is None else entry.instances.get(id)
        if entry is None or instance is None:
            return  # it went while it was being checked
        check = entry.check
        tracker = entry.trackers.get(id)
        if tracker is None:
            rise, fall = (1, 1) if check is None else (check.healthy_threshold, check.unhealthy_threshold)
            tracker = entry.trackers[id] = HealthTracker(rise, fall)
        if not tracker.observe(healthy, trio.current_time()):
            return
        seen = wall_time() if healthy else instance.last_seen
        entry.instances[id] = msgspec.structs.replace(instance, health=tracker.status, last_seen=seen)
        self._emit(InstanceHealthChanged, instance, health=tracker.status.value, detail=detail)
        entry.publish()

    def _emit(self, kind: Any, instance: ServiceInstance, **fields: str) -> None:
        self._ctx.emit(kind(path=self._ctx.path, service=instance.name, instance=instance.id, **fields))

    # ---- health checks

    def _watch_health(self, entry: Entry) -> None:
        if entry.check is not None and self._check_health:
            entry.scope = trio.CancelScope()
            self._ctx.start_soon(self._check_for_ever, entry, entry.check, entry.scope)

    async def _check_for_ever(self, entry: Entry, check: HealthCheckConfig, scope: trio.CancelScope) -> None:
        """All instances at once, then a pause: jittered, so that many processes do not check in step."""
        rng = self._ctx.rng
        with scope:
            await trio.sleep(check.interval * check.jitter * rng.random())
            while True:
                instances = entry.watch.value.instances
                for result in await probe_all(self._door, instances, check):
                    if result.instance is not None:
                        healthy = result.status is HealthStatus.HEALTHY
                        # Straight to the state and not by message: this task is the actor's own, and no handler can
                        # be half-way through a change, for none of them awaits.
                        self._observed(entry.service, result.instance, healthy, result.detail)
                await trio.sleep(check.interval * (1.0 + check.jitter * (2.0 * rng.random() - 1.0)))


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
