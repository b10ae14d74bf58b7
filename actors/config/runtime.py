"""The whole: services, metrics, registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from .check import Count, FromZero, HeaderText, LocalHost, Pause, between
from .fallback import AlternativeFallback
from .queue import QueueConfig, QueueFallback
from .record import Record, is_a
from .service import ServiceConfig

if TYPE_CHECKING:
    from collections.abc import Iterator


class MetricsConfig(Record, frozen=True, forbid_unknown_fields=True):
    """The metrics actor and its stream."""

    interval: Pause = 1.0
    """Seconds between two snapshots."""
    host: LocalHost = "127.0.0.1"
    port: Annotated[int, between(0, 65535)] = 0
    """0: any free one; see ``runtime.metrics.websocket_url``."""
    websocket: bool = True
    max_subscribers: Count = 100


class RegistryConfig(Record, frozen=True, forbid_unknown_fields=True):
    """The registry actor."""

    check_health: bool = True
    """False switches off all active health checks."""


class RuntimeConfig(Record, frozen=True, forbid_unknown_fields=True):
    """A whole runtime."""

    services: Sequence[ServiceConfig] = ()
    metrics: MetricsConfig = MetricsConfig()
    registry: RegistryConfig = RegistryConfig()
    queue: QueueConfig | None = None
    """Where calls are kept that a `QueueFallback` queues."""
    app_name: HeaderText = "app"
    """Who we are in ``User-Agent``."""
    app_version: HeaderText = "0"
    grace: FromZero = 5.0
    """Seconds that each actor gets to stop by itself."""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """Each name once, and alternatives that lead somewhere."""
        names = set()
        for index, service in enumerate(record.services or ()):
            name = getattr(service, "name", None)
            if name is not None and name in names:
                yield f"services[{index}].name", f"there is a service {name!r} already"
            names.add(name)
            if record.queue is None and (problem := queue_problem(service)) is not None:
                yield f"services[{index}].fallbacks", problem
        yield from _alternatives(record.services or ())


def queue_problem(service: Any) -> str | None:
    """Why a service cannot be in a runtime that has no queue, if it cannot."""
    fallbacks = getattr(service, "fallbacks", None) or ()
    if not any(is_a(one, QueueFallback) for one in fallbacks):
        return None
    return 'a fallback of type "queue" needs a place for its calls: RuntimeConfig(queue=QueueConfig(path="queue.db"))'


def alternatives(services: Sequence[ServiceConfig]) -> list[str]:
    """What is wrong with the alternatives of these services: unknown names, and loops that would never end."""
    return [f"{key}: {reason}" for key, reason in _alternatives(services)]


def _alternatives(services: Sequence[Any]) -> Iterator[tuple[str, str]]:
    ways = [(getattr(service, "name", None), _targets(service)) for service in services]
    leads: dict[str, list[str]] = {}
    for name, targets in ways:
        if name is not None:
            leads.setdefault(name, []).extend(targets)
    for index, (name, targets) in enumerate(ways):
        key = f"services[{index}].fallbacks"
        for other in targets:
            if other not in leads:
                yield key, f"the alternative {other!r} is no service; known: {', '.join(sorted(leads)) or 'none'}"
        if name is not None and targets and _leads_back(name, leads):
            yield key, f"the alternatives lead back to {name!r}: break the loop"


def _targets(service: Any) -> list[str]:
    """The alternatives of a service, as far as they are sound."""
    fallbacks = getattr(service, "fallbacks", None) or ()
    return [one.service for one in fallbacks if is_a(one, AlternativeFallback) and one.service is not None]


def _leads_back(start: str, leads: dict[str, list[str]]) -> bool:
    """A stack and no recursion: a chain may be longer than Python's."""
    seen: set[str] = set()
    todo = list(leads.get(start, []))
    while todo:
        name = todo.pop()
        if name == start:
            return True
        if name not in seen:
            seen.add(name)
            todo += leads.get(name, [])
    return False
