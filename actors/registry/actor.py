"""The registry actor: the truth about which instances there are and how they are.

State changes synchronously, so several messages may be in hand and none meets another's half. What has changed is
published as an immutable `InstanceSet` through a watch, so reading it costs nobody a round trip. Which instances there
are is put together in `members.py`; only a health check on demand waits for anybody (`checks.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from switchgear.runtime import Actor

from ..machines.leases import Leases
from .checks import Checks
from .entry import Entry
from .leasing import Leasing
from .members import Members
from .records import (
    Check,
    Configure,
    CountLeases,
    Deregister,
    Forget,
    Found,
    HealthCheckResult,
    Heartbeat,
    Look,
    Register,
    Sourced,
    SourceFailed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear.runtime import Context

    from ..config import ServiceConfig
    from ..instance import ServiceInstance
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
        self._leases: Leases[tuple[str, str]] = Leases()

    async def setup(self, ctx: Context) -> None:
        """Go on from the last life, checks included."""
        self._ctx = ctx
        self._checks = Checks(ctx, self._open_door, self._judged, by_themselves=self._check_health)
        self._members = Members(ctx, self._checks)
        if isinstance(ctx.previous, tuple):
            self._entries, self._leases = ctx.previous
        self._leasing = Leasing(ctx, self._leases, self._lapsed)
        for entry in self._entries.values():
            self._checks.begin(entry)

    def snapshot(self) -> object:
        """All of it: services hold on to the watches."""
        return self._entries, self._leases

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
            case Heartbeat(service, id):
                return self._heartbeat(service, id)
            case Register(instance, ttl):
                return self._register(instance, ttl)
            case Deregister(service, id):
                return self._deregister(service, id)
            case CountLeases():
                return self._leasing.counts()
            case Sourced(service):
                self._sourced(service, message)
            case SourceFailed(service, source, reason):
                self._failed(service, source, reason)
            case Configure(config):
                return self._configure(config)
            case Forget(service):
                return self._forget(service)
            case _:
                raise TypeError(f"the registry does not understand {type(message).__name__}")
        return None

    # ---- what the messages do

    async def _check(self, service: str) -> HealthCheckResult | None:
        entry = self._entries.get(service)
        return None if entry is None else await self._checks.check(entry)

    def _configure(self, config: ServiceConfig) -> Found:
        entry = self._entries.setdefault(config.name, Entry(config.name))
        if self._members.configure(entry, config):  # another rate limit, say, is nothing to those who watch
            entry.publish()
        return entry.found()

    def _forget(self, service: str) -> bool:
        entry = self._entries.pop(service, None)
        if entry is None:
            return False
        self._checks.end(entry, "the service is gone")
        self._leasing.drop(service, entry.registered.instances)
        self._members.forget(entry)
        entry.publish(gone=True)
        return True

    def _register(self, instance: ServiceInstance, ttl: float | None) -> ServiceInstance | None:
        entry = self._entries.get(instance.name)
        if entry is None:
            return None
        self._leasing.grant(instance.name, instance.id, ttl)
        if self._members.register(entry, instance):
            entry.publish()
        return entry.instances[instance.id]

    def _deregister(self, service: str, id: str) -> bool:
        entry = self._entries.get(service)
        self._leasing.drop(service, (id,))
        if entry is None or not self._members.deregister(entry, id):
            return False
        entry.publish()
        return True

    def _heartbeat(self, service: str, id: str) -> bool:
        known = self._leasing.renew(service, id)
        if known:
            self._members.seen(self._entries[service], id)
        return known

    def _lapsed(self, service: str, id: str) -> None:
        """Its lease is at an end: the program's word for it counts no more."""
        entry = self._entries[service]
        if self._members.lapse(entry, id):
            entry.publish()

    def _sourced(self, service: str, said: Sourced) -> None:
        entry = self._entries.get(service)
        if entry is not None and self._members.sourced(entry, said):
            entry.publish()

    def _failed(self, service: str, source: str, reason: str) -> None:
        entry = self._entries.get(service)
        if entry is not None:
            self._members.failed(entry, source, reason)

    def _judged(self, entry: Entry, id: str) -> None:
        """The health of an instance has changed: that may be the end of one that nobody names any more."""
        if not entry.instances[id].sources:
            self._members.settle(entry, id)
        entry.publish()
