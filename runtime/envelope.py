"""Messages on their way: what the kernel wraps round each, and the one place where an ask is settled.

An `Ask` is settled exactly once: the first of reply, error, timeout, cancellation, crash and stop counts, and whatever
comes later is dropped. Its caller is parked by trio's lowest door (`wait_task_rescheduled`), which costs a third of a
memory channel per call and, unlike an Event, hands over an error as easily as a value.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import outcome
import trio

if TYPE_CHECKING:
    from .cell import Cell


class _Named:
    """What both have in common: a name for errors and logs."""

    __slots__ = ()
    message: Any
    places: float = 1
    """How much of its actor's concurrency it takes while it is in hand."""

    @property
    def name(self) -> str:
        """The type of the message, never its content: messages carry what must not be in a log."""
        return type(self.message).__name__


class Tell(_Named):
    """A message that nobody waits for."""

    __slots__ = ("cell", "message", "scope")

    parent: None = None  # nobody waits, so no loop of asks goes through it
    deadline = math.inf  # who told has gone on: his deadline is not the message's
    outcome: outcome.Outcome[Any] | None = outcome.Value(None)  # nobody waits for another

    def __init__(self, message: Any, cell: Cell) -> None:
        self.message = message
        self.cell = cell
        self.scope: trio.CancelScope | None = None  # of the worker that has it in hand


_NOBODYS = trio.CancelScope()


class Own(Tell):
    """Stands for an actor's own work in ``setup`` and ``teardown``: while that goes on, it answers nobody."""

    __slots__ = ()
    places = math.inf

    def __init__(self, cell: Cell) -> None:
        super().__init__(None, cell)
        self.scope = _NOBODYS  # in hand, for whoever looks for loops; nothing is cancelled through it


class Ask(_Named):
    """A message and the task that waits for its reply."""

    __slots__ = ("caller", "cell", "deadline", "expiry", "message", "outcome", "parent", "scope", "timeout")

    def __init__(  # noqa: PLR0917 (made in one place, on the call path)
        self, message: Any, cell: Cell, deadline: float, expiry: float, timeout: float | None, parent: Ask | Tell | None
    ) -> None:
        self.message = message
        self.cell = cell
        self.deadline = deadline  # when the caller will have gone: the earlier of his cancel scopes' and `expiry`
        self.expiry = expiry  # when the explicit timeout ends
        self.timeout = timeout
        self.parent = parent  # what the caller himself has in hand
        self.scope: trio.CancelScope | None = None  # of the worker that has it in hand
        self.outcome: outcome.Outcome[Any] | None = None
        self.caller: trio.lowlevel.Task | None = None

    async def settled(self) -> Any:
        """Wait for the one outcome. Cancelling the caller cancels the work."""
        if self.outcome is not None:
            await trio.lowlevel.checkpoint()
            return self._take(self.outcome).unwrap()
        self.caller = trio.lowlevel.current_task()
        return await trio.lowlevel.wait_task_rescheduled(self.abandoned)

    def _take(self, result: outcome.Outcome[Any]) -> outcome.Outcome[Any]:
        self.outcome = _GONE
        return result

    def settle(self, result: outcome.Outcome[Any]) -> bool:
        """Give the caller his outcome; False if he has one already or has gone."""
        if self.outcome is not None:
            return False
        caller = self.caller
        if caller is None:  # he has not parked yet, and will find the outcome
            self.outcome = result
        else:
            # Not kept here too: an error holds on to the caller's frames, and those to us, in a cycle.
            self.caller, self.outcome = None, _GONE
            trio.lowlevel.reschedule(caller, result)
        return True

    @property
    def over(self) -> bool:
        """It is settled."""
        return self.outcome is not None

    def expire(self) -> None:
        """Its timeout has ended."""
        self.fail(self.cell.timeout_error(self))

    def fail(self, error: BaseException) -> bool:
        """Settle with an error and cancel the work, if it is under way: nobody waits for it any more."""
        first = self.settle(outcome.Error(error))
        self._call_off(str(error))
        return first

    def abandon(self) -> None:
        """The caller has gone: no work for him any more."""
        self.outcome = _GONE
        self.caller = None
        self._call_off(f"the caller of {self.cell.path} has gone")

    def _call_off(self, reason: str) -> None:
        scope, self.scope = self.scope, None  # how its worker sees that this scope can no longer be used
        if scope is not None:
            scope.cancel(reason=reason)
        else:
            self.cell.leave(self)

    def abandoned(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        """trio cancels the caller in his park."""
        self.abandon()
        return trio.lowlevel.Abort.SUCCEEDED


_GONE: outcome.Outcome[Any] = outcome.Value(None)  # the outcome has been handed over, or nobody was left to take it

in_hand: ContextVar[Ask | Tell | None] = ContextVar("switchgear message in hand", default=None)
"""The message that the current task, or the one that spawned it, is handling."""
