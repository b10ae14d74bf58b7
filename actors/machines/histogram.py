"""A latency histogram: bounded, mergeable, and within 1.09 % of the truth.

Base-2 exponential buckets, 32 to an octave (OpenTelemetry scale 5, Prometheus schema 5): bucket i holds the values in
[2**(i/32), 2**((i+1)/32)) seconds, for 30 octaves from a microsecond to a quarter of an hour. A quantile is the
geometric middle of its bucket, so it is off by at most 2**(1/64) - 1 = 1.09 %. The grid is fixed: merging is exact,
in any order. (METRICS.md, section 1, has the measurements against HDR, DDSketch and others.)
"""

from __future__ import annotations

import bisect
import itertools
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PER_OCTAVE = 32
_K = _PER_OCTAVE / math.log(2)
_OFFSET = 640  # bucket of 1 second: 20 octaves below it reach down to a microsecond
_BUCKETS = 960
_MOST = 1e9  # thirty years: sums stay finite
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
        """Count one latency. What is no latency (negative, NaN, infinite) counts as 0; more than 1e9 s as that."""
        counts = self._counts
        if counts is None:
            counts = self._counts = [0] * _BUCKETS
        try:
            # The offset goes inside int(): truncation of negative logarithms would shift them by a bucket.
            index = int(_log(seconds) * _K + _OFFSET)
        except (ValueError, OverflowError):
            seconds, index = 0.0, 0
        if not 0 <= index < _BUCKETS:
            index = 0 if index < 0 else _BUCKETS - 1
            seconds = min(seconds, _MOST)
        counts[index] += 1
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
        rank = math.ceil(q * self.count * (1 - 1e-12))  # 0.55 * 100 is a little more than 55
        if rank <= 1:
            return self.min
        if rank >= self.count:
            return self.max
        index = bisect.bisect_left(list(itertools.accumulate(self._counts)), rank)
        middle = math.exp((index - _OFFSET + 0.5) / _K)
        return min(max(middle, self.min), self.max)

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
    def from_dict(cls, data: Mapping[str, Any]) -> LatencyHistogram:
        """The inverse of `to_dict`. Raises ValueError for anything that no histogram can have written."""
        missing = {"scale", "count", "sum", "min", "max", "buckets"} - data.keys()
        if missing:
            raise ValueError(f"no histogram: {', '.join(sorted(missing))} missing")
        if data["scale"] != 5:
            raise ValueError(f"scale must be 5, not {data['scale']!r}")
        histogram = cls()
        try:
            for index, count in data["buckets"].items():
                histogram._put(int(index) + _OFFSET, count)
            least, most, total = float(data["min"]), float(data["max"]), float(data["sum"])
        except (AttributeError, TypeError, OverflowError) as error:  # JSON has whole numbers of any length
            raise ValueError(f"no histogram: {error}") from None
        if histogram.count != data["count"]:
            raise ValueError(f"the buckets hold {histogram.count}, the count is {data['count']!r}")
        if not (0 <= least <= most <= total * (1 + 1e-9) <= _MOST * (histogram.count + 1)):
            raise ValueError(f"min {least}, max {most} and sum {total} do not go together")
        if histogram.count:
            histogram.sum, histogram.min, histogram.max = total, least, most
        return histogram

    def _put(self, index: int, count: object) -> None:
        if not 0 <= index < _BUCKETS:
            raise ValueError(f"bucket {index - _OFFSET} is off the grid")
        if not isinstance(count, int) or not 0 <= count < 2**63:
            raise ValueError(f"bucket {index - _OFFSET} holds {count!r}")
        self._counts = self._counts or [0] * _BUCKETS
        self._counts[index] += count
        self.count += count
