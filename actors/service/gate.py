"""The limiter at work: calls wait their turn, and one pump lets them in.

The limiter itself is pure (`machines/limiter.py`). One pump and not one sleep for each waiter: after a stall of the
loop all overdue sleepers would wake at once and exceed the rate, which the queue never does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from ..errors import InvalidRequest, RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..errors import ServiceError
    from ..machines.limiter import Limiter, Waiter


class Gate:
    """Lets calls pass in the order that the limiter says, as fast as it allows."""

    def __init__(self, limiter: Limiter, start_soon: Callable[..., None]) -> None:
        self.limiter = limiter
        self._start_soon = start_soon
        self._parked: dict[Waiter, trio.lowlevel.Task] = {}
        self._pumping = False
        self._sleep = trio.CancelScope()  # of the pump: ended when who is next, or when it may go, is another

    async def enter(self, now: float, deadline: float, weight: float, priority: int) -> Waiter:
        """Wait for a turn from ``now`` on; if `Limiter.admits` says that there is none to be had at once.

        Returns:
            The turn, which can be cancelled if nothing comes of it. (If the caller is cancelled it has been already.)

        Raises:
            RateLimited: the turn would come after ``deadline``; said as soon as it is known, with ``retry_at``.
            InvalidRequest: no turn can ever come: the weight is more than may pass at once.
        """
        waiter = self._join(now, deadline, weight, priority)
        self._parked[waiter] = trio.lowlevel.current_task()
        if not self._pumping:
            self._pumping = True
            self._start_soon(self._pump)
        elif self.limiter.is_next(waiter):
            self._wake()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            del self._parked[waiter]
            self.give_back(waiter)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:  # between the grant and now: the tokens have not been used
            self.give_back(waiter)
            raise
        if not waiter.granted:
            raise self._refusal(waiter)
        return waiter

    def give_back(self, turn: Waiter) -> None:
        """A turn that nothing comes of: the next may have it."""
        if turn.granted or self.limiter.is_next(turn):
            self._wake()
        turn.cancel(trio.current_time())

    def changed(self, *, worse: bool) -> None:
        """The limiter has another rate, or another time at which it opens. If it is worse, some will be too late."""
        for waiter in self.limiter.expel(trio.current_time()) if worse else ():
            trio.lowlevel.reschedule(self._parked.pop(waiter))
        self._wake()

    def _join(self, now: float, deadline: float, weight: float, priority: int) -> Waiter:
        try:
            wait = self.limiter.wait_time(now, weight, priority)
        except ValueError:
            raise self._too_heavy(weight) from None
        if now + wait > deadline:
            raise self._too_late(now, wait)
        return self.limiter.join(weight, priority, deadline)

    def _refusal(self, waiter: Waiter) -> ServiceError:
        """Of a call that was in the queue, and cannot pass any more."""
        now = trio.current_time()
        try:
            wait = self.limiter.wait_time(now, waiter.weight, waiter.priority)
        except ValueError:
            return self._too_heavy(waiter.weight)
        return self._too_late(now, wait)

    def _too_late(self, now: float, wait: float) -> RateLimited:
        why = "the next free turn is in"
        if now < self.limiter.opens:
            why = f"the service wants no calls for {self.limiter.opens - now:.3g} s; {why}"
        return RateLimited(f"{why} {wait:.3g} s, after the deadline", retry_at=now + wait)

    def _too_heavy(self, weight: float) -> InvalidRequest:
        burst = self.limiter.bucket.burst
        return InvalidRequest(f"a weight of {weight:g} can never pass: the burst of rate_limit is {burst:g}")

    def _wake(self) -> None:
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
