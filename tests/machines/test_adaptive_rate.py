"""The learned rate: the curve of the AWS SDKs, and where it differs from theirs on purpose."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.machines.adaptive_rate import BETA, LEAST, AdaptiveRate, Pace, RateMeter
from switchgear.actors.machines.bucket import TokenBucket


def calls(rate, per_second, since, until):
    """That many successes a second, evenly."""
    for n in range(round((until - since) * per_second)):
        rate.succeeded(since + n / per_second)


def test_the_curve_is_that_of_the_aws_sdks():
    """Figures of the tests that the SDKs share ("Cubic success #1": w_max 10, refused at 5 s)."""
    rate = AdaptiveRate()
    rate.refused(5.0, 5.0, 6.25)  # measured as 10 a second: 0.8 * 6.25 / 0.5
    seen = [rate.rate]
    for second in (6, 7, 8, 9):
        rate.succeeded(second, 1000)  # so many that twice of them does not bind
        seen.append(rate.rate)
    assert seen == pytest.approx([7.0, 9.64893600966, 10.000030849917364, 10.453284520772092, 13.408697022224185])


def test_without_a_refusal_there_is_no_limit():
    rate = AdaptiveRate()
    calls(rate, 1000, 0.0, 3.0)
    assert rate.rate is rate.pace is None


def test_a_refusal_leaves_seven_tenths_of_what_was_measured():
    rate = AdaptiveRate()
    calls(rate, 100, 0.0, 10.0)
    rate.refused(10.0, 9.9)
    assert rate.rate == pytest.approx(70, rel=0.02)


def test_with_a_ceiling_it_leaves_seven_tenths_of_that_at_most():
    """A burst is measured faster than any limit allows for long: a share of that would be no limit."""
    rate = AdaptiveRate(ceiling=10.0)
    calls(rate, 100, 0.0, 1.0)
    rate.refused(1.0, 0.9)
    assert rate.rate == pytest.approx(7.0)


def test_one_moment_of_overload_lowers_it_once():
    rate = AdaptiveRate()
    calls(rate, 100, 0.0, 10.0)
    for n in range(20):
        rate.refused(10.0 + n / 1000, 9.9 + n / 10_000)  # all of them were under way
    assert rate.rate == pytest.approx(70, rel=0.05)
    rate.refused(10.3, 10.2)  # this one was sent at the lowered rate
    assert rate.rate == pytest.approx(49, rel=0.05)


def test_it_is_never_less_than_the_least_and_finds_its_way_from_there():
    rate = AdaptiveRate()
    for second in range(50):
        rate.refused(second, second)
    assert rate.rate == LEAST
    calls(rate, 20, 50.0, 60.0)
    assert rate.rate is None


def test_what_was_lost_is_regained_and_then_the_limit_goes():
    rate = AdaptiveRate(ceiling=100.0)
    calls(rate, 100, 0.0, 10.0)
    rate.refused(10.0, 9.9)
    seen, now = [rate.rate], 10.0
    while rate.rate is not None:
        now += 1 / 100
        rate.succeeded(now)
        seen.append(rate.rate)
    assert seen[:-1] == sorted(seen[:-1])
    assert rate.pace is None
    assert now - 10.0 == pytest.approx((100 * (1 - BETA) / 0.4) ** (1 / 3), abs=0.1)  # K seconds


def test_silence_neither_raises_nor_lowers_it():
    """Nothing was tried, so nothing is known (botocore lowers it to twice the little that there was)."""
    rate = AdaptiveRate()
    calls(rate, 100, 0.0, 10.0)
    rate.refused(10.0, 9.9)
    before = rate.rate
    for hour in range(1, 10):
        rate.succeeded(10.0 + 3600 * hour)
    assert rate.rate == before


def test_it_is_raised_to_no_more_than_twice_what_is_used():
    rate = AdaptiveRate()
    calls(rate, 100, 0.0, 10.0)
    rate.refused(10.0, 9.9)
    calls(rate, 40, 100.0, 110.0)
    assert rate.rate == pytest.approx(80, rel=0.05)
    calls(rate, 60, 110.0, 120.0)
    assert rate.rate == pytest.approx(120, rel=0.05)


def test_a_pause_is_no_part_of_the_way_back():
    rate = AdaptiveRate()
    calls(rate, 100, 0.0, 10.0)
    rate.refused(10.0, 9.9, until=70.0)
    lowered = rate.rate
    calls(rate, 100, 70.0, 70.5)
    assert lowered <= rate.rate < 100


def test_so_is_a_pause_that_is_told_to_a_call_from_before_the_lowering():
    rate = AdaptiveRate()
    calls(rate, 100, 0.0, 10.0)
    rate.refused(10.0, 9.9)
    lowered = rate.rate
    rate.refused(10.1, 9.9, until=70.0)
    calls(rate, 100, 70.0, 70.5)
    assert lowered <= rate.rate < 100


def test_a_burst_shorter_than_the_measure_counts_as_fast_as_it_was():
    rate = AdaptiveRate()
    for n in range(50):
        rate.succeeded(0.1 + n / 1000)
    rate.refused(0.2, 0.1)
    assert rate.rate > 50


def test_heavy_calls_count_for_their_weight():
    rate = AdaptiveRate()
    for n in range(100):
        rate.succeeded(n / 10, 5)
    rate.refused(10.0, 9.9, 5)
    assert rate.rate == pytest.approx(35, rel=0.05)


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 5)), min_size=1, max_size=60))
def test_the_measure_is_the_smoothed_count_of_each_half_second(steps):
    meter, now, spans = RateMeter(), 7.0, []
    for gap, n in steps:
        now += gap
        meter.record(now, n)
        spans.append((math.floor(now * 2), n))
    groups = [(span, sum(n for _, n in group)) for span, group in itertools.groupby(spans, lambda one: one[0])]
    rate = 0.0
    for (span, n), (following, _) in itertools.pairwise(groups):
        if n:
            rate = 0.8 * n / ((following - span) / 2) + 0.2 * rate
    assert meter.rate() == pytest.approx(max(rate, 0.8 * groups[-1][1] / 0.5 + 0.2 * rate))


def test_a_steady_rate_is_measured_as_it_is():
    meter = RateMeter()
    for n in range(1000):
        meter.record(n / 40)
    assert meter.rate() == pytest.approx(40, rel=0.03)


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.sampled_from(["ok", "ok", "ok", "refused", "late refusal"]), st.floats(0, 4)),
        max_size=150,
    ),
    st.sampled_from([2.0, 50.0, math.inf]),
)
def test_whatever_happens_it_stays_within_its_bounds(steps, ceiling):
    rate, now, lowered = AdaptiveRate(ceiling), 100.0, -math.inf
    for gap, what, n in steps:
        now += gap
        before = math.inf if rate.rate is None else rate.rate
        if what == "ok":
            rate.succeeded(now, n)
            assert rate.rate is None or before <= rate.rate < math.inf
        else:
            sent = now if what == "refused" else min(now, lowered - 1)
            rate.refused(now, sent, n)
            after = math.inf if rate.rate is None else rate.rate
            if sent < lowered:
                assert after == before
            else:
                assert after <= max(LEAST, BETA * min(before, ceiling)) * (1 + 1e-12)
                lowered = now
        assert rate.rate is None or LEAST <= rate.rate < max(ceiling, 2 * LEAST)
        assert (rate.pace is None) == (rate.rate is None)


@pytest.mark.parametrize(("allowed", "wanted", "delay"), [(50, 200, 0.05), (50, 60, 0.5), (400, 1000, 0.1)])
def test_against_a_server_with_a_limit_little_is_lost_and_little_refused(allowed, wanted, delay):
    """The whole loop: callers who want too much, the learned pace, and a server that refuses some of it."""
    rate, server = AdaptiveRate(), TokenBucket(allowed, max(1, allowed // 10))
    answers, queue, now = [], 0.0, 0.0  # answers on their way: (when, sent, served)
    served = refused = 0
    for _ in range(60_000):
        now += 0.001
        while answers and answers[0][0] <= now:
            _, sent, was_served = answers.pop(0)
            (rate.succeeded if was_served else lambda at, sent=sent: rate.refused(at, sent))(now)
            if now > 20:
                served, refused = served + was_served, refused + (not was_served)
        queue = min(queue + wanted / 1000, 100)
        while queue >= 1 and (rate.pace is None or rate.pace.try_acquire(now)):
            queue -= 1
            answers.append((now + delay, now, server.try_acquire(now)))
    assert served > 0.75 * allowed * 40
    assert refused < 0.15 * served


def test_a_call_that_is_heavier_than_a_second_waits_for_a_full_bucket_and_the_next_for_the_rest():
    pace = Pace(2.0, 0.0)
    assert not pace.try_acquire(0.9, 10)
    assert pace.wait(0.0, 10) == 1.0
    assert pace.try_acquire(1.0, 10)
    assert pace.wait(1.0) == pytest.approx(4.5)  # 10 and 1, less the burst of 2, at 2 a second
    pace.refund(1.0, 10, taken=pace.receipt())
    assert pace.try_acquire(1.0, 2)
