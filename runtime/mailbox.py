"""The mailbox: a bounded trio memory channel, and the rule for what happens when it is full.

It belongs to the actor's place in the tree, not to one life of the actor: what is queued survives a restart, in
order. Nobody closes the channel: a closed receiver would drop what is buffered without a word, so the end of a
mailbox is `drain`, which hands every message back to be settled or buried.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

import msgspec
import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        *("_back", "_receive", "_send", "accepted", "capacity"),
        *("offer", "receive", "receive_nowait", "refused", "waiting", "when_full"),
    )

    def __init__(self, capacity: int, when_full: WhenFull) -> None:
        if not 0 <= capacity < math.inf:
            raise ValueError(f"the capacity of a mailbox is a whole number, not {capacity}")
        # The channel has no bound of its own: the cell counts, and lets in what fits (see `Cell.accept`). A bounded one
        # could not tell a message that waits from one which an idle worker is about to take.
        self._send, self._receive = trio.open_memory_channel["Ask | Tell"](math.inf)
        self.offer = self._send.send_nowait  # bound once: they are on the call path
        self.receive, self.receive_nowait = self._receive.receive, self._receive.receive_nowait
        self._back: deque[Ask | Tell] = deque()
        self.waiting: OrderedDict[Ask | Tell, trio.lowlevel.Task | None] = OrderedDict()
        """Messages for which there is no room yet, in order of arrival, with the task to wake once they are in."""
        self.capacity = capacity
        self.when_full = when_full
        self.accepted = 0
        self.refused = 0

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
        return self._back.popleft() if self._back else self.receive_nowait()

    def drain(self) -> Iterator[Ask | Tell]:
        """Take out everything that is in."""
        while True:
            try:
                yield self.oldest()
            except trio.WouldBlock:
                return

    def statistics(self) -> MailboxStatistics:
        """The figures of now."""
        channel = self._receive.statistics()
        return MailboxStatistics(
            depth=channel.current_buffer_used + len(self._back),
            capacity=self.capacity,
            waiting=len(self.waiting),
            accepted=self.accepted,
            refused=self.refused,
        )
