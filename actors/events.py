"""Events of the domain, on the same stream as the kernel's (`switchgear.runtime.events`)."""

from __future__ import annotations

from switchgear.runtime import Event


class BreakerChanged(Event, frozen=True, kw_only=True, tag=True):
    """A circuit breaker went from one state to another."""

    service: str
    old: str
    new: str
    reason: str
