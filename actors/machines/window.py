"""What a circuit breaker counts, and when that is too much: one class for each way to trip.

All have the same few methods. ``record`` takes one call (``failed``, ``slow``, and when it ended) and returns why the
breaker is to open, or None. It is O(1), and the memory is bounded by the configuration. ``snapshot`` is plain values,
which ``restore`` goes on from; what was written by a window of another kind or size is not taken over.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from ..config import BreakerConfig

_SLOTS = 10  # of a time window: the oldest tenth is dropped as a whole (Hystrix and Polly count in ten as well)

Kept: TypeAlias = "tuple[Any, ...]"


class Counts(NamedTuple):
    """What a window holds at a moment."""

    calls: int
    """0 where only failures are counted."""
    failures: int
    slow: int


class Window(Protocol):
    """Counts calls."""

    all_calls: bool
    """Successes count too."""

    def record(self, failed: bool, slow: bool, now: float) -> str | None:
        """One call has ended: why to open, or None."""
        ...

    def counts(self) -> Counts:
        """What is in it."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def snapshot(self) -> Kept:
        """Plain values."""
        ...

    def restore(self, kept: Kept) -> None:
        """Go on from them."""
        ...


def window(config: BreakerConfig) -> Window:
    """The one that is configured."""
    if config.trip == "rate":
        return LastCalls(config) if config.window_calls is not None else LastSeconds(config)
    return InARow(config) if config.trip == "consecutive" else Failures(config)


class Failures:
    """So many failures within a period, whatever succeeds between them."""

    all_calls = False
    __slots__ = ("_period", "_threshold", "_times")

    def __init__(self, config: BreakerConfig) -> None:
        self._threshold = config.failure_threshold
        self._period = config.monitoring_period
        self._times: deque[float] | None = None  # made for the first failure: a deque is 0.6 kB

    def record(self, failed: bool, slow: bool, now: float) -> str | None:
        """See `Window`."""
        if not failed:
            return None
        if self._times is None:
            self._times = deque(maxlen=self._threshold)
        self._times.append(now)
        took = now - self._times[0]
        if len(self._times) < self._threshold or took > self._period:
            return None
        return f"{self._threshold} failures in {took:.3g} s"

    def counts(self) -> Counts:
        """See `Window`."""
        return Counts(0, len(self._times or ()), 0)

    def clear(self) -> None:
        """See `Window`."""
        self._times = None

    def snapshot(self) -> Kept:
        """See `Window`."""
        return ("failures", *(self._times or ()))

    def restore(self, kept: Kept) -> None:
        """See `Window`."""
        times = kept[1:] if kept[:1] == ("failures",) else ()
        self._times = deque(times, maxlen=self._threshold) if times else None


class InARow:
    """So many failures, and no success between them, however long it takes."""

    all_calls = True
    __slots__ = ("_failures", "_threshold")

    def __init__(self, config: BreakerConfig) -> None:
        self._threshold = config.failure_threshold
        self._failures = 0

    def record(self, failed: bool, slow: bool, now: float) -> str | None:
        """See `Window`."""
        self._failures = self._failures + 1 if failed else 0
        return f"{self._failures} failures in a row" if self._failures >= self._threshold else None

    def counts(self) -> Counts:
        """See `Window`."""
        return Counts(0, self._failures, 0)

    def clear(self) -> None:
        """See `Window`."""
        self._failures = 0

    def snapshot(self) -> Kept:
        """See `Window`."""
        return ("consecutive", self._failures)

    def restore(self, kept: Kept) -> None:
        """See `Window`."""
        self._failures = int(kept[1]) if kept[:1] == ("consecutive",) else 0


class _Rates:
    """Shares of failures and of slow calls, once there are enough calls to speak of shares."""

    all_calls = True
    __slots__ = ("_config", "calls", "failures", "slow")

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self.calls = self.failures = self.slow = 0

    def _verdict(self) -> str | None:
        config, calls = self._config, self.calls
        if calls < config.minimum_calls or not (self.failures or self.slow):  # which is so as long as all is well
            return None
        if self.failures >= config.failure_rate * calls:
            return f"{self.failures} of {calls} calls failed"
        if config.slow_rate is not None and self.slow >= config.slow_rate * calls:
            return f"{self.slow} of {calls} calls took more than {config.slow_after:g} s"
        return None

    def counts(self) -> Counts:
        """See `Window`."""
        return Counts(self.calls, self.failures, self.slow)

    def _add(self, calls: int, failures: int, slow: int) -> None:
        self.calls += calls
        self.failures += failures
        self.slow += slow


class LastCalls(_Rates):
    """The last so many calls: a ring of a byte each."""

    __slots__ = ("_next", "_ring")

    def __init__(self, config: BreakerConfig) -> None:
        super().__init__(config)
        self._ring = bytearray(config.window_calls or 1)  # of each: 1 counted, 2 failed, 4 slow
        self._next = 0

    def record(self, failed: bool, slow: bool, now: float) -> str | None:
        """See `Window`."""
        self._put(1 + 2 * failed + 4 * slow)
        return self._verdict()

    def _put(self, call: int) -> None:
        ring, place = self._ring, self._next
        old, ring[place] = ring[place], call
        self._next = place + 1 if place + 1 < len(ring) else 0
        self._add((call & 1) - (old & 1), (call >> 1 & 1) - (old >> 1 & 1), (call >> 2) - (old >> 2))

    def clear(self) -> None:
        """See `Window`."""
        self._ring = bytearray(len(self._ring))
        self._next = self.calls = self.failures = self.slow = 0

    def snapshot(self) -> Kept:
        """See `Window`."""
        return ("calls", bytes(self._ring[self._next :] + self._ring[: self._next]).lstrip(b"\0"))

    def restore(self, kept: Kept) -> None:
        """A ring of another size takes what fits, the latest."""
        self.clear()
        for call in kept[1] if kept[:1] == ("calls",) else b"":
            self._put(call)


class LastSeconds(_Rates):
    """The calls of the last period: a ring of ten slots. A clock that goes back stands still here."""

    __slots__ = ("_ring", "_slot", "_width")

    def __init__(self, config: BreakerConfig) -> None:
        super().__init__(config)
        self._width = config.monitoring_period / _SLOTS
        self._slot = 0  # of the present, counted from the beginning of time
        self._ring = [(0, 0, 0)] * _SLOTS

    def record(self, failed: bool, slow: bool, now: float) -> str | None:
        """See `Window`."""
        slot = int(now / self._width)
        if slot > self._slot:
            self._turn(slot)
        self._put(1, int(failed), int(slow))
        return self._verdict()

    def _put(self, calls: int, failures: int, slow: int) -> None:
        place = self._slot % _SLOTS
        a, b, c = self._ring[place]
        self._ring[place] = (a + calls, b + failures, c + slow)
        self._add(calls, failures, slow)

    def _turn(self, slot: int) -> None:
        """Time has gone on: forget what has left the window."""
        for old in range(self._slot + 1, min(slot, self._slot + _SLOTS) + 1):
            calls, failures, slow = self._ring[old % _SLOTS]
            self._add(-calls, -failures, -slow)
            self._ring[old % _SLOTS] = (0, 0, 0)
        self._slot = max(self._slot, slot)

    def clear(self) -> None:
        """See `Window`."""
        self._ring = [(0, 0, 0)] * _SLOTS
        self.calls = self.failures = self.slow = 0

    def snapshot(self) -> Kept:
        """See `Window`."""
        slots = range(max(0, self._slot - _SLOTS + 1), self._slot + 1)
        return ("seconds", *((slot * self._width, *self._ring[slot % _SLOTS]) for slot in slots))

    def restore(self, kept: Kept) -> None:
        """A window of another length takes what is young enough, as old as its slot was."""
        self._slot = 0
        self.clear()
        for at, calls, failures, slow in kept[1:] if kept[:1] == ("seconds",) else ():
            self._turn(int(at / self._width))
            self._put(calls, failures, slow)
