"""The default balancer, and what it learns of an endpoint: against a model of its own, and in what it leads to."""

import collections
import math
import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from switchgear.actors.machines.balancers import Endpoint, PeakEwma

TAU = 10.0


def of(weights=(1.0, 1.0), seed=0):
    endpoints = [Endpoint(f"e{n}", weight) for n, weight in enumerate(weights)]
    balancer = PeakEwma(random.Random(seed))
    balancer.update(endpoints)
    return balancer, endpoints


def call(endpoint, now, took, failed=False):
    endpoint.begin(now)
    endpoint.end(now, now + took, failed=failed)


def picks(balancer, now, n=200):
    return collections.Counter(balancer.pick(now).id for _ in range(n))


# ---- latency


def test_the_faster_of_two_is_taken_while_it_is_known_to_be():
    balancer, (slow, fast) = of()
    call(slow, 0.0, 0.2)
    call(fast, 0.1, 0.1)
    assert picks(balancer, 0.2).keys() == {"e1"}


def test_a_slower_call_counts_at_once_and_a_faster_one_little_by_little():
    endpoint = Endpoint("a")
    call(endpoint, 0.0, 0.1)
    call(endpoint, 0.0, 2.0)
    assert endpoint.latency == 2.0
    call(endpoint, 2.9, 0.1)  # ends one second after the last
    assert endpoint.latency == pytest.approx(0.1 + 1.9 * math.exp(-1 / TAU))


def test_an_idle_one_is_tried_again_when_what_was_known_has_faded():
    balancer, (slow, fast) = of()
    call(slow, 0.0, 2.0)
    for n in range(400):
        now = 2 + n / 10
        call(fast, now, 0.167)
        if balancer.pick(now + 0.167) is slow:
            break
    assert now == pytest.approx(2 + TAU * math.log(2 / 0.167), abs=0.5)


def test_while_it_is_tried_nothing_fades_and_nobody_else_is_sent():
    balancer, (slow, fast) = of()
    call(slow, 0.0, 2.0)
    call(fast, 39.0, 0.1)
    slow.begin(40.0)
    call(fast, 40.0, 0.1)
    assert picks(balancer, 40.1).keys() == {"e1"}


def test_one_that_is_not_known_is_tried_first_and_by_one_call_at_a_time():
    balancer, (known, new) = of()
    call(known, 0.0, 0.1)
    assert picks(balancer, 0.1).keys() == {"e1"}
    new.begin(0.1)
    assert picks(balancer, 0.1).keys() == {"e0"}
    for _ in range(50):
        known.begin(0.1)
    assert picks(balancer, 0.1).keys() == {"e0"}
    new.end(0.1, 0.2, failed=False)
    assert picks(balancer, 0.2).keys() == {"e1"}


def test_where_nothing_is_known_the_load_decides():
    balancer, (busy, idle) = of()
    busy.begin(0.0)
    idle.begin(0.0)
    busy.begin(0.0)
    assert picks(balancer, 0.0).keys() == {"e1"}


def test_a_call_that_is_older_than_calls_take_is_seen_before_it_ends():
    balancer, (stuck, other) = of()
    for endpoint in (stuck, other):
        call(endpoint, 0.0, 0.1)
    stuck.begin(1.0)
    for _ in range(4):
        other.begin(1.24)
    assert picks(balancer, 1.24).keys() == {"e0"}  # 0.24 * 2 against 0.1 * 5
    assert picks(balancer, 1.26).keys() == {"e1"}  # 0.26 * 2


def test_one_that_is_well_does_not_look_slow_because_its_calls_come_unevenly():
    balancer, (one, other) = of()
    for endpoint in (one, other):
        call(endpoint, 0.0, 0.1)
    for _ in range(3):
        one.begin(1.0)
    for _ in range(4):
        other.begin(1.09)
    assert picks(balancer, 1.09).keys() == {"e0"}  # 0.1 * 4 against 0.1 * 5: 0.09 is no age


def test_a_stream_does_not_age_once_it_has_begun_but_counts():
    balancer, (streaming, other) = of()
    for endpoint in (streaming, other):
        call(endpoint, 0.0, 0.1)
    streaming.begin(1.0)
    streaming.headed(1.0, 1.1)
    for _ in range(2):
        other.begin(3600.0)
    assert streaming.outstanding == 1
    assert picks(balancer, 3600.0).keys() == {"e0"}
    streaming.begin(3600.0)
    streaming.begin(3600.0)
    assert picks(balancer, 3600.0).keys() == {"e1"}


# ---- how calls end


def test_one_that_fails_at_once_is_not_the_fastest():
    balancer, (hole, good) = of()
    call(good, 0.0, 0.05)
    call(hole, 0.0, 0.002, failed=True)
    for _ in range(10):
        good.begin(0.1)
    assert picks(balancer, 0.1).keys() == {"e1"}


def test_a_failure_among_successes_is_forgiven_soon():
    balancer, (one, other) = of()
    for n in range(20):
        call(one, n / 10, 0.05)
        call(other, n / 10, 0.05)
    call(one, 2.0, 0.05, failed=True)
    assert picks(balancer, 2.05).keys() == {"e1"}
    for _ in range(4):
        other.begin(2.05)
    assert picks(balancer, 2.05).keys() == {"e0"}  # the load of a few calls weighs more already


def test_one_more_failure_brings_back_what_had_faded():
    endpoint = Endpoint("a")
    for n in range(5):
        call(endpoint, n * 60.0, 0.01, failed=True)
    assert endpoint.failing == 1.0
    call(endpoint, 300.0, 0.01)
    assert endpoint.failing < 0.01  # and one success forgives what had


def test_before_anything_has_succeeded_a_failure_is_worse_than_waiting():
    balancer, (hole, hanging) = of()
    call(hole, 0.0, 0.002, failed=True)
    for _ in range(5):
        hanging.begin(0.0)
    assert picks(balancer, 0.01).keys() == {"e1"}


def test_a_call_that_nobody_waited_for_took_that_long_at_least():
    balancer, (one, other) = of()
    for endpoint in (one, other):
        call(endpoint, 0.0, 0.1)
    call(one, 1.0, 0.05, failed=None)
    assert one.latency == 0.1
    call(one, 1.0, 0.5, failed=None)
    call(other, 1.0, 0.1)
    assert one.latency == 0.5
    assert picks(balancer, 1.5).keys() == {"e1"}


def test_one_that_answered_nobody_yet_is_known_once_that_took_too_long():
    balancer, (known, new) = of()
    call(known, 0.0, 0.1)
    call(new, 0.1, 0.05, failed=None)
    assert new.latency is None
    call(new, 0.2, 1.0, failed=None)
    assert new.latency == 1.0
    call(known, 1.2, 0.1)
    assert picks(balancer, 1.3).keys() == {"e0"}


def test_a_stream_that_breaks_has_failed():
    endpoint = Endpoint("a")
    endpoint.begin(0.0)
    endpoint.headed(0.0, 0.1)
    assert (endpoint.latency, endpoint.failing) == (0.1, 0.0)
    endpoint.end(None, 9.0, failed=True)
    assert endpoint.latency == 0.1
    assert 0 < endpoint.failing < 1
    assert endpoint.outstanding == 0


# ---- weights


def test_under_load_cost_is_divided_by_weight():
    balancer, (small, large) = of([1.0, 4.0])
    for endpoint in (small, large):
        call(endpoint, 0.0, 0.1)
        endpoint.begin(0.1)
    for _ in range(2):
        large.begin(0.1)
    assert picks(balancer, 0.1).keys() == {"e1"}  # 2 / 1 against 4 / 4
    for _ in range(5):
        large.begin(0.1)
    assert picks(balancer, 0.1).keys() == {"e0"}


def test_of_idle_ones_the_weights_decide_unless_one_is_far_slower():
    balancer, (small, large) = of([1.0, 3.0])
    call(small, 0.0, 0.1)
    call(large, 0.0, 0.15)
    counts = picks(balancer, 0.15, 10_000)
    assert counts["e1"] / 10_000 == pytest.approx(0.75, abs=0.03)
    call(large, 0.15, 0.5)
    assert picks(balancer, 0.65).keys() == {"e0"}


def test_of_a_thousand_the_better_of_two_is_taken():
    balancer, endpoints = of([1.0] * 1000)
    for n, endpoint in enumerate(endpoints):
        call(endpoint, 0.0, 0.1 + n / 1000)
    counts = picks(balancer, 2.0, 10_000)
    assert sum(counts[f"e{n}"] for n in range(500)) / 10_000 == pytest.approx(0.75, abs=0.03)  # of 4 pairs, 3


def test_a_change_of_the_instances_forgets_nothing_of_those_that_stay():
    balancer, (slow, fast) = of()
    call(slow, 0.0, 0.2)
    call(fast, 0.0, 0.1)
    third = Endpoint("e2")
    third.begin(0.2)
    balancer.update([slow, fast, third])
    assert picks(balancer, 0.2).keys() >= {"e1"}
    assert picks(balancer, 0.2)["e2"] == 0


# ---- the numbers, against a model


class Learning(RuleBasedStateMachine):
    """One endpoint; the model keeps all calls and works everything out from the list of what has happened."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.balancer, (self.endpoint, _) = of()
        self.under_way: list[tuple[float, bool]] = []  # began, and whether its answer has
        self.seen: list[tuple[float, float, str]] = []  # at, took, how

    @rule(dt=st.sampled_from([0.0, 0.001, 0.1, 1.0, 30.0]))
    def wait(self, dt: float) -> None:
        self.now += dt

    @rule()
    def begin(self) -> None:
        self.endpoint.begin(self.now)
        self.under_way.append((self.now, False))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def head(self, data: st.DataObject) -> None:
        n = data.draw(st.integers(0, len(self.under_way) - 1))
        began, headed = self.under_way[n]
        if not headed:
            self.endpoint.headed(began, self.now)
            self.under_way[n] = (began, True)
            self.seen.append((self.now, self.now - began, "ok"))

    @precondition(lambda self: self.under_way)
    @rule(failed=st.sampled_from([True, False, None]), data=st.data())
    def end(self, failed: bool | None, data: st.DataObject) -> None:
        began, headed = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.endpoint.end(None if headed else began, self.now, failed=failed)
        if failed:
            self.seen.append((self.now, 0.0 if headed else self.now - began, "failed"))
        elif not headed:
            self.seen.append((self.now, self.now - began, "ok" if failed is False else "gone"))

    @invariant()
    def it_is_what_the_history_says(self) -> None:
        latency, failing, seen, typical, successes = None, 0.0, 0.0, 1e6, 0
        for at, took, how in self.seen:
            fade = math.exp((seen - at) / TAU)
            if how == "gone":
                if took <= (typical if latency is None else latency):
                    continue
                latency, failing = took, failing * fade
            elif how == "failed":
                failing = 1.0 if latency is None else failing + (1 - failing) / 16
                latency = took if latency is None else max(latency, took)
            else:
                latency = took if latency is None or took > latency else took * (1 - fade) + latency * fade
                failing = failing * fade * 15 / 16
                failing = failing if failing > 0.001 else 0.0
                successes = min(successes + 1, 64)
                typical = took if successes == 1 else typical + (took - typical) / successes
            seen = at
        assert self.endpoint.outstanding == len(self.under_way) == self.endpoint.group.outstanding
        assert self.endpoint.latency == pytest.approx(latency)
        assert self.endpoint.failing == pytest.approx(failing, abs=1e-9)
        assert self.endpoint.group.typical == pytest.approx(typical)
        waits = [began for began, headed in self.under_way if not headed]
        assert (self.endpoint.waiting, self.endpoint.since) == (len(waits), pytest.approx(sum(waits), abs=1e-6))


TestLearning = Learning.TestCase
