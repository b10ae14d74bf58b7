"""The retry budget: retries are a share of the live traffic, so that an outage cannot multiply the load.

Three attempts a call make three times the load of a service that is down, just when it can bear it least, and layers of
services multiply that. Here retries may be at most ``ratio`` of the calls in a sliding window, or ``min_per_second``
where there are few calls, whichever is more. (Finagle's RetryBudget and Linkerd's defaults: RESILIENCE.md, "Retry".
They add the two up; then 20 % and ten a second are more than 1.2 times the load at any rate of calls, and the bound
that one buys a budget for does not hold.)

Pure, O(1) a call: the window is a ring of ten slots, the oldest of which is dropped as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config import RetryBudget

_SLOTS = 10


class Budget:
    """Counts the calls and the retries of the last ``window`` seconds. A clock that goes back stands still here."""

    __slots__ = ("_calls", "_config", "_retries", "_slot", "_width", "calls", "retries")

    def __init__(self, config: RetryBudget) -> None:
        self._config = config
        self._width = config.window / _SLOTS
        self._slot = 0  # of the present, counted from the beginning of time
        self._calls = [0] * _SLOTS
        self._retries = [0] * _SLOTS
        self.calls = 0
        """In the window."""
        self.retries = 0
        """In the window."""

    def tuned(self, config: RetryBudget) -> Budget:
        """Another budget, which knows what this one has counted."""
        other = Budget(config)
        for slot in range(max(0, self._slot - _SLOTS + 1), self._slot + 1):
            place, then = slot % _SLOTS, int(slot * self._width / other._width)
            other._turn(then)
            other._calls[then % _SLOTS] += self._calls[place]
            other._retries[then % _SLOTS] += self._retries[place]
            other.calls += self._calls[place]
            other.retries += self._retries[place]
        return other

    def deposit(self, now: float) -> None:
        """A call begins."""
        slot = int(now / self._width)
        if slot > self._slot:
            self._turn(slot)
        self._calls[self._slot % _SLOTS] += 1
        self.calls += 1

    def try_withdraw(self, now: float) -> bool:
        """May one more attempt be made? If so, it is counted."""
        slot = int(now / self._width)
        if slot > self._slot:
            self._turn(slot)
        config = self._config
        if self.retries + 1 > max(config.ratio * self.calls, config.min_per_second * config.window):
            return False
        self._retries[self._slot % _SLOTS] += 1
        self.retries += 1
        return True

    def _turn(self, slot: int) -> None:
        """Time has gone on: forget what has left the window."""
        for old in range(self._slot + 1, min(slot, self._slot + _SLOTS) + 1):
            place = old % _SLOTS
            self.calls -= self._calls[place]
            self.retries -= self._retries[place]
            self._calls[place] = self._retries[place] = 0
        self._slot = slot
