"""Ring hash and maglev: keys stay where they are, and nobody gets more than he should."""

import collections
import math
import random
import subprocess
import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from switchgear.actors.machines.balancers import Endpoint, Maglev, RingHash

BOTH = [RingHash, Maglev]
KEYS = [f"user-{n}" for n in range(4000)]


def endpoints_of(weights):
    return [Endpoint(f"10.0.0.{n}:80", weight) for n, weight in enumerate(weights)]


def of(kind, endpoints, seed=0):
    balancer = kind(random.Random(seed))
    balancer.update(endpoints)
    return balancer


def homes(balancer, avoid=frozenset()):
    for key in KEYS[:300]:  # a table that is being filled is full after these
        balancer.pick(0.0, avoid, key)
    return {key: balancer.pick(0.0, avoid, key).id for key in KEYS}


def moved(before, after):
    return {key for key in before if before[key] != after[key]}


@pytest.mark.parametrize("kind", BOTH)
def test_a_key_goes_to_the_same_one_whatever_the_seed_and_the_order(kind):
    endpoints = endpoints_of([1.0] * 5)
    assert homes(of(kind, endpoints)) == homes(of(kind, endpoints, seed=7))
    assert homes(of(RingHash, endpoints)) == homes(of(RingHash, endpoints[::-1]))


@pytest.mark.parametrize("kind", BOTH)
def test_a_key_goes_to_the_same_one_in_each_process(kind):
    code = f"""
import random
from switchgear.actors.machines.balancers import Endpoint, {kind.__name__}
balancer = {kind.__name__}(random.Random())
balancer.update([Endpoint(f"10.0.0.{{n}}:80") for n in range(5)])
print([balancer.pick(0.0, key=f"user-{{n}}").id for n in range(50)])
"""
    ours = homes(of(kind, endpoints_of([1.0] * 5)))
    found = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert found == [f"{[ours[key] for key in KEYS[:50]]}\n"] * 2


@pytest.mark.parametrize("kind", BOTH)
def test_without_a_key_it_is_the_default(kind):
    slow, fast = endpoints_of([1.0, 1.0])
    balancer = of(kind, [slow, fast])
    for endpoint, took in ((slow, 0.5), (fast, 0.1)):
        endpoint.begin(0.0)
        endpoint.end(0.0, took, failed=False)
    assert {balancer.pick(0.5) for _ in range(50)} == {fast}


@pytest.mark.parametrize(("kind", "spread"), [(RingHash, 0.3), (Maglev, 0.06)])
@pytest.mark.parametrize("weights", [[1.0] * 10, [1.0, 2.0, 4.0, 1.0]])
def test_keys_are_spread_by_weight(kind, spread, weights):
    endpoints = endpoints_of(weights)
    balancer = of(kind, endpoints)
    counts = collections.Counter(balancer.pick(0.0, key=f"k{n}").id for n in range(20_000))
    for endpoint in endpoints:
        assert counts[endpoint.id] / 20_000 == pytest.approx(endpoint.weight / sum(weights), rel=spread + 0.04)


@pytest.mark.parametrize("n", [2, 10, 100])
@pytest.mark.parametrize(("kind", "others"), [(RingHash, 0.0), (Maglev, 0.02)])
def test_when_one_goes_its_keys_move_and_few_others(kind, others, n):
    endpoints = endpoints_of([1.0] * n)
    balancer = of(kind, endpoints)
    before = homes(balancer)
    gone = endpoints.pop(n // 2)
    balancer.update(endpoints)
    after = homes(balancer)
    assert gone.id not in after.values()
    assert sum(before[key] != gone.id for key in moved(before, after)) <= others * len(KEYS)
    endpoints.insert(n // 2, gone)
    balancer.update(endpoints)
    assert homes(balancer) == before  # and they come back


@pytest.mark.parametrize("kind", BOTH)
def test_a_small_change_of_a_weight_moves_nothing_and_a_large_one_moves_keys_to_the_heavier(kind):
    endpoints = endpoints_of([1.0] * 5)
    balancer = of(kind, endpoints)
    before = homes(balancer)
    endpoints[0].weight = 0.95
    balancer.update(endpoints)
    assert homes(balancer) == before
    endpoints[0].weight = 0.5
    balancer.update(endpoints)
    after = homes(balancer)
    left = [key for key in moved(before, after) if before[key] == endpoints[0].id]
    assert 0.3 < len(left) / collections.Counter(before.values())[endpoints[0].id] < 0.7
    assert len(moved(before, after)) - len(left) <= (0 if kind is RingHash else 0.05 * len(KEYS))


@pytest.mark.parametrize("kind", BOTH)
def test_a_retry_goes_elsewhere_and_each_time_to_the_same(kind):
    endpoints = endpoints_of([1.0] * 10)
    balancer = of(kind, endpoints)
    before = homes(balancer)
    avoid = frozenset({endpoints[3].id})
    detours = homes(balancer, avoid)
    assert moved(before, detours) == {key for key, home in before.items() if home == endpoints[3].id}
    assert len({detours[key] for key in moved(before, detours)}) == 9  # its neighbours do not get them all
    assert homes(balancer, avoid) == detours


def test_while_a_new_table_is_filled_the_old_one_serves_and_nobody_who_has_gone_is_picked():
    endpoints = endpoints_of([1.0] * 10)
    balancer = of(Maglev, endpoints)
    before = homes(balancer)
    endpoints[0].weight = 0.0
    balancer.update(endpoints)
    for key in KEYS[:100]:
        picked = balancer.pick(0.0, key=key).id
        assert picked != endpoints[0].id
        assert picked == before[key] or before[key] == endpoints[0].id


def test_the_size_of_a_table_can_be_chosen():
    balancer = Maglev(random.Random(0), size=251)
    balancer.update(endpoints_of([1.0] * 3))
    assert len(set(homes(balancer).values())) == 3


def test_one_key_for_all_does_not_overload_its_endpoint():
    endpoints = endpoints_of([1.0] * 1000)
    balancer = of(RingHash, endpoints)
    for _ in range(5000):
        balancer.pick(0.0, key="everybody").begin(0.0)
    assert max(endpoint.outstanding for endpoint in endpoints) <= math.ceil(1.25 * 5)


class Bounded(RuleBasedStateMachine):
    """A ring, under calls with a few keys, while weights change and endpoints come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.all = endpoints_of([1.0] * 6)
        self.there = self.all[:3]
        self.balancer = of(RingHash, self.there)
        self.under_way: list[Endpoint] = []

    def usable(self) -> list[Endpoint]:
        return [endpoint for endpoint in self.there if endpoint.weight > 0]

    @rule(key=st.sampled_from("abc"))
    def call(self, key: str) -> None:
        total = sum(endpoint.outstanding for endpoint in self.usable())
        weight = sum(endpoint.weight for endpoint in self.usable())
        picked = self.balancer.pick(0.0, key=key)
        if not weight:
            assert picked is None
            return
        assert picked in self.usable()
        assert picked.outstanding < math.ceil(1.25 * (total + 1) * picked.weight / weight)
        assert self.balancer.pick(0.0, key=key) is picked
        picked.begin(0.0)
        self.under_way.append(picked)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1))).end(0.0, 0.0, failed=False)

    @rule(weights=st.lists(st.sampled_from([None, 0.0, 0.5, 1.0, 3.0]), min_size=6, max_size=6))
    def change(self, weights: list[float | None]) -> None:
        for endpoint, weight in zip(self.all, weights, strict=True):
            endpoint.weight = weight or 0.0
        self.there = [endpoint for endpoint, weight in zip(self.all, weights, strict=True) if weight is not None]
        self.balancer.update(self.there)

    @invariant()
    def every_call_is_counted(self) -> None:
        assert sum(endpoint.outstanding for endpoint in self.all) == len(self.under_way)


TestBounded = Bounded.TestCase
TestBounded.settings = settings(max_examples=40, deadline=None)
