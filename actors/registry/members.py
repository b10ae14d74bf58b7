"""Which instances a service has: what those who name them say, put together, and told to everybody when it changes.

Synchronous throughout. Each method returns whether it has changed anything; publishing that is the actor's affair, once
for each message, so that nobody sees half of a change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio

from switchgear.runtime.wall import wall_time

from ..config.tls import unverified_problem
from ..events import InstanceDeregistered, InstanceRegistered, SourceDown, SourceRecovered
from ..instance import HealthStatus, ServiceInstance
from ..machines.fate import FATES, Fate
from .entry import Holder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from switchgear.runtime import Context

    from ..config import InstanceConfig, ServiceConfig
    from .checks import Checks
    from .entry import Entry
    from .records import Sourced


class Members:
    """For one life of the registry actor. What it knows is in the entries, which outlive it."""

    def __init__(self, ctx: Context, checks: Checks) -> None:
        self._ctx = ctx
        self._checks = checks

    def configure(self, entry: Entry, config: ServiceConfig) -> bool:
        """The service's configuration is this now."""
        entry.config = config
        before = set(entry.static.instances)
        entry.static.instances = {one.id: one for one in _static(config)}
        old = entry.sourced
        entry.sourced = {one.name: old.get(one.name) or Holder() for one in config.sources}
        for name in old.keys() - entry.sourced.keys():
            before |= old[name].instances.keys()
        # Sorted: the order of events must not hang on how Python hashes strings today.
        gone = sorted(before - entry.static.instances.keys())
        changed = self._settle_all(entry, (*gone, *entry.static.instances), asked=True)
        if list(entry.sourced) != list(old):  # another is believed now, perhaps
            changed |= self._settle_all(entry, list(entry.instances))
        if self._checks.configure(entry, config.health_check):
            self._settle_all(entry, list(entry.instances))  # what was kept for its health may have none any more
            changed = True
        return changed

    def forget(self, entry: Entry) -> None:
        """The service is gone."""
        for instance in list(entry.instances):
            self._remove(entry, instance)

    def register(self, entry: Entry, instance: ServiceInstance) -> bool:
        """The program says that there is an instance."""
        entry.registered.instances[instance.id] = instance
        if instance.id in entry.instances:
            self.seen(entry, instance.id)  # which is no change: who registers as a heartbeat wakes nobody
        return self.settle(entry, instance.id)

    def deregister(self, entry: Entry, id: str) -> bool:
        """The program says that there is none, whatever the configuration says. A source that names it still counts."""
        own = [holder.instances.pop(id, None) for holder in (entry.registered, entry.static)]
        known = entry.instances.get(id)
        if known is None or (known.sources and own == [None, None]):
            return False
        self.settle(entry, id, asked=True)
        return True

    def lapse(self, entry: Entry, id: str) -> bool:
        """The program has not been heard to say so in time. What the configuration or a source says still counts."""
        del entry.registered.instances[id]
        return self.settle(entry, id, asked=True)

    def seen(self, entry: Entry, id: str) -> None:
        """It has been heard of."""
        entry.instances[id] = msgspec.structs.replace(entry.instances[id], last_seen=wall_time())

    # ---- sources

    def sourced(self, entry: Entry, message: Sourced) -> bool:
        """A source says which instances there are, or (None) that they are still the same."""
        holder, said = entry.sourced.get(message.source), message.instances
        if holder is None or entry.config is None:
            return False  # it has been taken out of the configuration
        holder.at = trio.current_time()
        changed = False
        if said is not None:
            holder.fault = message.problem
            sound = [one for one in said if unverified_problem(entry.config.tls, one.endpoint) is None]
            if len(sound) < len(said):
                fault = f"{len(said) - len(sound)} of {len(said)} instances are left out: tls.verify = false is only"
                holder.fault = f"{fault} for services on this machine"
            changed = self._replace(entry, holder, _instances(entry.config, sound))
        self._told(entry, message.source, holder, holder.fault)
        return changed

    def failed(self, entry: Entry, source: str, reason: str) -> None:
        """A source cannot say which there are: then it is those that it named last."""
        holder = entry.sourced.get(source)
        if holder is not None:
            self._told(entry, source, holder, reason)

    def _replace(self, entry: Entry, holder: Holder, said: Iterable[ServiceInstance]) -> bool:
        before = holder.instances
        now: dict[str, ServiceInstance] = {}
        for one in said:
            now.setdefault(one.id, one)  # of two with one id, the first
        holder.instances = now
        changed = [own for own in before if own not in now] + [
            own for own, one in now.items() if before.get(own) != one
        ]
        return self._settle_all(entry, changed)

    def _told(self, entry: Entry, source: str, holder: Holder, error: str | None) -> None:
        before, holder.error = holder.error, error
        path, service, number = self._ctx.path, entry.service, len(holder.instances)
        if before is None and error is not None:
            self._ctx.emit(SourceDown(path=path, service=service, source=source, error=error, instances=number))
        elif before is not None and error is None:
            self._ctx.emit(SourceRecovered(path=path, service=service, source=source, instances=number))

    # ---- what comes of it

    def _settle_all(self, entry: Entry, ids: Iterable[str], *, asked: bool = False) -> bool:
        changed = [self.settle(entry, own, asked=asked) for own in ids]
        return any(changed)

    def settle(self, entry: Entry, id: str, *, asked: bool = False) -> bool:
        """Put together what is said of an instance. ``asked``: somebody wants it gone, however healthy it is."""
        said, names = entry.named(id)
        known = entry.instances.get(id)
        if said is not None:
            return self._put(entry, known, said, names)
        if known is None:
            return False
        if asked or FATES[False, known.health] is Fate.DELETE:
            self._remove(entry, id)
            return True
        entry.instances[id] = msgspec.structs.replace(known, sources=())
        return known.sources != ()

    def _put(self, entry: Entry, known: ServiceInstance | None, said: ServiceInstance, names: tuple[str, ...]) -> bool:
        if known is None:
            now = wall_time()
            put = msgspec.structs.replace(
                said, health=HealthStatus.UNKNOWN, registered_at=now, last_seen=now, sources=names
            )
        else:  # what was learned of it stays
            put = msgspec.structs.replace(
                said, health=known.health, registered_at=known.registered_at, last_seen=known.last_seen, sources=names
            )
        entry.instances[said.id] = put
        if known is None:
            self._emit(InstanceRegistered, put)
            self._checks.added(entry, said.id)
        elif (known.endpoint, known.address) != (said.endpoint, said.address):
            self._checks.moved(entry, said.id)
        return put != known

    def _remove(self, entry: Entry, id: str) -> None:
        self._checks.removed(entry, id)
        self._emit(InstanceDeregistered, entry.instances.pop(id))

    def _emit(self, kind: Any, instance: ServiceInstance) -> None:
        self._ctx.emit(kind(path=self._ctx.path, service=instance.name, instance=instance.id))


def _static(config: ServiceConfig) -> list[ServiceInstance]:
    """The instances that a configuration names."""
    if config.base_url is not None:
        return [ServiceInstance(config.base_url, config.name, config.version, config.base_url)]
    return _instances(config, config.instances)


def _instances(config: ServiceConfig, said: Sequence[InstanceConfig]) -> list[ServiceInstance]:
    return [
        ServiceInstance(
            one.own_id,
            config.name,
            one.version or config.version,
            one.endpoint,
            metadata=one.metadata,
            weight=one.weight,
            address=one.address,
        )
        for one in said
    ]
