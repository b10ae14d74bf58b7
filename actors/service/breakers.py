"""The circuit breakers of one service: one for all its calls, or one for each instance or operation.

Those of instances and operations are made when they are first called, and the least used are forgotten: a service may
have any number of paths, and instances come and go.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from ..errors import InvalidRequest
from ..events import breaker_changed
from ..machines.breaker import CLOSED, HALF_OPEN, OPEN, BreakerState, CircuitBreaker

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from switchgear.runtime import Event

    from ..config import ServiceConfig
    from .messages import Request

_WORDS = {
    "open": BreakerState.FORCED_OPEN,
    "closed": BreakerState.FORCED_CLOSED,
    "observing": BreakerState.OBSERVING,
    None: None,
}
_MOST = 1000  # breakers of instances or operations
_NOBODY: frozenset[str] = frozenset()  # one for all: each that is made anew weighs 216 bytes
_VARIABLE = re.compile(r"/[^/]*\d[^/]*")  # a segment with a digit in it, which is an id more often than not


class Breakers:
    """Outlive the actor, as the rest of its state does."""

    def __init__(self, config: ServiceConfig, path: str, emit: Callable[[Event], None], rng: random.Random) -> None:
        self._config = config.breaker
        self.scope = config.breaker_scope
        """What each is for."""
        self._name = config.name
        self._path = path
        self._emit = emit
        self._rng = rng
        self._forced: BreakerState | None = None
        self._routable = _NOBODY
        self._of: OrderedDict[str, CircuitBreaker] = OrderedDict()
        self.one = self._new("")
        """That of the service, if there is one for all."""
        self.shut_until = -math.inf
        """Until then none of the instances lets a call in: so it was found when all were asked. What may change that
        is an operator's word, or other instances; after a new configuration these are looked at again too."""

    @property
    def state(self) -> BreakerState:
        """Of all together: open if there are some, and all of them are."""
        if self.scope == "service":
            return self.one.state
        if self._forced is not None:
            return self._forced
        known = self._known()
        return OPEN if known and all(one is not None and one.state is OPEN for one in known) else CLOSED

    def states(self) -> dict[str, str]:
        """Of each instance or operation that has been called; of the service, under an empty name."""
        if self.scope == "service":
            return {"": self.one.state.value}
        return {key: one.state.value for key, one in self._of.items()}

    def retry_at(self, now: float) -> float | None:
        """When a call can be let in; None if one would be now, as far as is known."""
        if self.scope == "service":
            return self.one.retry_at(now)
        times = [None if one is None else one.retry_at(now) for one in self._known()]
        waits = [at for at in times if at is not None]
        return min(waits) if waits and len(waits) == len(times) else None

    def _known(self) -> list[CircuitBreaker | None]:
        """Of each that could be called now, as far as is known; None for one that has not been called yet."""
        return [self._of.get(key) for key in self._routable or self._of]

    def of(self, key: str, now: float) -> CircuitBreaker:
        """That of an instance or operation."""
        one = self._of.get(key)
        if one is None:
            one = self._of[key] = self._new(key)
            one.force(self._forced, now)
            if len(self._of) > _MOST:
                self._of.popitem(last=False)[1].retire()
        else:
            self._of.move_to_end(key)
        return one

    def refusing(self, now: float) -> dict[str, float]:
        """Who of those that could be called lets nothing in, and until when. O(n)."""
        known = [(key, self._of.get(key)) for key in self._routable or self._of]
        shut = {key: at for key, one in known if one is not None and (at := one.retry_at(now)) is not None}
        # While trials are under way, any of them may give its place back: that is no news.
        if len(shut) == len(known) and not any(one is not None and one.state is HALF_OPEN for _, one in known):
            self.shut_until = min(shut.values(), default=-math.inf)
        return shut

    def keep_only(self, instances: set[str], *, routable: set[str]) -> None:
        """These are the instances now, and those that can be called."""
        if self.scope == "instance":
            self._routable, self.shut_until = frozenset(routable), -math.inf
            for gone in self._of.keys() - instances:
                self._of.pop(gone).retire()

    def force(self, word: str | None, now: float) -> None:
        """An operator's word, for all of them. Raises InvalidRequest."""
        if word not in _WORDS:
            raise InvalidRequest(f"the breaker is forced to one of {', '.join(map(repr, _WORDS))}, not {word!r}")
        self._forced, self.shut_until = _WORDS[word], -math.inf
        for one in (self.one,) if self.scope == "service" else self._of.values():
            one.force(self._forced, now)

    def tune(self, config: ServiceConfig, now: float) -> None:
        """Take over a configuration, with what was counted; to another scope only an operator's word goes along."""
        same = config.breaker_scope == self.scope
        if same and config.breaker == self._config:
            return
        self._config, self.scope = config.breaker, config.breaker_scope
        if same:
            self.one = self._heir("", self.one)
            self._of = OrderedDict((key, self._heir(key, one)) for key, one in self._of.items())
        else:
            self._start_anew(now)

    def _start_anew(self, now: float) -> None:
        for one in (self.one, *self._of.values()):
            one.retire()
        self.one, self._routable = self._new(""), _NOBODY
        self._of.clear()
        if self.scope == "service":  # the others are told when they are made
            self.one.force(self._forced, now)

    def _heir(self, key: str, old: CircuitBreaker) -> CircuitBreaker:
        old.retire()
        heir = self._new(key)
        heir.restore(old.snapshot())
        return heir

    def _new(self, key: str) -> CircuitBreaker:
        return CircuitBreaker(self._config, on_change=partial(self._changed, key), rng=self._rng)

    def _changed(self, key: str, old: BreakerState, new: BreakerState, reason: str, _now: float) -> None:
        breaker = self._of[key] if key else self.one
        change = old, new, reason
        self._emit(breaker_changed(breaker, change, path=self._path, service=self._name, scope=key))


def operation(request: Request) -> str:
    """What a request does: its template, or as far as method and path tell ``GET /users/*`` for ``/users/42``."""
    if request.template is not None:
        return f"{request.method} {request.template}"
    path = request.target.partition("?")[0]
    return f"{request.method} {_VARIABLE.sub('/*', path)}"
