"""The circuit breaker: stop calling a service that fails, and find out by careful trials when it is back.

A pure state machine; `TRANSITIONS` has all of it that is not an operator's. What trips it is counted by a window
(`window.py`), which the configuration chooses.

Each transition begins a new generation. A permit of an earlier generation changes nothing when it is settled: a slow
failure from before the outage must not open a breaker that has just closed (gobreaker). A trial that is not settled
gives its place back after reset_timeout: a lost permit would keep the breaker half-open for ever (OmniRoute #13836).
Should it succeed after all, that counts: a healthy service that takes longer than reset_timeout to answer would
otherwise lose every trial to the next one, and be kept half-open for ever too. Its failure says nothing any more.

How long it stays open: ``reset_timeout * reset_multiplier ** (trips - 1)``, clamped to ``max_reset_timeout`` and then
jittered (after the clamp, or all clients would meet at it); ``trips`` are the openings that came before it was stable.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .window import Counts, window

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from ..config import BreakerConfig

OnChange: TypeAlias = "Callable[[BreakerState, BreakerState, str, float], None]"
Snapshot: TypeAlias = "tuple[Any, ...]"


class BreakerState(enum.StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    """An operator lets none through."""
    FORCED_CLOSED = "forced_closed"
    """An operator lets all through, and nothing is counted."""
    OBSERVING = "observing"
    """All pass and are counted, and what would have opened it is told as a change from this state to itself."""


CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, FORCED_CLOSED, OBSERVING = BreakerState

TRANSITIONS = (
    (CLOSED, "the window is full of failures, or slow calls", OPEN),
    (OPEN, "a call comes when the open time is over", HALF_OPEN),
    (HALF_OPEN, "as many trials as there may be succeed", CLOSED),
    (HALF_OPEN, "a trial fails, or is slow", OPEN),
)


class Figures(NamedTuple):
    """What a breaker knew when it last changed."""

    counts: Counts
    trips: int
    """Openings, without stability between them."""
    open_for: float | None
    """Seconds, of an opening that ends by itself."""


class Permit:
    """Leave to make one call. Settle it with one of `success`, `failure` and `cancel`; the first one counts."""

    __slots__ = ("_began", "_breaker", "_generation")

    def __init__(self, breaker: CircuitBreaker, generation: int, began: float) -> None:
        self._breaker: CircuitBreaker | None = breaker  # until it is settled
        self._generation = generation
        self._began = began

    def success(self, now: float) -> None:
        """The service did its work."""
        breaker, self._breaker = self._breaker, None
        if breaker is not None and breaker._takes_successes and breaker._generation == self._generation:
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
        rng: of the jitter of repeated openings; None: they have none.
    """

    __slots__ = (
        *("_closed_at", "_config", "_generation", "_on_change", "_open_for", "_opened_at", "_rng", "_successes"),
        *("_takes_successes", "_trials", "_trips", "_window", "figures", "state"),
    )

    def __init__(
        self, config: BreakerConfig, *, on_change: OnChange | None = None, rng: random.Random | None = None
    ) -> None:
        self.state = CLOSED
        """As it was at the last call: an open one whose time is over is half-open with the next `try_acquire`."""
        self.figures = Figures(Counts(0, 0, 0), 0, None)
        """Of the last change, as it is told."""
        self._config = config
        self._on_change = on_change
        self._rng = rng
        self._window = window(config)
        self._takes_successes = self._window.all_calls
        self._generation = 0
        self._opened_at = self._open_for = 0.0
        self._closed_at = -math.inf
        self._trips = 0
        self._successes = 0  # of trials
        self._trials: dict[Permit, float] = {}  # in flight, by when they began

    def try_acquire(self, now: float) -> Permit | None:
        """Leave to make a call at ``now``, or None."""
        state = self.state
        if state is CLOSED or state is FORCED_CLOSED or state is OBSERVING:
            return Permit(self, self._generation, now)
        if state is FORCED_OPEN:
            return None
        if state is OPEN:
            if now < self._opened_at + self._open_for:
                return None
            self._change(HALF_OPEN, "the reset timeout is over", now)
        return self._trial(now)

    def retry_at(self, now: float) -> float | None:
        """When the next call can be let in: None if one would be now, infinity if an operator has to say so first."""
        if self.state is OPEN:
            at = self._opened_at + self._open_for
            return at if at > now else None
        if self.state is FORCED_OPEN:
            return math.inf
        if self.state is not HALF_OPEN:
            return None
        self._forget_lost(now)
        if self._has_place():
            return None
        return min(self._trials.values(), default=now) + self._config.reset_timeout

    def force(self, state: BreakerState | None, now: float) -> None:
        """An operator's word: FORCED_OPEN, FORCED_CLOSED or OBSERVING, until it is taken back with None.

        What was forced open goes on half-open, by trials; the others closed, OBSERVING with what it has counted.
        """
        if state is None:
            if self.state is FORCED_OPEN:
                self._change(HALF_OPEN, "an operator leaves it to itself", now)
            elif self.state in {FORCED_CLOSED, OBSERVING}:
                self._closed_at = now
                self._change(CLOSED, "an operator leaves it to itself", now)
        elif state is not self.state:
            if state is not OBSERVING:
                self._window.clear()
            self._change(state, "by an operator", now)

    def snapshot(self) -> Snapshot:
        """What the next incarnation should know: plain values. Trials in flight are not part of it."""
        state = OPEN if self.state is HALF_OPEN else self.state
        return (state.value, self._opened_at, self._closed_at, self._trips, self._window.snapshot())

    def retire(self) -> None:
        """Another breaker takes over: what calls under way still tell this one is nobody's news."""
        self._on_change = None

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot, with the times of this configuration. A breaker that is switched off is not open."""
        state, self._opened_at, self._closed_at, self._trips, counted = snapshot
        self._open_for = self._open_time()
        self.state = BreakerState(state)
        if not self._config.enabled and self.state is OPEN:
            self.state = CLOSED
        self._window.restore(counted)
        self._generation += 1
        self._successes = 0
        self._trials.clear()
        self._takes_successes = self._window.all_calls

    # ---- transitions

    def _trial(self, now: float) -> Permit | None:
        self._forget_lost(now)
        if not self._has_place():
            return None
        permit = Permit(self, self._generation, now)
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
        config = self._config
        slow = config.slow_rate is not None and config.trip == "rate" and now - permit._began > config.slow_after
        if self.state is not HALF_OPEN:
            self._count(failed=False, slow=slow, now=now)
            return
        known = self._trials.pop(permit, None) is not None  # else its place has gone to another
        if slow:
            if known:
                self._open("a trial was slow", now)
            return
        self._successes += 1
        if self._successes >= config.half_open_max_requests:
            self._window.clear()
            self._closed_at = now
            self._change(CLOSED, f"{self._successes} of {self._successes} trials succeeded", now)

    def _failed(self, permit: Permit, now: float) -> None:
        if self.state is not HALF_OPEN:
            self._count(failed=True, slow=False, now=now)
        elif self._trials.pop(permit, None) is not None:
            self._open("a trial failed", now)

    def _count(self, *, failed: bool, slow: bool, now: float) -> None:
        if self.state is FORCED_CLOSED:
            return
        reason = self._window.record(failed, slow, now)
        if reason is None or not self._config.enabled:
            return
        if self.state is OBSERVING:
            self._change(OBSERVING, f"it would open: {reason}", now)
            self._window.clear()
        else:
            self._open(reason, now)

    def _open(self, reason: str, now: float) -> None:
        if self.state is CLOSED and now - self._closed_at >= self._config.stable_after:
            self._trips = 0
        self._trips += 1
        self._opened_at, self._open_for = now, self._open_time()
        self._change(OPEN, reason, now)

    def _open_time(self) -> float:
        config = self._config
        if self._trips <= 1 or config.reset_multiplier == 1:
            return config.reset_timeout
        grown = config.reset_timeout * config.reset_multiplier ** min(self._trips - 1, 64)
        clamped = min(grown, max(config.max_reset_timeout, config.reset_timeout))
        return clamped if self._rng is None else clamped * (1 - config.reset_jitter * self._rng.random())

    def _change(self, state: BreakerState, reason: str, now: float) -> None:
        old, self.state = self.state, state
        self._generation += old is not state
        self._successes = 0
        self._trials.clear()
        self._takes_successes = self._window.all_calls or state is HALF_OPEN
        self.figures = Figures(self._window.counts(), self._trips, self._open_for if state is OPEN else None)
        if self._on_change is not None:
            self._on_change(old, state, reason, now)
