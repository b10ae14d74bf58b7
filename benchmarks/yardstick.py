"""The cheapest *correct* ask that can be written by hand on trio: what ours is held against.

No supervision, no bounded waiting, no timeouts, no statistics: a memory channel, a pool of workers, a caller that parks
on `trio.lowlevel`, and one cancel scope that a worker uses again for message after message. Correct means: the
handler's error reaches the caller; a caller who is cancelled cancels his work if it runs and takes it back if it is
queued; the worker lives. A cheaper one would be wrong somewhere, and a comparison with it would prove nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import outcome
import trio

Handler = Callable[[Any], Awaitable[Any]]


class Call:
    """A message under way, its caller, and the scope of whoever works on it."""

    __slots__ = ("message", "scope", "task")

    def __init__(self, message: Any, task: trio.lowlevel.Task) -> None:
        self.message = message
        self.task: trio.lowlevel.Task | None = task
        self.scope: trio.CancelScope | None = None

    def abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        """The caller is cancelled: so is his work."""
        self.task = None
        if self.scope is not None:
            self.scope.cancel()
        return trio.lowlevel.Abort.SUCCEEDED


class Yardstick:
    """A pool of workers behind one channel."""

    def __init__(self, handler: Handler, capacity: int) -> None:
        self._handler = handler
        self._send, self._receive = trio.open_memory_channel[Call](capacity)

    async def ask(self, message: Any) -> Any:
        """One round trip. trio.WouldBlock if the channel is full."""
        call = Call(message, trio.lowlevel.current_task())
        self._send.send_nowait(call)
        return await trio.lowlevel.wait_task_rescheduled(call.abort)

    async def work(self) -> None:
        """One worker: run as many as you like, as tasks. (One long function: a call more would be measured.)"""
        while True:
            with trio.CancelScope() as scope:
                while not scope.cancel_called:
                    call = await self._receive.receive()
                    if call.task is None:  # given up while it was queued
                        continue
                    call.scope = scope
                    try:
                        result: outcome.Outcome[Any] = outcome.Value(await self._handler(call.message))
                    except Exception as error:  # noqa: BLE001 - whatever the handler raises is the caller's
                        result = outcome.Error(error)
                    finally:
                        call.scope = None
                    if call.task is not None:
                        trio.lowlevel.reschedule(call.task, result)
