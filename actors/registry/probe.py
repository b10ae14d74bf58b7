"""One health check: a request or a connection to one instance, with a deadline; and what those of all add up to."""

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

HEALTHY, UNHEALTHY, UNKNOWN = HealthStatus.HEALTHY, HealthStatus.UNHEALTHY, HealthStatus.UNKNOWN

_HEADERS = (("User-Agent", "switchgear health check"), ("Accept", "*/*"))
_MAX_BYTES = 65_536  # of a health answer; more than that is not healthy


async def probe(door: Door, instance: ServiceInstance, check: HealthCheckConfig) -> tuple[HealthCheckResult, bool]:
    """Ask one instance how it is. Never raises for what the instance does.

    Returns:
        What it said, and whether that is decisive: a status of ``unhealthy_statuses``.
    """
    begun = trio.current_time()
    status, detail, decisive = UNHEALTHY, f"no answer within {check.timeout:g} s", False
    with trio.CancelScope(deadline=begun + check.timeout):
        try:
            ask = _connect if check.kind == "tcp" else _get
            status, detail, decisive = await ask(door, Target.of(instance), check)
        except ServiceError as error:
            detail = error.message
    now = trio.current_time()
    result = HealthCheckResult(instance.name, status, instance=instance.id, latency=now - begun, detail=detail, at=now)
    return result, decisive


async def _connect(door: Door, target: Target, _check: HealthCheckConfig) -> tuple[HealthStatus, str, bool]:
    if await door.reach(target):
        return HEALTHY, "connected", False
    return UNKNOWN, "the transport that was passed in makes no connections", False


async def _get(door: Door, target: Target, check: HealthCheckConfig) -> tuple[HealthStatus, str, bool]:
    wire = Wire("GET", check.path, _HEADERS, replayable=True)
    reply = await door.exchange(target, wire, connect=check.timeout, max_bytes=_MAX_BYTES)
    seen = f"status {reply.status}"
    if check.unhealthy_statuses and {reply.status, f"{reply.status // 100}xx"} & set(check.unhealthy_statuses):
        return UNHEALTHY, seen, True
    return HEALTHY if check.statuses[0] <= reply.status <= check.statuses[1] else UNHEALTHY, seen, False


def summary(service: str, results: Sequence[HealthCheckResult]) -> HealthCheckResult:
    """The results of all instances as one: healthy if any of them is, unknown if there are none."""
    now = trio.current_time()
    if not results:
        return HealthCheckResult(service, UNKNOWN, detail="nothing to check", at=now)
    healthy = sum(one.status is HEALTHY for one in results)
    checked = any(one.status is not UNKNOWN for one in results)
    return HealthCheckResult(
        service,
        HEALTHY if healthy else UNHEALTHY if checked else UNKNOWN,
        latency=max(one.latency for one in results),
        detail=f"{healthy} of {len(results)} instances are healthy",
        at=now,
        instances=tuple(results),
    )
