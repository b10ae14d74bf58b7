"""The mailbox: a bounded trio memory channel, and the rule for what happens when it is full.

It belongs to the actor's place in the tree, not to one life of the actor: what is queued survives a restart, in
order. Nobody closes the channel: a closed receiver would drop what is buffered without a word, so the end of a
mailbox is `drain`, which hands every message back to be settled or buried.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .envelope import Ask, Tell


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


class Mailbox:
    """One actor's queue."""

    __slots__ = (
        *("_back", "_channel", "accepted", "capacity"),
        *("offer", "receive", "receive_nowait", "refused", "waiting", "when_full"),
    )

    def __init__(self, capacity: int, when_full: WhenFull) -> None:
        if not 0 <= capacity < math.inf:
            raise ValueError(f"the capacity of a mailbox is a whole number, not {capacity}")
        # The channel has no bound of its own: the cell counts, and lets in what fits (see `Cell.accept`). A bounded one
        # could not tell a message that waits from one which an idle worker is about to take.
        # It is opened for the first message, since an actor that nobody has asked yet should weigh little.
        self._channel: trio.MemoryReceiveChannel[Ask | Tell] | None = None
        self.offer: Callable[[Ask | Tell], None] = self._open
        self.receive_nowait: Callable[[], Ask | Tell] = _nothing
        self._back: list[Ask | Tell] = []
        self.waiting: OrderedDict[Ask | Tell, trio.lowlevel.Task | None] | None = None
        """Messages for which there is no room yet, in order of arrival, with the task to wake once they are in."""
        self.capacity = capacity
        self.when_full = when_full
        self.accepted = 0
        self.refused = 0

    def _open(self, envelope: Ask | Tell) -> None:
        send, receive = trio.open_memory_channel["Ask | Tell"](math.inf)
        self.offer = send.send_nowait  # bound once: they are on the call path
        self.receive, self.receive_nowait = receive.receive, receive.receive_nowait
        self._channel = receive
        self.offer(envelope)

    def stand_in_line(self, envelope: Ask | Tell, task: trio.lowlevel.Task | None) -> None:
        """There is no room yet: wait for it, behind all others."""
        if self.waiting is None:
            self.waiting = OrderedDict()
        self.waiting[envelope] = task

    def leave_line(self, envelope: Ask | Tell) -> None:
        """Whoever stood in line has gone. (It may have been let in, or never stood there: that is no fault.)"""
        if self.waiting is not None and envelope in self.waiting:
            del self.waiting[envelope]
            self.refused += 1

    def put_back(self, envelope: Ask | Tell) -> None:
        """A worker was handed this message and could not begin: it is the first of the next life."""
        self._back.append(envelope)

    def begin(self) -> None:
        """A new life: what was put back is queued again, before all else."""
        if self._back:
            for envelope in list(self.drain()):
                self.offer(envelope)

    def oldest(self) -> Ask | Tell:
        """Take out the message that has waited longest, or raise trio.WouldBlock."""
        return self._back.pop(0) if self._back else self.receive_nowait()

    def drain(self) -> Iterator[Ask | Tell]:
        """Take out everything that is in."""
        while True:
            try:
                yield self.oldest()
            except trio.WouldBlock:
                return

    def statistics(self) -> MailboxStatistics:
        """The figures of now."""
        queued = 0 if self._channel is None else self._channel.statistics().current_buffer_used
        return MailboxStatistics(
            depth=queued + len(self._back),
            capacity=self.capacity,
            waiting=len(self.waiting or ()),
            accepted=self.accepted,
            refused=self.refused,
        )


def _nothing() -> Ask | Tell:
    """What a mailbox holds that has not been opened."""
    raise trio.WouldBlock
