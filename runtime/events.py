"""The event stream: what happens in a runtime, as typed records, for anybody who cares to listen.

An event is made by whoever it happens to and published once; the bus stamps it with a number and the time. Each
subscriber has a bounded memory channel. One that reads too slowly loses its oldest events and is told how many; it
never delays the publisher. Events are also logged (`log.py`), whether or not anybody subscribes.
"""

from __future__ import annotations

import logging
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

import msgspec
import trio

from .log import RateLimit, log_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all events. ``path`` is the actor that it is about."""

    level: ClassVar[int] = logging.INFO
    """At which it is logged."""
    path: str
    seq: int = 0
    """Its number in the stream, from 1; stamped by the bus."""
    at: float = 0.0
    """When, in trio's time; stamped by the bus."""


class ActorStarted(Event, frozen=True, kw_only=True, tag=True):
    """An actor is ready. ``restarts`` is 0 for its first life."""

    restarts: int = 0


class ActorCrashed(Event, frozen=True, kw_only=True, tag=True):
    """An actor (or a supervisor that gave up) crashed. ``traceback`` is the text of all leaves of the error."""

    level = logging.ERROR
    error: str
    traceback: str = ""


class ActorRestarting(Event, frozen=True, kw_only=True, tag=True):
    """A crashed actor will be started again in ``delay`` seconds, after ``crashes`` crashes in a row."""

    level = logging.WARNING
    delay: float
    crashes: int


class ActorStopped(Event, frozen=True, kw_only=True, tag=True):
    """An actor has ended and will not come back."""

    reason: str


class StopFailed(Event, frozen=True, kw_only=True, tag=True):
    """An actor raised while it was being stopped: reported, for there is nobody left to restart."""

    level = logging.ERROR
    error: str
    traceback: str = ""


class ActorStuck(Event, frozen=True, kw_only=True, tag=True):
    """An actor was cancelled ``waited`` seconds ago and has not ended: it shields itself, or blocks."""

    level = logging.ERROR
    waited: float


class DeadLetter(Event, frozen=True, kw_only=True, tag=True):
    """A message that nobody will handle. Its type is told, never its content."""

    level = logging.WARNING
    message: str
    reason: str


class LoopBlocked(Event, frozen=True, kw_only=True, tag=True):
    """The event loop stood still for ``seconds``. ``path`` is the actor whose code held it, ``where`` its line."""

    level = logging.WARNING
    seconds: float
    where: str


class EventsLost(Event, frozen=True, kw_only=True, tag=True):
    """You, the subscriber, were too slow: ``count`` events that stood here are gone."""

    level = logging.WARNING
    count: int


class EventBus:
    """Publishes events to any number of subscribers.

    Args:
        scrub: what each text goes through that an event has: of an error, say, that quotes what nobody should read.
    """

    def __init__(self, scrub: Callable[[str], str] | None = None) -> None:
        self._seq = 0
        self._scrub = scrub
        self._log_limit = RateLimit()
        self._subscribers: set[_Subscriber] = set()

    def publish(self, event: Event) -> None:
        """Stamp, log and hand out. Synchronous, and cheap with no subscriber."""
        self._seq += 1
        texts = {} if self._scrub is None else _texts(event, self._scrub)
        event = msgspec.structs.replace(event, seq=self._seq, at=trio.current_time(), **texts)
        log_event(event, self._log_limit)
        for subscriber in self._subscribers:
            subscriber.put(event)

    @asynccontextmanager
    async def subscribe(self, capacity: int = 1000) -> AsyncIterator[trio.MemoryReceiveChannel[Event]]:
        """Every event from now on. ``capacity``: how many may wait unread (at least 2)."""
        if capacity < 2 or capacity == math.inf:
            raise ValueError(f"capacity must be a whole number of at least 2, not {capacity}")
        subscriber = _Subscriber(capacity)
        self._subscribers.add(subscriber)
        try:
            with subscriber.receive:
                yield subscriber.receive
        finally:
            self._subscribers.discard(subscriber)
            subscriber.close()


def _texts(event: Event, scrub: Callable[[str], str]) -> dict[str, str]:
    texts = ((name, getattr(event, name)) for name in event.__struct_fields__ if name != "path")
    return {name: scrub(text) for name, text in texts if isinstance(text, str)}


class _Subscriber:
    """One channel, and the rule for when it is full: the older half gives way to one `EventsLost`.

    By halves, so that a subscriber which never reads costs O(1) an event, and the note stands where the gap is.
    """

    def __init__(self, capacity: int) -> None:
        self._send, self.receive = trio.open_memory_channel[Event](capacity)
        self._drain = self.receive.clone()  # ours: the subscriber may close its end early
        self._capacity = capacity

    def put(self, event: Event) -> None:
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._make_room()
            self._send.send_nowait(event)

    def _make_room(self) -> None:
        waiting = [self._drain.receive_nowait() for _ in range(self._capacity)]
        cut = self._capacity // 2 + 1  # one more than the half, for the note needs a place
        lost, kept = waiting[:cut], waiting[cut:]
        count = sum(one.count if isinstance(one, EventsLost) else 1 for one in lost)
        last = lost[-1]
        self._send.send_nowait(EventsLost(path="/", count=count, seq=last.seq, at=last.at))
        for event in kept:
            self._send.send_nowait(event)

    def close(self) -> None:
        self._send.close()
        self._drain.close()
