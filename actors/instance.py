"""One instance of a service, as the registry knows it."""

from __future__ import annotations

import enum

import msgspec


class HealthStatus(enum.StrEnum):
    """What the health checks say. UNKNOWN: nothing yet; such an instance is used."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class ServiceInstance(msgspec.Struct, frozen=True):
    """One instance: where it is and how it is."""

    id: str
    """Unique in its service."""
    name: str
    """Of the service."""
    version: str = ""
    endpoint: str = ""
    """Its base URL."""
    health: HealthStatus = HealthStatus.UNKNOWN
    metadata: dict[str, str] = {}
    registered_at: float = 0.0
    """Seconds since the epoch."""
    last_seen: float = 0.0
    """Seconds since the epoch: of its registration, or its last successful health check."""
    weight: float = 1.0
    """Its share of the calls; 0 takes it out."""
    address: str = ""
    """The IP address to connect to, where it is known: the host of ``endpoint`` is not looked up then. ``Host`` and the
    certificate stay the endpoint's. (Proxies look names up themselves, and so does what is given as ``transport=``.)"""
    sources: tuple[str, ...] = ()
    """Who says that it is there, the one that is believed about it first: ``registered``, ``static``, names of sources.
    Empty: nobody any more, but it is kept for as long as it passes its health checks."""
