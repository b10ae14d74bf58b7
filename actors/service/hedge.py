"""Hedging: when an attempt has become a slow one, a second is made elsewhere, and the first answer counts.

(Dean and Barroso, "The tail at scale": about 5 % more load for most of the tail.) The loser is cancelled, which closes
its connection: what the service still does for it nobody waits for.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from ..errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..transport import Reply


async def hedged(
    attempt: Callable[[float], Awaitable[Reply]], now: float, after: float, allowed: Callable[[float], bool]
) -> Reply:
    """The first answer of up to two attempts.

    Args:
        attempt: makes one; takes the time (trio) at which it begins.
        now: trio time.
        after: seconds until the second, if the first is still under way then.
        allowed: may there be one, at this time?

    Raises:
        ServiceError: of the first attempt, if neither has an answer: what has kept us from making the second says
            less, and would hide it. A first one that fails before its time is not
            hedged: whether it is tried again is for the retry policy to say.
    """
    won: Reply | None = None
    failure: ServiceError | None = None  # of the first
    running = 1

    async def one(now: float, *, first: bool) -> None:
        nonlocal won, running, failure
        try:
            reply = await attempt(now)
        except ServiceError as error:
            failure = error if first else failure
        else:
            won = won or reply
        running -= 1
        if won is not None or not running:
            nursery.cancel_scope.cancel(reason="the other attempt had the first answer")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(one, now, first=True))
        await trio.sleep(after)
        now = trio.current_time()
        if running and allowed(now):
            running += 1
            nursery.start_soon(partial(one, now, first=False))
    if won is None:
        assert failure is not None  # noqa: S101 - else the first would be under way
        raise failure
    return won
