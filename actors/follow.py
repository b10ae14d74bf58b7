"""Following a watch of a runtime from outside of its tree: until the runtime ends, and no longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from switchgear.runtime import Watch

T = TypeVar("T")


async def next_version(watch: Watch[T], since: int, ended: trio.Event) -> int | None:
    """Wait until the version of the watch is past ``since``; return it, or None once the runtime has ended.

    Whoever follows runs in a task of the program, which the end of the runtime does not cancel: without this he would
    wait for ever.
    """
    version = None
    async with trio.open_nursery() as nursery:

        async def give_up() -> None:
            await ended.wait()
            nursery.cancel_scope.cancel(reason="the runtime has ended")

        nursery.start_soon(give_up)
        version = await watch.changed(since)
        nursery.cancel_scope.cancel(reason="there is a new version")
    return version
