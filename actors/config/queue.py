"""Where calls are kept that are queued for retry, and which calls, for how long."""

from __future__ import annotations

from typing import Annotated, ClassVar

from .check import Count, Positive, between, shown
from .condition import Conditional
from .record import Record

_DAY = 86_400.0


def _file(value: str) -> str | None:
    if value.strip() and value.isprintable():
        return None
    return f"must be the path of a file (which is made if there is none), not {shown(value)}"


class QueueConfig(Record, frozen=True, forbid_unknown_fields=True):
    """The queue of a runtime. Nothing runs for it, and nothing is written, unless it is configured."""

    path: Annotated[str, _file]
    """Of an SQLite file, for this process alone: it is locked. It is made if there is none, with mode 0600; its folder
    has to be there. (A relative path begins at the working directory.) The bodies of calls are in it as they are.
    ``":memory:"`` keeps nothing beyond the process: for tests, where it follows a mock clock as no disk does."""


class QueueFallback(Conditional, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="queue"):
    """The call is kept on disk, and made again when the service takes calls again.

    The caller is told ``source="queued"``, with ``data`` None, once it is safe there. What was queued is delivered at
    least once, in the order of its queueing, with the same ``Idempotency-Key``.
    """

    kind: ClassVar[str] = "queue"

    max_attempts: Count = 20
    """So many attempts that the service may have worked on make a dead letter. What did not reach it (an open breaker,
    no connection, 503, 429, a refusal of our credentials) is no attempt: an outage is not the call's fault."""
    base_delay: Annotated[float, between(0.001, _DAY)] = 1.0
    """Seconds before the first attempt, and after it; doubled with each that fails."""
    max_delay: Annotated[float, between(0.001, _DAY)] = 300.0
    """Seconds; no wait is longer, unless the service says so. Waits are jittered by half, and end when the breaker
    closes."""
    max_age: Positive = _DAY
    """Seconds after which a call that has not been delivered becomes a dead letter."""
    max_items: Count = 10_000
    """Of this service, dead letters included. A call that finds no room is not queued."""
    max_bytes: Count = 100_000_000
    """Of their bodies, paths and headers, together."""
    concurrency: Count = 1
    """So many calls of this service are tried at once. Each keeps its place until it is delivered or given up, so
    with 1 the order is kept, whatever happens; with more, only about."""
