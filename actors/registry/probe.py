"""Active health checks: one HTTP request to each instance, all at once, each with its own deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..errors import ServiceError
from ..instance import HealthStatus
from ..service.target import Target
from ..transport import Wire
from .records import HealthCheckResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import HealthCheckConfig
    from ..instance import ServiceInstance
    from ..transport import Door

_MAX_BYTES = 65_536  # of a health answer; more than that is not healthy


async def probe(door: Door, instance: ServiceInstance, check: HealthCheckConfig) -> HealthCheckResult:
    """Ask one instance how it is. Never raises for what the instance does."""
    begun = trio.current_time()
    wire = Wire("GET", check.path, (("User-Agent", "switchgear health check"), ("Accept", "*/*")), b"")
    healthy, detail = False, f"no answer within {check.timeout:g} s"
    with trio.CancelScope(deadline=begun + check.timeout):
        try:
            target = Target.parse(instance.endpoint)
            reply = await door.exchange(target, wire, connect=check.timeout, max_bytes=_MAX_BYTES)
        except ServiceError as error:
            detail = error.message
        else:
            healthy = check.statuses[0] <= reply.status <= check.statuses[1]
            detail = f"status {reply.status}"
    now = trio.current_time()
    return HealthCheckResult(
        service=instance.name,
        status=HealthStatus.HEALTHY if healthy else HealthStatus.UNHEALTHY,
        instance=instance.id,
        latency=now - begun,
        detail=detail,
        at=now,
    )


async def probe_all(
    door: Door, instances: Sequence[ServiceInstance], check: HealthCheckConfig
) -> list[HealthCheckResult]:
    """Check all of them concurrently; the results are in the order of the instances."""
    results: dict[str, HealthCheckResult] = {}

    async def one(instance: ServiceInstance) -> None:
        results[instance.id] = await probe(door, instance, check)

    async with trio.open_nursery() as nursery:
        for instance in instances:
            nursery.start_soon(one, instance)
    return [results[instance.id] for instance in instances]
