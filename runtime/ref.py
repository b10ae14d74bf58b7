"""What callers hold: the address of an actor, good for all its lives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, final

import trio

from .envelope import Ask, Tell, in_hand

if TYPE_CHECKING:
    from .cell import Cell
    from .info import ActorInfo


@final
class Ref:
    """Sends messages to one actor. Made by the kernel; stays valid across restarts."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def __repr__(self) -> str:
        return f"<Ref {self._cell.path} {self._cell.state.value}>"

    @property
    def path(self) -> str:
        """Where the actor stands in the tree."""
        return self._cell.path

    def info(self) -> ActorInfo:
        """The actor, now: as in `System.tree`, without walking there."""
        return self._cell.info()

    async def ask(self, message: Any, timeout: float | None = None, *, until: float = math.inf) -> Any:
        """Send a message and wait for its reply. Ends exactly once, whatever happens to the actor.

        Your own cancel scope bounds it as it bounds everything in trio; ``timeout`` (seconds) adds an explicit one,
        and so does ``until`` (a time of trio's clock).
        Either way, and when you are cancelled, the actor's work for this ask is cancelled too.

        Raises:
            AskTimeout: ``timeout`` is over.
            ActorCrashed: the actor crashed with this message in hand.
            ActorStopped: the actor is stopped, or was already.
            MailboxFull: there is no room, and the actor's mailbox is set to refuse.
            MailboxOverdue: the message has waited for longer than the actor allows.
            AskLoop: the actor is waiting for you.
            Exception: whatever the handler declares as an answer (`Actor.errors`).
        """
        cell = self._cell
        deadline = trio.current_effective_deadline()
        expiry = until
        if timeout is not None:
            expiry = min(until, trio.current_time() + timeout)
        if expiry < deadline:  # else it still counts: scopes can be moved
            deadline = expiry
        ask = Ask(message, cell, deadline, expiry, timeout, in_hand.get())
        if ask.parent is not None:
            cell.refuse_loop(ask)
        if not cell.accept(ask):
            cell.stand_in_line(ask, None)  # its caller parks only once, here or there
        if expiry != math.inf and ask.outcome is None:
            cell.system.expiries.add(ask)
        if ask.outcome is not None:
            return await ask.settled()
        # As `settled`, written out: a coroutine more is a 50th of an ask.
        ask.caller = trio.lowlevel.current_task()
        return await trio.lowlevel.wait_task_rescheduled(ask.abandoned)

    async def tell(self, message: Any) -> None:
        """Send a message and go on. Waits only for room in the mailbox.

        A message to a stopped actor is a dead letter, not an error: it could as well have stopped a moment later.

        Raises:
            MailboxFull: there is no room, and the actor's mailbox is set to refuse.
        """
        tell = Tell(message, self._cell)
        if not self._cell.accept(tell):
            await self._cell.wait_for_room(tell)
        else:
            await trio.lowlevel.checkpoint()

    def tell_nowait(self, message: Any) -> None:
        """As `tell`, but without waiting: `MailboxFull` if there is no room (unless the oldest makes room)."""
        if not self._cell.accept(Tell(message, self._cell)):
            raise self._cell.refusal()
