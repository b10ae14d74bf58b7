"""How many calls at once a service is given: as many as are configured, or as many as it has been found to take.

What is learned, and since when there is a queue, is kept here, so that neither a crash of the actor nor another
configuration makes it forget. The places themselves are the actor's workers, and the queue is its mailbox.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import trio

from ..config import AimdConfig
from ..errors import CallTimeout, TransportError
from ..events import ConcurrencyChanged
from ..machines.codel import CoDel
from ..machines.concurrency import AimdLimit, Gradient2Limit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from switchgear.runtime import Event

    from ..auth import Credentials
    from ..config import BulkheadConfig, ServiceConfig
    from ..transport import Reply, Wire
    from .admission import Chosen
    from .messages import Request

    Learner: TypeAlias = AimdLimit | Gradient2Limit
    Run: TypeAlias = Callable[..., Awaitable[Reply]]

_STEP = 1.25  # the factor by which a limit has to have grown or shrunk to be worth telling
_REFUSED = (503, 504)  # too much, and not in time, as a gateway says it


class BulkheadStatus(msgspec.Struct, frozen=True):
    """What the bulkhead of a service does at a moment."""

    limit: int
    """Calls that may be under way at once."""
    learned: bool
    """Whether it adapts (`BulkheadConfig.adaptive`); else it is ``max_concurrent``."""
    in_flight: int
    """Calls under way."""
    queued: int
    """Calls that wait for one of these to end."""
    waiting: int
    """Calls that wait for room in the queue."""
    shed: int
    """Calls that waited too long, since the service was added."""


class Concurrency:
    """The limit of one service, and what it is learned from."""

    __slots__ = ("_emit", "_in_flight", "_name", "_path", "_told", "changed", "learner", "limit", "rule")

    def __init__(self, config: ServiceConfig, path: str, emit: Callable[[Event], None]) -> None:
        self.limit = config.bulkhead.max_concurrent
        """Calls at once."""
        self.changed: Callable[[int], None] | None = None
        """What the actor in office does when it has become another."""
        self.learner: Learner | None = None
        self.rule: CoDel | None = None
        """By which its queue is served, if by any."""
        self._path = path
        self._emit = emit
        self._in_flight = 0  # attempts, of those that count here
        self._told = self.limit
        self.tune(config, None)

    def tune(self, config: ServiceConfig, old: ServiceConfig | None) -> None:
        """Take over a configuration. What was learned stays, unless it was learned of another service or account."""
        self._name = config.name
        bulkhead = config.bulkhead
        if old is not None and (config.base_url, config.auth) != (old.base_url, old.auth):
            self.learner = None
        self.learner = _learner(bulkhead, self.learner)
        self._tune_rule(bulkhead)
        limit = bulkhead.max_concurrent if self.learner is None else self.learner.limit
        if old is None:
            self.limit = self._told = limit
        else:  # the actor hears of it with the rest of the configuration
            self.limit = limit
            self._tell("the configuration has changed")

    def _tune_rule(self, bulkhead: BulkheadConfig) -> None:
        codel = bulkhead.codel
        if codel is None:
            self.rule = None
        elif self.rule is None:
            self.rule = CoDel(codel.target, codel.interval)
        else:  # it goes on with what it knows of the queue
            self.rule.target, self.rule.interval = codel.target, codel.interval

    def watch(self, run: Run) -> Run:
        """The same exchanges, and the limit learns of each; where it does not learn, they cost nothing more."""
        return run if self.learner is None else partial(self._watched, run)

    async def _watched(  # noqa: PLR0917 (as it is called, on the road of a call)
        self, run: Run, request: Request, wire: Wire, sent: float, chosen: Chosen, credentials: Credentials
    ) -> Reply:
        self._in_flight = among = self._in_flight + 1
        dropped: bool | None = None  # which says nothing: the caller has gone
        ended = sent
        try:
            reply = await run(request, wire, sent, chosen, credentials)
            ended, status = reply.ended, reply.status
            dropped = False if status < 400 else _dropped(status)
            return reply
        except (CallTimeout, TransportError):
            ended, dropped = trio.current_time(), True
            raise
        except trio.Cancelled:
            ended = trio.current_time()
            dropped = True if ended >= request.deadline else None
            raise
        finally:
            self._in_flight -= 1
            learner, stream = self.learner, request.stream
            if dropped is not None and learner is not None:
                if stream is not None and stream.handed:  # how long it was read is no latency of the service's
                    ended = request.started + stream.elapsed
                learner.sample(ended, ended - sent, among, dropped)
                if learner.limit != self.limit:
                    self._follow(learner)

    def _follow(self, learner: Learner) -> None:
        grown, self.limit = learner.limit > self.limit, learner.limit
        if isinstance(learner, Gradient2Limit) and learner.probing:
            self._tell("it is low for a moment, to measure the latency anew")
        else:
            self._tell("it was in use, and the service kept up" if grown else "the service did not keep up")
        if self.changed is not None:
            self.changed(self.limit)

    def _tell(self, reason: str) -> None:
        """If it is worth it."""
        old, new = self._told, self.limit
        if not old / _STEP < new < old * _STEP:
            self._told = new
            self._emit(ConcurrencyChanged(path=self._path, service=self._name, old=old, new=new, reason=reason))


def _learner(config: BulkheadConfig, old: Learner | None) -> Learner | None:
    """As configured, going on from where the old one is."""
    adaptive, most = config.adaptive, config.max_concurrent
    if adaptive is None:
        return None
    start = None if old is None else old.limit
    if isinstance(adaptive, AimdConfig):
        if not isinstance(old, AimdLimit):
            return AimdLimit(adaptive, most, start)
        old.tune(adaptive, most)
        return old
    if not isinstance(old, Gradient2Limit):
        return Gradient2Limit(adaptive, most, start)
    old.tune(adaptive, most)
    return old


def _dropped(status: int) -> bool | None:
    """Whether the service has dropped what it answered so; None: that says nothing of its load.

    An answer of 400 or 404 is work like any other. A 500 is neither that nor a refusal, and often quick.
    """
    if status < 500:
        return status == 429
    return True if status in _REFUSED else None
