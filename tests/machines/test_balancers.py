"""The balancers: who is never picked, and in what shares the others are."""

import collections
import math
import random
from fractions import Fraction
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear import ServiceConfig
from switchgear.actors.machines.balancers import (
    BALANCERS,
    Endpoint,
    LeastOutstanding,
    Maglev,
    PeakEwma,
    RoundRobin,
    SmoothWeighted,
    WeightedRandom,
)

ALL = list(BALANCERS.values())
WEIGHTED = [WeightedRandom, SmoothWeighted, LeastOutstanding, PeakEwma]
WEIGHTS = st.lists(st.one_of(st.just(0.0), st.integers(1, 9), st.floats(0.01, 100)), max_size=6)


def of(kind, weights, seed=0):
    endpoints = [Endpoint(f"e{n}", weight) for n, weight in enumerate(weights)]
    balancer = kind(random.Random(seed)) if kind is not Maglev else Maglev(random.Random(seed), size=251)
    balancer.update(endpoints)
    return balancer, endpoints


def shares(balancer, picks=20_000, avoid=frozenset()):
    counts = collections.Counter(balancer.pick(0.0, avoid).id for _ in range(picks))
    return {name: count / picks for name, count in counts.items()}


def test_a_configuration_can_name_each_of_them():
    (field,) = (field for field in msgspec.structs.fields(ServiceConfig) if field.name == "balancer")
    assert list(get_args(field.type)) == list(BALANCERS)


@pytest.mark.parametrize("kind", ALL)
@given(weights=WEIGHTS, seed=st.integers(0, 99), data=st.data())
def test_a_pick_is_one_that_may_be_picked(kind, weights, seed, data):
    balancer, endpoints = of(kind, weights, seed)
    key = st.sampled_from([None, "a", "b", "user-42", "\ud800"])
    for now in range(20):
        avoid = frozenset(data.draw(st.sets(st.sampled_from([e.id for e in endpoints])))) if endpoints else frozenset()
        allowed = [endpoint for endpoint in endpoints if endpoint.weight > 0 and endpoint.id not in avoid]
        picked = balancer.pick(float(now), avoid, data.draw(key))
        assert picked in allowed if allowed else picked is None
        if picked is not None:
            picked.begin(float(now))


@pytest.mark.parametrize("kind", ALL)
def test_before_it_knows_any_there_is_nothing_to_pick(kind):
    balancer = kind(random.Random(0))
    assert balancer.pick(0.0) is None
    assert balancer.pick(0.0, frozenset({"x"}), "key") is None
    balancer.update([])
    assert balancer.pick(0.0) is None


@pytest.mark.parametrize("kind", ALL)
def test_the_same_seed_picks_the_same(kind):
    one, two = of(kind, [1, 2, 3], seed=5)[0], of(kind, [1, 2, 3], seed=5)[0]
    assert [one.pick(0.0).id for _ in range(50)] == [two.pick(0.0).id for _ in range(50)]


@pytest.mark.parametrize("kind", ALL)
def test_an_update_takes_effect_at_once(kind):
    balancer, endpoints = of(kind, [1.0, 1.0, 1.0])
    balancer.update(endpoints[:1])
    assert {balancer.pick(0.0).id for _ in range(20)} == {"e0"}
    endpoints[0].weight, endpoints[1].weight = 0.0, 2.0
    balancer.update(endpoints)
    assert "e0" not in {balancer.pick(0.0).id for _ in range(20)}


@pytest.mark.parametrize("kind", ALL)
def test_one_of_a_thousand_can_be_avoided_and_all_but_one_can(kind):
    balancer, endpoints = of(kind, [1.0] * 1000)
    for n in range(0, 1000, 100):
        names = frozenset(endpoint.id for endpoint in endpoints) - {f"e{n}"}
        assert balancer.pick(0.0, names, "key").id == f"e{n}"
        assert balancer.pick(0.0, frozenset({f"e{n}"}), "key").id != f"e{n}"


# ---- shares


@given(st.integers(1, 7), st.integers(0, 50), st.integers(1, 60))
def test_round_robin_is_even(n, seed, picks):
    balancer, _ = of(RoundRobin, [1.0] * n, seed)
    counts = collections.Counter(balancer.pick(0.0).id for _ in range(picks))
    assert max(counts.values()) - min(counts.get(f"e{i}", 0) for i in range(n)) <= 1


@pytest.mark.parametrize("kind", [RoundRobin, WeightedRandom, LeastOutstanding, PeakEwma])
def test_many_clients_do_not_all_begin_with_the_first(kind):
    assert len({of(kind, [1.0] * 8, seed)[0].pick(0.0).id for seed in range(100)}) == 8


@pytest.mark.parametrize("kind", WEIGHTED)
@pytest.mark.parametrize("weights", [[1.0, 1.01], [1.0, 0.0, 4.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0, 10.0]])
def test_what_comes_one_by_one_is_shared_by_weight(kind, weights):
    balancer, _ = of(kind, weights, seed=4)
    found = shares(balancer)
    for n, weight in enumerate(weights):
        assert found.get(f"e{n}", 0.0) == pytest.approx(weight / sum(weights), abs=4 * math.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("kind", [WeightedRandom, PeakEwma])
def test_who_is_to_be_avoided_leaves_his_share_to_the_others(kind):
    balancer, _ = of(kind, [1.0, 2.0, 0.0, 5.0, 2.0], seed=3)
    found = shares(balancer, avoid=frozenset({"e3"}))
    assert found.keys() == {"e0", "e1", "e4"}
    if kind is WeightedRandom:
        for name, weight in (("e0", 1), ("e1", 2), ("e4", 2)):
            assert found[name] == pytest.approx(weight / 5, abs=4 * math.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("kind", WEIGHTED)
@pytest.mark.parametrize("weights", [[1.0, 4.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0, 10.0]])
def test_under_load_the_shares_converge_to_the_weights(kind, weights):
    balancer, endpoints = of(kind, weights, seed=4)
    under_way, counts = collections.deque(), collections.Counter()
    for n in range(20_000):
        now = n / 1000
        if len(under_way) == 64:  # each takes as long as any other
            endpoint, began = under_way.popleft()
            endpoint.end(began, now, failed=False)
        endpoint = balancer.pick(now)
        endpoint.begin(now)
        under_way.append((endpoint, now))
        counts[endpoint] += 1
    for endpoint in endpoints:
        assert counts[endpoint] / 20_000 == pytest.approx(endpoint.weight / sum(weights), abs=0.03)


# ---- smooth weighted round robin


def smooth(weights):
    """The algorithm as nginx's commit describes it, with the numbers of integers."""
    current = dict.fromkeys(weights, Fraction(0))
    while True:
        for name, weight in weights.items():
            current[name] += Fraction(weight)
        best = max(current, key=current.__getitem__)  # the first of equals
        current[best] -= sum(map(Fraction, weights.values()))
        yield best


def test_the_turns_are_those_of_nginx():
    balancer = SmoothWeighted(random.Random(0))
    balancer.update([Endpoint("a", 5), Endpoint("b", 1), Endpoint("c", 1)])
    assert "".join(balancer.pick(0.0).id for _ in range(14)) == "aabacaaaabacaa"


@given(st.lists(st.one_of(st.integers(1, 12), st.sampled_from([0.5, 0.25, 2.5])), min_size=1, max_size=6))
def test_the_turns_are_those_of_nginx_for_all_weights(weights):
    balancer, _ = of(SmoothWeighted, weights)
    turns = smooth({f"e{n}": weight for n, weight in enumerate(weights)})
    for _ in range(int(3 * sum(weights)) + 5):  # a cycle that is worked out, and two that are replayed
        assert balancer.pick(0.0).id == next(turns)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.integers(1, 40), st.data())
def test_an_update_of_the_weights_begins_no_new_round(weights, every, data):
    balancer, endpoints = of(SmoothWeighted, weights)
    counts = collections.Counter()
    for n in range(40 * sum(weights)):
        if n % every == 0:
            balancer.update(endpoints)  # as a slow start does, or a registry that sees others come and go
        counts[balancer.pick(0.0).id] += 1
        for endpoint in endpoints:
            assert abs(counts[endpoint.id] - (n + 1) * endpoint.weight / sum(weights)) < len(weights)


def test_who_comes_new_gets_his_turns_and_nobody_elses():
    balancer, endpoints = of(SmoothWeighted, [3, 1])
    for _ in range(5):
        balancer.pick(0.0)
    balancer.update([*endpoints, Endpoint("e2", 4)])
    found = shares(balancer, picks=8000)
    assert found == pytest.approx({"e0": 3 / 8, "e1": 1 / 8, "e2": 1 / 2}, abs=0.001)


# ---- least outstanding


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.data())
def test_nobody_has_less_to_do_than_who_is_picked(weights, data):
    balancer, endpoints = of(LeastOutstanding, weights)
    under_way = []
    for now in range(60):
        if under_way and data.draw(st.booleans()):
            endpoint, began = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
            endpoint.end(began, float(now), failed=False)
        avoid = data.draw(st.sampled_from([frozenset(), frozenset({"e0"})]))
        picked = balancer.pick(float(now), avoid)
        allowed = [endpoint for endpoint in endpoints if endpoint.id not in avoid]
        if not allowed:
            assert picked is None
            continue
        assert picked.outstanding / picked.weight == min(one.outstanding / one.weight for one in allowed)
        picked.begin(float(now))
        under_way.append((picked, float(now)))


def test_calls_on_one_that_has_gone_begin_and_end_as_they_like():
    balancer, (first, second) = of(LeastOutstanding, [1.0, 1.0])
    second.begin(0.0)
    balancer.update([first])
    second.begin(1.0)
    second.end(0.0, 2.0, failed=False)
    second.end(1.0, 2.0, failed=True)
    assert second.outstanding == 0
    assert balancer.pick(2.0) is first


def test_calls_of_before_an_update_count_after_it():
    balancer, (first, second) = of(LeastOutstanding, [1.0, 1.0])
    first.begin(0.0)
    second.begin(0.0)
    second.begin(0.0)
    balancer.update([first, second])
    assert balancer.pick(0.0) is first
    second.end(0.0, 1.0, failed=False)
    second.end(0.0, 1.0, failed=False)
    assert balancer.pick(1.0) is second
