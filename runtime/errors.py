"""What can go wrong between actors, whatever their domain.

Every error of the kernel is here, one paragraph each: when it is raised, whose fault it is, what to do. Errors of
calling a service live a floor above, in ``switchgear.actors.errors``, and are made from these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .words import Crash


class ActorError(Exception):
    """Base of all errors of the kernel. ``path`` names the actor that it is about."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(path, message)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.args[1]}"


class ActorCrashed(ActorError):
    """The actor crashed while it had your message in hand; the crash is the ``__cause__``.

    The message is never delivered again, for it may be what kills the actor. Whether its work was done is unknown:
    ask again only what may be done twice.
    """


class ActorStopped(ActorError):
    """The actor has been stopped, or was before you asked. Its ref will not come back to life."""


class AskTimeout(ActorError):
    """The explicit timeout of an ask ran out. You stopped waiting; the actor's work for you has been cancelled.

    The text tells how long it waited and how deep the mailbox was: a deep mailbox is an overloaded actor, an empty
    one a slow handler. (A deadline of your own cancel scope is not an error: trio cancels you, as everywhere.)
    """

    def __init__(self, path: str, what: str, where: str) -> None:
        super().__init__(path, f"no reply to {what} ({where})")
        self.where = where


class MailboxFull(ActorError):
    """The mailbox has no room and the caller asked not to wait. Shed the work or try later."""


class MailboxOverdue(ActorError):
    """The message was shed: it had waited for ``waited`` seconds, which is longer than the actor allows.

    Nothing was done for it. The actor is overloaded, and would have answered too late: try later, or do without.
    """

    def __init__(self, path: str, waited: float, allowed: float) -> None:
        super().__init__(path, f"it waited for {waited:.3g} s, and longer than {allowed:.3g} s is not allowed")
        self.waited = waited


class AskLoop(ActorError):
    """The ask could never be answered: the actor is, through a chain of asks, waiting for this very caller.

    Raised at once instead of a deadlock. Send a ``tell``, or split the actor in two.
    """


class StartFailed(ActorError):
    """An actor did not become ready: its ``setup`` raised (see ``__cause__``), returned early, or took too long."""


class SupervisorGaveUp(ActorError):
    """A supervisor met more crashes than its restart intensity allows, stopped its children and failed.

    ``history`` holds the crashes in order, and ``__cause__`` an exception group of their errors.
    """

    def __init__(self, path: str, message: str, history: Sequence[Crash] = ()) -> None:
        super().__init__(path, message)
        self.history = tuple(history)
