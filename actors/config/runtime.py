"""The whole: services, metrics, registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from .check import Count, FromZero, HeaderText, Host, Origin, Pause, ServerToken, between, is_loopback
from .etcd import EtcdAdvert
from .fallback import AlternativeFallback
from .queue import QueueConfig, QueueFallback
from .record import Record, has, is_a
from .service import ServiceConfig

if TYPE_CHECKING:
    from collections.abc import Iterator


class MetricsConfig(Record, frozen=True, forbid_unknown_fields=True):
    """The metrics actor and its stream."""

    interval: Pause = 1.0
    """Seconds between two snapshots."""
    host: Host = "127.0.0.1"
    """Where the stream listens. Beyond this machine it needs a ``token``, and a proxy before it that adds TLS."""
    port: Annotated[int, between(0, 65535)] = 0
    """0: any free one; see ``runtime.metrics.websocket_url``."""
    websocket: bool = True
    max_subscribers: Count = 100
    token: ServerToken | None = None
    """That subscribers have to give: as ``Authorization: Bearer ...``, or from a browser, which can set no header, as a
    subprotocol beside the stream's own: ``["metrics.v1", "switchgear.token.<token>"]``. Never in the URL, which is
    logged everywhere."""
    allowed_origins: Sequence[Origin] = ()
    """Pages that may read the stream, beside those of its own origin, and those of this machine if it listens there."""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """Beyond loopback, whoever can connect could read."""
        if record.host is not None and not has(record, "token") and not is_loopback(record.host):
            yield "host", "must be this machine (127.0.0.1, ::1 or localhost) unless there is a token: give one"


class RegistryConfig(Record, frozen=True, forbid_unknown_fields=True):
    """The registry actor."""

    check_health: bool = True
    """False switches off all active health checks."""
    advertise: Sequence[EtcdAdvert] = ()
    """Instances of our own, put where others find them."""


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
            if not has(record, "queue") and (problem := queue_problem(service)) is not None:
                yield f"services[{index}].fallbacks", problem
        yield from _alternatives(record.services or ())


def queue_problem(service: Any) -> str | None:
    """Why a service cannot be in a runtime that has no queue, if it cannot."""
    fallbacks = getattr(service, "fallbacks", None) or ()
    if not any(is_a(one, QueueFallback) for one in fallbacks):
        return None
    needed = 'RuntimeConfig(queue=QueueConfig(path="queue.db")), or in a file queue = { path = "queue.db" }'
    return f'a fallback of type "queue" needs a place for its calls: {needed}'


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
