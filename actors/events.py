"""Events of the domain, on the same stream as the kernel's (`switchgear.runtime.events`)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from switchgear.runtime import Event

if TYPE_CHECKING:
    from .machines.breaker import BreakerState, CircuitBreaker


class BreakerChanged(Event, frozen=True, kw_only=True, tag=True):
    """A circuit breaker went from one state to another, for this ``reason`` and with these figures."""

    service: str
    old: str
    new: str
    reason: str
    calls: int = 0
    """In its window; 0 where only failures are counted."""
    failures: int = 0
    """Of those."""
    slow: int = 0
    """Of those, the slow ones."""
    trips: int = 0
    """Openings, without a stable time between them."""
    open_for: float | None = None
    """Seconds that it stays open, if it has opened."""
    scope: str = ""
    """The instance or operation that it is for; empty if it is for the whole service."""


def breaker_changed(
    breaker: CircuitBreaker, change: tuple[BreakerState, BreakerState, str], *, path: str, service: str, scope: str
) -> BreakerChanged:
    """What is told of a breaker that has just changed: from which state to which, and why."""
    (old, new, reason), (counts, trips, open_for) = change, breaker.figures
    return BreakerChanged(
        path=path,
        service=service,
        scope=scope,
        old=old.value,
        new=new.value,
        reason=reason,
        trips=trips,
        open_for=open_for,
        **counts._asdict(),
    )


class CallsPaused(Event, frozen=True, kw_only=True, tag=True):
    """A service wants no calls for so many ``seconds``, and gets none."""

    service: str
    seconds: float
    reason: str


class RateChanged(Event, frozen=True, kw_only=True, tag=True):
    """So many calls a second a service takes, as its refusals have taught; None: as many as are configured."""

    service: str
    rate: float | None
    reason: str


class TokenRefreshed(Event, frozen=True, kw_only=True, tag=True):
    """New credentials for a service have been fetched, for this ``reason``."""

    level = logging.DEBUG
    service: str
    generation: int
    """How many there have been since the service was started, or somebody else to us."""
    expires_in: float | None
    """Seconds; None if nobody knows."""
    reason: str


class TokenRefreshFailed(Event, frozen=True, kw_only=True, tag=True):
    """No new credentials for a service could be fetched, for this ``reason``."""

    level = logging.WARNING
    service: str
    generation: int
    """Of those that are used meanwhile; 0 if there are none, and calls fail."""
    reason: str


class ConcurrencyChanged(Event, frozen=True, kw_only=True, tag=True):
    """So many calls at once a service is given, as its answers have taught: a quarter more or less than before."""

    service: str
    old: int
    new: int
    reason: str


class ItemQueued(Event, frozen=True, kw_only=True, tag=True):
    """A call is in the queue, and its caller is told so."""

    level = logging.DEBUG
    service: str
    id: int
    request_id: str


class ItemDelivered(Event, frozen=True, kw_only=True, tag=True):
    """The service has taken a queued call."""

    level = logging.DEBUG
    service: str
    id: int
    request_id: str


class ItemDead(Event, frozen=True, kw_only=True, tag=True):
    """A queued call was given up: a dead letter, which stays until it is retried or dropped."""

    level = logging.WARNING
    service: str
    id: int
    error: str


class QueueFailed(Event, frozen=True, kw_only=True, tag=True):
    """The queue's file cannot be used: nothing is queued meanwhile, and nothing that is in it is lost by that."""

    level = logging.ERROR
    error: str


class InstanceRegistered(Event, frozen=True, kw_only=True, tag=True):
    """The registry has learned of an instance."""

    service: str
    instance: str


class InstanceDeregistered(Event, frozen=True, kw_only=True, tag=True):
    """The registry has been told that an instance is gone."""

    service: str
    instance: str


class InstanceHealthChanged(Event, frozen=True, kw_only=True, tag=True):
    """Health checks have changed their mind about an instance."""

    service: str
    instance: str
    health: str
    detail: str


class SourceDown(Event, frozen=True, kw_only=True, tag=True):
    """A source of instances cannot say which there are: what it said last stays, ``instances`` of them."""

    level = logging.WARNING
    service: str
    source: str
    error: str
    instances: int


class SourceRecovered(Event, frozen=True, kw_only=True, tag=True):
    """It can again."""

    service: str
    source: str
    instances: int


class AdvertMade(Event, frozen=True, kw_only=True, tag=True):
    """An instance of our own stands where others look for it."""

    key: str


class AdvertFailed(Event, frozen=True, kw_only=True, tag=True):
    """It cannot be kept there at present, which is tried again; or not be taken back at the end."""

    level = logging.WARNING
    key: str
    error: str


class LeaseExpired(Event, frozen=True, kw_only=True, tag=True):
    """An instance was registered for a time, and has not been heard of in that time."""

    service: str
    instance: str


class SelfPreservation(Event, frozen=True, kw_only=True, tag=True):
    """Most leases have lapsed at once, so the registry suspects its own ears and keeps them; or it does so no more."""

    level = logging.WARNING
    active: bool
    doubted: int
    """Leases that have lapsed and are kept."""
    leases: int


class VersionsUnreadable(Event, frozen=True, kw_only=True, tag=True):
    """A range of versions was asked for, and these instances are left out: they have none that can be compared."""

    level = logging.WARNING
    service: str
    instances: tuple[str, ...]


class InstanceEjected(Event, frozen=True, kw_only=True, tag=True):
    """An instance gets no calls for so many ``seconds``, for how its calls ended; after them, one call as a trial."""

    level = logging.WARNING
    service: str
    instance: str
    reason: str
    seconds: float
    calls: int
    """In the interval (`OutlierConfig`)."""
    failures: int
    """Of those."""
    ejections: int
    """This one and those before it, less one for each interval that it has been well since."""


class InstanceReturned(Event, frozen=True, kw_only=True, tag=True):
    """An instance that was ejected gets calls again."""

    service: str
    instance: str
    reason: str


class PanicEntered(Event, frozen=True, kw_only=True, tag=True):
    """So few instances of a service are healthy that all of them get calls, whatever their checks say."""

    level = logging.WARNING
    service: str
    healthy: int
    instances: int


class PanicLeft(Event, frozen=True, kw_only=True, tag=True):
    """Enough are healthy again: only those get calls."""

    service: str
    healthy: int
    instances: int
