"""Priorities, zones and subsets: which part of a fleet gets how much."""

import collections
import random
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

import switchgear as sg
from switchgear.actors.machines.balancers import Endpoint, PeakEwma, RingHash
from switchgear.actors.machines.balancers.levels import Levels, level_of, loads, subset

FIRST, ELSEWHERE, SECOND = (0, False), (0, True), (1, False)


def of(members, known=None, *, make=PeakEwma, size=None, seed=1):
    """``members``: how many can be used on each level; ``known``: how many there are, if those are more."""
    levels = Levels(make, random.Random(seed), size, seed)
    pairs = [(level, Endpoint(f"{level}{n}")) for level, count in members.items() for n in range(count)]
    levels.update(pairs, collections.Counter(known or members))
    return levels, dict(pairs), {endpoint.id: level for level, endpoint in pairs}


def shares(levels, where, n=10_000, **options):
    counts = collections.Counter(where[levels.pick(0.0, **options).id] for _ in range(n))
    return {level: count / n for level, count in counts.items()}


@pytest.mark.parametrize(
    ("metadata", "level"),
    [
        ({}, (0, True)),
        ({"zone": "eu-1"}, (0, False)),
        ({"zone": "us-1", "priority": "2"}, (2, True)),
        ({"zone": "eu-1", "priority": "1"}, (1, False)),
        *(({"zone": "eu-1", "priority": odd}, (0, False)) for odd in ("", "-1", "1.5", "high", "\u00b2", "9" * 5000)),
    ],
)
def test_the_level_is_in_the_metadata(metadata, level):
    assert level_of(sg.ServiceInstance("a", "svc", metadata=metadata), "eu-1") == level


def test_who_is_nowhere_is_at_home_everywhere():
    assert level_of(sg.ServiceInstance("a", "svc", metadata={"zone": "eu-1"}), "") == (0, False)


@pytest.mark.parametrize(  # the table of Envoy's documentation
    ("well", "expected"),
    [
        ([1.0, 1.0], [1.0, 0.0]),
        ([0.72, 1.0], [1.0, 0.0]),
        ([0.71, 1.0], [0.994, 0.006]),
        ([0.5, 1.0], [0.7, 0.3]),
        ([0.25, 1.0], [0.35, 0.65]),
        ([0.25, 0.25], [0.5, 0.5]),
        ([0.0, 1.0], [0.0, 1.0]),
        ([0.25, 0.25, 0.25], [0.35 / 1.05, 0.35 / 1.05, 0.35 / 1.05]),
        ([0.0, 0.1], [0.0, 1.0]),
        ([0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_what_a_level_cannot_manage_the_next_gets(well, expected):
    assert loads(well) == pytest.approx(expected, abs=0.06 if len(well) == 3 else 1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_all_calls_go_somewhere_and_none_to_those_who_are_all_out(well):
    found = loads(well)
    assert sum(found) == pytest.approx(1.0 if any(1.4 * share for share in well) else 0.0)
    assert all(0 <= share <= 1 for share in found)
    assert all(share == 0 for share, those in zip(found, well, strict=True) if not those)
    better = loads([1.0, *well[1:]])
    assert better[0] == 1.0


def test_a_level_that_is_well_gets_all():
    levels, _, where = of({FIRST: 3, ELSEWHERE: 3, SECOND: 9})
    assert shares(levels, where) == {FIRST: 1.0}


def test_one_that_is_half_out_gets_what_it_can_manage():
    levels, _, where = of({FIRST: 2, ELSEWHERE: 3, SECOND: 9}, {FIRST: 4, ELSEWHERE: 3, SECOND: 9})
    assert shares(levels, where) == pytest.approx({FIRST: 0.7, ELSEWHERE: 0.3}, abs=0.02)


def test_who_is_to_be_avoided_can_make_it_go_a_level_down():
    levels, _, where = of({FIRST: 1, SECOND: 2})
    assert shares(levels, where, n=50, avoid=frozenset({f"{FIRST}0"})) == {SECOND: 1.0}
    assert levels.pick(0.0, frozenset(where)) is None


def test_a_key_stays_on_its_level():
    levels, _, where = of({FIRST: 2, SECOND: 3}, {FIRST: 4, SECOND: 3}, make=RingHash)
    homes = {f"k{n}": levels.pick(0.0, key=f"k{n}") for n in range(1000)}
    assert all(levels.pick(0.0, key=key) is home for key, home in homes.items())
    assert sum(where[home.id] == FIRST for home in homes.values()) / 1000 == pytest.approx(0.7, abs=0.05)


def test_nobody_is_nobody():
    levels, _, _ = of({})
    assert levels.pick(0.0) is None
    levels, _, _ = of({FIRST: 0}, {FIRST: 3})
    assert levels.pick(0.0) is None


def test_a_subset_is_of_its_size_and_others_have_another():
    endpoints = [Endpoint(f"e{n}") for n in range(200)]
    choose = partial(subset, endpoints, 20)
    assert len(choose(1)) == 20
    assert choose(1) == choose(1) != choose(2)
    counts = collections.Counter(endpoint.id for seed in range(500) for endpoint in choose(seed))
    assert len(counts) == 200
    assert max(counts.values()) < 90  # 50 on average
    assert subset(endpoints, 200, 1) == subset(endpoints, 1000, 1) == endpoints


@given(st.integers(1, 10), st.integers(0, 99), st.integers(0, 29))
def test_one_that_goes_is_replaced_and_the_others_stay(size, seed, gone):
    endpoints = [Endpoint(f"e{n}") for n in range(30)]
    before = set(subset(endpoints, size, seed))
    lost = endpoints.pop(gone)
    after = set(subset(endpoints, size, seed))
    assert len(after) == size
    assert before - after == ({lost} & before)


def test_each_level_has_a_subset():
    levels, _, where = of({FIRST: 30, SECOND: 30}, {FIRST: 60, SECOND: 30}, size=5)
    picked = collections.Counter(where[name] for name in {levels.pick(0.0).id for _ in range(2000)})
    assert picked == {FIRST: 5, SECOND: 5}
