"""Supervision as a state machine: (state, event, now) -> actions. No trio, no I/O, no clock of its own.

Everything about *when a child is started and stopped* is here, and nothing else may decide it; `supervisor.py` only
performs the actions and reports what came of them. The semantics are those of Erlang's `supervisor`, with exact
times and with backoff. In short:

* Children start from left to right, each after the one before is ready, and stop from right to left, one at a time.
* A start that fails while the supervisor itself is starting undoes everything and fails the supervisor.
* One crash costs one restart, whatever the strategy and however many siblings it takes along. A restart that fails
  is a crash like any other: it is queued again with backoff, never looped, so that stop requests and other crashes
  are served in between.
* More than `max_restarts` within `within` seconds, and the supervisor stops all children and gives up.

A child is in one of five states:

    WAITING --due, its turn--> STARTING --Ready--> UP --Exited--> WAITING | forgotten
                                   |                |
                                   +----doomed------+--> STOPPING --Exited--> `then`: WAITING | DOWN | forgotten

DOWN is where children are once the supervisor itself has ended; a later incarnation of it starts them again. A child
that is forgotten is gone for good: Erlang keeps the specification of a finished `transient` child for
`restart_child`, which nobody asked of us.

The state is a plain object that `step` changes in place: persistent tuples would make starting n children O(n^2).
"""

from __future__ import annotations

import enum
import heapq
import math
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from .backoff import Backoff

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable


class Strategy(enum.Enum):
    """Which siblings a crash takes along."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class Restart(enum.Enum):
    """Which ends of a child are followed by a restart."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"  # only a crash
    TEMPORARY = "temporary"  # none: it is forgotten, also when a sibling's crash took it down


class Status(enum.Enum):
    """Where a child is in its life: see the picture at the top of this module."""

    WAITING = "waiting"
    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    DOWN = "down"


class Intensity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most ``max_restarts`` in any ``within`` seconds; ``None`` never gives up (backoff alone bounds the rate)."""

    max_restarts: int | None = 5
    within: float = 30.0


class Crash(msgspec.Struct, frozen=True):
    """One line of a supervisor's history: who crashed, when (trio time), of what."""

    name: str
    at: float
    error: BaseException | None


# ---- events: what the shell reports


class Begin(msgspec.Struct, frozen=True):
    """The supervisor starts: bring up all children."""


class Ready(msgspec.Struct, frozen=True):
    """A child that was starting is up."""

    name: str


class Exited(msgspec.Struct, frozen=True):
    """A child has ended: ``error`` is its crash, or None for a normal end or a stop that was asked for."""

    name: str
    error: BaseException | None = None


class Tick(msgspec.Struct, frozen=True):
    """Time has passed: `Policy.due` has been reached."""


class Add(msgspec.Struct, frozen=True):
    """A child is added at run time, to the right of all others."""

    name: str
    restart: Restart = Restart.PERMANENT


class Remove(msgspec.Struct, frozen=True):
    """A child is to be stopped and forgotten."""

    name: str


class Shutdown(msgspec.Struct, frozen=True):
    """The supervisor itself is to stop."""

    final: bool = True


Event: TypeAlias = Begin | Ready | Exited | Tick | Add | Remove | Shutdown


# ---- actions: what the shell is to do


class Start(msgspec.Struct, frozen=True):
    """Start this child; report Ready, or Exited if that fails."""

    name: str


class Stop(msgspec.Struct, frozen=True):
    """Stop this child, report Exited. ``final``: it will not be started again, so its mailbox can be emptied."""

    name: str
    final: bool


class Delayed(msgspec.Struct, frozen=True):
    """A crash is to be followed by a restart at ``due``; nothing to do but to tell the observers."""

    name: str
    due: float
    crashes: int


class Forgotten(msgspec.Struct, frozen=True):
    """This child is gone from the list and its ref is dead: it was removed, or ended and is not to be restarted, or
    was added at run time and never became ready (``error`` says why)."""

    name: str
    error: BaseException | None = None


class Booted(msgspec.Struct, frozen=True):
    """All children are up for the first time: the supervisor is ready."""


class Ended(msgspec.Struct, frozen=True):
    """All children are stopped. ``history`` is not empty if it gave up; ``failed`` names a child that would not start."""

    history: tuple[Crash, ...] = ()
    failed: str | None = None


Action: TypeAlias = Start | Stop | Delayed | Forgotten | Booted | Ended


class Child:
    """What the policy knows of one child."""

    __slots__ = ("crashes", "due", "fresh", "name", "order", "restart", "status", "then", "up_since")

    def __init__(self, name: str, restart: Restart, order: int) -> None:
        self.name = name
        self.restart = restart
        self.order = order
        self.status = Status.WAITING
        self.then: Status | None = None  # what a STOPPING child becomes; None: it is forgotten
        self.due = -math.inf  # not started before
        self.crashes = 0  # consecutive
        self.up_since = math.inf
        self.fresh = True  # never was ready


class Phase(enum.Enum):
    """Of the supervisor itself."""

    BOOTING = "booting"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"


class Policy:
    """The state machine. Feed it events with `step`; perform the actions that it returns, in order."""

    def __init__(
        self,
        children: Iterable[tuple[str, Restart]] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity | None = None,
        backoff: Backoff | None = None,
        rng: random.Random,
    ) -> None:
        self.strategy = strategy
        self.intensity = intensity or Intensity()
        self.backoff = backoff or Backoff()
        self.phase = Phase.BOOTING
        self.children: dict[str, Child] = {}
        self._rng = rng
        self._orders = 0
        self._ended = Ended()
        self._window: deque[Crash] = deque(maxlen=_kept(self.intensity))
        self._stops: list[Child] = []  # still to be stopped, the next at the end
        self._final = False  # of those stops
        self._waiting: list[tuple[float, int, Child]] = []  # heap; entries of children no longer waiting are skipped
        self._busy: Child | None = None  # the child that is starting or stopping, where that goes one at a time
        self._running = 0  # children between a Start and their Exited: what ENDING waits for
        self._out: list[Action] = []
        for name, restart in children:
            self._add(name, restart)

    def step(self, event: Event, now: float) -> list[Action]:
        """Take one event at time ``now`` (seconds, never going backwards); return what to do."""
        self._out = []
        if self.phase is not Phase.ENDED:
            self._take(event, now)
            self._advance(now)
        return self._out

    def _take(self, event: Event, now: float) -> None:
        match event:
            case Begin() | Tick():
                pass  # all children are WAITING to begin with, and `_advance` looks at the time
            case Ready(name):
                self._ready(name, now)
            case Exited(name, error):
                self._exited(self.children[name], error, now)
            case Add(name, restart):
                if self.phase is not Phase.ENDING:
                    self._add(name, restart)
            case Remove(name):
                self._remove(self.children[name])
            case Shutdown(final):
                self._end(Ended(), final=final)

    @property
    def due(self) -> float:
        """When to report the next Tick: the start of the next child that waits, or infinity."""
        head = self._head()
        if head is None or self.phase is Phase.ENDING or (self._serial and self._busy is not None):
            return math.inf
        return head.due

    # ---- events

    def _ready(self, name: str, now: float) -> None:
        child = self.children.get(name)
        if child is not None and child.status is Status.STARTING:  # else: doomed in the meantime
            child.status, child.up_since, child.fresh = Status.UP, now, False
            self._release(child)

    def _exited(self, child: Child, error: BaseException | None, now: float) -> None:
        self._release(child)
        self._running -= 1
        if child.status is Status.STOPPING:
            self._stopped(child)
        elif self.phase is Phase.ENDING:
            child.status = Status.DOWN  # it went before its turn to be stopped
        elif child.status is Status.STARTING and self.phase is Phase.BOOTING:
            child.status = Status.DOWN
            self._end(Ended((Crash(child.name, now, error),), failed=child.name), final=False)
        elif child.status is Status.STARTING and child.fresh:
            self._forget(child, error)
        elif child.restart is Restart.PERMANENT or (child.restart is Restart.TRANSIENT and error is not None):
            self._crashed(child, error, now)
        else:
            self._forget(child)

    def _remove(self, child: Child) -> None:
        if child.status is Status.STOPPING:
            child.then = None
        elif child.status in _ALIVE:
            # Not in the queue of stops: whoever removes a child does not wait for another one's grace period.
            self._release(child)
            child.status, child.then = Status.STOPPING, None
            self._out.append(Stop(child.name, final=True))
        else:
            self._forget(child)

    # ---- decisions

    def _crashed(self, child: Child, error: BaseException | None, now: float) -> None:
        """The child is to be restarted, with those that its crash takes along."""
        if now - child.up_since >= self.backoff.reset_after:
            child.crashes = 0
        child.crashes += 1
        child.up_since = math.inf
        self._window.append(Crash(child.name, now, error))
        self._wait(child, now + self.backoff.delay(child.crashes, self._rng))
        if self._too_many(now):
            self._end(Ended(tuple(self._window)), final=False)
            return
        self._out.append(Delayed(child.name, child.due, child.crashes))
        doomed = [sibling for sibling in self._taken_along(child) if sibling.status in _ALIVE]
        for sibling in self._taken_along(child):
            sibling.due = max(sibling.due, child.due)
        if doomed:
            self._stops = sorted({*self._stops, *doomed}, key=lambda one: one.order)

    def _taken_along(self, child: Child) -> list[Child]:
        """The siblings that share the fate of ``child``, by strategy."""
        if self.strategy is Strategy.ONE_FOR_ONE:
            return []
        first = child.order if self.strategy is Strategy.REST_FOR_ONE else -1
        return [other for other in self.children.values() if other.order >= first and other is not child]

    def _too_many(self, now: float) -> bool:
        """An exact sliding window: crashes as old as the period no longer count."""
        limit = self.intensity.max_restarts
        if limit is None:
            return False
        while self._window[0].at <= now - self.intensity.within:
            self._window.popleft()
        return len(self._window) > limit

    def _end(self, ended: Ended, *, final: bool) -> None:
        """Stop everybody from right to left, then end. Later reasons do not replace the first."""
        if self.phase is Phase.ENDING:
            self._final = self._final or final
            return
        self.phase, self._ended, self._final = Phase.ENDING, ended, final
        for child in self.children.values():
            if child.status is Status.WAITING:
                child.status = Status.DOWN
            elif child.status is Status.STOPPING and child.then is Status.WAITING:
                child.then = Status.DOWN
        self._stops = [child for child in self.children.values() if child.status in _ALIVE]

    def _stopped(self, child: Child) -> None:
        """A child ended that was told to."""
        if child.then is None:
            self._forget(child)
        elif child.then is Status.WAITING:
            self._wait(child, child.due)
        else:
            child.status = child.then

    # ---- the queue of starts and stops

    def _advance(self, now: float) -> None:
        """Begin whatever may begin now."""
        if not self._stop_next():
            return
        if self.phase is Phase.ENDING:
            if self._running == 0:
                self.phase = Phase.ENDED
                self._out.append(self._ended)
            return
        self._start_next(now)
        if self.phase is Phase.BOOTING and self._busy is None and self._head() is None:
            self.phase = Phase.RUNNING
            self._out.append(Booted())

    def _stop_next(self) -> bool:
        """Stop the rightmost child that is to be stopped; True when no stop is queued or under way."""
        if self._busy is not None and self._busy.status is Status.STOPPING:
            return False
        while self._stops:
            child = self._stops.pop()
            if child.status in _ALIVE:  # else it has ended by itself, or is being removed
                self._doom(child)
                return False
        return True

    def _doom(self, child: Child) -> None:
        ending = self.phase is Phase.ENDING
        if child.restart is Restart.TEMPORARY:
            child.then = None
        else:
            child.then = Status.DOWN if ending else Status.WAITING
        child.status, self._busy = Status.STOPPING, child
        self._out.append(Stop(child.name, final=child.then is None or (ending and self._final)))

    def _start_next(self, now: float) -> None:
        while (child := self._head()) is not None and child.due <= now:
            if self._serial and self._busy is not None:
                return
            heapq.heappop(self._waiting)
            child.status = Status.STARTING
            self._running += 1
            if self._serial:
                self._busy = child
            self._out.append(Start(child.name))

    @property
    def _serial(self) -> bool:
        """One start at a time? Only siblings that do not depend on each other restart side by side."""
        return self.phase is Phase.BOOTING or self.strategy is not Strategy.ONE_FOR_ONE

    def _head(self) -> Child | None:
        """The child that is to start next: the leftmost that waits, or where they are independent the first due."""
        while self._waiting:
            child = self._waiting[0][2]
            if child.status is Status.WAITING and self.children.get(child.name) is child:
                return child
            heapq.heappop(self._waiting)
        return None

    def _wait(self, child: Child, due: float) -> None:
        child.status, child.due = Status.WAITING, due
        key = due if self.strategy is Strategy.ONE_FOR_ONE else 0.0
        heapq.heappush(self._waiting, (key, child.order, child))

    def _release(self, child: Child) -> None:
        if self._busy is child:
            self._busy = None

    def _add(self, name: str, restart: Restart) -> None:
        child = Child(name, restart, self._orders)
        self._orders += 1
        self.children[name] = child
        self._wait(child, child.due)

    def _forget(self, child: Child, error: BaseException | None = None) -> None:
        child.status = Status.DOWN
        del self.children[child.name]
        self._out.append(Forgotten(child.name, error))


_ALIVE = (Status.STARTING, Status.UP)


def _kept(intensity: Intensity) -> int:
    """How much history to hold: what decides, or where nothing does, the last twenty crashes."""
    return 20 if intensity.max_restarts is None else intensity.max_restarts + 1
