"""Writing to a connection that others use as well: nobody's cancellation may leave half a frame on it.

httpcore takes what is to be sent from h2 and awaits the socket. A call that is cancelled there takes bytes along that
belong to all calls of the connection (the next headers cannot be decoded without them), and TLS of trio is broken by a
write that is cut short. Both fail every other call that is under way. So a write goes on to its end, also if its
call is cancelled; only a peer that does not read makes it give up.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_PATIENCE = 1.0  # seconds that a cancelled call waits for its write: then the connection is lost for all


def write_whole(stream: Any) -> None:
    """Have a network stream of httpcore's write like that from now on."""
    stream.write = partial(_whole, stream.write)


async def _whole(write: Callable[..., Awaitable[None]], buffer: bytes, timeout: float | None = None) -> None:
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        writing = trio.CancelScope(shield=True)
        nursery.start_soon(_limit, writing)
        with writing:
            try:
                await write(buffer, timeout)
            except Exception as error:  # noqa: BLE001 - raised below, as it is: out of a nursery it would be a group
                failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _limit(writing: trio.CancelScope) -> None:
    """Wait until we are cancelled: because it is written, or with the call."""
    try:
        await trio.sleep_forever()
    finally:
        writing.deadline = trio.current_time() + _PATIENCE
