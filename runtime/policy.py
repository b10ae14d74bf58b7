"""Supervision as a state machine: (state, event, now) -> actions. No trio, no I/O, no clock of its own.

Everything about *when a child is started and stopped* is here, and nothing else may decide it; `supervisor.py` only
performs the actions and reports what came of them. The semantics are those of Erlang's `supervisor`, with exact
times and with backoff. In short:

* Children start from left to right, each after the one before is ready, and stop from right to left, one at a time.
* A start that fails while the supervisor itself is starting undoes everything and fails the supervisor. (Not that of
  a child which is added at that very time: it is only forgotten, and whoever added it is told.)
* One crash costs one restart, whatever the strategy and however many siblings it takes along. A restart that fails
  is a crash like any other: it is queued again with backoff, never looped, so that stop requests and other crashes
  are served in between. A child that crashes while it waits to be stopped for a sibling's crash costs nothing more:
  what kills all of a group at once is one fault and gets one restart (Erlang does the same, in `monitor_child`).
* More than `max_restarts` within `within` seconds, and the supervisor stops all children and gives up.

A child is in one of five states:

    WAITING --due, its turn--> STARTING --Ready--> UP --Exited--> WAITING | forgotten
                                   |                |
                                   +----doomed------+--> STOPPING --Exited--> WAITING | DOWN | forgotten

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
from typing import TYPE_CHECKING

from .backoff import Backoff
from .words import (
    Action,
    Add,
    Begin,
    Booted,
    Crash,
    Delayed,
    Ended,
    Event,
    Exited,
    Forgotten,
    Intensity,
    Ready,
    Remove,
    Restart,
    Shutdown,
    Start,
    Stop,
    Strategy,
    Tick,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable


class Status(enum.Enum):
    """Where a child is in its life: see the picture at the top of this module."""

    WAITING = "waiting"
    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    DOWN = "down"


class Child:
    """What the policy knows of one child."""

    __slots__ = ("crashes", "doomed", "due", "fresh", "name", "order", "restart", "status", "unwanted", "up_since")

    def __init__(self, name: str, restart: Restart, order: int, *, fresh: bool) -> None:
        self.name = name
        self.restart = restart
        self.order = order
        self.status = Status.WAITING
        self.doomed = False  # STARTING or UP, and in the queue of those to be stopped
        self.unwanted = False  # removed: forgotten as soon as it has stopped
        self.due = -math.inf  # not started before
        self.crashes = 0  # consecutive
        self.up_since = math.inf
        self.fresh = fresh  # added at run time, and never was ready


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
            self._add(name, restart, fresh=False)

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
                    self._add(name, restart, fresh=True)
            case Remove(name):
                self._remove(name)
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
        if now - child.up_since >= self.backoff.reset_after:
            child.crashes = 0
        child.up_since = math.inf
        starting = child.status is Status.STARTING
        if child.status is Status.STOPPING:
            self._stopped(child)
        elif starting and child.fresh:
            self._forget(child, error)
        elif starting and self.phase is Phase.BOOTING:
            child.status = Status.DOWN
            self._end(Ended((Crash(child.name, now, error),), failed=child.name), final=False)
        elif child.restart is Restart.TEMPORARY or (child.restart is Restart.TRANSIENT and error is None):
            self._forget(child)
        elif child.doomed:
            self._stopped(child)  # it went before its turn
        else:
            self._crashed(child, error, now)

    def _remove(self, name: str) -> None:
        child = self.children.get(name)
        if child is None:
            return  # it ended by itself while this was under way, or two have removed it
        if child.status in (Status.WAITING, Status.DOWN):
            self._forget(child)
            return
        # Not in the queue of stops: whoever removes a child does not wait for another one's grace period. A child that
        # is stopping for a restart is told again, for now its mailbox can be emptied.
        if child.status is not Status.STOPPING:
            self._release(child)
            child.status = Status.STOPPING
        child.unwanted = True
        self._out.append(Stop(child.name, final=True))

    # ---- decisions

    def _crashed(self, child: Child, error: BaseException | None, now: float) -> None:
        """The child is to be restarted, with those that its crash takes along."""
        child.crashes += 1
        self._window.append(Crash(child.name, now, error))
        self._wait(child, now + self.backoff.delay(child.crashes, self._rng))
        if self._too_many(now):
            self._end(Ended(tuple(self._window)), final=False)
            return
        self._out.append(Delayed(child.name, child.due, child.crashes))
        for sibling in self._taken_along(child):
            sibling.due = max(sibling.due, child.due)
            if sibling.status in _ALIVE and not sibling.doomed:
                sibling.doomed = True
                self._stops.append(sibling)
        self._stops.sort(key=lambda one: one.order)

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
        while now - self._window[0].at >= self.intensity.within:
            self._window.popleft()
        return len(self._window) > limit

    def _end(self, ended: Ended, *, final: bool) -> None:
        """Stop everybody from right to left, then end. Later reasons do not replace the first."""
        if self.phase is Phase.ENDING:
            self._final = self._final or final
            return
        self.phase, self._ended, self._final = Phase.ENDING, ended, final
        self._stops = []
        for child in self.children.values():
            if child.status is Status.WAITING:
                child.status = Status.DOWN
            elif child.status in _ALIVE:
                child.doomed = True
                self._stops.append(child)

    def _stopped(self, child: Child) -> None:
        """A child ended that was told to, or was about to be."""
        if child.unwanted or child.restart is Restart.TEMPORARY:
            self._forget(child)
        elif self.phase is Phase.ENDING:
            child.status = Status.DOWN
        else:
            self._wait(child, child.due)

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
                child.status, self._busy = Status.STOPPING, child
                last = child.restart is Restart.TEMPORARY or (self.phase is Phase.ENDING and self._final)
                self._out.append(Stop(child.name, final=last))
                return False
        return True

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
        child.status, child.due, child.doomed = Status.WAITING, due, False
        key = due if self.strategy is Strategy.ONE_FOR_ONE else 0.0
        heapq.heappush(self._waiting, (key, child.order, child))

    def _release(self, child: Child) -> None:
        if self._busy is child:
            self._busy = None

    def _add(self, name: str, restart: Restart, *, fresh: bool) -> None:
        child = Child(name, restart, self._orders, fresh=fresh)
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
