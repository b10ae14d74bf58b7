"""An actor's place in the tree: where refs point, and where messages wait whatever becomes of the actor.

The cell is what stays when an actor crashes. It decides what happens to a message on its way in (queue it, wait for
room, refuse it, bury it) and holds the counters; `life.py` is one incarnation of the actor, which takes messages out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from .envelope import Ask, Tell
from .errors import ActorStopped, AskLoop, AskTimeout, MailboxFull
from .events import DeadLetter
from .info import ActorInfo, State
from .life import Life
from .mailbox import Mailbox, WhenFull
from .ref import Ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from .actor import Actor
    from .system import System


class Cell:
    """One place in the tree. `run` is one life; between lives the mailbox goes on filling."""

    def __init__(
        self,
        path: str,
        factory: Callable[[], Actor],
        system: System,
        *,
        capacity: int,
        when_full: WhenFull,
        grace: float,
    ) -> None:
        self.path = path
        self.system = system
        self.grace = grace
        self.ref = Ref(self)
        self.state = State.WAITING
        self.mailbox = Mailbox(capacity, when_full)
        self.limit = 1  # of the actor's concurrency; known once it has been built
        self.pending = 0  # messages queued or in hand: there is never use for more workers than that
        self.restarts = 0
        self.handled = 0
        self.late = 0  # replies that nobody waited for any more
        self.since: float | None = None  # ready since
        self.snapshot: object = None  # from the last life to the next
        self._factory = factory
        self._life: Life | None = None

    # ---- lives

    async def run(self, ready: Callable[[], None]) -> None:
        """One life: set up, serve until told to stop, tear down. Raises what the actor crashed of."""
        self.state = State.STARTING
        try:
            life = self._life = Life(self, self._factory())
            await life.run(ready)
        finally:
            self.since, self._life = None, None
            if self.state is not State.STOPPED:
                self.state = State.WAITING

    def stop(self, *, final: bool) -> None:
        """Begin to stop: every ask in hand ends now; a tell in hand may end in the grace period."""
        starting = self.state is State.STARTING
        if final:
            self.bury("it was stopped")
        if self._life is not None:
            if not final:
                self.state = State.STOPPING
            self._life.stop("it was stopped" if final else "it is being restarted with a sibling", starting=starting)

    def bury(self, reason: str) -> None:
        """No more lives: what is queued ends now, and what comes later ends at once. Twice is once."""
        self.state = State.STOPPED
        for envelope in self.mailbox.drain():
            self.pending -= 1
            self._bury(envelope, reason)

    def put_back(self, envelope: Ask | Tell) -> None:
        """A worker was handed this message when its life was over already: it is for the next life, if there is one."""
        if self.state is State.STOPPED:
            self.pending -= 1
            self._bury(envelope, "it was stopped")
        else:
            self.mailbox.put_back(envelope)

    def info(self) -> ActorInfo:
        """This actor, now."""
        return ActorInfo(
            path=self.path,
            kind="actor",
            state=self.state,
            restarts=self.restarts,
            uptime=0.0 if self.since is None else trio.current_time() - self.since,
            mailbox=self.mailbox.statistics(),
            in_flight=0 if self._life is None else len(self._life.in_hand),
            handled=self.handled,
            late=self.late,
        )

    # ---- messages come in

    def accept_ask(self, ask: Ask) -> bool:
        """As `accept`, for an ask: looks for loops, and watches over its timeout."""
        if ask.parent is not None:
            self._refuse_loop(ask)
        if not self.accept(ask):
            return False
        if ask.expiry != math.inf and ask.outcome is None:
            self.system.expiries.add(ask)
        return True

    def accept(self, envelope: Ask | Tell) -> bool:
        """Queue a message. False: there is no room, and the caller may wait for it."""
        if self.state is State.STOPPED:
            self._bury(envelope, "it has stopped")
            return True
        if not self.mailbox.offer(envelope) and not self._make_room(envelope):
            return False
        self._one_more()
        return True

    def _one_more(self) -> None:
        self.pending += 1
        life = self._life
        if life is not None and life.workers < self.pending and life.workers < self.limit:
            life.hire()

    def _make_room(self, envelope: Ask | Tell) -> bool:
        when_full = self.mailbox.when_full
        if when_full is WhenFull.FAIL:
            self.mailbox.refused += 1
            raise self.full_error()
        if when_full is WhenFull.WAIT:
            return False
        while not self.mailbox.offer(envelope):  # the oldest may have been put back, and then takes up no room
            self.pending -= 1
            self._bury(self.mailbox.oldest(), "the mailbox was full and this was the oldest")
        return True

    async def wait_for_room(self, envelope: Ask | Tell) -> None:
        """Put a message in as soon as there is room, or settle it with its timeout."""
        expiry = envelope.expiry if isinstance(envelope, Ask) else math.inf
        self._one_more()  # before it is in: it may be handled before we run again
        put = False
        try:
            with trio.CancelScope(deadline=expiry):
                await self.mailbox.put(envelope)
                put = True
        finally:
            if not put:
                self.pending -= 1
        if isinstance(envelope, Ask):
            if not put:
                envelope.fail(self.timeout_error(envelope))
            elif expiry != math.inf and envelope.outcome is None:
                self.system.expiries.add(envelope)

    def _refuse_loop(self, ask: Ask) -> None:
        """Walk up the chain of asks that wait for this one: if all our places are in it, nobody could answer."""
        places = 0.0
        parent = ask.parent
        while parent is not None:
            if parent.cell is self and parent.scope is not None:
                places += parent.places
            parent = parent.parent
        if places >= self.limit:
            raise AskLoop(self.path, f"cannot answer {ask.name}: it is itself waiting for the asker's reply")

    def _bury(self, envelope: Ask | Tell, reason: str) -> None:
        if isinstance(envelope, Ask):
            envelope.fail(ActorStopped(self.path, reason))
        else:
            self.dead_letter(envelope, reason)

    # ---- words

    def dead_letter(self, envelope: Ask | Tell, reason: str) -> None:
        """Count and publish a message that nobody will handle."""
        self.system.count_dead_letter(DeadLetter(path=self.path, message=envelope.name, reason=reason))

    def timeout_error(self, ask: Ask) -> AskTimeout:
        """The error of an ask whose explicit timeout is over."""
        waited = trio.current_time() - ask.since
        where = "while being handled" if ask.scope is not None else "in the queue"
        depth = self.mailbox.statistics().depth
        return AskTimeout(self.path, f"no reply to {ask.name} in {waited:.3g} s ({where}; {depth} queued)")

    def full_error(self) -> MailboxFull:
        """The error of a message for which there is no room."""
        return MailboxFull(self.path, f"the mailbox holds its {self.mailbox.capacity} messages already")
