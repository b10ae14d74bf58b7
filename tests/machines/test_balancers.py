"""The balancers: who is never picked, and in what shares the others are."""

import collections
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.machines.balancers import Endpoint, PowerOfTwo, RoundRobin, WeightedRandom

ALL = [RoundRobin, WeightedRandom, PowerOfTwo]
WEIGHTS = st.lists(st.one_of(st.just(0.0), st.floats(0.01, 100)), max_size=6)


def of(kind, weights, seed=0):
    endpoints = [Endpoint(f"e{n}", weight) for n, weight in enumerate(weights)]
    balancer = kind(random.Random(seed))
    balancer.update(endpoints)
    return balancer, endpoints


@pytest.mark.parametrize("kind", ALL)
@given(weights=WEIGHTS, seed=st.integers(0, 99), data=st.data())
def test_a_pick_is_one_that_may_be_picked(kind, weights, seed, data):
    balancer, endpoints = of(kind, weights, seed)
    for _ in range(20):
        avoid = frozenset(data.draw(st.sets(st.sampled_from([e.id for e in endpoints])))) if endpoints else frozenset()
        allowed = [endpoint for endpoint in endpoints if endpoint.weight > 0 and endpoint.id not in avoid]
        picked = balancer.pick(0.0, avoid)
        assert picked in allowed if allowed else picked is None
        if picked is not None:
            balancer.begin(picked, 0.0)


@pytest.mark.parametrize("kind", ALL)
def test_before_it_knows_any_there_is_nothing_to_pick(kind):
    balancer = kind(random.Random(0))
    assert balancer.pick(0.0) is None
    assert balancer.pick(0.0, frozenset({"x"})) is None
    balancer.update([])
    assert balancer.pick(0.0) is None


@pytest.mark.parametrize("kind", ALL)
def test_the_same_seed_picks_the_same(kind):
    one, two = of(kind, [1, 2, 3], seed=5)[0], of(kind, [1, 2, 3], seed=5)[0]
    assert [one.pick(0.0).id for _ in range(50)] == [two.pick(0.0).id for _ in range(50)]


@pytest.mark.parametrize("kind", ALL)
def test_outstanding_calls_are_counted(kind):
    balancer, (endpoint,) = of(kind, [1.0])
    balancer.begin(endpoint, 0.0)
    balancer.begin(endpoint, 0.0)
    balancer.end(endpoint, 0.0, 0.0, failed=False)
    assert endpoint.outstanding == 1
    assert repr(endpoint) == "<Endpoint e0 weight 1, 1 outstanding>"


@given(st.integers(1, 7), st.integers(0, 50), st.integers(1, 60))
def test_round_robin_is_even(n, seed, picks):
    balancer, _ = of(RoundRobin, [1.0] * n, seed)
    counts = collections.Counter(balancer.pick(0.0).id for _ in range(picks))
    assert max(counts.values()) - min(counts.get(f"e{i}", 0) for i in range(n)) <= 1


def test_many_clients_do_not_all_begin_with_the_first():
    assert len({of(RoundRobin, [1.0] * 8, seed)[0].pick(0.0).id for seed in range(100)}) == 8


@pytest.mark.parametrize("avoid", [frozenset(), frozenset({"e4"})])
def test_weighted_shares_converge(avoid):
    weights = [1.0, 2.0, 0.0, 5.0, 2.0]
    balancer, _ = of(WeightedRandom, weights, seed=3)
    counts = collections.Counter(balancer.pick(0.0, avoid).id for _ in range(20_000))
    total = sum(weight for n, weight in enumerate(weights) if f"e{n}" not in avoid)
    for n, weight in enumerate(weights):
        share = 0 if f"e{n}" in avoid else weight / total
        assert counts[f"e{n}"] / 20_000 == pytest.approx(share, abs=4 * math.sqrt(0.25 / 20_000))


def test_of_two_the_one_with_less_to_do_is_taken():
    balancer, (busy, idle) = of(PowerOfTwo, [1.0, 1.0])
    balancer.begin(busy, 0.0)
    assert {balancer.pick(0.0).id for _ in range(100)} == {idle.id}  # two distinct ones are compared each time


def test_less_to_do_is_measured_by_weight():
    balancer, (small, large) = of(PowerOfTwo, [1.0, 4.0])
    for _ in range(2):
        balancer.begin(large, 0.0)
    assert {balancer.pick(0.0) for _ in range(50)} == {large}  # 3 / 4 against 1 / 1
    for _ in range(3):
        balancer.begin(large, 0.0)
    assert {balancer.pick(0.0) for _ in range(50)} == {small}


def test_power_of_two_spreads_what_is_equal_and_flattens_what_is_not():
    balancer, endpoints = of(PowerOfTwo, [1.0] * 10, seed=1)
    counts = collections.Counter(balancer.pick(0.0).id for _ in range(10_000))
    assert len(counts) == 10
    assert max(counts.values()) < 1300
    for _ in range(1000):
        balancer.begin(balancer.pick(0.0), 0.0)
    assert max(e.outstanding for e in endpoints) - min(e.outstanding for e in endpoints) <= 8


@pytest.mark.parametrize("avoid", [frozenset(), frozenset({"e1"})])
@pytest.mark.parametrize("weights", [[1.0, 1.01], [1.0, 0.0, 4.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0, 10.0]])
def test_of_two_idle_ones_the_lighter_is_not_starved(weights, avoid):
    balancer, _ = of(PowerOfTwo, weights, seed=4)
    counts = collections.Counter(balancer.pick(0.0, avoid).id for _ in range(20_000))
    allowed = {f"e{n}": weight for n, weight in enumerate(weights) if f"e{n}" not in avoid}
    for name, weight in allowed.items():
        share = weight / sum(allowed.values())
        assert counts[name] / 20_000 == pytest.approx(share, abs=4 * math.sqrt(0.25 / 20_000))


@pytest.mark.parametrize("weights", [[1.0, 4.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0, 10.0]])
def test_power_of_two_under_load_converges_to_the_weights(weights):
    balancer, endpoints = of(PowerOfTwo, weights, seed=4)
    rng, under_way, counts = random.Random(1), [], collections.Counter()
    for _ in range(20_000):
        if len(under_way) == 64:  # each ends after as long as any other
            balancer.end(under_way.pop(rng.randrange(64)), 0.0, 0.0, failed=False)
        under_way.append(balancer.pick(0.0))
        balancer.begin(under_way[-1], 0.0)
        counts[under_way[-1]] += 1
    for endpoint in endpoints:
        assert counts[endpoint] / 20_000 == pytest.approx(endpoint.weight / sum(weights), abs=0.03)


def test_an_update_takes_effect_at_once():
    for kind in ALL:
        balancer, endpoints = of(kind, [1.0, 1.0, 1.0])
        balancer.update(endpoints[:1])
        assert {balancer.pick(0.0).id for _ in range(20)} == {"e0"}
