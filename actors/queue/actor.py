"""The actor of the queue: it keeps what is queued, and makes each call again when its service takes calls.

The schedule decides, the desk writes, and what is here carries out. One pump for all services, which sleeps until
something is due; it is woken by what changes that, and above all by a breaker that closes.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from switchgear.runtime import Actor
from switchgear.runtime.backoff import Backoff
from switchgear.runtime.events import EventsLost
from switchgear.runtime.wall import wall_time

from ..config import QueueFallback
from ..errors import ServiceError
from ..events import BreakerChanged, ItemDead, ItemDelivered, ItemQueued, QueueFailed
from .desk import Desk
from .messages import Changed, Drop, Enqueue, List, Retry, Stats
from .pack import failure, unpack
from .records import Bury, Lease, Put, Remove, Revive
from .schedule import Schedule
from .store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from switchgear.runtime import Context, EventBus

    from ..service.messages import Request
    from ..service.state import ServiceState
    from .records import Call, Change, Entry
    from .store import Store

_AGAIN = Backoff(initial=1.0, maximum=30.0)  # between two tries to use a file that cannot be used
_LEAST = 0.01  # seconds that a service is held for: a breaker that names a time of the past must not make us spin
_LAST_WORDS = 5.0  # seconds to write what came of an attempt, when we are being stopped
_SHUT = frozenset({"open", "half_open", "forced_open"})
_MARGIN = 60.0  # seconds that a lease is longer than the attempt may take


class QueueActor(Actor):
    """Answers the messages of `messages.py`.

    Args:
        store: where it is kept.
        states: of the services there are, by name; it changes while we look.
        send: makes a call to a service, through its guards and without its fallbacks.
        events: of the runtime.
    """

    concurrency = 1000  # callers who wait for the same few commits
    errors: ClassVar = (StoreError,)

    def __init__(
        self,
        store: Store,
        states: Mapping[str, ServiceState],
        send: Callable[[str, Request], Awaitable[object]],
        events: EventBus,
    ) -> None:
        self._store = store
        self._states = states
        self._send = send
        self._events = events
        self._sleep = trio.CancelScope()  # of the pump

    async def setup(self, ctx: Context) -> None:
        """Know the services. The file is opened by the pump: one that cannot be opened must not stop the runtime."""
        self._ctx = ctx
        self._schedule = Schedule(ctx.rng)
        self._desk = Desk(self._store, self._schedule.load, self._made)
        for service in self._states:
            self._configure(service)
        ctx.start_soon(self._listen)
        ctx.start_soon(self._pump)

    async def teardown(self) -> None:
        """Let go of the file."""
        try:
            await self._desk.close()
        except StoreError as error:
            self._failed(error)

    async def handle(self, message: Any) -> Any:
        """One message."""
        match message:
            case Enqueue(call):
                return await self._enqueue(call)
            case List(service, dead, limit):
                return await self._desk.read(partial(self._store.list, service, dead=dead, limit=limit))
            case Retry(handle):
                return len(await self._desk.write(Revive(handle, wall_time())))
            case Drop(handle):
                return len(await self._desk.write(Remove(handle)))
            case Stats():
                await self._desk.open()
                return self._schedule.stats()
            case Changed(service):
                self._configure(service)
                return None
        raise TypeError(f"the queue does not understand {type(message).__name__}")

    async def _enqueue(self, call: Call) -> int:
        await self._desk.open()  # else nobody knows how much is in it
        full = self._schedule.reserve(call.service, call.size)
        if full is not None:
            raise StoreError(full)
        try:
            due = self._schedule.first_due(call.service, call.queued_at)
            number: int = await self._desk.write(Put(call, due))
        finally:
            self._schedule.unreserve(call.service, call.size)
        return number

    # ---- what happens around it

    def _configure(self, service: str) -> None:
        state = self._states.get(service)
        if state is None:
            self._schedule.configure(service, None)
        else:  # what was queued under a fallback that is not there any more was promised all the same
            fallbacks = state.config.value.fallbacks
            policies = (one for one in fallbacks if isinstance(one, QueueFallback))
            self._schedule.configure(service, next(policies, QueueFallback()))
        self._wake()

    def _made(self, change: Change, result: Any) -> None:
        """A change is in the store."""
        self._schedule.made(change, result)
        if isinstance(change, Put):
            call = change.call
            self._emit(ItemQueued, call.service, id=result, request_id=call.request_id)
        self._wake()

    async def _listen(self) -> None:
        """A breaker that lets calls through again ends all waiting for its service."""
        async with self._events.subscribe() as events:
            async for event in events:
                if isinstance(event, BreakerChanged):
                    if event.new not in _SHUT:
                        self._release(event.service)
                    self._configure(event.service)  # what it was held for may not be so any more
                elif isinstance(event, EventsLost):  # it may have been among them
                    for service in self._states:
                        self._release(service)

    def _release(self, service: str) -> None:
        self._schedule.release(service, wall_time())
        self._wake()

    def _wake(self) -> None:
        self._sleep.deadline = -math.inf

    def _failed(self, error: StoreError) -> None:
        self._ctx.emit(QueueFailed(path=self._ctx.path, error=str(error)))

    def _emit(self, kind: Any, service: str, **fields: Any) -> None:
        self._ctx.emit(kind(path=self._ctx.path, service=service, **fields))

    # ---- making the calls

    async def _pump(self) -> None:
        await self._open()
        while True:
            now = wall_time()
            for service in self._schedule.ready(now):
                self._serve(service, now)
            await self._rest(self._schedule.due() - wall_time())

    async def _open(self) -> None:
        """Whatever is wrong with the file may pass: another process that still has it, a disk that is not there yet."""
        failures = 0
        while True:
            try:
                return await self._desk.open()
            except StoreError as error:
                self._failed(error)
            failures += 1
            await self._rest(_AGAIN.delay(failures, self._ctx.rng))

    async def _rest(self, seconds: float) -> None:
        with trio.CancelScope(deadline=trio.current_time() + seconds) as self._sleep:
            await trio.sleep_forever()

    def _serve(self, service: str, now: float) -> None:
        state = self._states.get(service)
        if state is None:  # it is being removed
            self._schedule.configure(service, None)
            return
        at = state.breakers.retry_at(trio.current_time())
        if at is not None:
            self._schedule.hold(service, max(_wall(at), now + _LEAST))
        for entry, reason in self._schedule.take(service, now):
            if reason is None:
                self._ctx.start_soon(self._replay, entry, state.config.value.timeout.total)
            else:
                self._ctx.start_soon(self._settle, entry, Bury(entry.id, entry.attempts, reason))

    async def _replay(self, entry: Entry, timeout: float) -> None:
        try:
            call = await self._desk.write(Lease(entry.id, entry.attempts, wall_time() + timeout + _MARGIN))
        except StoreError as error:
            self._failed(error)
            self._schedule.put_back(entry, wall_time() + _AGAIN.maximum)
            return
        if call is None:  # it was dropped
            return
        try:
            await self._send(call.service, unpack(call, trio.current_time(), timeout))
        except ServiceError as error:
            await self._settle(entry, self._after(entry, error))
        else:
            await self._settle(entry, Remove(entry.id))
            self._emit(ItemDelivered, call.service, id=entry.id, request_id=call.request_id)

    def _after(self, entry: Entry, error: ServiceError) -> Change:
        retry_at = None if error.retry_at is None else _wall(error.retry_at)
        return self._schedule.failed(entry, failure(error, retry_at), wall_time())

    async def _settle(self, entry: Entry, change: Change) -> None:
        """Write what came of an attempt. Until that is written, nothing else is tried in its place."""
        failures = 0
        while not await self._written(change):
            failures += 1
            await trio.sleep(_AGAIN.delay(failures, self._ctx.rng))
        if isinstance(change, Bury):
            self._emit(ItemDead, entry.service, id=entry.id, error=change.error)

    async def _written(self, change: Change) -> bool:
        try:
            try:
                await self._desk.write(change)
            except trio.Cancelled:  # we are being stopped: what is known now would have to be found out again
                with trio.CancelScope(deadline=trio.current_time() + _LAST_WORDS, shield=True):
                    await self._desk.write(change)
                raise
        except StoreError as error:
            self._failed(error)
            return False
        return True


def _wall(at: float) -> float:
    """A time of trio's as wall time."""
    return at - trio.current_time() + wall_time()
