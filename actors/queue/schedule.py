"""Which queued call is tried next, and when; and what becomes of it. Pure: `now` and the randomness come in.

    READY --take--> LEASED --delivered--> forgotten
      ^                |
      |                +--failed, may be tried again--> READY, due later
      |                +--refused for good, or too often--> DEAD
      +--too old, or lost too often--> DEAD --revived--> READY

The calls of a service stand in a line, in the order of their ids. The first ``concurrency`` of a line are its window:
only they are tried, each when it is due, and none leaves the window before it is delivered or dead. With a window of
one the order is kept whatever happens; the price is that a call which always fails holds up those behind it until its
attempts are used up.

It follows the store and never leads it: `made` is told each change that has been written, so what is remembered here
is what a restart would find. Only what is about to be tried is marked before, by `take`, so that it is taken once.
Times are seconds of any one clock that goes on through restarts: wall time.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Any

import msgspec

from switchgear.runtime.backoff import Backoff

from .records import Bury, Entry, Lease, Postpone, Put, Remove, Revive

if TYPE_CHECKING:
    import random

    from ..config import QueueFallback
    from .records import Change, Contents


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """How the queue of one service is doing."""

    ready: int
    """Calls that wait."""
    leased: int
    """Being tried at this moment."""
    dead: int
    """Given up, and kept until you retry or drop them."""
    bytes: int
    """Of all of them."""
    oldest: float | None
    """Since when (seconds since the epoch) the oldest of those that are not dead has waited."""


class Failure(msgspec.Struct, frozen=True):
    """How an attempt ended that did not deliver."""

    error: str
    final: bool
    """Another attempt cannot help."""
    counts: bool
    """The service may have worked on it."""
    retry_at: float | None = None
    """When it makes sense to try again, where that is known."""


class Line:
    """The calls of one service."""

    __slots__ = ("coming", "dead", "dead_size", "entries", "held", "planned", "policy", "size")

    def __init__(self) -> None:
        self.policy: QueueFallback | None = None  # None: there is no such service now
        self.held = -math.inf  # nothing is tried before
        self.entries: list[Entry] = []  # by id. A list: what popping its head moves is less than what a tree costs
        self.size = 0
        self.dead = 0
        self.dead_size = 0
        self.coming = [0, 0]  # calls and bytes that are being written
        self.planned = math.inf

    @property
    def window(self) -> list[Entry]:
        """Those that may be tried, less those that are."""
        if self.policy is None:
            return []
        return [entry for entry in self.entries[: self.policy.concurrency] if not entry.leased]

    def plan(self) -> None:
        """When the next thing is to be done in it."""
        policy = self.policy
        times = () if policy is None else (self.when(entry, policy) for entry in self.window)
        self.planned = min(times, default=math.inf)

    def when(self, entry: Entry, policy: QueueFallback) -> float:
        """When it is to be tried or given up."""
        if entry.attempts >= policy.max_attempts:
            return -math.inf
        return min(max(entry.due, self.held), entry.since + policy.max_age)


class Schedule:
    """The lines of all services."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._lines: dict[str, Line] = {}
        self._entries: dict[int, Entry] = {}

    # ---- what there is

    def load(self, contents: Contents) -> None:
        """What a store holds that has just been opened."""
        for entry in contents.waiting:
            entry.tries = entry.attempts
            self._add(entry)
        for service, (count, size) in contents.dead.items():
            line = self._line(service)
            line.dead, line.dead_size = count, size

    def configure(self, service: str, policy: QueueFallback | None) -> None:
        """A service is there, with this policy; None: it is not, and its calls wait until it is."""
        line = self._line(service)
        line.policy, line.held = policy, -math.inf  # whatever held it may be gone
        line.plan()

    def stats(self) -> dict[str, QueueStats]:
        """Of each service that has calls here."""
        return {
            service: QueueStats(
                ready=len(line.entries) - (leased := sum(entry.leased for entry in line.entries)),
                leased=leased,
                dead=line.dead,
                bytes=line.size + line.dead_size,
                oldest=min((entry.since for entry in line.entries), default=None),
            )
            for service, line in self._lines.items()
            if line.entries or line.dead
        }

    # ---- coming in

    def reserve(self, service: str, size: int) -> str | None:
        """Keep room for a call that is about to be written. Returns why there is none, where that is so."""
        line = self._line(service)
        policy = line.policy
        count, bytes_ = len(line.entries) + line.dead + line.coming[0], line.size + line.dead_size + line.coming[1]
        if policy is not None and count >= policy.max_items:
            return f"it holds {count} calls, which is max_items; {line.dead} of them are dead letters"
        if policy is not None and bytes_ + size > policy.max_bytes:
            return f"it holds {bytes_} bytes, and {size} more are over max_bytes ({policy.max_bytes})"
        line.coming = [line.coming[0] + 1, line.coming[1] + size]
        return None

    def unreserve(self, service: str, size: int) -> None:
        """It has been written, or it will not be."""
        line = self._line(service)
        line.coming = [line.coming[0] - 1, line.coming[1] - size]

    def first_due(self, service: str, now: float) -> float:
        """When a call that has just failed is tried again."""
        policy = self._line(service).policy
        return now if policy is None else now + self._wait(policy, 1)

    # ---- going out

    def due(self) -> float:
        """When there is something to do. O(services that have a line), at 0.05 us each."""
        return min((line.planned for line in self._lines.values()), default=math.inf)

    def ready(self, now: float) -> list[str]:
        """The services for which there is something to do: `hold` or `take` each of them."""
        return [service for service, line in self._lines.items() if line.planned <= now]

    def hold(self, service: str, until: float) -> None:
        """Try nothing of a service before a time: its breaker is open."""
        line = self._line(service)
        line.held = until
        line.plan()

    def release(self, service: str, now: float) -> None:
        """The service is well again: nothing waits for anything but its turn."""
        line = self._line(service)
        line.held = -math.inf
        for entry in line.window:
            entry.due, entry.tries = min(entry.due, now), entry.attempts
        line.plan()

    def take(self, service: str, now: float) -> list[tuple[Entry, str | None]]:
        """What is due in a line: entries to try, which are leased now; with a reason, those to give up."""
        line = self._line(service)
        taken: list[tuple[Entry, str | None]] = []
        for entry in line.window:
            if line.policy is None or line.when(entry, line.policy) > now:
                continue
            entry.leased = True
            reason = _given_up(line.policy, entry, now)
            if reason is None:
                entry.attempts, entry.tries = entry.attempts + 1, entry.tries + 1
            taken.append((entry, reason))
        line.plan()
        return taken

    def put_back(self, entry: Entry, due: float) -> None:
        """What was taken could not be begun."""
        entry.leased, entry.due, entry.attempts = False, due, entry.attempts - 1
        self._line(entry.service).plan()

    def failed(self, entry: Entry, failure: Failure, now: float) -> Postpone | Bury:
        """What is to become of a call whose attempt has failed."""
        policy = self._line(entry.service).policy
        attempts = entry.attempts if failure.counts else entry.attempts - 1
        if failure.final:
            return Bury(entry.id, attempts, failure.error)
        if policy is not None and attempts >= policy.max_attempts:
            return Bury(entry.id, attempts, f"{attempts} attempts, the last of which ended of {failure.error}")
        due = failure.retry_at
        if due is None or due <= now:  # never at once, whatever it says
            due = now if policy is None else now + self._wait(policy, entry.tries)
        return Postpone(entry.id, attempts, due, failure.error)

    # ---- what has been written

    def made(self, change: Change, result: Any) -> None:
        """A change is in the store."""
        match change:
            case Put(call, due):
                self._add(Entry(result, call.service, call.size, call.queued_at, due))
            case Lease(id):
                if result is None:
                    self._forget(id)
            case Postpone(id, attempts, due):
                entry = self._entries.get(id)
                if entry is not None:
                    entry.attempts, entry.due, entry.leased = attempts, due, False
                    self._line(entry.service).plan()
            case Bury(id):
                entry = self._forget(id)
                if entry is not None:
                    line = self._line(entry.service)
                    line.dead, line.dead_size = line.dead + 1, line.dead_size + entry.size
            case Revive():
                for entry, was_dead in result:
                    self._revived(entry, was_dead=was_dead)
            case Remove():
                for gone in result:
                    if gone.dead:
                        line = self._line(gone.service)
                        line.dead, line.dead_size = line.dead - 1, line.dead_size - gone.size
                    self._forget(gone.id)

    def _revived(self, entry: Entry, *, was_dead: bool) -> None:
        if was_dead:
            line = self._line(entry.service)
            line.dead, line.dead_size = line.dead - 1, line.dead_size - entry.size
            self._add(entry)
            return
        known = self._entries.get(entry.id)
        if known is not None and not known.leased:
            known.due = entry.due
            self._line(entry.service).plan()

    # ---- inside

    def _wait(self, policy: QueueFallback, tries: int) -> float:
        return Backoff(initial=policy.base_delay, maximum=policy.max_delay, jitter=0.5).delay(tries, self._rng)

    def _line(self, service: str) -> Line:
        line = self._lines.get(service)
        if line is None:
            line = self._lines[service] = Line()
        return line

    def _add(self, entry: Entry) -> None:
        line = self._line(entry.service)
        insort(line.entries, entry, key=lambda one: one.id)
        line.size += entry.size
        self._entries[entry.id] = entry
        line.plan()

    def _forget(self, id: int) -> Entry | None:
        entry = self._entries.pop(id, None)
        if entry is not None:
            line = self._line(entry.service)
            del line.entries[bisect_left(line.entries, id, key=lambda one: one.id)]
            line.size -= entry.size
            line.plan()
        return entry


def _given_up(policy: QueueFallback, entry: Entry, now: float) -> str | None:
    if now >= entry.since + policy.max_age:
        return f"it was not delivered within max_age ({policy.max_age:g} s)"
    if entry.attempts >= policy.max_attempts:  # it was begun as often, by processes that did not live to tell
        return f"{entry.attempts} attempts, and of the last it is not known how it ended"
    return None
