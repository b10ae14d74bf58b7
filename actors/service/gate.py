"""The limiter at work: calls wait their turn, and one pump lets them in.

The limiter itself is pure (`machines/limiter.py`). One pump and not one sleep for each waiter: after a stall of the
loop all overdue sleepers would wake at once and exceed the rate, which the queue never does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from ..errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..machines.limiter import Limiter, Waiter


class Gate:
    """First come, first served, as fast as the limiter allows."""

    def __init__(self, limiter: Limiter, start_soon: Callable[..., None]) -> None:
        self.limiter = limiter
        self._start_soon = start_soon
        self._parked: dict[Waiter, trio.lowlevel.Task] = {}
        self._pumping = False
        self._sleep = trio.CancelScope()  # of the pump: a token that comes back shortens it

    async def enter(self, now: float, deadline: float) -> bool:
        """Wait for a token from ``now`` on; returns whether there was a wait. Cancelled: it goes to the next in line.

        Raises:
            RateLimited: the turn would come after ``deadline``; said at once, with ``retry_at``.
        """
        if not len(self.limiter) and self.limiter.bucket.try_acquire(now):
            return False  # nobody waits and one is there
        wait = self.limiter.wait_time(now)
        if now + wait > deadline:
            raise RateLimited(f"the next free turn is in {wait:.3g} s, after the deadline", retry_at=now + wait)
        waiter = self.limiter.enter(now)
        if waiter is None:
            return False
        self._parked[waiter] = trio.lowlevel.current_task()
        if not self._pumping:
            self._pumping = True
            self._start_soon(self._pump)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            del self._parked[waiter]
            waiter.cancel(trio.current_time())
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:  # between the grant and now: the token has not been used
            waiter.cancel(trio.current_time())
            self._sleep.deadline = -math.inf
            raise
        return True

    def give_back(self) -> None:
        """A token was had and not used: the next in the queue may have it now."""
        self.limiter.bucket.refund(trio.current_time())
        self._sleep.deadline = -math.inf

    async def _pump(self) -> None:
        """Grant turns as they come due, until nobody waits."""
        try:
            while (due := self.limiter.due(trio.current_time())) is not None:
                with trio.CancelScope(deadline=due) as self._sleep:
                    await trio.sleep_forever()
                for waiter in self.limiter.pump(trio.current_time()):
                    trio.lowlevel.reschedule(self._parked.pop(waiter))
        finally:
            self._pumping = False
