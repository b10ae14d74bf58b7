"""The mailbox: a bounded trio memory channel, and the rule for what happens when it is full.

It belongs to the actor's place in the tree, not to one life of the actor: what is queued survives a restart, in
order. Nobody closes the channel: a closed receiver would drop what is buffered without a word, so the end of a
mailbox is `drain`, which hands every message back to be settled or buried.
"""

from __future__ import annotations

import enum
import math
from collections import deque
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

    __slots__ = ("_back", "_receive", "_send", "accepted", "capacity", "receive", "refused", "when_full")

    def __init__(self, capacity: int, when_full: WhenFull) -> None:
        if not 1 <= capacity < math.inf:
            raise ValueError(f"the capacity of a mailbox is a whole number of at least 1, not {capacity}")
        self._send, self._receive = trio.open_memory_channel["Ask | Tell"](capacity)
        self.receive = self._receive.receive  # bound once: it is on the call path
        self._back: deque[Ask | Tell] = deque()
        self.capacity = capacity
        self.when_full = when_full
        self.accepted = 0
        self.refused = 0

    def offer(self, envelope: Ask | Tell) -> bool:
        """Put it in if there is room."""
        try:
            self._send.send_nowait(envelope)
        except trio.WouldBlock:
            return False
        self.accepted += 1
        return True

    async def put(self, envelope: Ask | Tell) -> None:
        """Wait for room. Cancelled: it was not put in."""
        try:
            await self._send.send(envelope)
        except trio.Cancelled:
            self.refused += 1
            raise
        self.accepted += 1

    def receive_nowait(self) -> Ask | Tell:
        """The next message, or trio.WouldBlock."""
        if self._back:
            return self._back.popleft()
        return self._receive.receive_nowait()

    def put_back(self, envelope: Ask | Tell) -> None:
        """A worker was handed this message and could not begin: it is the first of the next life."""
        self._back.append(envelope)

    def drain(self) -> Iterator[Ask | Tell]:
        """Take out everything, also what its senders are still holding in their hands."""
        while True:
            try:
                yield self.receive_nowait()
            except trio.WouldBlock:
                return

    def oldest(self) -> Ask | Tell:
        """Take out the message that has waited longest, to make room."""
        self.refused += 1
        return self.receive_nowait()

    def statistics(self) -> MailboxStatistics:
        """The figures of now."""
        channel = self._receive.statistics()
        return MailboxStatistics(
            depth=channel.current_buffer_used + len(self._back),
            capacity=self.capacity,
            waiting=channel.tasks_waiting_send,
            accepted=self.accepted,
            refused=self.refused,
        )
