"""A running tree of actors: the root supervisor, and what the whole tree shares (events, timeouts, randomness).

`open_system` is the kernel's front door. It knows nothing of HTTP: the floors above hang their actors into it.
"""

from __future__ import annotations

import math
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from .cell import Cell
from .errors import SupervisorGaveUp
from .events import EventBus
from .expiry import Expiries
from .lag import watch_for_blocking
from .mailbox import WhenFull
from .supervisor import Supervisor
from .tracebacks import without_cancelled
from .words import Intensity, Restart, Strategy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .actor import Actor
    from .backoff import Backoff
    from .events import DeadLetter
    from .info import ActorInfo
    from .ref import Ref


class System:
    """A tree of actors. Made by `open_system`."""

    def __init__(self, rng: random.Random, root: Intensity, scrub: Callable[[str], str] | None = None) -> None:
        self.rng = rng
        self.events = EventBus(scrub)
        self.expiries = Expiries()
        self.dead_letters = 0
        """Messages that nobody has handled or will."""
        self.ended = trio.Event()
        """The root supervisor has stopped."""
        self.root = Supervisor("/", self, intensity=root)

    async def start(
        self,
        factory: Callable[[], Actor],
        name: str,
        *,
        under: str = "/",
        restart: Restart = Restart.PERMANENT,
        capacity: int = 1000,
        when_full: WhenFull = WhenFull.WAIT,
        grace: float = 5.0,
        start_timeout: float = 30.0,
    ) -> Ref:
        """Start an actor as the last child of the supervisor at ``under``, and wait until it is ready.

        Args:
            factory: called for every life of the actor.
            name: the last part of its path; unique among its siblings.
            restart: which of its ends are followed by a restart.
            capacity: how many messages its mailbox holds.
            when_full: what a message meets that finds it full.
            grace: seconds it gets to stop by itself, and its ``teardown`` to run.
            start_timeout: seconds that ``setup`` may take.

        Raises:
            StartFailed: it did not become ready (the cause is chained).
            ValueError: the name is taken or has a slash; there is no supervisor ``under``.
        """
        supervisor = self._find(under)
        path = _join(under, name)
        cell = Cell(path, factory, self, capacity=capacity, when_full=when_full, grace=grace)
        await supervisor.add(name, cell, restart, start_timeout)
        return cell.ref

    async def supervise(
        self,
        name: str,
        *,
        under: str = "/",
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity | None = None,
        backoff: Backoff | None = None,
        restart: Restart = Restart.PERMANENT,
    ) -> str:
        """Start a supervisor and return its path. Its children are added with ``start(under=path)``."""
        parent = self._find(under)
        path = _join(under, name)
        supervisor = Supervisor(path, self, strategy=strategy, intensity=intensity, backoff=backoff)
        await parent.add(name, supervisor, restart, start_timeout=math.inf)  # its children have each their own
        return path

    async def stop(self, path: str) -> None:
        """Stop the actor or supervisor at ``path``, wait for its end, and forget it. KeyError if there is none."""
        above, _, name = path.rstrip("/").rpartition("/")
        parent = self._supervisor(above)
        if parent is None:
            raise KeyError(path)
        await parent.remove(name)

    def tree(self) -> ActorInfo:
        """Every actor with its state, mailbox, work in hand, restarts and uptime."""
        return self.root.info()

    def count_dead_letter(self, letter: DeadLetter) -> None:
        """Count and publish a message that nobody will handle."""
        self.dead_letters += 1
        self.events.publish(letter)

    def _find(self, path: str) -> Supervisor:
        found = self._supervisor(path)
        if found is None:
            raise ValueError(f"there is no supervisor at {path!r}")
        return found

    def _supervisor(self, path: str) -> Supervisor | None:
        """Walk down from the root: what has gone from the tree cannot be found."""
        found: Supervisor | None = self.root
        for name in path.split("/"):
            if name and found is not None:
                found = found.below(name)
        return found


def _join(under: str, name: str) -> str:
    if not name or "/" in name:
        raise ValueError(f"an actor's name is not empty and has no slash, unlike {name!r}")
    return f"{under.rstrip('/')}/{name}"


@asynccontextmanager
async def open_system(
    *,
    seed: int | None = None,
    intensity: Intensity | None = None,
    blocked_after: float | None = 0.25,
    scrub: Callable[[str], str] | None = None,
) -> AsyncIterator[System]:
    """Run a tree of actors for the length of a block.

    At the end of the block all actors are stopped, from right to left, each in its grace period, and every ask that
    is still open ends with `ActorStopped`. If the block is cancelled, so are the actors, all at once. An error of the
    block comes out as it is, not in a group.

    Args:
        seed: of all randomness (backoff, and what the actors draw from their contexts).
        intensity: of the root supervisor.
        blocked_after: seconds that the event loop may stand still before a `LoopBlocked` event names the culprit;
            None switches that off (it is off under a mock clock: there is no real time to stand still in).
        scrub: what the texts of all events go through before anybody sees them.

    Raises:
        SupervisorGaveUp: the root supervisor met more crashes than it allows; the block is cancelled first.
        RuntimeError: trio is not running here.
    """
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError("Switchgear runs on trio, and trio does not run here: start it by trio.run")
    system = System(random.Random(seed), intensity or Intensity(), scrub)
    root = system.root
    body = trio.CancelScope()
    failures: list[BaseException] = []
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.expiries.keep)
            if blocked_after is not None:
                nursery.start_soon(watch_for_blocking, system.events, blocked_after)
            await nursery.start(_run_root, system, body, failures)
            try:
                with body:
                    yield system
            except Exception as error:
                failures.append(error)
            except (KeyboardInterrupt, SystemExit) as error:  # no time for goodbyes
                failures.append(error)
                nursery.cancel_scope.cancel(reason=repr(error))
            root.stop(final=True)
            await system.ended.wait()
            nursery.cancel_scope.cancel(reason="the runtime has ended")
    except BaseException as other:  # above all Cancelled, which gives way to an error as everywhere in trio
        if not failures:
            raise
        rest = without_cancelled(other)
        if rest is not None:
            failures.append(rest)
    if failures:
        raise _one(failures)


def _one(failures: list[BaseException]) -> BaseException:
    """The error to raise: the first, with the others as notes, unless one of them ends the program."""
    first, *others = failures
    if all(isinstance(error, Exception) for error in failures):
        for also in others:
            first.add_note(f"and then: {also!r}")
        return first
    return first if not others else BaseExceptionGroup("the runtime and its block failed", failures)


async def _run_root(
    system: System, body: trio.CancelScope, failures: list[BaseException], task_status: trio.TaskStatus[None]
) -> None:
    """Run the root supervisor. If it gives up, the block cannot go on either."""
    try:
        await system.root.run(task_status.started)
    except SupervisorGaveUp as error:
        failures.append(error)
        body.cancel(reason=str(error))
    finally:
        system.root.bury("the runtime has ended")
        system.ended.set()
