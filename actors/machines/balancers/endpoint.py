"""An instance as a balancer sees it, and what is learned of it from the calls that it is given.

    endpoint.begin(now)                 a call on it starts
    endpoint.headed(began, now)         its answer has begun, and will be read for as long as its reader likes
    endpoint.end(began, now, failed)    it has ended

All that is known of an instance is kept here and not in a balancer, so it outlives a change of the instances, of the
balancer, and the crash of whoever owns it. Each step is O(1).

Its latency is a peak EWMA (Finagle's and Linkerd's): a call that took longer than expected sets the estimate at once, a
faster one only draws it down, by as much as time has gone by since the last one. Three things are added to it:

* **Failures.** A server that fails at once is the fastest of all, and would draw every call (Finagle's, as it is, sends
  20 % of all calls to one of ten that fails; the even share would be 10 %). So a share of failures is kept beside the
  latency. It is forgotten with time, but one more failure brings back what had been forgotten: a server that is tried
  once in a while and fails each time has not got better.
* **Calls that have not ended.** Where they are older on average than calls take, that age counts in its place. (To keep
  the times of all and go by the oldest was tried: it leads to nothing better, costs more, and lets one lost call among
  many speak for the instance. So does to take twice the average age, which is what they take, as each is half through
  on average: where chance has them come unevenly, one that is well looks slow.)
* **Calls that nobody waited for** (a hedge that lost, a caller that left): they took that long at least.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TAU = 10.0
"""Seconds in which what is not confirmed falls to 1/e. (Finagle's default.)"""

UNKNOWN = 1e6
"""Seconds: more than any call takes. What a call is thought to take as long as none has ended."""

STEP = 1 / 16
"""Of the way that one call moves the share of failures: one that fails hardly shows, and three in a row do."""

_SMOOTH = 64  # calls: what is typical of a fleet hangs on about so many
_NONE = 0.001  # a share of failures below this is none


class Group:
    """The endpoints that a balancer chooses among, as far as each of their calls changes it."""

    __slots__ = ("moved", "outstanding", "size", "successes", "typical")

    def __init__(self) -> None:
        self.size = 1
        self.outstanding = 0
        """Calls on all of them together."""
        self.typical = UNKNOWN
        """Seconds that a call takes that succeeds."""
        self.successes = 0
        self.moved: Callable[[Endpoint], None] | None = None
        """Told when an endpoint has another number of calls under way."""

    @classmethod
    def of(cls, endpoints: Sequence[Endpoint]) -> Group:
        """Of these, which belong to it from now on; what is typical is what they know already."""
        group = cls()
        group.size = len(endpoints)
        known = [endpoint.latency for endpoint in endpoints if endpoint.latency is not None and not endpoint.failing]
        if known:
            group.typical, group.successes = sum(known) / len(known), min(len(known), _SMOOTH)
        for endpoint in endpoints:
            group.outstanding += endpoint.outstanding
            endpoint.group = group
        return group


class Endpoint:
    """An instance: its weight, its load, and what is known of its latency and its failures."""

    __slots__ = ("failing", "group", "id", "latency", "outstanding", "seen", "since", "waiting", "weight")

    def __init__(self, id: str, weight: float = 1.0) -> None:
        self.id = id
        self.weight = weight
        """Its share. The effective one: whoever changes it (a slow start does) calls `Balancer.update`."""
        self.outstanding = 0
        """Calls that have begun and not ended."""
        self.latency: float | None = None
        """Seconds that a call takes, as of ``seen``; None if none has ended yet."""
        self.failing = 0.0
        """The share of calls that failed lately, as of ``seen``."""
        self.seen = 0.0
        """When a call ended last that said something."""
        self.waiting = 0
        """Calls of which no answer has begun."""
        self.since = 0.0
        """The sum of the times at which those began."""
        self.group = Group()
        """Of the balancer that it belongs to now."""

    def __repr__(self) -> str:
        return f"<Endpoint {self.id} weight {self.weight:g}, {self.outstanding} outstanding>"

    def begin(self, now: float) -> None:
        """A call starts."""
        self.outstanding += 1
        self.waiting += 1
        self.since += now
        group = self.group
        group.outstanding += 1
        if group.moved is not None:
            group.moved(self)

    def headed(self, began: float, now: float) -> None:
        """The answer to a call that is read piece by piece has begun: how long it lasts says nothing any more."""
        self._answered(began)
        self._succeeded(now - began, now)

    def end(self, began: float | None, now: float, *, failed: bool | None) -> None:
        """A call has ended.

        Args:
            began: the time of its `begin`; None if it was `headed`.
            now: the time.
            failed: None if that cannot be told: the caller has gone.
        """
        self.outstanding -= 1
        group = self.group
        group.outstanding -= 1
        if group.moved is not None:
            group.moved(self)
        if began is not None:
            waiting = self.waiting = self.waiting - 1  # as `_answered`, without the call
            self.since = self.since - began if waiting else 0.0
            if failed is None:
                self._lasted(now - began, now)
            elif not failed:
                self._succeeded(now - began, now)
        if failed:
            self._failed(0.0 if began is None else now - began, now)

    def _answered(self, began: float) -> None:
        self.waiting -= 1
        self.since = self.since - began if self.waiting else 0.0  # the rounding of a sum is forgotten with it

    def _succeeded(self, took: float, now: float) -> None:
        known, group = self.latency, self.group
        if known is None or took > known:
            self.latency = took
        else:
            self.latency = took + (known - took) * math.exp((self.seen - now) / TAU)
        if self.failing:
            share = self.failing * math.exp((self.seen - now) / TAU) * (1.0 - STEP)
            self.failing = share if share > _NONE else 0.0
        self.seen = now
        successes = group.successes
        if successes < _SMOOTH:
            successes = group.successes = successes + 1
            if successes == 1:
                group.typical = took
        group.typical += (took - group.typical) / successes

    def _failed(self, took: float, now: float) -> None:
        known = self.latency
        self.failing += (1.0 - self.failing) * (1.0 if known is None else STEP)
        if known is None or took > known:
            self.latency = took
        self.seen = now

    def _lasted(self, took: float, now: float) -> None:
        """How it would have ended nobody knows."""
        known = self.latency
        if took > (self.group.typical if known is None else known):
            self.latency = took
            self.failing *= math.exp((self.seen - now) / TAU)
            self.seen = now
