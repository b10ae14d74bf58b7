"""A quantile of the latencies of the last while: when a call has become one of the slow ones. Pure.

Two histograms, of which the older is dropped every ``period`` seconds: what is asked for is between one and two
periods old at most, and recording costs what a histogram costs. (An exact sliding window would keep every latency.)
"""

from __future__ import annotations

from .histogram import LatencyHistogram


class RecentQuantile:
    """The quantile ``q`` of recent latencies, in seconds.

    Args:
        q: between 0 and 1.
        period: seconds after which the older half is forgotten.
        least: fewer latencies than that say nothing.
    """

    __slots__ = ("_least", "_new", "_old", "_period", "_q", "_since", "_told", "_valid_until")

    def __init__(self, q: float, *, period: float = 30.0, least: int = 50) -> None:
        self._q = q
        self._period = period
        self._least = least
        self._old = LatencyHistogram()
        self._new = LatencyHistogram()
        self._since: float | None = None
        self._told: float | None = None
        self._valid_until = 0.0

    def tune(self, q: float) -> None:
        """Another quantile, of the same latencies."""
        self._q, self._told = q, None

    def record(self, seconds: float, now: float) -> None:
        """One more latency."""
        self._turn(now)
        self._new.record(seconds)

    def value(self, now: float) -> float | None:
        """The quantile; None where too little is known. It is worked out anew ten times a period at most."""
        self._turn(now)
        if self._told is None or now >= self._valid_until:
            both = self._old.copy()
            both.merge(self._new)
            self._told = both.quantile(self._q) if both.count >= self._least else None
            self._valid_until = now + self._period / 10
        return self._told

    def _turn(self, now: float) -> None:
        """Forget what has grown too old."""
        if self._since is None:
            self._since = now
        age = now - self._since
        if age < self._period:
            return
        if age < 2 * self._period:
            self._old, self._since = self._new, self._since + self._period
        else:
            self._old, self._since = LatencyHistogram(), now
        self._new = LatencyHistogram()
        self._told = None
