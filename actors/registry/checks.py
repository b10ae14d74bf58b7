"""Active health checks: the registry's background tasks, one for each instance, and the checks on demand.

They are the only ones in the registry that wait for anybody. What they find changes the health of instances here; which
instances there are is the actor's affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from switchgear.runtime.wall import wall_time

from ..events import InstanceHealthChanged
from ..instance import HealthStatus
from ..machines.health import HealthTracker
from .probe import probe, summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear.runtime import Context

    from ..config import HealthCheckConfig, ServiceConfig
    from ..instance import ServiceInstance
    from ..transport import Door
    from .entry import Entry
    from .records import HealthCheckResult


class Checks:
    """The health checks of one life of the registry actor. What they have found is in the entries, which outlive it."""

    def __init__(
        self,
        ctx: Context,
        door: Callable[[ServiceConfig | None], Door],
        judged: Callable[[Entry, str], None],
        *,
        by_themselves: bool,
    ) -> None:
        self._ctx = ctx
        self._judged = judged  # told of the instances whose health has changed
        self._open_door = door
        self._by_themselves = by_themselves
        self._doors: dict[object, Door] = {}

    async def aclose(self) -> None:
        """Close the connections of the checks."""
        for door in self._doors.values():
            await door.aclose()

    # ---- what the actor tells

    def begin(self, entry: Entry) -> None:
        """Check a service from now on, if that is configured."""
        for own in entry.instances:
            self.added(entry, own)

    def added(self, entry: Entry, id: str) -> None:
        """The instance is new."""
        if entry.check is not None and self._by_themselves:
            scope = entry.scopes[id] = trio.CancelScope()
            self._ctx.start_soon(self._for_ever, entry, id, entry.check, scope)

    def end(self, entry: Entry, reason: str) -> None:
        """Stop the tasks that check a service."""
        for scope in entry.scopes.values():
            scope.cancel(reason=reason)
        entry.scopes.clear()

    def configure(self, entry: Entry, check: HealthCheckConfig | None) -> bool:
        """Check it in this way from now on. True if that has changed the health of an instance."""
        if entry.check == check:
            return False
        changed: list[bool] = []
        entry.check = check
        entry.trackers.clear()  # the thresholds are others
        self.end(entry, "the health check has been configured anew")
        if check is None:  # nobody is left to find out that an instance is well again
            why = "it is not checked any more"
            known = list(entry.instances.values())
            changed = [self._set(entry, instance, HealthStatus.UNKNOWN, why) for instance in known]
        self.begin(entry)
        return any(changed)

    def moved(self, entry: Entry, id: str) -> None:
        """The instance has another endpoint: what is asked of the old one needs no answer."""
        self._end_probes(entry, id, "the instance has moved")

    def removed(self, entry: Entry, id: str) -> None:
        """The instance is not there any more."""
        entry.trackers.pop(id, None)
        if id in entry.scopes:
            entry.scopes.pop(id).cancel(reason="the instance is gone")
        self._end_probes(entry, id, "the instance is gone")

    async def check(self, entry: Entry) -> HealthCheckResult:
        """Check all instances of a service now."""
        return summary(entry.service, [] if entry.check is None else await self._all(entry, entry.check))

    # ---- checking

    def _end_probes(self, entry: Entry, id: str, reason: str) -> None:
        for scope in entry.probes.get(id, ()):
            scope.cancel(reason=reason)

    def _door_to(self, entry: Entry) -> Door:
        """The checks have connections of their own, shared by services that are reached the same way."""
        way = None if entry.config is None else entry.config.way
        if way not in self._doors:
            self._doors[way] = self._open_door(entry.config)
        return self._doors[way]

    async def _for_ever(self, entry: Entry, id: str, check: HealthCheckConfig, scope: trio.CancelScope) -> None:
        """One instance, which waits for no other. See `HealthCheckConfig.jitter`."""
        random, interval, jitter = self._ctx.rng.random, check.interval, check.jitter
        with scope:
            await trio.sleep(interval * jitter * random())
            pause = interval * random() if jitter else interval
            while True:
                # From one beginning to the next: an instance that does not answer must not make its checks rarer.
                due = trio.current_time() + pause
                await self._one(entry, entry.instances[id], check, {})
                await trio.sleep_until(due)
                pause = interval * (1.0 + jitter * (2.0 * random() - 1.0))

    async def _all(self, entry: Entry, check: HealthCheckConfig) -> list[HealthCheckResult]:
        """Check all instances concurrently; each outcome counts at once, whoever else lets us wait."""
        results: dict[str, HealthCheckResult] = {}
        instances = list(entry.instances.values())
        async with trio.open_nursery() as nursery:
            for instance in instances:
                nursery.start_soon(self._one, entry, instance, check, results)
        return [results[instance.id] for instance in instances if instance.id in results]

    async def _one(
        self, entry: Entry, instance: ServiceInstance, check: HealthCheckConfig, results: dict[str, HealthCheckResult]
    ) -> None:
        underway = entry.probes.setdefault(instance.id, set())
        with trio.CancelScope() as scope:
            underway.add(scope)
            try:
                result, decisive = await probe(self._door_to(entry), instance, check)
                results[instance.id] = result
            finally:
                underway.discard(scope)
                if not underway and entry.probes.get(instance.id) is underway:
                    del entry.probes[instance.id]
        if scope.cancelled_caught:
            return
        known = entry.instances.get(instance.id)
        # It may have gone, or moved, or be checked in another way by now: then this says nothing of it.
        if entry.check is check and known is not None and _same(known, instance):
            self._observed(entry, known, check, result, decisive=decisive)

    def _observed(
        self,
        entry: Entry,
        known: ServiceInstance,
        check: HealthCheckConfig,
        result: HealthCheckResult,
        *,
        decisive: bool,
    ) -> None:
        if result.status is HealthStatus.UNKNOWN:
            return
        tracker = entry.trackers.get(known.id)
        if tracker is None:
            tracker = HealthTracker(check.healthy_threshold, check.unhealthy_threshold)
            entry.trackers[known.id] = tracker
        healthy = result.status is HealthStatus.HEALTHY
        tracker.observe(healthy, trio.current_time(), decisive=decisive)
        if healthy:
            known = entry.instances[known.id] = msgspec.structs.replace(known, last_seen=wall_time())
        if self._set(entry, known, tracker.status, result.detail):
            self._judged(entry, known.id)

    def _set(self, entry: Entry, known: ServiceInstance, health: HealthStatus, detail: str) -> bool:
        if health is known.health:
            return False
        entry.instances[known.id] = msgspec.structs.replace(known, health=health)
        event = InstanceHealthChanged(
            path=self._ctx.path, service=known.name, instance=known.id, health=health.value, detail=detail
        )
        self._ctx.emit(event)
        return True


def _same(known: ServiceInstance, probed: ServiceInstance) -> bool:
    return all(getattr(known, key) == getattr(probed, key) for key in ("endpoint", "address", "registered_at"))
