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

from . import policy
from .errors import StartFailed, SupervisorGaveUp
from .events import ActorCrashed, ActorRestarting, ActorStarted, ActorStopped, ActorStuck, StopFailed
from .info import ActorInfo, State
from .policy import Intensity, Policy, Restart, Strategy
from .tracebacks import describe

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

    __slots__ = ("done", "name", "node", "restart", "scope", "settled", "start_timeout")

    def __init__(self, name: str, node: Node, restart: Restart, start_timeout: float) -> None:
        self.name = name
        self.node = node
        self.restart = restart
        self.start_timeout = start_timeout
        self.scope = trio.CancelScope()  # round the present life
        self.done = trio.Event()  # the present life has ended
        self.settled = _Settled()  # whoever added this child at run time


class _Settled:
    """Whether a child that was added at run time has become ready, or why not."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.error: BaseException | None = None

    def set(self, error: BaseException | None = None) -> None:
        if not self.event.is_set():
            self.error = error
            self.event.set()


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
        self._inbox: deque[policy.Event] = deque()  # bounded by the children: each has one event under way
        self._wake = trio.Event()

    # ---- children

    def attach(self, name: str, node: Node, restart: Restart, start_timeout: float) -> _Child:
        """Put a child into the list; it starts with the supervisor."""
        if name in self._children:
            raise ValueError(f"{self.path}: there is a child {name!r} already; remove it first or choose another name")
        child = self._children[name] = _Child(name, node, restart, start_timeout)
        return child

    async def add(self, name: str, node: Node, restart: Restart, start_timeout: float) -> None:
        """Add a child at run time and wait until it is ready.

        Raises:
            StartFailed: it did not become ready; it is forgotten.
            ValueError: the name is taken.
        """
        child = self.attach(name, node, restart, start_timeout)
        if self.state is State.STOPPED:
            self._forget(child, StartFailed(node.path, "its supervisor has stopped"))
        elif self._policy is not None:
            self._post(policy.Add(name, restart))
        try:
            await child.settled.event.wait()
        except trio.Cancelled:
            self.remove_nowait(name, child)  # whoever wanted it has gone
            raise
        if child.settled.error is not None:
            raise StartFailed(node.path, "it did not become ready") from child.settled.error

    async def remove(self, name: str) -> None:
        """Stop a child, wait for its end, and forget it. Unknown names raise KeyError."""
        child = self._children[name]
        self.remove_nowait(name, child)
        await trio.lowlevel.checkpoint()
        while self._children.get(name) is child:
            await child.done.wait()
            await trio.lowlevel.checkpoint()

    def remove_nowait(self, name: str, child: _Child) -> None:
        """Begin to stop and forget a child."""
        if self._children.get(name) is not child:
            return
        if self._policy is None:
            self._forget(child, None)
        else:
            self._post(policy.Remove(name))

    # ---- life

    async def run(self, ready: Callable[[], None]) -> None:
        """One life: start the children, keep them going, stop them. Raises SupervisorGaveUp."""
        self.state = State.STARTING
        self._inbox.clear()
        children = [(child.name, child.restart) for child in self._children.values()]
        machine = self._policy = Policy(
            children,
            strategy=self._strategy,
            intensity=self._intensity,
            backoff=self._backoff,
            rng=self.system.rng,
        )
        self._post(policy.Begin())
        try:
            async with trio.open_nursery() as nursery:
                ended = await self._loop(machine, nursery, ready)
        finally:
            self._policy, self._since = None, None
            if self.state is not State.STOPPED:
                self.state = State.WAITING
        if ended.history:
            raise self._gave_up(ended)

    async def _loop(self, machine: Policy, nursery: trio.Nursery, ready: Callable[[], None]) -> policy.Ended:
        while True:
            while self._inbox:
                for action in machine.step(self._inbox.popleft(), trio.current_time()):
                    if isinstance(action, policy.Ended):
                        return action
                    self._perform(action, nursery, ready)
            self._wake = trio.Event()
            with trio.CancelScope(deadline=machine.due) as scope:
                await self._wake.wait()
            if scope.cancelled_caught:
                self._inbox.append(policy.Tick())

    def _perform(self, action: policy.Action, nursery: trio.Nursery, ready: Callable[[], None]) -> None:
        match action:
            case policy.Start(name):
                child = self._children[name]
                child.done = trio.Event()
                nursery.start_soon(self._live, child, name=child.node.path)
            case policy.Stop(name, final):
                child = self._children[name]
                child.node.stop(final=final)
                nursery.start_soon(self._enforce, child, name=f"{child.node.path} stop")
            case policy.Delayed(name, due, crashes):
                delay = max(0.0, due - trio.current_time())
                self.system.events.publish(
                    ActorRestarting(path=self._children[name].node.path, delay=delay, crashes=crashes)
                )
            case policy.Forgotten(name, error):
                self._forget(self._children[name], error)
            case policy.Booted():
                self.state, self._since = State.RUNNING, trio.current_time()
                ready()

    async def _live(self, child: _Child) -> None:
        """Run one life of a child and report its end. What is not a crash (Cancelled, KeyboardInterrupt) goes on."""
        error: BaseException | None = None
        child.scope = trio.CancelScope(deadline=trio.current_time() + child.start_timeout)
        started = False

        def ready() -> None:
            nonlocal started
            started, child.scope.deadline = True, math.inf
            self.system.events.publish(ActorStarted(path=child.node.path, restarts=child.node.restarts))
            child.settled.set()
            self._post(policy.Ready(child.name))

        try:
            with child.scope:
                await child.node.run(ready)
            if not started and child.scope.cancelled_caught:
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
        child.node.restarts += 1  # of the next life, if there is one
        child.done.set()
        if error is not None:
            kind = StopFailed if self._stopping(child) else ActorCrashed
            event = kind(path=child.node.path, error=_short(error), traceback=describe(error))
            self.system.events.publish(event)
        self._post(policy.Exited(child.name, error))

    def _stopping(self, child: _Child) -> bool:
        known = None if self._policy is None else self._policy.children.get(child.name)
        return known is not None and known.status is policy.Status.STOPPING

    async def _enforce(self, child: _Child) -> None:
        """Give a child its grace period, then cancel it, then complain until it goes."""
        node, done = child.node, child.done
        with trio.move_on_after(node.grace):
            await done.wait()
            return
        child.scope.cancel(reason=f"{node.path}: its grace period of {node.grace:g} s is over")
        cancelled = trio.current_time()
        while not done.is_set():
            with trio.move_on_after(_STUCK_AFTER):
                await done.wait()
                return
            self.system.events.publish(ActorStuck(path=node.path, waited=trio.current_time() - cancelled))

    def _forget(self, child: _Child, error: BaseException | None) -> None:
        """The child will not live again: its ref is dead, and nobody waits for it any more."""
        del self._children[child.name]
        child.node.bury("it has ended" if error is None else "it did not start")
        child.settled.set(error or StartFailed(child.node.path, "it was removed before it was ready"))
        child.done.set()
        self.system.events.publish(ActorStopped(path=child.node.path, reason="ended" if error is None else "no start"))

    def _gave_up(self, ended: policy.Ended) -> SupervisorGaveUp:
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
        self.state = State.STOPPING
        self._post(policy.Shutdown(final))

    def bury(self, reason: str) -> None:
        """No more lives, for it and for all below it."""
        self.state = State.STOPPED
        for child in list(self._children.values()):
            child.node.bury(reason)
            child.settled.set(StartFailed(child.node.path, reason))

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

    def _post(self, event: policy.Event) -> None:
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
