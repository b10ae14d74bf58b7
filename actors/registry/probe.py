"""One health check: an HTTP request to one instance, with a deadline; and what those of all instances add up to."""

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
    wire = Wire("GET", check.path, (("User-Agent", "switchgear health check"), ("Accept", "*/*")), replayable=True)
    healthy, detail = False, f"no answer within {check.timeout:g} s"
    with trio.CancelScope(deadline=begun + check.timeout):
        try:
            target = Target.of(instance)
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


def summary(service: str, results: Sequence[HealthCheckResult]) -> HealthCheckResult:
    """The results of all instances as one: healthy if any of them is, unknown if there are none."""
    now = trio.current_time()
    if not results:
        return HealthCheckResult(service, HealthStatus.UNKNOWN, detail="nothing to check", at=now)
    healthy = sum(one.status is HealthStatus.HEALTHY for one in results)
    return HealthCheckResult(
        service,
        HealthStatus.HEALTHY if healthy else HealthStatus.UNHEALTHY,
        latency=max(one.latency for one in results),
        detail=f"{healthy} of {len(results)} instances are healthy",
        at=now,
        instances=tuple(results),
    )
