"""The circuit breaker: stop calling a service that fails, and find out by careful trials when it is back.

A pure state machine. Everything about its transitions is in this file:

    state       event                                             next
    ---------   -----------------------------------------------   ---------
    CLOSED      failure_threshold failures in monitoring_period   OPEN
    OPEN        a call comes, reset_timeout after the opening     HALF_OPEN
    HALF_OPEN   half_open_max_requests successes                  CLOSED
    HALF_OPEN   one failure                                       OPEN

Each transition begins a new generation. A permit of an earlier generation changes nothing when it is settled: a slow
failure from before the outage must not open a breaker that has just closed (gobreaker). A trial that is not settled
gives its place back after reset_timeout: a lost permit would keep the breaker half-open for ever (OmniRoute #13836).
Should it succeed after all, that counts: a healthy service that takes longer than reset_timeout to answer would
otherwise lose every trial to the next one, and be kept half-open for ever too. Its failure says nothing any more.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..config import BreakerConfig

OnChange: TypeAlias = "Callable[[BreakerState, BreakerState, str, float], None]"
Snapshot: TypeAlias = "tuple[str, float, tuple[float, ...]]"


class BreakerState(enum.StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Permit:
    """Leave to make one call. Settle it with one of `success`, `failure` and `cancel`; the first one counts."""

    __slots__ = ("_breaker", "_generation")

    def __init__(self, breaker: CircuitBreaker, generation: int) -> None:
        self._breaker: CircuitBreaker | None = breaker  # until it is settled
        self._generation = generation

    def success(self, now: float) -> None:
        """The service did its work."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None and breaker.state is BreakerState.HALF_OPEN and breaker._generation == self._generation:
            breaker._succeeded(self, now)

    def failure(self, now: float) -> None:
        """The service failed."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None and breaker._generation == self._generation:
            breaker._failed(self, now)

    def cancel(self, now: float) -> None:
        """The call says nothing about the service: it was never made, or its caller went away."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None:
            breaker._trials.pop(self, None)


class CircuitBreaker:
    """One breaker. ``now`` is in seconds, of any one clock.

    Args:
        config: thresholds and times.
        on_change: called at each transition with the old state, the new one, the reason and the time.
    """

    __slots__ = ("_config", "_failures", "_generation", "_on_change", "_opened_at", "_successes", "_trials", "state")

    def __init__(self, config: BreakerConfig, *, on_change: OnChange | None = None) -> None:
        self.state = BreakerState.CLOSED
        self._config = config
        self._on_change = on_change
        self._generation = 0
        self._opened_at = 0.0
        self._successes = 0  # of trials
        self._trials: dict[Permit, float] = {}  # in flight, by when they began
        self._failures: deque[float] | None = None  # made for the first failure: a deque is 0.6 kB

    def try_acquire(self, now: float) -> Permit | None:
        """Leave to make a call at ``now``, or None."""
        if self.state is BreakerState.CLOSED:
            return Permit(self, self._generation)
        if self.state is BreakerState.OPEN:
            if now < self._opened_at + self._config.reset_timeout:
                return None
            self._change(BreakerState.HALF_OPEN, "the reset timeout is over", now)
        return self._trial(now)

    def retry_at(self, now: float) -> float | None:
        """When the next call can be let in; None if one would be now."""
        if self.state is BreakerState.CLOSED:
            return None
        if self.state is BreakerState.OPEN:
            at = self._opened_at + self._config.reset_timeout
            return at if at > now else None
        self._forget_lost(now)
        if self._has_place():
            return None
        return min(self._trials.values(), default=now) + self._config.reset_timeout

    def snapshot(self) -> Snapshot:
        """What the next incarnation should know: plain values. Trials in flight are not part of it."""
        state = BreakerState.OPEN if self.state is BreakerState.HALF_OPEN else self.state
        return (state.value, self._opened_at, tuple(self._failures or ()))

    def retire(self) -> None:
        """Another breaker takes over: what calls under way still tell this one is nobody's news."""
        self._on_change = None

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot. A breaker that is switched off is closed, whatever it was before."""
        state, self._opened_at, failures = snapshot
        self.state = BreakerState(state) if self._config.enabled else BreakerState.CLOSED
        self._failures = deque(failures, maxlen=self._config.failure_threshold) if failures else None
        self._generation += 1
        self._successes = 0
        self._trials.clear()

    # ---- transitions

    def _trial(self, now: float) -> Permit | None:
        self._forget_lost(now)
        if not self._has_place():
            return None
        permit = Permit(self, self._generation)
        self._trials[permit] = now
        return permit

    def _has_place(self) -> bool:
        return len(self._trials) + self._successes < self._config.half_open_max_requests

    def _forget_lost(self, now: float) -> None:
        """Trials are few and in order of their beginning: look at the oldest."""
        while self._trials:
            oldest = next(iter(self._trials))
            if self._trials[oldest] + self._config.reset_timeout > now:
                return
            del self._trials[oldest]

    def _succeeded(self, permit: Permit, now: float) -> None:
        self._trials.pop(permit, None)  # not there: its place has gone to another
        self._successes += 1
        if self._successes >= self._config.half_open_max_requests:
            self._failures = None
            self._change(BreakerState.CLOSED, f"{self._successes} of {self._successes} trials succeeded", now)

    def _failed(self, permit: Permit, now: float) -> None:
        if self.state is BreakerState.HALF_OPEN:
            if self._trials.pop(permit, None) is not None:
                self._open("a trial failed", now)
            return
        if self._failures is None:
            self._failures = deque(maxlen=self._config.failure_threshold)
        failures = self._failures
        failures.append(now)
        threshold = self._config.failure_threshold
        if self._config.enabled and len(failures) == threshold and now - failures[0] <= self._config.monitoring_period:
            self._open(f"{threshold} failures in {now - failures[0]:.3g} s", now)

    def _open(self, reason: str, now: float) -> None:
        self._opened_at = now
        self._change(BreakerState.OPEN, reason, now)

    def _change(self, state: BreakerState, reason: str, now: float) -> None:
        old, self.state = self.state, state
        self._generation += 1
        self._successes = 0
        self._trials.clear()
        if self._on_change is not None:
            self._on_change(old, state, reason, now)
