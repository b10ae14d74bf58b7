"""An actor's place in the tree: where refs point, and where messages wait whatever becomes of the actor.

The cell is what stays when an actor crashes. It decides what happens to a message on its way in (queue it, wait for
room, refuse it, bury it) and holds the counters; `life.py` is one incarnation of the actor, which takes messages out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from .envelope import Ask, Tell
from .errors import ActorStopped, AskLoop, AskTimeout, MailboxFull, MailboxOverdue
from .events import DeadLetter
from .info import ActorInfo, State
from .life import Life
from .mailbox import Mailbox, WhenFull
from .patience import Patience
from .ref import Ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from .actor import Actor
    from .patience import QueueRule
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
        queue, waiting = self.mailbox.queue, self.mailbox.waiting
        while queue:
            envelope, _ = queue.popitem(last=False)
            self._never_mind()
            self._bury(envelope, reason)
        while waiting:
            envelope, (_, task) = waiting.popitem(last=False)
            self._bury(envelope, reason)
            if task is not None:
                trio.lowlevel.reschedule(task)

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
        # As `_let_in`, written out: this is on the road of every call.
        mailbox.queue[envelope] = 0.0 if mailbox.patience is None else mailbox.patience.came()
        mailbox.accepted += 1
        self.pending = pending = self.pending + 1
        life = self._life
        if life is not None:
            if life.idle:
                life.wake()
            elif life.workers < pending and life.workers < self.limit:
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
        self._replace_oldest(envelope, None)
        return True

    def _replace_oldest(self, envelope: Ask | Tell, since: float | None) -> None:
        mailbox = self.mailbox
        mailbox.refused += 1
        if not mailbox.queue:  # all is in hand
            self._bury(envelope, "the mailbox has no room, and holds nothing that could make some")
            return
        if since is None:
            since = 0.0 if mailbox.patience is None else mailbox.patience.came()
        oldest, _ = mailbox.queue.popitem(last=False)
        self._never_mind()
        self._bury(oldest, "the mailbox was full and this was the oldest")
        self._let_in(envelope, since)

    def _let_in(self, envelope: Ask | Tell, since: float) -> None:
        self.mailbox.queue[envelope] = since
        self.mailbox.accepted += 1
        self.pending += 1
        life = self._life
        if life is not None:
            if life.idle:
                life.wake()
            elif life.workers < self.pending and life.workers < self.limit:
                life.hire()

    def make_use_of_room(self) -> None:
        """There is room again: let in whoever has waited longest."""
        mailbox, waiting = self.mailbox, self.mailbox.waiting
        drops = mailbox.when_full is WhenFull.DROP_OLDEST  # then nobody waits for room: it has just been set so
        while waiting and (drops or self.pending < self.limit + mailbox.capacity):
            envelope, (since, task) = waiting.popitem(last=False)
            if self.pending < self.limit + mailbox.capacity:
                self._let_in(envelope, since)
            else:
                self._replace_oldest(envelope, since)
            if task is not None:
                trio.lowlevel.reschedule(task)

    def stand_in_line(self, envelope: Ask | Tell, task: trio.lowlevel.Task | None) -> None:
        """There is no room yet: wait for it, behind all others."""
        mailbox = self.mailbox
        mailbox.stand_in_line(envelope, 0.0 if mailbox.patience is None else mailbox.patience.came(), task)

    async def wait_for_room(self, tell: Tell) -> None:
        """Park whoever tells until his message is in. (An ask waits in its own park: see `Ref.ask`.)"""
        self.stand_in_line(tell, trio.lowlevel.current_task())

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            self.mailbox.leave_line(tell)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    # ---- messages leave

    def leave(self, ask: Ask) -> None:
        """Nobody waits for it any more, and it has not been begun: its place is free."""
        if self.mailbox.queue.pop(ask, None) is not None:
            self._never_mind()
            self.make_use_of_room()
        else:
            self.mailbox.leave_line(ask)

    def next(self, patience: Patience) -> Ask | Tell | None:
        """What a worker is to take now; None if all have waited too long. (Without a patience, it is the oldest.)"""
        allowed, newest_first = patience.terms()
        self.shed(allowed)
        queue = self.mailbox.queue
        if not queue:
            return None
        envelope, _ = queue.popitem(last=newest_first)
        oldest = self.mailbox.oldest()
        if oldest is not None:  # the rule may have become a stricter one since it was last looked
            patience.watch(oldest + allowed)
        return envelope

    def shed(self, allowed: float) -> None:
        """Nobody waits any more who has waited for ``allowed`` seconds."""
        now, mailbox = trio.current_time(), self.mailbox
        while (since := mailbox.oldest()) is not None and since + allowed <= now:
            task = None
            if mailbox.queue:
                envelope, _ = mailbox.queue.popitem(last=False)
                self._never_mind()
            else:
                assert mailbox.waiting is not None  # noqa: S101 - else nothing would be the oldest
                envelope, (_, task) = mailbox.waiting.popitem(last=False)
            mailbox.shed += 1
            error = MailboxOverdue(self.path, now - since, allowed)
            if isinstance(envelope, Ask):
                envelope.fail(error)
            else:
                self.dead_letter(envelope, str(error.args[1]))
            if task is not None:
                trio.lowlevel.reschedule(task)
        self.make_use_of_room()

    def limit_waiting(self, max_wait: float, rule: QueueRule | None) -> None:
        """See `Context.limit_waiting`."""
        mailbox, old = self.mailbox, self.mailbox.patience
        if old is not None:
            old.expiry = math.inf
        if max_wait == math.inf and rule is None:
            mailbox.patience = None
            return
        patience = mailbox.patience = Patience(self, max_wait, rule)
        if old is None:
            mailbox.all_came(trio.current_time())
        since = mailbox.oldest()
        if since is not None:
            if rule is not None and (old is None or rule is not old.rule):
                rule.began(since)
            patience.watch(since + patience.terms()[0])

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
        return AskTimeout(self.path, f"{ask.name} {within}", f"{where}; {depth} queued")

    def refusal(self) -> MailboxFull:
        """The error of a message for which there is no room; counts it."""
        self.mailbox.refused += 1
        return MailboxFull(self.path, f"the mailbox holds its {self.mailbox.capacity} messages already")
