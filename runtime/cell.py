"""An actor's place in the tree: where refs point, and where messages wait whatever becomes of the actor.

The cell is what stays when an actor crashes. It decides what happens to a message on its way in (queue it, wait for
room, refuse it, bury it) and holds the counters; `life.py` is one incarnation of the actor, which takes messages out.
"""

from __future__ import annotations

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

    __slots__ = (
        *("_factory", "_life", "grace", "late", "limit", "mailbox", "path", "unhandled"),
        *("pending", "ref", "restarts", "since", "snapshot", "state", "system"),
    )

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
        self.unhandled = 0  # messages that were taken in and never came into a hand
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
            self._never_mind()
            self._bury(envelope, reason)
        waiting = self.mailbox.waiting
        while waiting:
            envelope, task = waiting.popitem(last=False)
            self._bury(envelope, reason)
            if task is not None:
                trio.lowlevel.reschedule(task)

    def put_back(self, envelope: Ask | Tell) -> None:
        """A worker was handed this message when its life was over already: it is for the next life, if there is one."""
        if self.state is State.STOPPED:
            self._never_mind()
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
            handled=self.mailbox.accepted - self.pending - self.unhandled,  # not counted on the road of every call
            late=self.late,
        )

    # ---- messages come in

    def accept(self, envelope: Ask | Tell) -> bool:
        """Queue a message. False: there is no room, and it may wait for it.

        Full is an actor with ``concurrency`` messages in hand and ``capacity`` queued: a message which an idle worker
        (or one that is yet to be hired) will take at once has not been queued.
        """
        mailbox = self.mailbox
        if self.pending >= self.limit + mailbox.capacity or mailbox.waiting or self.state is State.STOPPED:
            return self._turned_away(envelope)
        mailbox.offer(envelope)  # as `_let_in`, written out: this is on the road of every call
        mailbox.accepted += 1
        self.pending = pending = self.pending + 1
        life = self._life
        if life is not None and life.workers < pending and life.workers < self.limit:
            life.hire()
        return True

    def _turned_away(self, envelope: Ask | Tell) -> bool:
        """The rare half of `accept`."""
        mailbox = self.mailbox
        if self.state is State.STOPPED:
            self._bury(envelope, "it has stopped")
            return True
        if mailbox.when_full is WhenFull.WAIT:
            return False
        if mailbox.when_full is WhenFull.FAIL:
            raise self.refusal()
        mailbox.refused += 1
        try:
            oldest = mailbox.oldest()
        except trio.WouldBlock:  # nothing is queued: all is in hand
            self._bury(envelope, "the mailbox has no room, and holds nothing that could make some")
            return True
        self._never_mind()
        self._bury(oldest, "the mailbox was full and this was the oldest")
        self._let_in(envelope)
        return True

    def _let_in(self, envelope: Ask | Tell) -> None:
        mailbox = self.mailbox
        mailbox.offer(envelope)
        mailbox.accepted += 1
        self.pending += 1
        life = self._life
        if life is not None and life.workers < self.pending and life.workers < self.limit:
            life.hire()

    def make_use_of_room(self) -> None:
        """There is room again: let in whoever has waited longest."""
        waiting = self.mailbox.waiting
        while waiting and self.pending < self.limit + self.mailbox.capacity:
            envelope, task = waiting.popitem(last=False)
            self._let_in(envelope)
            if task is not None:
                trio.lowlevel.reschedule(task)

    async def wait_for_room(self, tell: Tell) -> None:
        """Park whoever tells until his message is in. (An ask waits in its own park: see `Ref.ask`.)"""
        self.mailbox.stand_in_line(tell, trio.lowlevel.current_task())

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self.mailbox.leave_line(tell)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def refuse_loop(self, ask: Ask) -> None:
        """Walk up the chain of asks that wait for this one: if all our places are in it, nobody could answer."""
        places = 0.0
        hands: set[Ask | Tell] = set() if self._life is None else self._life.in_hand
        parent = ask.parent
        while parent is not None:
            if parent.cell is self and (parent.scope is not None or parent in hands):  # called off, it is still in hand
                places += parent.places
            parent = parent.parent
        if places >= self.limit:
            raise AskLoop(self.path, f"cannot answer {ask.name}: it is itself waiting for the asker's reply")

    def _never_mind(self) -> None:
        """A message that was queued leaves without having been in hand."""
        self.pending -= 1
        self.unhandled += 1

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
        where = "while being handled" if ask.scope is not None else "in the queue"
        within = "in time" if ask.timeout is None else f"in {ask.timeout:g} s"
        depth = self.mailbox.statistics().depth
        return AskTimeout(self.path, f"no reply to {ask.name} {within} ({where}; {depth} queued)")

    def refusal(self) -> MailboxFull:
        """The error of a message for which there is no room; counts it."""
        self.mailbox.refused += 1
        return MailboxFull(self.path, f"the mailbox holds its {self.mailbox.capacity} messages already")
