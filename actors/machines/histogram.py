"""A latency histogram: bounded, mergeable, and within 1.09 % of the truth.

Base-2 exponential buckets, 32 to an octave (OpenTelemetry scale 5, Prometheus schema 5): bucket i holds the values in
[2**(i/32), 2**((i+1)/32)) seconds, for 30 octaves from a microsecond to a quarter of an hour. A quantile is the
geometric middle of its bucket, so it is off by at most 2**(1/64) - 1 = 1.09 %. The grid is fixed: merging and
subtracting are exact, in any order. (METRICS.md, section 1, has the measurements against HDR, DDSketch and others.)
"""

from __future__ import annotations

import math
from typing import Any

_PER_OCTAVE = 32
_K = _PER_OCTAVE / math.log(2)
_OFFSET = 640  # bucket of 1 second: 20 octaves below it reach down to a microsecond
_BUCKETS = 960
_log = math.log


class LatencyHistogram:
    """Counts of seconds. An idle one has no buckets yet."""

    __slots__ = ("_counts", "count", "max", "min", "sum")

    def __init__(self) -> None:
        self._counts: list[int] | None = None
        self.count = 0
        self.sum = 0.0
        self.min = math.inf
        self.max = 0.0

    def record(self, seconds: float) -> None:
        """Count one latency. What is no latency (negative, NaN, infinite) counts as 0."""
        counts = self._counts
        if counts is None:
            counts = self._counts = [0] * _BUCKETS
        try:
            # The offset goes inside int(): truncation of negative logarithms would shift them by a bucket.
            index = int(_log(seconds) * _K + _OFFSET)
        except (ValueError, OverflowError):
            seconds, index = 0.0, 0
        counts[0 if index < 0 else index if index < _BUCKETS else _BUCKETS - 1] += 1
        self.count += 1
        self.sum += seconds
        if seconds < self.min:
            self.min = seconds
        if seconds > self.max:
            self.max = seconds

    @property
    def mean(self) -> float:
        """Arithmetic mean in seconds; 0 for none."""
        return self.sum / self.count if self.count else 0.0

    def quantile(self, q: float) -> float:
        """The latency that a share ``q`` (0 to 1) of all did not exceed; 0 for none."""
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile is between 0 and 1, not {q!r}")
        if self._counts is None or not self.count:
            return 0.0
        rank, seen = max(1, math.ceil(q * self.count)), 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                middle = 2.0 ** ((index - _OFFSET + 0.5) / _PER_OCTAVE)
                return min(max(middle, self.min), self.max)
        return self.max

    def merge(self, other: LatencyHistogram) -> None:
        """Add all of another one's counts: exact, and in any order."""
        if other._counts is None:
            return
        mine = self._counts
        self._counts = (
            list(other._counts) if mine is None else [a + b for a, b in zip(mine, other._counts, strict=True)]
        )
        self.count += other.count
        self.sum += other.sum
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)

    def copy(self) -> LatencyHistogram:
        """An independent copy."""
        twin = LatencyHistogram()
        twin.merge(self)
        return twin

    def to_dict(self) -> dict[str, Any]:
        """Plain values, sparse: ``{"scale": 5, "count", "sum", "min", "max", "buckets": {index: count}}``."""
        counts = self._counts or ()
        buckets = {str(index - _OFFSET): count for index, count in enumerate(counts) if count}
        least = self.min if self.count else 0.0
        return {"scale": 5, "count": self.count, "sum": self.sum, "min": least, "max": self.max, "buckets": buckets}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LatencyHistogram:
        """The inverse of `to_dict`. Raises ValueError for another scale or buckets off the grid."""
        if data.get("scale") != 5:
            raise ValueError(f"scale must be 5, not {data.get('scale')!r}")
        histogram = cls()
        if data["count"]:
            counts = histogram._counts = [0] * _BUCKETS
            for index, count in data["buckets"].items():
                if not 0 <= int(index) + _OFFSET < _BUCKETS:
                    raise ValueError(f"bucket {index!r} is off the grid")
                counts[int(index) + _OFFSET] = count
            histogram.count, histogram.sum = data["count"], data["sum"]
            histogram.min, histogram.max = data["min"], data["max"]
        return histogram
