"""What is kept of a queued call, what the store is told to change, and what users see of it.

Times in these records are wall time (seconds since the epoch): they outlive the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import msgspec

from ..secrecy.masked import Masked, shown_body, shown_names, shown_target


class Call(Masked, msgspec.Struct, frozen=True):
    """A call as it is kept: all that is needed to make it again, and no credentials (they are added on the road)."""

    service: str
    request_id: str
    method: str
    target: str
    """Path and query."""
    headers: tuple[tuple[str, str], ...]
    body: bytes
    idempotency_key: str | None
    affinity: str | None
    weight: float
    queued_at: float

    @property
    def size(self) -> int:
        """Bytes that it is counted as: what the caller decides the length of."""
        return len(self.body) + len(self.target) + sum(len(name) + len(value) for name, value in self.headers)

    def told(self) -> Iterator[tuple[str, Any]]:
        """See `Masked`."""
        yield "service", self.service
        yield "request_id", self.request_id
        yield "method", self.method
        yield "target", shown_target(self.target)
        yield "headers", shown_names(self.headers)
        yield "body", shown_body(self.body)


class Entry(msgspec.Struct):
    """What is remembered of a call that waits; the rest of it stays on disk."""

    id: int
    service: str
    size: int
    since: float
    """Its age is counted from here: when it was queued, or made ready again."""
    due: float
    """Not tried before."""
    attempts: int = 0
    """That the service may have worked on, the one under way included."""
    tries: int = 0
    """All of them, since it was read or the breaker closed: what the next wait grows with."""
    leased: bool = False
    """It is being tried, or what came of that is being written."""


class Contents(msgspec.Struct, frozen=True):
    """What a store holds when it is opened."""

    waiting: list[Entry]
    """By id."""
    dead: dict[str, tuple[int, int]]
    """For each service, how many dead letters there are and how many bytes they have."""


class QueuedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call in the queue, as `Queue.list` shows it. (Headers and body stay where they are.)"""

    id: int
    """Grows with each call; never used twice."""
    service: str
    request_id: str
    """As in the response that said "queued"."""
    method: str
    path: str
    """With its query."""
    state: Literal["ready", "leased", "dead"]
    """It waits; it is being tried; or it was given up, and stays until you retry or drop it."""
    attempts: int
    """That the service may have worked on. Refusals of our own guards, or to connect, are none."""
    queued_at: float
    """Seconds since the epoch; so are the other times."""
    due: float | None
    """When it is tried again at the earliest (if the breaker lets it), or its lease ends; None of a dead letter."""
    error: str | None
    """What the last attempt ended of, or why it is dead."""
    idempotency_key: str | None
    size: int
    """Bytes."""


# ---- changes


class Put(msgspec.Struct, frozen=True):
    """Keep a call. Result: its id."""

    call: Call
    due: float


class Lease(msgspec.Struct, frozen=True):
    """It is about to be tried, and counts as lost at ``until``. Result: the call, or None if it has gone."""

    id: int
    attempts: int
    until: float


class Postpone(msgspec.Struct, frozen=True):
    """It was tried in vain, and is to be tried again."""

    id: int
    attempts: int
    due: float
    error: str


class Bury(msgspec.Struct, frozen=True):
    """It is given up: a dead letter."""

    id: int
    attempts: int
    error: str


class Revive(msgspec.Struct, frozen=True):
    """Try it now: dead letters are ready again, as if they were new. Result: the entries (none that is leased)."""

    handle: "Handle"
    now: float


class Remove(msgspec.Struct, frozen=True):
    """Forget it. Result: what it was, as `Removed`."""

    handle: "Handle"


class Removed(msgspec.Struct, frozen=True):
    """One that is no more."""

    id: int
    service: str
    size: int
    dead: bool


Handle: TypeAlias = int | str
"""The id of one item; or, as text, a request id: all items of that request."""

Change: TypeAlias = Put | Lease | Postpone | Bury | Revive | Remove
