"""The bucket: its promise about every window, and a model that counts tokens exactly."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from switchgear.actors.machines.bucket import TokenBucket

# Steps of 1/64 s and rates that are powers of two: all sums are exact, so the model can be asked for equality.
STEPS = st.integers(0, 640).map(lambda n: n / 64)
RATES = st.sampled_from([0.5, 1.0, 2.0, 8.0, 64.0])


def assert_no_window_exceeds(grants, rate, burst):
    """``grants`` are (when, how many), in the order of the taking. Every window, of whatever length."""
    for i in range(len(grants)):
        total = 0
        for j in range(i, len(grants)):
            total += grants[j][1]
            allowed = burst + rate * (grants[j][0] - grants[i][0])
            assert total <= allowed * (1 + 1e-6) + 1e-6, (grants[i : j + 1], allowed)


class BucketMachine(RuleBasedStateMachine):
    """Against a bucket that is filled and emptied, in exact fractions."""

    @initialize(rate=RATES, burst=st.integers(1, 5))
    def begin(self, rate, burst):
        self.bucket = TokenBucket(rate, burst)
        self.rate, self.burst = rate, burst
        self.now, self.tokens, self.filled_at = 1000.0, Fraction(burst), 1000.0
        self.grants = []

    def there(self):
        if self.now > self.filled_at:
            gained = (Fraction(self.now) - Fraction(self.filled_at)) * Fraction(self.rate)
            self.tokens, self.filled_at = min(Fraction(self.burst), self.tokens + gained), self.now
        return self.tokens

    @rule(seconds=STEPS)
    def time_passes(self, seconds):
        self.now += seconds

    @rule(n=st.integers(1, 6))
    def take(self, n):
        there = self.there() >= n
        assert self.bucket.try_acquire(self.now, n) == there
        if there:
            self.tokens -= n
            self.grants.append((self.now, n))

    @rule(n=st.integers(1, 6))
    def ask(self, n):
        if n > self.burst:
            with pytest.raises(ValueError, match="never"):
                self.bucket.wait(self.now, n)
        else:
            assert self.bucket.wait(self.now, n) == max(0, (n - self.there()) / Fraction(self.rate))

    @rule(n=st.integers(1, 5))
    def reserve(self, n):
        if n <= self.burst:
            wait = max(0, (n - self.there()) / Fraction(self.rate))
            assert self.bucket.reserve(self.now, n) == wait
            self.tokens -= n
            self.grants.append((self.now + float(wait), n))

    @precondition(lambda self: hasattr(self, "bucket"))
    @rule(n=st.integers(1, 3))
    def take_and_give_back(self, n):
        if self.bucket.try_acquire(self.now, n):
            assert self.there() >= n
            self.bucket.refund(self.now, n)

    @rule()
    def an_incarnation_follows(self):
        heir = TokenBucket(self.rate, self.burst)
        heir.restore(self.bucket.snapshot())
        self.bucket = heir

    def teardown(self):
        if hasattr(self, "grants"):
            assert_no_window_exceeds(self.grants, self.rate, self.burst)


TestBucketMachine = BucketMachine.TestCase
TestBucketMachine.settings = settings(max_examples=100, stateful_step_count=40)


@given(
    rate=st.floats(1e-3, 1e4),
    burst=st.integers(1, 20),
    start=st.sampled_from([0.0, -5.0, 1e5, 1e9]),
    steps=st.lists(
        st.tuples(
            st.one_of(st.floats(0, 3), st.just(0.0), st.sampled_from([1e6, -2.0])), st.integers(1, 4), st.integers(0, 3)
        ),
        max_size=60,
    ),
)
@example(
    1.0, 2, 0.0, [(0.0, 1, 0), (0.0, 1, 0), (2.0, 2, 0), (-2.0, 1, 3), (0.0, 1, 0)]
)  # given back before it was had
def test_no_window_holds_more_than_it_may_whatever_is_given_back_and_however_the_clock_jumps(rate, burst, start, steps):
    bucket = TokenBucket(rate, burst)
    now, latest, grants = start, -math.inf, []  # the bucket has not seen `start`
    for units, n, what in steps:
        now += units / rate
        if what == 3 and grants:  # something taken earlier was not used
            _when, count, taken = grants.pop(len(grants) // 2)
            bucket.refund(now, count, taken=taken)
        elif bucket.try_acquire(now, n):
            latest = max(latest, now)
            grants.append((latest, n, bucket.receipt()))
    assert_no_window_exceeds([(when, n) for when, n, _ in grants], rate, burst)


def test_what_would_have_flowed_over_does_not_come_back():
    bucket = TokenBucket(1.0, 2)
    assert bucket.try_acquire(0.0)
    taken = bucket.receipt()
    assert bucket.try_acquire(5.0)  # it was full again
    bucket.refund(5.0, taken=taken)
    assert [bucket.try_acquire(5.0) for _ in range(3)] == [True, False, False]


def test_what_one_gives_back_makes_what_another_took_flow_back_earlier():
    """Of two that were taken, one is given back at once; so the other has flowed back by the time that it is."""
    bucket = TokenBucket(1.0, 2)
    receipts = []
    for _ in range(2):
        assert bucket.try_acquire(0.0)
        receipts.append(bucket.receipt())
    bucket.refund(0.0, taken=receipts[0])
    assert bucket.try_acquire(1.5)
    bucket.refund(1.5, taken=receipts[1])
    assert bucket.wait(1.5, 2) == 1.0  # what was taken last is out, all of it


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_in_whatever_order_they_are_given_back_all_of_them_are_there_again(order):
    bucket = TokenBucket(1.0, 3)
    receipts = []
    for number in range(3):
        assert bucket.try_acquire(number / 4)
        receipts.append(bucket.receipt())
    for number in order:
        bucket.refund(0.75, taken=receipts[number])
    assert bucket.try_acquire(0.75, 3)


def test_what_was_given_back_before_is_nothing_to_who_comes_then():
    bucket = TokenBucket(1.0, 2)
    bucket.take(0.0)
    for _ in range(5):
        assert bucket.try_acquire(0.0)
        bucket.refund(0.0, taken=bucket.receipt())
        assert bucket.wait(0.0, 2) == 1.0


def test_a_token_given_back_at_once_is_there_for_the_next():
    bucket = TokenBucket(1.0, 1)
    for _ in range(10):
        assert bucket.try_acquire(0.0)
        assert not bucket.try_acquire(0.0)
        bucket.refund(0.0)


def test_a_clock_that_goes_backwards_grants_nothing_twice_and_locks_nobody_out():
    bucket = TokenBucket(10.0, 2)
    assert bucket.try_acquire(100.0, 2)
    assert not bucket.try_acquire(50.0)
    assert bucket.wait(50.0) == pytest.approx(0.1)
    assert bucket.try_acquire(100.1)


@pytest.mark.parametrize("now", [0.0, 1e4, 987_654.321, 1e8])
@pytest.mark.parametrize("rate", [1.0, 3.0, 7.0, 100.0, 997.0, 1000.0, 9999.0])
def test_one_token_at_a_time_comes_back_whatever_the_clock_shows(rate, now):
    """A million seconds plus a thousandth is rounded: that must not keep the bucket from ever being full."""
    bucket = TokenBucket(rate, 1)
    for _ in range(20):
        assert bucket.try_acquire(now)
        assert not bucket.try_acquire(now)
        now += 1 / rate + 2 * math.ulp(now)


def test_after_a_huge_gap_it_is_full_and_no_fuller():
    bucket = TokenBucket(1000.0, 3)
    assert bucket.try_acquire(0.0, 3)
    assert [bucket.try_acquire(1e8) for _ in range(5)] == [True, True, True, False, False]


def test_what_is_taken_without_being_there_flows_back_like_the_rest():
    bucket = TokenBucket(2.0, 4)
    bucket.take(0.0, 10)
    assert bucket.wait(0.0) == 3.5
    assert not bucket.try_acquire(3.4)
    assert bucket.try_acquire(3.5)


def test_a_new_rate_begins_with_what_is_out():
    """Neither full, or reconfiguring in a circle would be a way around the limit, nor in debt beyond its own burst."""
    bucket = TokenBucket(1.0, 10)
    assert bucket.try_acquire(0.0, 8)
    bucket.retune(2.0, 10.0, 20)  # 6 are out
    assert bucket.wait(2.0, 15) == pytest.approx(0.1)
    bucket.retune(2.0, 1.0, 4)
    assert [bucket.wait(2.0), bucket.wait(2.0, 4)] == [1.0, 4.0]
    with pytest.raises(ValueError, match="rate must be"):
        bucket.retune(2.0, 0.0, 4)
    assert bucket.wait(2.0) == 1.0


def test_what_was_taken_at_another_rate_does_not_come_back():
    """How much of it has flowed back since then is not known any more."""
    bucket = TokenBucket(100.0, 5)
    assert bucket.try_acquire(0.0)
    taken = bucket.receipt()
    bucket.retune(0.02, 1.0, 5)  # it was full by then
    assert bucket.try_acquire(0.02, 5)
    bucket.refund(0.02, taken=taken)
    assert bucket.wait(0.02) == 1.0


def test_what_was_taken_just_before_another_burst_does_not_come_back():
    """Of ten that are out, a burst of two forgets eight: that any one of them is given back makes no room."""
    bucket = TokenBucket(1.0, 10)
    assert bucket.try_acquire(0.0, 10)
    taken = bucket.receipt()
    bucket.retune(0.0, 1.0, 2)
    bucket.refund(0.0, taken=taken)
    assert bucket.wait(0.0, 2) == 2.0


@given(
    st.lists(
        st.tuples(
            st.floats(0, 2),
            st.sampled_from(["take", "take", "retune", "give back"]),
            st.floats(0.1, 100),
            st.integers(1, 20),
        ),
        max_size=60,
    )
)
def test_no_window_exceeds_the_largest_rate_and_burst_that_it_had(steps):
    bucket = TokenBucket(1.0, 5)
    now, rates, bursts, grants = 0.0, [1.0], [5], []
    for gap, what, rate, burst in steps:
        now += gap
        if what == "take" and bucket.try_acquire(now):
            grants.append((now, 1, bucket.receipt()))
        elif what == "give back" and grants:
            _, _, taken = grants.pop(len(grants) // 2)
            bucket.refund(now, taken=taken)
        elif what == "retune":
            bucket.retune(now, rate, burst)
            rates.append(rate)
            bursts.append(burst)
    shrinks = sum(max(0, before - after) for before, after in itertools.pairwise(bursts))
    assert_no_window_exceeds([grant[:2] for grant in grants], max(rates), max(bursts) + shrinks)


def test_more_than_the_burst_is_refused_and_takes_nothing():
    bucket = TokenBucket(1.0, 3)
    assert not bucket.try_acquire(0.0, 4)
    with pytest.raises(ValueError, match="4 tokens can never"):
        bucket.reserve(0.0, 4)
    assert bucket.try_acquire(0.0, 3)


@given(st.floats(1e-3, 1e6), st.integers(1, 1000), st.floats(0, 1e8))
def test_all_of_the_burst_is_there_at_once(rate, burst, now):
    bucket = TokenBucket(rate, burst)
    assert bucket.try_acquire(now, burst)
    assert bucket.wait(now) == pytest.approx(1 / rate)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_must_make_sense(rate):
    with pytest.raises(ValueError, match="rate must be"):
        TokenBucket(rate, 1)


@pytest.mark.parametrize("burst", [0, 0.5, -1, math.nan, math.inf])
def test_a_burst_must_make_sense(burst):
    with pytest.raises(ValueError, match="burst must be"):
        TokenBucket(1.0, burst)


@pytest.mark.parametrize("n", [-1, -0.5, math.nan, -math.inf])
@pytest.mark.parametrize("what", ["try_acquire", "reserve", "take", "wait", "refund"])
def test_a_number_of_tokens_must_make_sense(what, n):
    bucket = TokenBucket(1.0, 1)
    with pytest.raises(ValueError, match="0 or more"):
        getattr(bucket, what)(0.0, n)
    assert [bucket.try_acquire(0.0) for _ in range(3)] == [True, False, False]
