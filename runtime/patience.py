"""Patience: how long messages may wait for a worker, and who of them is next.

A limit (`Context.limit_waiting`) is a maximum wait, a rule, or both. The rule is anybody's: the kernel tells it when a
queue begins and asks it how long one may have waited who is served now. Whoever has waited for longer is shed: by the
worker that looks for its next message, and if none looks, by the clock. For that the oldest message alone is watched,
so a mailbox has one entry among the runtime's timeouts, whatever it holds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from .cell import Cell


class QueueRule(Protocol):
    """Decides how a queue is served, by the clock. Pure: ``now`` is trio's time."""

    def began(self, now: float) -> None:
        """Somebody has begun to wait where nobody did."""
        ...

    def rule(self, now: float) -> tuple[float, bool]:
        """How long one may have waited who is served now (seconds), and whether who came last is next."""
        ...


class Patience:
    """Of those who wait in one mailbox. An `Expiring` of the runtime's."""

    __slots__ = ("_cell", "expiry", "max_wait", "rule")

    def __init__(self, cell: Cell, max_wait: float, rule: QueueRule | None) -> None:
        self._cell = cell
        self.max_wait = max_wait
        self.rule = rule
        self.expiry = math.inf
        """When to look for the overdue; infinity while nobody waits."""

    @property
    def over(self) -> bool:
        """Nobody waits, as far as is known: it needs no watching."""
        return self.expiry == math.inf

    def terms(self) -> tuple[float, bool]:
        """How long one may have waited, and whether who came last is next."""
        if self.rule is None:
            return self.max_wait, False
        allowed, newest_first = self.rule.rule(trio.current_time())
        return min(allowed, self.max_wait), newest_first

    def came(self) -> float:
        """A message is about to wait, in the queue or for room. Returns since when."""
        mailbox, now = self._cell.mailbox, trio.current_time()
        if self.rule is not None and not mailbox.queue and not mailbox.waiting:
            self.rule.began(now)
        if self.expiry == math.inf:  # else it is looked after when that time comes, which is before its own
            self.watch(now + self.terms()[0])
        return now

    def watch(self, until: float) -> None:
        """Look at the latest then."""
        if until < self.expiry:
            self.expiry = until
            self._cell.system.expiries.add(self)

    def expire(self) -> None:
        """The oldest may have waited for too long. (Or it has been served, and another is the oldest.)"""
        allowed, _ = self.terms()
        self._cell.shed(allowed)
        oldest = self._cell.mailbox.oldest()
        self.expiry = math.inf if oldest is None else oldest + allowed  # where it is watched on, see `Expiring`
