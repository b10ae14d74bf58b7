"""What answers of real services say about a quota that is used up."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.machines.ratelimit_headers import exhausted_for, may_be_exhausted

NOW = 1_700_000_000.0  # 14 November 2023, 22:13:20 GMT


def told(*headers, wall_now=NOW):
    return exhausted_for([(name.lower(), value) for name, value in headers], wall_now=wall_now)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1700000060")], 60),  # GitHub
        ([("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1700000060000")], 60),  # Rocket.Chat
        ([("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "2513")], 2513),  # Zalando
        ([("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "Tue, 14 Nov 2023 22:14:00 GMT")], 40),
        ([("X-Rate-Limit-Remaining", "0"), ("X-Rate-Limit-Reset", "1700000900")], 900),  # Twitter
        ([("RateLimit-Remaining", "0"), ("RateLimit-Reset", "30")], 30),  # the draft, up to 06
        ([("RateLimit", "limit=100, remaining=0, reset=50")], 50),  # 07
        ([("RateLimit", '"default";r=0;t=50')], 50),  # 08 and later
        ([("RateLimit", '"default";r=0;t=50, "hour";r=0;t=900, "day";r=7;t=5000')], 900),
        ([("RateLimit", '"default";r=0;t=50'), ("RateLimit", '"hour";r=0;t=900')], 900),
        ([("RateLimit", "default;r=0;t=50")], 50),  # a token, where the draft wants a string
        ([("RateLimit", '"a";r=0;t=50'), ("RateLimit-Policy", '"a";q=9;w=60')], 50),
        ([("RateLimit", '"a";r=0;t=50'), ("RateLimit-Policy", '"b";q=9;qu="concurrent-requests"')], 50),
        ([("RateLimit", '"a";r=0;t=50'), ("RateLimit-Policy", "nonsense; ;")], 50),
        ([("X-RateLimit-Remaining", "-3"), ("X-RateLimit-Reset", "5")], 5),  # they count on
        ([("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1699999940")], 0),  # over already (coral#89)
        ([("X-RateLimit-Remaining", "0"), ("X-RateLimit-Resource", "core"), ("X-RateLimit-Reset", "7")], 7),
        (
            [
                ("X-RateLimit-Remaining", "0"),
                ("X-RateLimit-Bucket", "abcd1234"),
                ("X-RateLimit-Global", "true"),
                ("X-RateLimit-Reset", "1700000000.470"),
                ("X-RateLimit-Reset-After", "0.5"),
            ],
            0.5,  # Discord: that which needs no clock
        ),
    ],
)
def test_a_quota_that_is_used_up(headers, seconds):
    assert told(*headers) == pytest.approx(seconds)
    assert may_be_exhausted([(name.lower(), value) for name, value in headers])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Retry-After", "5")],
        [("X-RateLimit-Remaining", "1"), ("X-RateLimit-Reset", "60")],
        [("X-RateLimit-Remaining", "0")],
        [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "soon")],
        [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "-5")],
        [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "NaN")],
        [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "inf")],
        [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1e9")],
        [("X-RateLimit-Remaining", ""), ("X-RateLimit-Reset", "60")],
        [("X-RateLimit-Remaining", "0 of 60"), ("X-RateLimit-Reset", "60")],
        [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "60"), ("X-RateLimit-Resource", "search")],
        [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset-After", "60"), ("X-RateLimit-Bucket", "abcd1234")],
        [("RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "60")],
        [("RateLimit", "limit=100, remaining=1, reset=50")],
        [("RateLimit", "limit=100, remaining=0")],
        [("RateLimit", "limit=100, xremaining=0, reset=50")],
        [("RateLimit", '"default";r=0')],
        [("RateLimit", '"default";r=1;t=50')],
        [("RateLimit", '"default";r=0;t=-5')],
        [("RateLimit", '"default";r=0;t=5.5')],
        [("RateLimit", '"default";r=?0;t=50')],
        [("RateLimit", '"default";r=0;t=50;')],
        [("RateLimit", '"default";r=0;t=50;pk=:YWI=:')],
        [("RateLimit", '"a";r=0;t=50'), ("RateLimit-Policy", '"a";q=9;qu="concurrent-requests"')],
        [("RateLimit-Policy", '"a";q=0;w=50')],
    ],
)
def test_nothing_that_all_calls_would_have_to_wait_for(headers):
    assert told(*headers) is None


def test_a_time_is_measured_against_the_clock_that_wrote_it():
    date = ("Date", formatdate(NOW - 3600, usegmt=True))  # theirs is an hour slow
    assert told(date, ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", str(NOW - 3540))) == 60
    assert told(date, ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", formatdate(NOW - 3540, usegmt=True))) == 60
    assert told(date, ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "60")) == 60
    assert told(("Date", "today"), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", str(NOW + 60))) == 60


NAMES = [
    *("ratelimit", "ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining", "ratelimit-policy"),
    *("ratelimit-reset", "x-ratelimit-reset", "x-ratelimit-reset-after", "x-rate-limit-reset", "date"),
]

VALUES = ['"a";r=0;t=9', "remaining=0, reset=9", "1700000099", "9.5", "1e3"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.one_of(st.text(max_size=20), st.integers(-2, 99).map(str), st.sampled_from(VALUES)),
        ),
        max_size=8,
    )
)
def test_whatever_a_server_says_it_is_a_wait_or_nothing(headers):
    seconds = told(*headers)
    assert seconds is None or (0 <= seconds < 1e15 and may_be_exhausted(headers))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-ratelimit-remaining", "58"),
        ("ratelimit", '"default";r=58;t=30'),
        ("ratelimit", "limit=9, remaining=5"),
        ("a", "0"),
    ],
)
def test_most_answers_are_seen_at_once_to_say_nothing(name, value):
    assert not may_be_exhausted([("date", "0"), (name, value)])
