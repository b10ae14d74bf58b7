"""The way to the store: one thread at a time, and never the event loop's.

Changes that come while a commit is under way wait, and go together in the next one: a disk that syncs a hundred times
a second takes thousands of calls a second. Whoever gets the turn first writes for all who wait, so there is no task
that has to be kept alive for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import outcome
import trio

from switchgear.runtime.wall import wall_time

from .store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .records import Change, Contents
    from .store import Store

T = TypeVar("T")

_MOST = 1000  # changes in one transaction


class _Waiting:
    __slots__ = ("change", "outcome")

    def __init__(self, change: Change) -> None:
        self.change = change
        self.outcome: outcome.Outcome[Any] | None = None


class Desk:
    """Takes changes and questions to a store.

    Args:
        store: used by nobody else.
        opened: told what is in it.
        made: told each change that has been committed, with its result, in order, before anybody else can act on it;
            also those whose makers have gone meanwhile.
    """

    def __init__(self, store: Store, opened: Callable[[Contents], None], made: Callable[[Change, Any], None]) -> None:
        self._store = store
        self._opened = opened
        self._made = made
        self._is_open = False
        self._turn = trio.Lock()
        self._thread = trio.CapacityLimiter(1)  # our own: the program may use all of trio's
        self._waiting: list[_Waiting] = []

    async def open(self) -> None:
        """Be ready. Costs nothing if it is. Raises StoreError; the next call tries again."""
        if not self._is_open:
            async with self._turn:
                await self._open()

    async def write(self, change: Change) -> Any:
        """Make one change; it is on disk when this returns, with its result.

        If you are cancelled, it is made all the same or not at all: not at all unless a thread has it already.

        Raises:
            StoreError: it has not been made.
        """
        waiting = _Waiting(change)
        self._waiting.append(waiting)
        try:
            async with self._turn:
                while waiting.outcome is None:
                    await self._commit()
        finally:
            if waiting.outcome is None and waiting in self._waiting:
                self._waiting.remove(waiting)
        return waiting.outcome.unwrap()

    async def read(self, question: Callable[[], T]) -> T:
        """Ask the store something, which is open then. Raises StoreError."""
        async with self._turn:
            await self._open()
            return await self._run(question)

    async def close(self) -> None:
        """Give the store back. Raises StoreError."""
        async with self._turn:
            self._is_open = False
            await self._run(self._store.close)

    async def _open(self) -> None:
        if not self._is_open:
            contents = await self._run(self._store.open, wall_time())
            self._is_open = True
            self._opened(contents)

    async def _commit(self) -> None:
        """Write for all who wait, for whoever has the turn."""
        batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        try:
            await self._open()
            await self._write(batch)
        except StoreError as error:
            if self._is_open and len(batch) > 1:
                await self._one_by_one(batch)
            else:
                self._fail(batch, error)
        except BaseException as error:  # noqa: BLE001 - a mistake of ours is raised by all, so that nobody waits for ever
            self._fail(batch, error)

    async def _one_by_one(self, batch: list[_Waiting]) -> None:
        """One that is too much for the disk must not take the others along."""
        for waiting in batch:
            try:
                await self._write([waiting])
            except StoreError as error:
                self._fail([waiting], error)

    async def _write(self, batch: list[_Waiting]) -> None:
        results = await self._run(self._store.write, [waiting.change for waiting in batch])
        for waiting, result in zip(batch, results, strict=True):
            self._made(waiting.change, result)
            waiting.outcome = outcome.Value(result)

    def _fail(self, batch: list[_Waiting], error: BaseException) -> None:
        for waiting in batch:  # to each an error of his own: raising one changes it
            waiting.outcome = outcome.Error(StoreError(*error.args) if isinstance(error, StoreError) else error)

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        """In a thread, which nobody abandons: a cancelled caller leaves when it is done, so that none outlives us."""
        if self._store.in_memory:
            return function(*args)
        with trio.CancelScope(shield=True):
            result = await trio.to_thread.run_sync(function, *args, limiter=self._thread)
        return result  # noqa: RET504 - mypy thinks that a scope may swallow what is returned in it
