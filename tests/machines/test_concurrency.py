"""The limits that are learned: their formulae, their bounds, and where they end up before a server of known size."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.config import AimdConfig, Gradient2Config
from switchgear.actors.machines.concurrency import AimdLimit, Gradient2Limit

ENDLESS = 10**9


def aimd(most=ENDLESS, start=None, **fields):
    return AimdLimit(AimdConfig(**fields), most, start)


def gradient2(most=ENDLESS, start=None, **fields):
    return Gradient2Limit(Gradient2Config(**fields), most, start)


def window(limit, now, latency, in_flight, n=10, dropped=False):
    """A window of that many answers, the last of which ends it; returns when the next may end."""
    for _ in range(n):
        limit.sample(now, latency, in_flight, dropped)
    return now + 1.0


class Server:
    """A server that works on ``hands`` calls at once, first come first served, and a client that always calls as often
    as it may (or ``demand`` at most). In virtual time; by Little's law more than ``hands`` at once gain nothing."""

    def __init__(self, limit, hands, work, *, demand=ENDLESS, patience=None):
        self.limit, self.work, self.demand, self.patience = limit, work, demand, patience
        self.now, self.done, self.in_flight, self.order = 0.0, 0, 0, 0
        self.free = [0.0] * hands
        self.under_way = []
        self.seen = []

    def run(self, until):
        while self.now < until:
            self._send()
            self.now, _, sent, in_flight = heapq.heappop(self.under_way)
            self.in_flight -= 1
            self.done += 1
            latency = self.now - sent
            self.limit.sample(self.now, latency, in_flight, self.patience is not None and latency > self.patience)
            self.seen.append((self.now, self.limit.limit, latency))

    def _send(self):
        while self.in_flight < min(self.limit.limit, self.demand):
            self.in_flight += 1
            self.order += 1
            end = max(self.now, heapq.heappop(self.free)) + self.work()
            heapq.heappush(self.free, end)
            heapq.heappush(self.under_way, (end, self.order, self.now, self.in_flight))

    def limits(self, since):
        return [limit for at, limit, _ in self.seen if at >= since]


# ---- AIMD


def test_a_round_trip_without_a_drop_adds_one():
    limit = aimd(initial_limit=10)
    for n in range(11):
        limit.sample(n, 0.1, 10, False)
    assert limit.limit == 11


def test_a_drop_leaves_a_share_and_one_less_at_least():
    limit = aimd(initial_limit=100, backoff_ratio=0.9)
    limit.sample(1.0, 0.1, 100, True)
    assert limit.limit == 90
    limit = aimd(initial_limit=3)
    limit.sample(1.0, 0.1, 3, True)
    assert limit.limit == 2


def test_an_answer_that_took_too_long_is_a_drop():
    limit = aimd(initial_limit=100, timeout=5.0)
    limit.sample(10.0, 5.0, 100, False)
    assert limit.limit == 100
    limit.sample(10.0, 5.1, 100, False)
    assert limit.limit == 90


def test_one_moment_of_overload_lowers_it_once():
    limit = aimd(initial_limit=100)
    for n in range(50):
        limit.sample(10.0 + n / 1000, 1.0, 100, True)  # all of them were under way
    assert limit.limit == 90
    limit.sample(11.5, 1.0, 90, True)  # this one was sent under the lowered limit
    assert limit.limit == 81


def test_a_limit_that_is_not_used_does_not_grow():
    limit = aimd(initial_limit=20)
    for n in range(1000):
        limit.sample(n, 0.1, 9, False)
    assert limit.limit == 20
    limit.sample(1000, 0.1, 10, False)
    for n in range(30):
        limit.sample(1000 + n, 0.1, 10, False)
    assert limit.limit == 21  # of which ten are less than half


@pytest.mark.parametrize("hands", [1, 10, 60])
def test_aimd_finds_the_size_of_a_server_that_gets_slow(hands):
    """Refused is what takes more than three times as long as it should: the limit stays below three times the size."""
    limit = aimd()
    server = Server(limit, hands, lambda: 0.1, patience=0.3)
    server.run(120.0)
    learned = server.limits(since=60.0)
    assert max(1, 0.8 * hands) <= min(learned) <= max(learned) <= 3 * hands + 2  # and what a round trip adds
    assert server.done >= 0.95 * 120 * hands / 0.1


# ---- Gradient2


def test_a_window_with_the_usual_latency_adds_a_share_of_the_queue():
    limit, now = gradient2(initial_limit=20, queue_size=4, smoothing=0.5), 0.0
    for expected in (22, 24, 26):
        now = window(limit, now, 0.1, 20)
        assert limit.limit == expected


def test_a_window_with_twice_the_latency():
    limit, now = gradient2(initial_limit=100, queue_size=4, smoothing=0.2, tolerance=1.5), 0.0
    for _ in range(10):
        now = window(limit, now, 0.1, 10)  # too few of them to learn anything but the average
    assert limit.limit == 100
    window(limit, now, 0.2, 100)
    # The average stays 0.1: gradient = 1.5 * 0.1 / 0.2 = 0.75; 0.8 * 100 + 0.2 * (75 + 4)
    assert limit.limit == 95


def test_whatever_the_latency_a_window_takes_no_more_than_half_of_the_share():
    limit, now = gradient2(initial_limit=100, queue_size=4, smoothing=0.2), 0.0
    for _ in range(10):
        now = window(limit, now, 0.1, 10)
    window(limit, now, 1000.0, 100)
    assert limit.limit == 90  # 0.8 * 100 + 0.2 * (50 + 4) = 90.8


def test_a_window_has_ten_answers_and_takes_its_time():
    limit = gradient2(initial_limit=20, queue_size=5, smoothing=1.0, window=1.0)
    window(limit, 0.0, 0.1, 20, n=9)
    assert limit.limit == 20
    window(limit, 0.0, 0.1, 20, n=1)
    assert limit.limit == 25
    window(limit, 0.9, 0.1, 25, n=100)
    assert limit.limit == 25
    window(limit, 1.0, 0.1, 25, n=1)
    assert limit.limit == 30


def test_a_refusal_is_no_quick_answer():
    """Services that are overloaded refuse in no time; the mean of the window must not call that fast."""
    limit, now = gradient2(initial_limit=100, smoothing=1.0, tolerance=1.0), 0.0
    for _ in range(10):
        now = window(limit, now, 0.1, 10)
    for _ in range(5):
        limit.sample(now, 0.3, 100, False)
        limit.sample(now, 0.0001, 100, True)
    assert limit.limit == 54  # the mean is 0.2, the gradient 0.5


def test_a_service_that_has_become_much_faster_is_believed_soon():
    limit, now = gradient2(initial_limit=100, tolerance=1.0, smoothing=0.01, window=0.001), 0.0
    for _ in range(10):
        now = window(limit, now, 1.0, 10)
    for _ in range(30):
        now = window(limit, now, 0.1, 10)
    before = limit.limit
    window(limit, now, 0.5, 100)  # slow by now: 5 times what it is, and half of what it was
    assert limit.limit < before


@pytest.mark.parametrize("hands", [10, 50, 200])
def test_gradient2_finds_the_size_of_a_server_and_stays_there_for_an_hour(hands):
    """The original drifts: its average learns the latency which its own limit has made."""
    limit = gradient2()
    server = Server(limit, hands, lambda: 1.0)
    server.run(3600.0)
    learned = server.limits(since=600.0)
    assert max(learned) <= 1.5 * hands + 4 * 3
    assert sum(one >= hands for one in learned) > 0.95 * len(learned)  # the others are measurements
    assert server.done >= 0.95 * 3600 * hands


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_latencies_that_vary_do_not_mislead_it(seed):
    rng = random.Random(seed)
    limit = gradient2()
    server = Server(limit, 50, lambda: rng.expovariate(10))
    server.run(300.0)
    assert max(server.limits(since=120.0)) <= 100
    assert server.done >= 0.9 * 300 * 500


def test_a_service_that_has_become_slower_under_load_is_measured_anew():
    """It works on as many at once as before: the limit falls, and comes back when it is known what is slow."""
    work = [0.1]
    limit = gradient2()
    server = Server(limit, 50, lambda: work[0])
    server.run(100.0)
    work[0] = 0.3
    server.run(130.0)
    assert server.limits(since=128.0)[-1] < 25
    server.run(400.0)
    learned = server.limits(since=300.0)
    assert 50 <= sorted(learned)[len(learned) // 2] <= 100


def test_little_demand_lets_it_grow_only_as_far_as_that_uses_half_of_it():
    limit = gradient2()
    server = Server(limit, 1000, lambda: 0.1, demand=30)
    server.run(300.0)
    assert 58 <= limit.limit <= 61


# ---- both


samples = st.lists(
    st.tuples(
        st.floats(0, 10),
        st.floats(0, 100) | st.just(0.0),
        st.sampled_from([0.0, 0.3, 0.5, 1.0, 3.0]),
        st.booleans(),
    ),
    max_size=200,
)


@given(
    st.sampled_from([AimdConfig, Gradient2Config]),
    st.integers(1, 50),
    st.integers(1, 300),
    st.integers(1, 300),
    samples,
)
def test_the_bounds_are_always_kept_and_what_is_not_used_never_grows(kind, least, initial, most, samples):
    least = min(least, most)
    config = kind(initial_limit=initial, min_limit=least)
    limit = (AimdLimit if kind is AimdConfig else Gradient2Limit)(config, most)
    now, used = 0.0, 0.0
    for wait, latency, share, dropped in samples:
        now += wait
        before = limit.limit
        assert least <= before <= most or getattr(limit, "probing", False)
        assert 1 <= before <= most
        used = max(share, used)
        limit.sample(now, latency, int(share * before), dropped)
        if used < 0.5:  # in all of the windows so far
            assert limit.limit <= before


@given(st.sampled_from([AimdConfig, Gradient2Config]), st.integers(1, 500), st.integers(1, 500), st.integers(1, 500))
def test_what_was_learned_goes_on_under_other_bounds(kind, start, most, other):
    limit = (AimdLimit if kind is AimdConfig else Gradient2Limit)(kind(), most, start)
    assert limit.limit == min(start, most)
    limit.tune(kind(min_limit=1), other)
    assert limit.limit == min(start, most, other)
