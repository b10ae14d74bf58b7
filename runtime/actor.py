"""What a user of the kernel writes: an actor, and what it is given to work with.

An actor is a class with an ``async def handle``. The kernel gives it a mailbox, calls ``handle`` for each message (at
most ``concurrency`` at a time), and replaces the whole object when it crashes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from .envelope import in_hand

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from .cell import Cell
    from .events import Event
    from .life import Life
    from .mailbox import WhenFull
    from .patience import QueueRule
    from .ref import Ref


class Context:
    """An actor's view of its place in the tree. One for each life."""

    __slots__ = ("_cell", "_life", "previous", "restarts", "rng")

    def __init__(self, cell: Cell, life: Life, previous: object) -> None:
        self._cell = cell
        self._life = life
        self.previous: Any = previous
        """What `Actor.snapshot` of the last life gave, or None."""
        self.restarts = cell.restarts
        """How often this actor has been started again."""
        self.rng: random.Random = cell.system.rng
        """The runtime's randomness: one stream for all, since a generator of its own would cost each actor 2.5 kB."""

    @property
    def path(self) -> str:
        """Where it stands, as ``/services/payments``."""
        return self._cell.path

    @property
    def ref(self) -> Ref:
        """Its own ref, to give to others. (To ask itself is an `AskLoop`.)"""
        return self._cell.ref

    @property
    def deadline(self) -> float:
        """When the caller of the message in hand will have gone (trio time; infinity if he has all the time).

        At that moment the handler is cancelled; a handler that plans (a retry, a sleep) should look here first.
        """
        envelope = in_hand.get()
        return math.inf if envelope is None else envelope.deadline

    def resize(self, concurrency: int, *, capacity: int | None = None, when_full: WhenFull | None = None) -> None:
        """Change how many messages this life may have in hand at once, and what its mailbox holds and does when full.

        What is in hand and queued stays so; the new bounds hold for what comes. None leaves as it is.
        """
        cell = self._cell
        cell.limit = concurrency
        if capacity is not None:
            cell.mailbox.capacity = capacity
        if when_full is not None:
            cell.mailbox.when_full = when_full
        cell.make_use_of_room()
        self._life.hire_enough()

    def limit_waiting(self, max_wait: float = math.inf, rule: QueueRule | None = None) -> None:
        """Shed messages that wait too long: for ``max_wait`` seconds, or for longer than a rule of yours allows.

        Who asked gets `MailboxOverdue`, in that moment and not only when a worker comes to it; what was told is a dead
        letter. Time spent waiting for room counts too. Of what is waiting when it is first limited, from then on.
        It holds for all further lives, also for what waits between them.
        """
        self._cell.limit_waiting(max_wait, rule)

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a task of the actor's own beside its handlers. It is cancelled at the stop; its crash is the actor's."""
        self._life.start_soon(function, args)

    def emit(self, event: Event) -> None:
        """Publish an event."""
        self._cell.system.events.publish(event)


class Actor:
    """Base class of actors. Override what you need; only ``handle`` has to be."""

    concurrency: int = 1
    """How many messages it may have in hand at once. With 1, ``handle`` has the actor's state to itself."""

    errors: ClassVar[tuple[type[Exception], ...]] = ()
    """Exceptions of ``handle`` that are answers, not crashes: they go to the asker and the actor lives."""

    async def setup(self, ctx: Context) -> None:
        """Become ready. Messages wait until it returns; raising fails the start."""

    async def handle(self, message: Any) -> Any:
        """Do what the message says; what is returned is the reply to an ask."""
        raise TypeError(f"{type(self).__name__} does not handle messages")

    async def teardown(self) -> None:
        """Give back what ``setup`` took, also after a crash. Shielded, with the grace period as its deadline."""

    def snapshot(self) -> object:
        """What the next life should know of this one, taken after a crash or a stop that leads to a restart."""
        return None
