"""The registry actor: the truth about which instances there are and how they are.

State changes synchronously, so several messages may be in hand and none meets another's half. What has changed is
published as an immutable `InstanceSet` through a watch, so reading it costs nobody a round trip. Health checks run as
background tasks, one for each service, or on demand; their requests are the only thing that anybody here waits for.
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
from .probe import probe, summary
from .records import Check, Configure, Deregister, Forget, Found, HealthCheckResult, InstanceSet, Look, Register

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
        self.probes: dict[str, set[trio.CancelScope]] = {}
        """Checks under way, by instance: they end with it."""
        self.check: HealthCheckConfig | None = None
        self.config: ServiceConfig | None = None
        self.configured: frozenset[str] = frozenset()
        """Ids that came with the configuration: they go with it too."""
        self.watch = Watch(InstanceSet(service, 0, (), ()))
        self.scope: trio.CancelScope | None = None  # of the task that checks its health

    def end_checks(self, reason: str) -> None:
        """Stop the task that checks its health, if there is one."""
        if self.scope is not None:
            self.scope.cancel(reason=reason)
            self.scope = None

    def end_probes(self, id: str, reason: str) -> None:
        """What is asked of an instance that is not there any more needs no answer."""
        for scope in self.probes.get(id, ()):
            scope.cancel(reason=reason)

    def found(self) -> Found:
        """All that anybody may know of it."""
        return Found(self.watch, tuple(self.instances.values()))

    def publish(self, *, gone: bool = False) -> None:
        """Make the present state known."""
        instances = tuple(self.instances.values())
        routable = tuple(one for one in instances if one.health is not HealthStatus.UNHEALTHY and one.weight > 0)
        self.watch.set(InstanceSet(self.service, self.watch.value.version + 1, instances, routable, gone))


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
        self._doors: dict[object, Door] = {}
        if isinstance(ctx.previous, dict):
            self._entries = ctx.previous
        for entry in self._entries.values():
            self._watch_health(entry)

    def snapshot(self) -> object:
        """All of it: services hold on to the watches."""
        return self._entries

    async def teardown(self) -> None:
        """Close the connections of the health checks."""
        for door in self._doors.values():
            await door.aclose()

    def _door_to(self, entry: Entry) -> Door:
        """The checks have connections of their own, shared by services that are reached the same way."""
        way = None if entry.config is None else entry.config.way
        if way not in self._doors:
            self._doors[way] = self._open_door(entry.config)
        return self._doors[way]

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

    def _configure(self, config: ServiceConfig) -> Found:
        entry = self._entries.setdefault(config.name, Entry(config.name))
        entry.config = config
        wanted = {one.id: one for one in _static(config)}
        # Sorted: the order of events must not hang on how Python hashes strings today.
        changed = [self._remove(entry, gone) for gone in sorted(entry.configured - wanted.keys())]
        entry.configured = frozenset(wanted)
        changed += [self._put(entry, instance) for instance in wanted.values()]
        if entry.check != config.health_check:
            changed.append(self._check_anew(entry, config.health_check))
        if any(changed):  # a new rate limit, say, is nothing to those who follow the instances
            entry.publish()
        return entry.found()

    def _check_anew(self, entry: Entry, check: HealthCheckConfig | None) -> bool:
        """True if that has changed the health of an instance."""
        changed: list[bool] = []
        entry.check = check
        entry.trackers.clear()  # the thresholds are others
        entry.end_checks("the health check has been configured anew")
        if check is None:  # nobody is left to find out that an instance is well again
            why = "it is not checked any more"
            known = list(entry.instances.values())
            changed = [self._set_health(entry, instance, HealthStatus.UNKNOWN, why) for instance in known]
        self._watch_health(entry)
        return any(changed)

    def _forget(self, service: str) -> bool:
        entry = self._entries.pop(service, None)
        if entry is None:
            return False
        entry.end_checks("the service is gone")
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
            entry.end_probes(instance.id, "the instance has moved")
        return known is None or msgspec.structs.replace(put, last_seen=known.last_seen) != known

    def _deregister(self, service: str, id: str) -> bool:
        entry = self._entries.get(service)
        if entry is None or not self._remove(entry, id):
            return False
        entry.publish()
        return True

    def _remove(self, entry: Entry, id: str) -> bool:
        entry.trackers.pop(id, None)
        entry.end_probes(id, "the instance is gone")
        instance = entry.instances.pop(id, None)
        if instance is not None:
            self._emit(InstanceDeregistered, instance)
        return instance is not None

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
                # From one beginning to the next: an instance that does not answer must not make all checks rarer.
                due = trio.current_time() + check.interval * (1.0 + check.jitter * (2.0 * rng.random() - 1.0))
                await self._probe_all(entry, check)
                await trio.sleep_until(due)

    async def _check(self, service: str) -> HealthCheckResult | None:
        entry = self._entries.get(service)
        if entry is None:
            return None
        return summary(service, [] if entry.check is None else await self._probe_all(entry, entry.check))

    async def _probe_all(self, entry: Entry, check: HealthCheckConfig) -> list[HealthCheckResult]:
        """Check all instances concurrently; each outcome counts at once, whoever else lets us wait."""
        results: dict[str, HealthCheckResult] = {}

        async def one(instance: ServiceInstance) -> None:
            underway = entry.probes.setdefault(instance.id, set())
            with trio.CancelScope() as scope:
                underway.add(scope)
                try:
                    results[instance.id] = result = await probe(self._door_to(entry), instance, check)
                finally:
                    underway.discard(scope)
                    if not underway and entry.probes.get(instance.id) is underway:
                        del entry.probes[instance.id]
            if scope.cancelled_caught:
                return
            known = entry.instances.get(instance.id)
            # It may have gone, or moved, or be checked in another way by now: then this says nothing of it.
            if entry.check is check and known is not None and _same(known, instance):
                self._observed(entry, known, check, result)

        instances = list(entry.instances.values())
        async with trio.open_nursery() as nursery:
            for instance in instances:
                nursery.start_soon(one, instance)
        return [results[instance.id] for instance in instances if instance.id in results]

    def _observed(
        self, entry: Entry, known: ServiceInstance, check: HealthCheckConfig, result: HealthCheckResult
    ) -> None:
        tracker = entry.trackers.get(known.id)
        if tracker is None:
            tracker = HealthTracker(check.healthy_threshold, check.unhealthy_threshold)
            entry.trackers[known.id] = tracker
        healthy = result.status is HealthStatus.HEALTHY
        tracker.observe(healthy, trio.current_time())
        if healthy:
            known = entry.instances[known.id] = msgspec.structs.replace(known, last_seen=wall_time())
        if self._set_health(entry, known, tracker.status, result.detail):
            entry.publish()

    def _set_health(self, entry: Entry, known: ServiceInstance, health: HealthStatus, detail: str) -> bool:
        if health is known.health:
            return False
        entry.instances[known.id] = msgspec.structs.replace(known, health=health)
        self._emit(InstanceHealthChanged, known, health=health.value, detail=detail)
        return True


def _same(known: ServiceInstance, probed: ServiceInstance) -> bool:
    return (known.endpoint, known.registered_at) == (probed.endpoint, probed.registered_at)


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
