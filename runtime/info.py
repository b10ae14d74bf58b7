"""What can be seen of a runtime from outside: the state of each actor, as frozen records."""

from __future__ import annotations

import enum

import msgspec

from .mailbox import MailboxStatistics


class State(enum.Enum):
    """Where an actor (or a supervisor) is in its life."""

    WAITING = "waiting"  # not started yet, or between two lives
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"  # this life is ending
    STOPPED = "stopped"  # for good


class ActorInfo(msgspec.Struct, frozen=True):
    """One actor or supervisor, and the tree below it, at one moment."""

    path: str
    """Where it stands, as ``/services/payments``; ``/`` is the root."""
    kind: str
    """``actor`` or ``supervisor``."""
    state: State
    restarts: int
    """How often it has been started again."""
    uptime: float
    """Seconds since it was last ready; 0 while it is not."""
    mailbox: MailboxStatistics | None = None
    """None for a supervisor."""
    in_flight: int = 0
    """Messages in hand."""
    handled: int = 0
    """Messages that have been in hand, in all lives."""
    late: int = 0
    """Replies that came after their caller had gone."""
    children: tuple["ActorInfo", ...] = ()

    def find(self, path: str) -> "ActorInfo | None":
        """The actor at ``path`` in this tree, or None."""
        if self.path == path:
            return self
        return next((found for child in self.children if (found := child.find(path)) is not None), None)
