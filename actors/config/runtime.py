"""The whole: services, metrics, registry."""

from __future__ import annotations

import msgspec

from ..errors import ConfigError
from .check import at_least, between, finite, positive
from .fallback import AlternativeFallback
from .service import ServiceConfig


class MetricsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The metrics actor and its stream."""

    interval: float = 1.0
    """Seconds between two snapshots."""
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free one; see ``runtime.metrics.websocket_url``."""
    websocket: bool = True
    max_subscribers: int = 100

    def __post_init__(self) -> None:
        positive("interval", self.interval)
        between("port", self.port, 0, 65535)
        at_least("max_subscribers", self.max_subscribers, 1)


class RegistryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The registry actor."""

    check_health: bool = True
    """False switches off all active health checks."""


class RuntimeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole runtime."""

    services: tuple[ServiceConfig, ...] = ()
    metrics: MetricsConfig = MetricsConfig()
    registry: RegistryConfig = RegistryConfig()
    app_name: str = "app"
    """Who we are in ``User-Agent``."""
    app_version: str = "0"
    grace: float = 5.0
    """Seconds that each actor gets to stop by itself."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "services", tuple(self.services))
        finite("grace", self.grace)
        names: set[str] = set()
        for index, service in enumerate(self.services):
            if service.name in names:
                raise ConfigError(f"services[{index}].name: there is a service {service.name!r} already")
            names.add(service.name)
        for problem in alternatives(self.services):
            raise ConfigError(problem)


def alternatives(services: tuple[ServiceConfig, ...]) -> list[str]:
    """What is wrong with the alternatives of these services: unknown names, and loops that would never end."""
    leads = {
        service.name: [one.service for one in service.fallbacks if isinstance(one, AlternativeFallback)]
        for service in services
    }
    problems = []
    for index, service in enumerate(services):
        for other in leads[service.name]:
            if other not in leads:
                problems.append(f"services[{index}].fallbacks: the alternative {other!r} is no service; known: {sorted(leads)}")
        if _leads_to(service.name, service.name, leads, set()):
            problems.append(f"services[{index}].fallbacks: the alternatives lead back to {service.name!r}: break the loop")
    return problems


def _leads_to(start: str, goal: str, leads: dict[str, list[str]], seen: set[str]) -> bool:
    for other in leads.get(start, []):
        if other == goal:
            return True
        if other not in seen:
            seen.add(other)
            if _leads_to(other, goal, leads, seen):
                return True
    return False
