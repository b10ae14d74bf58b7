"""The supervisor: performs what the policy decides, and tells the policy what came of it.

A supervisor owns the nursery that its children live in. It decides nothing itself (see `policy.py`); here is the I/O
of supervision: start a child and wait until it is ready, ask it to stop, cancel it when its grace period is over, and
say its name for as long as it will not go. A child is an actor (`Cell`) or another supervisor: the two look alike.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Protocol

import trio

from . import words
from .errors import StartFailed, SupervisorGaveUp
from .events import ActorCrashed, ActorRestarting, ActorStarted, ActorStopped, ActorStuck, StopFailed
from .info import ActorInfo, State
from .latch import Latch
from .policy import Policy, Status
from .tracebacks import describe
from .words import Intensity, Restart, Strategy

if TYPE_CHECKING:
    from collections.abc import Callable

    from .backoff import Backoff
    from .system import System

_STUCK_AFTER = 5.0  # seconds from the cancellation of a child to the first (and each further) complaint


class Node(Protocol):
    """What a supervisor needs of a child."""

    path: str
    grace: float
    restarts: int

    async def run(self, ready: Callable[[], None]) -> None: ...
    def stop(self, *, final: bool) -> None: ...
    def bury(self, reason: str) -> None: ...
    def info(self) -> ActorInfo: ...


class _Child:
    """A node, and the task that runs its present life."""

    __slots__ = (
        *("done", "doomed", "error", "gone", "lives", "name"),
        *("node", "restart", "scope", "settled", "start_timeout"),
    )

    def __init__(self, name: str, node: Node, restart: Restart, start_timeout: float) -> None:
        self.name = name
        self.node = node
        self.restart = restart
        self.start_timeout = start_timeout
        self.lives = 0
        self.settled = Latch()  # it has become ready for the first time, or will not
        self.error: BaseException | None = None  # why not
        self.gone = Latch()  # it is forgotten
        self.doomed = False  # its present life has been told to stop
        self.done = Latch()  # its present life has ended
        self.done.set()

    def begin(self) -> None:
        """A new life. Its scope is made here and not in its task, which may be told to stop before it first runs."""
        self.lives += 1
        if self.lives > 1:
            self.node.restarts += 1
        self.doomed = False
        self.done = Latch()
        self.scope = trio.CancelScope(deadline=trio.current_time() + self.start_timeout)

    def settle(self, error: BaseException | None = None) -> None:
        """Tell whoever added it. The first word counts."""
        if not self.settled.is_set():
            self.error = error
            self.settled.set()


class Supervisor:
    """A node with children. Outlives its own crashes as a `Cell` does: children and their refs are kept."""

    grace = math.inf  # its children have theirs; a finite one here would orphan them half-way (OTP's documented race)

    def __init__(
        self,
        path: str,
        system: System,
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.path = path
        self.system = system
        self.restarts = 0
        self.state = State.WAITING
        self._strategy = strategy
        self._intensity = intensity or Intensity()
        self._backoff = backoff
        self._children: dict[str, _Child] = {}
        self._since: float | None = None
        self._policy: Policy | None = None
        self._inbox: deque[words.Event] = deque()  # bounded by the children: each has one event under way
        self._unwanted: list[_Child] = []  # removed, and perhaps not forgotten yet
        self._wake = trio.Event()

    # ---- children

    async def add(self, name: str, node: Node, restart: Restart, start_timeout: float) -> None:
        """Add a child at run time and wait until it is ready.

        Raises:
            StartFailed: it did not become ready; it is forgotten.
            ValueError: the name is taken.
        """
        if name in self._children:
            raise ValueError(f"{self.path}: there is a child {name!r} already; remove it first or choose another name")
        child = self._children[name] = _Child(name, node, restart, start_timeout)
        if self.state is State.STOPPED:
            self._forget(child, StartFailed(node.path, "its supervisor has stopped"))
        elif self._policy is not None:
            self._post(words.Add(name, restart))
        try:
            await child.settled.wait()
        except trio.Cancelled:
            self._remove_nowait(child)  # whoever wanted it has gone
            raise
        if child.error is not None:
            raise StartFailed(node.path, "it did not become ready") from child.error

    async def remove(self, name: str) -> None:
        """Stop a child, wait for its end, and forget it. Unknown names raise KeyError."""
        child = self._children[name]
        self._remove_nowait(child)
        await child.gone.wait()

    def _remove_nowait(self, child: _Child) -> None:
        if self._policy is None:  # no life of ours, so none of the child's
            self._forget(child, None)
        elif not child.gone.is_set():  # else its name may be another's by now
            self._unwanted.append(child)  # our life may be over before it gets to read this
            self._post(words.Remove(child.name))

    def below(self, name: str) -> Supervisor | None:
        """The child of that name, if it is a supervisor."""
        child = self._children.get(name)
        return child.node if child is not None and isinstance(child.node, Supervisor) else None

    # ---- life

    async def run(self, ready: Callable[[], None]) -> None:
        """One life: start the children, keep them going, stop them. Raises SupervisorGaveUp."""
        self.state = State.STARTING
        machine = self._policy = self._new_policy()
        try:
            async with trio.open_nursery() as nursery:
                try:
                    ended = await self._loop(machine, nursery, ready)
                except trio.Cancelled:
                    nursery.start_soon(self._await_all, name=f"{self.path} cancelled")
                    raise
        finally:
            self._policy, self._since = None, None
            self._forget_unwanted()
            if self.state is not State.STOPPED:
                self.state = State.WAITING
        if ended.history:
            raise self._gave_up(ended)

    def _new_policy(self) -> Policy:
        """For a new life. A child that never was ready is added to it anew: its failure is no failure of ours."""
        children = self._children.values()
        self._inbox.clear()
        self._post(words.Begin())
        for child in children:
            if not child.settled.is_set():
                self._post(words.Add(child.name, child.restart))
        return Policy(
            [(child.name, child.restart) for child in children if child.settled.is_set()],
            strategy=self._strategy,
            intensity=self._intensity,
            backoff=self._backoff,
            rng=self.system.rng,
        )

    def _forget_unwanted(self) -> None:
        for child in self._unwanted:
            self._forget(child, None)
        self._unwanted.clear()

    async def _loop(self, machine: Policy, nursery: trio.Nursery, ready: Callable[[], None]) -> words.Ended:
        while True:
            while self._inbox:
                for action in machine.step(self._inbox.popleft(), trio.current_time()):
                    if isinstance(action, words.Ended):
                        return action
                    self._perform(action, nursery, ready)
            self._unwanted = [child for child in self._unwanted if not child.gone.is_set()]
            await self._next(machine.due)

    async def _next(self, due: float) -> None:
        """Wait for an event, or until ``due``."""
        self._wake = trio.Event()
        if due == math.inf:  # as mostly; a scope costs more than all else here
            await self._wake.wait()
            return
        with trio.CancelScope(deadline=due) as scope:
            await self._wake.wait()
        if scope.cancelled_caught:
            self._inbox.append(words.Tick())

    def _perform(self, action: words.Action, nursery: trio.Nursery, ready: Callable[[], None]) -> None:
        match action:
            case words.Start(name):
                child = self._children[name]
                child.begin()
                nursery.start_soon(self._live, child, name=child.node.path)
            case words.Stop(name, final):
                child = self._children[name]
                child.node.stop(final=final)
                if not child.doomed:
                    child.doomed = True
                    nursery.start_soon(self._enforce, child, name=f"{child.node.path} stop")
            case words.Delayed(name, due, crashes):
                delay = max(0.0, due - trio.current_time())
                self.system.events.publish(
                    ActorRestarting(path=self._children[name].node.path, delay=delay, crashes=crashes)
                )
            case words.Forgotten(name, error):
                self._forget(self._children[name], error)
            case words.Booted():
                self.state, self._since = State.RUNNING, trio.current_time()
                ready()

    async def _live(self, child: _Child) -> None:
        """Run one life of a child and report its end. What is not a crash (Cancelled, KeyboardInterrupt) goes on."""
        error: BaseException | None = None

        def ready() -> None:
            if child.scope.cancel_called:
                return  # too late; it has swallowed its Cancelled, and meets the next one soon
            child.scope.deadline = math.inf
            self.system.events.publish(ActorStarted(path=child.node.path, restarts=child.node.restarts))
            child.settle()
            self._post(words.Ready(child.name))

        try:
            with child.scope:
                if not child.doomed:
                    await child.node.run(ready)
            if child.scope.cancelled_caught and not child.doomed:
                error = StartFailed(child.node.path, f"it was not ready after {child.start_timeout:g} s")
        except Exception as crash:
            error = crash
        except BaseExceptionGroup as group:
            error, rest = group.split(Exception)
            if rest is not None:
                raise rest from None  # its other leaves are reported below, all of them
        finally:
            self._ended(child, error)

    def _ended(self, child: _Child, error: BaseException | None) -> None:
        child.done.set()
        if error is not None:
            kind = StopFailed if self._stopping(child) else ActorCrashed
            event = kind(path=child.node.path, error=_short(error), traceback=describe(error))
            self.system.events.publish(event)
        self._post(words.Exited(child.name, error))

    def _stopping(self, child: _Child) -> bool:
        known = None if self._policy is None else self._policy.children.get(child.name)
        return known is not None and known.status is Status.STOPPING

    async def _enforce(self, child: _Child) -> None:
        """Give a child its grace period, then cancel it, then complain until it goes."""
        node, done = child.node, child.done
        with trio.move_on_after(node.grace):
            await done.wait()
            return
        child.scope.cancel(reason=f"{node.path}: its grace period of {node.grace:g} s is over")
        await self._await(child)

    async def _await_all(self) -> None:
        """We are cancelled, and all children with us: say who does not go. Ends with the last of them."""
        with trio.CancelScope(shield=True):
            for child in list(self._children.values()):
                await self._await(child)

    async def _await(self, child: _Child) -> None:
        """Wait for the end of a child that has been cancelled, and complain for as long as it does not come."""
        cancelled = trio.current_time()
        while not child.done.is_set():
            with trio.move_on_after(_STUCK_AFTER):
                await child.done.wait()
                return
            self.system.events.publish(ActorStuck(path=child.node.path, waited=trio.current_time() - cancelled))

    def _forget(self, child: _Child, error: BaseException | None) -> None:
        """The child will not live again: its ref is dead, and nobody waits for it any more. Twice is once."""
        if child.gone.is_set():
            return
        del self._children[child.name]
        self._bury(child, "it has ended" if error is None else "it did not start", error)

    def _bury(self, child: _Child, reason: str, error: BaseException | None = None) -> None:
        child.node.bury(reason)
        child.settle(error or StartFailed(child.node.path, reason))
        child.gone.set()
        self.system.events.publish(ActorStopped(path=child.node.path, reason=reason))

    def _gave_up(self, ended: words.Ended) -> SupervisorGaveUp:
        errors = [crash.error for crash in ended.history if crash.error is not None]
        limit = self._intensity
        last = _short(errors[-1]) if errors else "it ended by itself"
        if ended.failed is not None:
            text = f"child {ended.failed!r} did not start: {last}"
        else:
            text = f"more than {limit.max_restarts} restarts in {limit.within:g} s, the last of {last}"
        error = SupervisorGaveUp(self.path, text, ended.history)
        if errors:
            error.__cause__ = BaseExceptionGroup(f"the crashes below {self.path}", errors)
        return error

    def stop(self, *, final: bool) -> None:
        """Begin to stop: children from right to left, each with its own grace period."""
        if self._policy is not None:
            self.state = State.STOPPING
            self._post(words.Shutdown(final))

    def bury(self, reason: str) -> None:
        """No more lives, for it and for all below it."""
        self.state = State.STOPPED
        for child in reversed(self._children.values()):  # as they were stopped
            if not child.gone.is_set():
                self._bury(child, reason)

    def info(self) -> ActorInfo:
        """This supervisor and the tree below it."""
        return ActorInfo(
            path=self.path,
            kind="supervisor",
            state=self.state,
            restarts=self.restarts,
            uptime=0.0 if self._since is None else trio.current_time() - self._since,
            children=tuple(child.node.info() for child in self._children.values()),
        )

    def _post(self, event: words.Event) -> None:
        self._inbox.append(event)
        self._wake.set()


def _short(error: BaseException) -> str:
    """One line for an error: groups are unwrapped to their first leaf, with the number of the others."""
    leaves = 0
    while isinstance(error, BaseExceptionGroup):
        leaves += len(error.exceptions) - 1
        error = error.exceptions[0]
    more = f" (and {leaves} more)" if leaves else ""
    return f"{type(error).__name__}: {error}{more}" if str(error) else f"{type(error).__name__}{more}"
