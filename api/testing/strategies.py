"""Hypothesis strategies for faults: one fault, and a schedule for many connections.

    @given(schedule=schedules())
    def test_that_it_recovers(schedule):
        ...                                            # proxy.plan = schedule

Only this module imports Hypothesis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import msgspec

from .faults import Bandwidth, BlackHole, Corrupt, Direction, Drip, Fault, HalfClose, Latency, Reset, Truncate

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "switchgear.testing.strategies needs Hypothesis: pip install 'switchgear[testing]'", name=error.name
    ) from error

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


class Schedule(msgspec.Struct, frozen=True):
    """A plan for a `FaultProxy` that shows what it does: the faults of each connection in turn, then none."""

    connections: tuple[tuple[Fault, ...], ...] = ()

    def __call__(self, number: int) -> tuple[Fault, ...]:
        """The faults of the connection of that number, from 0."""
        return self.connections[number] if number < len(self.connections) else ()


def faults(*, max_bytes: int = 512, max_seconds: float = 0.05) -> SearchStrategy[Fault]:
    """One fault.

    Args:
        max_bytes: up to where a fault may strike; take about the size of an exchange.
        max_seconds: the longest `Latency` (a `Drip` or `Bandwidth` takes no longer for ``max_bytes``).
    """
    way = st.sampled_from(get_args(Direction))
    at = st.integers(0, max_bytes)
    seconds = st.floats(0, max_seconds)
    rates = st.floats(1, 16).map(lambda times: times * max_bytes / max(max_seconds, 0.001))
    strikes = (st.builds(kind, st.none() | at, way) for kind in (Reset, Truncate, BlackHole))
    return st.one_of(
        st.builds(Latency, seconds, seconds, way),
        st.builds(Drip, st.integers(1, max_bytes), st.floats(0, max_seconds / max_bytes), way),
        st.builds(Bandwidth, rates, way),
        st.builds(Corrupt, at, way),
        st.builds(HalfClose, at, way),
        *strikes,
    )


def schedules(*, max_connections: int = 8, max_bytes: int = 512, max_seconds: float = 0.05) -> SearchStrategy[Schedule]:
    """The faults of the first connections, up to three for each; what comes after them meets a good network.

    Args:
        max_connections: how many connections may have faults.
        max_bytes: as in `faults`.
        max_seconds: as in `faults`.
    """
    one = st.lists(faults(max_bytes=max_bytes, max_seconds=max_seconds), max_size=3).map(tuple)
    return st.lists(one, max_size=max_connections).map(tuple).map(Schedule)
