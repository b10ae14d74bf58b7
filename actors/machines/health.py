"""Rise and fall: how many checks in a row it takes to believe that an instance has changed. Pure."""

from __future__ import annotations

from ..instance import HealthStatus


class HealthTracker:
    """The health of one instance, from its checks.

    The first check decides by itself; after that ``rise`` successes in a row bring an unhealthy instance back, and
    ``fall`` failures in a row take a healthy one out, or a single one that is decisive. (HAProxy's rise and fall;
    Envoy's healthy_threshold at start, and its statuses that are unhealthy at once.)
    """

    __slots__ = ("_fall", "_rise", "_streak", "since", "status")

    def __init__(self, rise: int, fall: int) -> None:
        self.status = HealthStatus.UNKNOWN
        self.since: float | None = None
        """When the status was last changed."""
        self._rise = rise
        self._fall = fall
        self._streak = 0  # of checks that contradict the status

    def observe(self, ok: bool, now: float, *, decisive: bool = False) -> bool:
        """Take the outcome of a check; True if the status has changed. A decisive one needs no others beside it."""
        seen = HealthStatus.HEALTHY if ok else HealthStatus.UNHEALTHY
        if seen is self.status:
            self._streak = 0
            return False
        self._streak += 1
        needed = 1 if decisive or self.status is HealthStatus.UNKNOWN else self._rise if ok else self._fall
        if self._streak < needed:
            return False
        self.status, self.since, self._streak = seen, now, 0
        return True
