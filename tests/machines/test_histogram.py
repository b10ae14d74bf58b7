"""The histogram against a sorted list of everything that was recorded."""

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.machines.histogram import LatencyHistogram

LATENCIES = st.floats(1e-6, 900.0)
QUANTILES = st.sampled_from([0.0, 0.07, 0.1, 0.5, 0.55, 0.9, 0.95, 0.99, 0.999, 1.0])
BOUND = 2 ** (1 / 64) - 1 + 1e-12  # 1.09 %


def of(values):
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    return histogram


def exact(values, percent):
    """The nearest-rank quantile; in whole numbers, since 0.55 * 100 is more than 55."""
    per_mille = round(percent * 1000)
    rank = max(1, -(-per_mille * len(values) // 1000))
    return sorted(values)[rank - 1]


@given(st.lists(LATENCIES, min_size=1, max_size=200), QUANTILES)
def test_a_quantile_is_within_its_bound(values, q):
    truth = exact(values, q)
    got = of(values).quantile(q)
    assert abs(got - truth) <= BOUND * truth
    assert min(values) <= got <= max(values)


@pytest.mark.parametrize("octave", range(-19, 10))
def test_the_bound_holds_around_every_edge_of_the_grid(octave):
    for step in range(32):
        edge = 2.0 ** (octave + step / 32)
        for value in (math.nextafter(edge, 0), edge, math.nextafter(edge, math.inf), edge * 2 ** (1 / 64)):
            if 1e-6 <= value <= 900:
                got = of([value / 2, value, value * 1.5]).quantile(0.5)
                assert abs(got - value) <= BOUND * value


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_a_quantile_is_not_off_by_one_through_rounding(n):
    histogram = of([1.0] * (n * 55 // 100) + [100.0] * (n - n * 55 // 100))
    assert histogram.quantile(55 * n // 100 / n) == pytest.approx(1.0, rel=BOUND)


@given(st.lists(LATENCIES, min_size=1, max_size=50))
def test_the_ends_are_exact(values):
    histogram = of(values)
    assert histogram.quantile(0) == min(values)
    assert histogram.quantile(1) == max(values)
    assert histogram.count == len(values)
    assert histogram.mean == pytest.approx(sum(values) / len(values))


@given(st.lists(st.lists(LATENCIES, max_size=20), max_size=6), st.randoms(use_true_random=False))
def test_merging_is_exact_and_in_any_order_like_one_big_one(parts, rng):
    whole = of([value for part in parts for value in part]).to_dict()
    for _ in range(3):
        rng.shuffle(parts)
        total = LatencyHistogram()
        for part in parts:
            total.merge(of(part))
        merged = total.to_dict()
        assert merged.pop("sum") == pytest.approx(whole["sum"])
        assert merged == {key: value for key, value in whole.items() if key != "sum"}


def test_merging_leaves_the_other_alone():
    one, other = of([1.0]), of([2.0, 3.0])
    before = other.to_dict()
    one.merge(other)
    one.record(4.0)
    empty = LatencyHistogram()
    empty.merge(other)
    empty.record(5.0)
    assert other.to_dict() == before
    other.merge(LatencyHistogram())
    assert other.to_dict() == before


def test_a_copy_is_independent():
    one = of([1.0])
    twin = one.copy()
    twin.record(2.0)
    assert (one.count, twin.count) == (1, 2)
    assert one.copy().to_dict() == one.to_dict()


@given(st.lists(LATENCIES, max_size=60), QUANTILES)
def test_through_json_and_back(values, q):
    histogram = of(values)
    again = LatencyHistogram.from_dict(json.loads(json.dumps(histogram.to_dict(), allow_nan=False)))
    assert again.to_dict() == histogram.to_dict()
    assert again.quantile(q) == histogram.quantile(q)
    again.record(1.0)
    again.merge(histogram)
    assert again.count == 2 * len(values) + 1


ODD = [0.0, -0.0, -1.0, math.nan, math.inf, -math.inf, 5e-324, 1e-9, 1e308, 1.7e308]


@given(st.lists(st.one_of(st.sampled_from(ODD), st.floats()), min_size=1, max_size=30))
def test_what_is_no_latency_does_no_harm(values):
    histogram = of(values)
    assert histogram.count == len(values)
    for number in (histogram.sum, histogram.min, histogram.max, histogram.mean, *map(histogram.quantile, (0, 0.5, 1))):
        assert math.isfinite(number)
        assert number >= 0
    assert LatencyHistogram.from_dict(histogram.to_dict()).to_dict() == histogram.to_dict()


def test_an_empty_one_says_zero():
    histogram = LatencyHistogram()
    assert [histogram.quantile(q) for q in (0, 0.5, 1)] == [0.0, 0.0, 0.0]
    assert histogram.mean == 0.0
    assert histogram.to_dict() == {"scale": 5, "count": 0, "sum": 0.0, "min": 0.0, "max": 0.0, "buckets": {}}
    assert LatencyHistogram.from_dict(histogram.to_dict()).count == 0


def test_what_is_off_the_grid_lands_in_the_outermost_buckets():
    histogram = of([1e-9, 5000.0])
    assert histogram.to_dict()["buckets"] == {"-640": 1, "319": 1}


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_is_between_0_and_1(q):
    with pytest.raises(ValueError, match="between 0 and 1"):
        LatencyHistogram().quantile(q)


GOOD = of([0.1, 0.2]).to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 4},
        {"buckets": {"320": 2}},
        {"buckets": {"-641": 2}},
        {"buckets": {"x": 2}},
        {"buckets": {"0": 3}},
        {"buckets": {"0": -1, "1": 3}},
        {"buckets": {"0": 1.5, "1": 0.5}},
        {"buckets": None},
        {"count": "2"},
        {"count": None},
        {"buckets": {"0": 10**400}, "count": 10**400},
        {"sum": math.nan},
        {"sum": 10**400},
        {"min": -1.0},
        {"min": 5.0},
        {"max": math.inf},
        {"max": "x"},
    ],
)
def test_what_is_no_histogram_is_refused(change):
    with pytest.raises(ValueError, match=r".+"):
        LatencyHistogram.from_dict(GOOD | change)


@pytest.mark.parametrize("key", sorted(GOOD))
def test_nothing_may_be_missing(key):
    with pytest.raises(ValueError, match=key):
        LatencyHistogram.from_dict({name: value for name, value in GOOD.items() if name != key})


def test_it_is_within_its_bound_on_what_latencies_look_like():
    rng = random.Random(7)
    values = [rng.lognormvariate(-3, 1.5) for _ in range(20_000)]
    histogram = of(values)
    for q in (0.5, 0.9, 0.99, 0.999):
        assert histogram.quantile(q) == pytest.approx(exact(values, q), rel=BOUND)
