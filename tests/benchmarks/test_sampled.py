"""Time is booked on the module that is found at work."""

import statistics

import pytest

from benchmarks.sampled import sampled


def busy(samples):
    for _ in range(100_000):
        statistics.median([1, 2, 3])  # a library at work for us
        if samples.shares():
            return samples.shares()
    return None


@pytest.mark.parametrize(
    ("names", "shares"),
    [
        ({__name__: "ours"}, {"ours": 1}),
        ({__name__: "ours", "no.such.module": "nobody's"}, {"ours": 1}),
        ({}, {None: 1}),
    ],
)
def test_the_innermost_module_with_a_name_is_at_work(names, shares):
    with sampled(names) as samples:
        assert busy(samples) == shares


def test_nobody_looks_after_the_end():
    with sampled({}) as samples:
        busy(samples)
    before = samples.shares()
    busy(samples)
    assert samples.shares() == before
