"""When to try again: the delay's bounds, the server's own wish, and which errors are worth it."""

import calendar
import email.utils
import itertools
import math
import random
from datetime import UTC, datetime

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from switchgear.actors import errors
from switchgear.actors.config import RetryPolicy
from switchgear.actors.machines.retry import delay, parse_retry_after, retryable

NOW = calendar.timegm((1994, 11, 6, 8, 49, 37))


class Fixed(random.Random):
    """Draws what it is told to."""

    def __init__(self, value):
        super().__init__(0)
        self.value = value

    def random(self):
        return self.value


@given(
    st.builds(
        RetryPolicy,
        base_delay=st.one_of(st.just(0.0), st.floats(1e-6, 1e6)),
        multiplier=st.floats(1, 100),
        max_delay=st.floats(0, 1e6),
        jitter=st.sampled_from(["none", "full", "equal"]),
    ),
    st.integers(1, 10**9),
    st.floats(0, 1, exclude_max=True),
)
@example(RetryPolicy(base_delay=0.0, multiplier=100.0, jitter="none"), 10**6, 0.5)
@example(RetryPolicy(base_delay=2, multiplier=3, max_delay=30, jitter="none"), 10**5, 0.5)
def test_the_delay_is_the_formula_then_jittered(policy, failures, drawn):
    got = delay(policy, failures, Fixed(drawn))
    clamped = policy.base_delay
    for _ in range(min(failures - 1, 3000) if policy.multiplier > 1.01 else 0):
        clamped = min(clamped * policy.multiplier, policy.max_delay)
    if policy.multiplier <= 1.01:
        assume(failures < 1000)
        clamped = policy.base_delay * policy.multiplier ** (failures - 1)
    clamped = min(clamped, policy.max_delay)
    expected = {"none": clamped, "full": clamped * drawn, "equal": clamped / 2 + clamped / 2 * drawn}[policy.jitter]
    assert got == pytest.approx(expected)
    assert 0 <= got <= policy.max_delay


@pytest.mark.parametrize(("jitter", "least"), [("full", 0.0), ("equal", 15.0)])
def test_jitter_is_not_lost_at_the_cap(jitter, least):
    policy, rng = RetryPolicy(base_delay=1.0, max_delay=30.0, jitter=jitter), random.Random(1)
    drawn = [delay(policy, 50, rng) for _ in range(1000)]
    assert all(least <= one <= 30.0 for one in drawn)
    assert len(set(drawn)) > 990
    assert min(drawn) < least + 1
    assert max(drawn) > 29


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        ("  7 ", 7),
        ("86400", 86_400),
        ("86401", 86_400),
        ("999999999", 86_400),
        ("9" * 5000, 86_400),
        ("-5", None),
        ("+5", None),
        ("1.5", None),
        ("1e3", None),
        ("5s", None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("١٢", None),  # digits, but not of HTTP
        ("1_000", None),
        ("Sun, 06 Nov 1994 08:49:40 GMT", 3),
        ("Sunday, 06-Nov-94 08:49:40 GMT", 3),
        ("Sun Nov  6 08:49:40 1994", 3),
        ("Sun, 06 Nov 1994 08:49:30 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("Sun, 06 Foo 1994 08:49:40 GMT", None),
        ("Sun, 06 Nov", None),
        ("Sun, 06 Nov -001 08:49:40 GMT", None),
        ("Sun, 99 Nov 1994 08:49:40 GMT", None),
        ("Sun, 31 Feb 1994 08:49:40 GMT", None),
        ("Sun, 06 Nov 1994 99:99:99 GMT", None),
        ("Sun, 06 Nov 1994 08:49:61 GMT", None),
    ],
)
def test_retry_after(value, seconds):
    assert parse_retry_after(value, wall_now=NOW) == seconds


def test_a_leap_second_is_a_time():
    assert parse_retry_after("Sun, 06 Nov 1994 08:49:60 GMT", wall_now=NOW) == 23


def test_a_date_is_measured_against_the_clock_that_wrote_it():
    date, then = "Sun, 06 Nov 1994 08:49:30 GMT", "Sun, 06 Nov 1994 08:49:40 GMT"
    assert parse_retry_after(then, date=date, wall_now=NOW) == 10
    assert parse_retry_after(then, date=date, wall_now=NOW + 1e6) == 10
    assert parse_retry_after(then, date="garbage", wall_now=NOW) == 3
    assert parse_retry_after("5", date=date, wall_now=NOW) == 5


@given(st.integers(86_400, 3_120_000_000), st.integers(-1000, 90_000))
def test_all_three_forms_of_a_date_say_the_same(seconds, ahead):
    moment = datetime.fromtimestamp(seconds, UTC)
    now = seconds - ahead
    expected = min(max(0, ahead), 86_400)
    day = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"][moment.weekday()]
    month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][moment.month - 1]
    for text in (
        email.utils.format_datetime(moment, usegmt=True),
        f"{day}, {moment.day:02}-{month}-{moment.year % 100:02} {moment:%H:%M:%S} GMT",
        f"{day[:3]} {month} {moment.day:2} {moment:%H:%M:%S} {moment.year}",
    ):
        assert parse_retry_after(text, wall_now=now) == expected, text


ALPHABET = "0123456789 :,-+./GMTJanSunFebZ\x00é٣"


@given(st.one_of(st.text(), st.text(ALPHABET, max_size=40)), st.one_of(st.none(), st.text(ALPHABET, max_size=40)))
def test_nonsense_is_never_more_than_nonsense(value, date):
    wait = parse_retry_after(value, date=date, wall_now=NOW)
    assert wait is None or (0 <= wait <= 86_400 and math.isfinite(wait))


IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]
OTHERS = ["POST", "PATCH", "CONNECT"]
POLICY = RetryPolicy()

# error -> (safe methods or a key, unsafe method without a key)
MATRIX = [
    (errors.TransportError("x", processed="no"), True, True),
    (errors.TransportError("x", processed="maybe"), True, False),
    (errors.CallTimeout("x"), True, False),
    (errors.CallTimeout("x", retryable=False), False, False),
    (errors.ActorCrashed("x"), True, False),
    (errors.RateLimited("ours"), False, False),
    (errors.RateLimited("theirs", status=429), True, True),
    *[(errors.HTTPStatusError("x", status=status), True, False) for status in (408, 502, 503, 504)],
    (errors.HTTPStatusError("x", status=425), True, True),
    *[(errors.HTTPStatusError("x", status=s), False, False) for s in (400, 401, 403, 404, 409, 410, 422, 500, 501)],
    (errors.CircuitOpen("x"), False, False),
    (errors.Overloaded("x"), False, False),
    (errors.AuthFailed("x"), False, False),
    (errors.NoHealthyInstances("x"), False, False),
    (errors.DecodeError("x"), False, False),
    (errors.ResponseTooLarge("x"), False, False),
    (errors.ShuttingDown("x"), False, False),
    (errors.UnknownService("x"), False, False),
    (errors.InvalidRequest("x"), False, False),
]


@pytest.mark.parametrize(("error", "harmless", "harmful"), MATRIX, ids=lambda value: repr(value)[:40])
def test_what_is_tried_again(error, harmless, harmful):
    for method, keyed in itertools.product(IDEMPOTENT + OTHERS, [False, True]):
        expected = harmless if keyed or method in IDEMPOTENT else harmful
        assert retryable(POLICY, error, method, keyed=keyed) is expected, (method, keyed)


def test_the_policy_says_which_answers_are_worth_it():
    policy = RetryPolicy(statuses=(500,))
    assert retryable(policy, errors.HTTPStatusError("x", status=500), "GET", keyed=False)
    assert not retryable(policy, errors.HTTPStatusError("x", status=503), "GET", keyed=False)
    assert not retryable(policy, errors.RateLimited("x", status=429), "GET", keyed=False)
