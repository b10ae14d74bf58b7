"""What a service keeps through the crashes of its actor: a crash must not close an open breaker or refill a bucket.

It is shared by the lives of the actor (through the factory, one after the other) and, for the cache and the meter, by
the callers' side, where fallbacks run. All of it is pure and changed synchronously, so no life can leave it half done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from switchgear.runtime import MailboxFull, Watch

from ..auth import Identity, OAuth2Memory
from ..config import CacheFallback, ServiceConfig
from ..machines.budget import Budget
from ..machines.meter import Meter
from ..machines.recent import RecentQuantile
from ..metrics.records import Report
from ..secrecy.found import found
from ..secrecy.known import Known
from ..transport import PoolCounts
from .breakers import Breakers
from .cache import ResponseCache
from .concurrency import Concurrency
from .fleet import Memory
from .limits import Limits
from .outcome import Classifier
from .roster import Roster

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from switchgear.runtime import Event, Ref

    from ..config import HedgeConfig, RetryBudget
    from ..errors import ServiceError
    from ..registry.records import InstanceSet
    from .messages import Request


class ServiceState:
    """The memory of one service."""

    def __init__(
        self,
        config: ServiceConfig,
        path: str,
        emit: Callable[[Event], None],
        rng: random.Random,
        known: Known | None = None,
    ) -> None:
        self.name = config.name
        self.path = path
        self.config = Watch(config)
        """The configuration in force. A call that is under way ends under the one it began with."""
        self.meter = Meter()
        self.instances: Watch[InstanceSet] | None = None
        """As the registry has them; None until it does."""
        self.applied: Callable[[], None] | None = None
        """What the actor in office does when the configuration has changed."""
        self.budget: Budget | None = None
        self.recent: RecentQuantile | None = None
        """Latencies of attempts, where hedges go by them."""
        self.connections: PoolCounts | None = None
        """Of connections of our own; None if it has had none yet, as when it is called over a transport of httpx's."""
        self.cache: ResponseCache | None = None
        self.queue: Callable[[str, Request, ServiceError], Awaitable[None]] | None = None
        """Keeps a call of the service named that failed of this; raises FallbackFailed. None if there is no queue."""
        self.known = Known() if known is None else known
        """The secrets that its configuration and its credentials have."""
        self._emit = emit
        self._rng = rng
        self.breakers = Breakers(config, path, emit, rng)
        # These are made for the first call: most of ten thousand services are idle.
        self._oauth2: OAuth2Memory | None = None
        self._identity: Identity | None = None
        self._memory: Memory | None = None
        self._roster: Roster | None = None
        self._tune(config, None)

    def reconfigure(self, config: ServiceConfig) -> None:
        """Take over a new configuration, keeping what was learned where it still means the same."""
        old = self.config.value
        self._tune(config, old)
        self.config.set(config)
        if self.applied is not None:
            self.applied()

    def pool_counts(self) -> PoolCounts:
        """Where its pools count: an idle service has none, and weighs less."""
        if self.connections is None:
            self.connections = PoolCounts()
        return self.connections

    @property
    def identity(self) -> Identity:
        """Who we are to the service."""
        if self._identity is None:
            self._identity = Identity(self.config.value.auth, self._rng)
        return self._identity

    @property
    def memory(self) -> Memory:
        """What the calls have told of its instances."""
        if self._memory is None:
            self._memory = Memory()
        return self._memory

    @property
    def roster(self) -> Roster:
        """Which of its instances get calls."""
        if self._roster is None:
            self._roster = Roster(self.config.value, self.path, self._emit, self._rng, trio.current_time())
        return self._roster

    @property
    def ejected(self) -> int:
        """How many of its instances are."""
        return 0 if self._roster is None else self._roster.ejected

    @property
    def panic(self) -> bool:
        """Whether all of its instances get calls, since so few are healthy."""
        return self._roster is not None and self._roster.panic

    def oauth2(self) -> OAuth2Memory:
        """What it keeps of OAuth2, if it has anything to do with it."""
        if self._oauth2 is None:
            self._oauth2 = OAuth2Memory(self.name, self.path, self._emit, self.known)
        return self._oauth2

    def refused(self, code: str, request: Request) -> None:
        """A call ended without the actor."""
        now = trio.current_time()
        self.meter.refused(code, now)
        if request.template is not None:
            self.meter.operated((request.method, request.template), code, now - request.started)

    def ship(self, metrics: Ref) -> None:
        """Report what has happened since the last time. What finds no room is kept, and reported with the next."""
        if not self.meter.dirty:
            return
        delta = self.meter.take()
        try:
            metrics.tell_nowait(Report(self.name, delta))
        except MailboxFull:
            self.meter.give_back(delta)

    def _tune(self, config: ServiceConfig, old: ServiceConfig | None) -> None:
        self.known.keep(*found(config))
        now = trio.current_time()
        self.breakers.tune(config, now)
        if self._roster is not None:
            self._roster.tune(config, now)
        self.outcome = Classifier(config.breaker)
        self._tune_budget(config.retry.budget)
        self._tune_hedge(config.hedge)
        if old is None:
            self.limits = Limits(config, self.path, self._emit)
            self.concurrency = Concurrency(config, self.path, self._emit)
        else:
            self.limits.tune(config, old, now)
            self.concurrency.tune(config, old)
        # A source of credentials has connections of its own, through the same proxy.
        if old is not None and (config.auth, config.proxy) != (old.auth, old.proxy):
            self._identity = None
        cache = _cache_config(config)
        self.fresh_from = cache if cache is not None and cache.serve_fresh else None
        other = old is not None and config.account != old.account  # another's answers
        if cache is None:
            self.cache = None
        elif self.cache is None or other:
            self.cache = ResponseCache(cache.max_entries, cache.max_bytes)
        else:
            self.cache.tune(cache.max_entries, cache.max_bytes)

    def _tune_budget(self, config: RetryBudget | None) -> None:
        if config is None or self.budget is None:
            self.budget = None if config is None else Budget(config)
        else:
            self.budget = self.budget.tuned(config)

    def _tune_hedge(self, config: HedgeConfig | None) -> None:
        if config is None or config.delay is not None:
            self.recent = None
        elif self.recent is None:
            self.recent = RecentQuantile(config.quantile)
        else:
            self.recent.tune(config.quantile)


def _cache_config(config: ServiceConfig) -> CacheFallback | None:
    return next((one for one in config.fallbacks if isinstance(one, CacheFallback)), None)
