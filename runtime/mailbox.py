"""The mailbox: who waits for a worker, who waits for room, and what happens when there is none. Pure.

It belongs to the actor's place in the tree, not to one life of the actor: what is queued survives a restart, in
order. A trio memory channel would do for that, and once did. But what is in a channel can be taken out at its one end
only: a caller who had gone kept his place until a worker came across it, nobody could be told that he had waited too
long, and who came last could not be served first. Both lines here are in order of arrival, and each message can leave
at once, from where it stands.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import trio

    from .envelope import Ask, Tell
    from .patience import Patience


class WhenFull(enum.Enum):
    """What a message meets that finds the mailbox full."""

    WAIT = "wait"  # until there is room or the caller's deadline is over
    FAIL = "fail"  # MailboxFull, at once
    DROP_OLDEST = "drop_oldest"  # the oldest makes room and is a dead letter: for telemetry


class MailboxStatistics(msgspec.Struct, frozen=True):
    """What a mailbox holds and has seen, at one moment."""

    depth: int
    """Messages queued, not yet in hand."""
    capacity: int
    """How many may be queued."""
    waiting: int
    """Senders that wait for room."""
    accepted: int
    """Messages taken in since the start of the runtime."""
    refused: int
    """Messages turned away: full, or no longer wanted when there was room."""
    shed: int = 0
    """Messages that waited longer than they may (`Context.limit_waiting`)."""


class Mailbox:
    """One actor's queue, and the line of those for whom it has no room.

    It has no bound of its own: the cell counts, and lets in what fits (see `Cell.accept`). A bounded one could not tell
    a message that waits from one which an idle worker is about to take.
    """

    __slots__ = ("accepted", "capacity", "patience", "queue", "refused", "shed", "waiting", "when_full")

    def __init__(self, capacity: int, when_full: WhenFull) -> None:
        if not 0 <= capacity < math.inf:
            raise ValueError(f"the capacity of a mailbox is a whole number, not {capacity}")
        self.queue: OrderedDict[Ask | Tell, float] = OrderedDict()
        """Messages that a worker will take, in order of arrival, with when that was (if there is a ``patience``)."""
        self.waiting: OrderedDict[Ask | Tell, tuple[float, trio.lowlevel.Task | None]] | None = None
        """Messages for which there is no room yet: later than all that are queued. With when they came, and the task to
        wake once they are in. (None until there is one: an actor that nobody has asked yet should weigh little.)"""
        self.patience: Patience | None = None
        """How long they may wait, if there is a limit to it."""
        self.capacity = capacity
        self.when_full = when_full
        self.accepted = 0
        self.refused = 0
        self.shed = 0

    def stand_in_line(self, envelope: Ask | Tell, now: float, task: trio.lowlevel.Task | None) -> None:
        """There is no room yet: wait for it, behind all others."""
        if self.waiting is None:
            self.waiting = OrderedDict()
        self.waiting[envelope] = now, task

    def leave_line(self, envelope: Ask | Tell) -> None:
        """Whoever stood in line has gone. (It may have been let in, or never stood there: that is no fault.)"""
        if self.waiting is not None and envelope in self.waiting:
            del self.waiting[envelope]
            self.refused += 1

    def oldest(self) -> float | None:
        """When that came which has waited longest, or None."""
        if self.queue:
            return next(iter(self.queue.values()))
        return next(iter(self.waiting.values()))[0] if self.waiting else None

    def all_came(self, now: float) -> None:
        """Count all waiting from now on: their patience begins."""
        for envelope in self.queue:
            self.queue[envelope] = now
        for envelope, (_, task) in (self.waiting or {}).items():
            self.stand_in_line(envelope, now, task)

    def statistics(self) -> MailboxStatistics:
        """The figures of now."""
        return MailboxStatistics(
            depth=len(self.queue),
            capacity=self.capacity,
            waiting=len(self.waiting or ()),
            accepted=self.accepted,
            refused=self.refused,
            shed=self.shed,
        )
