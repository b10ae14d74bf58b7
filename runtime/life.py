"""One life of an actor: set it up, hire workers as messages come, stop or crash, tear it down.

Workers are tasks that take messages out of the mailbox: none while the actor has never been asked, and as many as
there are messages in hand, up to its ``concurrency``. That pool is the bulkhead. A life ends in one of three ways: it
is told to stop, it is cancelled, or something in it raises, which is a crash. Whichever it is, every ask in hand is
settled at once, before the ruins are cleared.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import outcome
import trio

from .actor import Actor, Context
from .envelope import Ask, Own, Tell, in_hand
from .errors import ActorCrashed, ActorError, ActorStopped
from .events import StopFailed
from .info import State
from .latch import Latch
from .tracebacks import describe, without_cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .cell import Cell

_BATCH = 64  # messages a worker takes without letting others run: a pass of trio's scheduler costs ten times a receive


class Life:
    """From ``setup`` to ``teardown`` of one actor object."""

    __slots__ = (
        *("_actor", "_cell", "_context", "_emptied", "_nursery", "_over", "_stop", "_was_ready"),
        *("idle", "in_hand", "workers"),
    )

    def __init__(self, cell: Cell, actor: Actor) -> None:
        if actor.concurrency < 1:
            raise ValueError(f"the concurrency of {cell.path} is at least 1, not {actor.concurrency}")
        self.workers = 0
        self.idle: dict[trio.lowlevel.Task, None] = {}
        """Workers that are parked, since there was nothing to take. The last is woken first: its memory is warm."""
        self.in_hand: set[Ask | Tell] = set()
        self._cell = cell
        self._actor = actor
        self._context = Context(cell, self, cell.snapshot)
        self._nursery: trio.Nursery | None = None
        self._over = True  # no message may be taken: before the actor is ready, and once its end has begun
        self._was_ready = False
        self._stop = Latch()
        self._emptied = Latch()
        cell.limit, cell.snapshot = actor.concurrency, None
        cell.make_use_of_room()

    @property
    def path(self) -> str:
        """Whose life this is."""
        return self._cell.path

    async def run(self, ready: Callable[[], None]) -> None:
        """Live. Returns when told to stop, raises what the actor crashed of."""
        in_hand.set(Own(self._cell))
        try:
            async with trio.open_nursery() as self._nursery:
                await self._serve_until_stopped(ready)
                self._nursery.cancel_scope.cancel(reason=f"{self._cell.path} stops")
        finally:
            self._nursery = None
            self._take_snapshot()
            await self._tear_down()

    async def _serve_until_stopped(self, ready: Callable[[], None]) -> None:
        try:
            await self._actor.setup(self._context)
            self._begin(ready)
            await self._stop.wait()
            if self.in_hand:  # tells only: asks have been settled and cancelled
                await self._emptied.wait()
        finally:  # also when cancelled: what is queued is for the next life
            self._over = True
            if self._cell.state is not State.STOPPED:
                self._cell.state = State.STOPPING

    def _begin(self, ready: Callable[[], None]) -> None:
        cell = self._cell
        if cell.state is State.STARTING:
            cell.state, cell.since = State.RUNNING, trio.current_time()
            self._was_ready, self._over = True, False
            ready()
            self.hire_enough()

    def stop(self, reason: str, *, starting: bool) -> None:
        """Settle what is in hand, and end when the last tell is done (at once if the actor is not ready yet)."""
        self._over = True
        self._settle(lambda: ActorStopped(self._cell.path, reason))
        self._stop.set()
        if not self.in_hand:
            self._emptied.set()
        if starting and self._nursery is not None:
            self._nursery.cancel_scope.cancel(reason=f"{self._cell.path}: {reason}")

    def _crashing(self, error: BaseException) -> None:
        """The end has begun: nobody in hand is to wait for it, and nothing more is taken in this life.

        Unless it is nothing but Cancelled, which ends one message. A group may hold errors beside that.
        """
        cause = without_cancelled(error)
        if cause is None:
            return
        self._over = True

        def crashed() -> ActorError:
            crash = ActorCrashed(self._cell.path, f"crashed: {type(cause).__name__}")
            crash.__cause__ = cause
            return crash

        self._settle(crashed)

    def _settle(self, error: Callable[[], ActorError]) -> None:
        for envelope in list(self.in_hand):
            if isinstance(envelope, Ask):
                envelope.fail(error())

    def _take_snapshot(self) -> None:
        if not self._was_ready:  # it has nothing to tell that its predecessor did not know better
            self._cell.snapshot = self._context.previous
            return
        try:
            self._cell.snapshot = self._actor.snapshot()
        except Exception as error:
            self._report(error)

    async def _tear_down(self) -> None:
        """Always runs, and always ends: shielded, so that a cancelled actor can still say goodbye."""
        grace = self._cell.grace
        try:
            with trio.CancelScope(deadline=trio.current_time() + grace, shield=True) as scope:
                await self._actor.teardown()
            if scope.cancelled_caught:
                self._report(TimeoutError(f"teardown was not done after {grace:g} s, and has been cut off"))
        except Exception as error:  # there may be a crash on its way already, which counts for more
            self._report(error)

    def _report(self, error: Exception) -> None:
        event = StopFailed(path=self._cell.path, error=repr(error), traceback=describe(error))
        self._cell.system.events.publish(event)

    # ---- background tasks

    def start_soon(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        """Run a task of the actor's own; its crash is the actor's."""
        if self._nursery is None:
            raise self._without_tasks()
        name = f"{self._cell.path} {getattr(function, '__qualname__', type(function).__name__)}"
        try:
            self._nursery.start_soon(self._background, function, args, name=name)
        except RuntimeError:  # all of its tasks have ended, and it has not been its turn yet to notice that
            raise self._without_tasks() from None

    def _without_tasks(self) -> ActorStopped:
        return ActorStopped(self._cell.path, "this life of it has no tasks any more, or none yet")

    async def _background(self, function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        in_hand.set(None)  # it outlives the message that was in hand when it was started
        try:
            await function(*args)
        except BaseException as error:
            self._crashing(error)
            raise

    # ---- workers

    def hire_enough(self) -> None:
        """As many as there is work for."""
        while not self._over and self.workers < min(self._cell.pending, self._cell.limit):
            self.hire()

    def hire(self) -> None:
        """One more worker, if this life takes messages."""
        if not self._over and self._nursery is not None:
            self.workers += 1
            # In a context of our own: the caller's variables (a tracing span, say) are not those of whom we serve next.
            context = self._nursery.parent_task.context.copy()
            context.run(self._spawn_worker, self._nursery)

    def _spawn_worker(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._work, name=f"{self._cell.path} worker")

    def wake(self) -> None:
        """One of the idle workers, for something has been queued. It may find that another was quicker."""
        task, _ = self.idle.popitem()
        trio.lowlevel.reschedule(task)

    async def _work(self) -> None:
        """Take messages until the end of this life. This is on the road of every call."""
        cell, idle, queue = self._cell, self.idle, self._cell.mailbox.queue
        task = trio.lowlevel.current_task()

        def gone(_raise_cancel: object) -> trio.lowlevel.Abort:
            del idle[task]
            return trio.lowlevel.Abort.SUCCEEDED

        batch = 0
        while not self._over:
            # One scope for many messages: entering one costs as much as the rest of an ask. It is opened anew only
            # after it was cancelled, that is after a caller has gone.
            with trio.CancelScope() as scope:
                usable = True
                while usable and not self._over:
                    if self.workers > cell.limit:  # it has been lowered
                        self._leave()
                        return
                    if not queue:
                        in_hand.set(None)  # do not hold on to the last message while idle
                        idle[task] = None
                        await trio.lowlevel.wait_task_rescheduled(gone)
                        batch = 0
                    elif batch == _BATCH:
                        in_hand.set(None)
                        await trio.lowlevel.checkpoint()
                        batch = 0
                    else:
                        batch += 1
                        patience = cell.mailbox.patience
                        if patience is None:
                            envelope: Ask | Tell | None = queue.popitem(False)[0]  # noqa: FBT003 (by its name, 0.1 us)
                        else:
                            envelope = cell.next(patience)
                        if envelope is not None:
                            usable = await self._serve(envelope, scope)

    def _leave(self) -> None:
        """A worker goes. It may have been woken for a message, which is for those who stay."""
        self.workers -= 1
        if self.idle and self._cell.mailbox.queue:
            self.wake()

    async def _serve(self, envelope: Ask | Tell, scope: trio.CancelScope) -> bool:
        """One message: handle it and settle its ask. False: the scope has been cancelled and is of no more use."""
        cell, hands = self._cell, self.in_hand
        envelope.scope = scope
        hands.add(envelope)
        in_hand.set(envelope)
        try:
            if not isinstance(envelope, Ask):
                await self._actor.handle(envelope.message)
            elif envelope.outcome is None and (
                envelope.deadline == inf
                or trio.current_time() < envelope.deadline
                or await self._still_wanted(envelope)
            ):
                reply = await self._actor.handle(envelope.message)
                if not envelope.settle(outcome.Value(reply)):
                    cell.late += 1
        except self._actor.errors as error:
            self._answer(envelope, error)
        except BaseException as error:
            self._crashing(error)
            raise
        finally:
            usable, envelope.scope = envelope.scope is not None, None
            hands.discard(envelope)
            cell.pending -= 1
            if envelope.outcome is None and isinstance(envelope, Ask):  # we are being cancelled from above
                envelope.fail(ActorStopped(cell.path, "it was cancelled"))
            if cell.mailbox.waiting:
                cell.make_use_of_room()
            if self._over and not self.in_hand:
                self._emptied.set()
        return usable

    async def _still_wanted(self, ask: Ask) -> bool:
        """No work for a caller whose deadline has passed while the message was queued."""
        if ask.expiry <= trio.current_time():
            ask.fail(self._cell.timeout_error(ask))
            return False
        # It is the deadline of a scope of the caller's: trio is about to cancel him, unless he has moved it.
        await trio.lowlevel.checkpoint()
        ask.deadline = ask.expiry  # moved, to where we cannot see; his cancellation still reaches us
        return ask.outcome is None

    def _answer(self, envelope: Ask | Tell, error: Exception) -> None:
        """A declared error is an answer: to the asker, or where nobody asked, to the dead letters."""
        if not isinstance(envelope, Ask):
            reason = f"its handler answered {type(error).__name__}, and nobody asked"
            self._cell.dead_letter(envelope, reason)
        elif not envelope.settle(outcome.Error(error)):
            self._cell.late += 1
