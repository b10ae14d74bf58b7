"""How long an answer may be used again."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.machines.freshness import directives, freshness

NOW = 1_000_000_000.0


def of(*headers):
    return freshness(headers, NOW)


def date(seconds):
    return formatdate(NOW + seconds, usegmt=True)


def control(*values):
    return of(*(("cache-control", value) for value in values))


@pytest.mark.parametrize(
    ("headers", "lifetime", "age"),
    [
        ((), 0, 0),
        ((("cache-control", "max-age=60"),), 60, 0),
        ((("cache-control", "Max-Age=60"),), 60, 0),
        ((("cache-control", 'max-age="60"'),), 60, 0),
        ((("cache-control", "max-age=60, max-age=10"),), 60, 0),
        ((("cache-control", "private, max-age=60"),), 60, 0),
        ((("cache-control", "s-maxage=60"),), 0, 0),
        ((("cache-control", "s-maxage=60, max-age=5"),), 5, 0),
        ((("cache-control", "max-age=-1"),), 0, 0),
        ((("cache-control", "max-age=soon"),), 0, 0),
        ((("cache-control", "max-age"),), 0, 0),
        ((("cache-control", "max-age=" + "9" * 12),), 2**31, 0),
        ((("cache-control", "public"), ("cache-control", "max-age=7")), 7, 0),
        ((("cache-control", 'ext="a, max-age=9", max-age=3'),), 3, 0),
        ((("cache-control", "max-age=60"), ("age", "50")), 60, 50),
        ((("cache-control", "max-age=60"), ("age", "x")), 60, 0),
        ((("cache-control", "max-age=60"), ("date", date(-20))), 60, 20),
        ((("cache-control", "max-age=60"), ("date", date(-20)), ("age", "30")), 60, 30),
        ((("cache-control", "max-age=60"), ("date", date(500))), 60, 0),  # its clock is ahead of ours
        ((("expires", date(90)), ("date", date(0))), 90, 0),
        ((("expires", date(90)),), 90, 0),
        ((("expires", date(90)), ("cache-control", "max-age=5")), 5, 0),
        ((("expires", "0"),), 0, 0),
        ((("expires", date(-90)), ("date", date(0))), 0, 0),
        ((("cache-control", "no-cache, max-age=60"),), 0, 0),
        ((("cache-control", 'no-cache="set-cookie", max-age=60'),), 60, 0),
    ],
)
def test_lifetime_and_age(headers, lifetime, age) -> None:
    says = of(*headers)
    assert (says.lifetime, says.age) == (lifetime, age)
    assert says.is_fresh(0) is (age < lifetime)
    assert not says.is_fresh(lifetime)


def test_what_must_not_be_kept_or_not_used_stale() -> None:
    assert control("no-store, max-age=60") is None
    assert control("No-Store") is None
    assert control("max-age=0, must-revalidate").forbids_stale
    assert control("no-cache").forbids_stale
    assert not control('no-cache="x"').forbids_stale
    assert not control("max-age=60").forbids_stale


@given(st.lists(st.text(max_size=60), max_size=4))
def test_nonsense_is_read_without_a_word(values) -> None:
    says = control(*values)
    assert says is None or (0 <= says.lifetime <= 2**31 and says.age == 0)


names = st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True)


@given(
    st.dictionaries(names, st.one_of(st.just(""), st.from_regex(r"[0-9a-z]{1,9}", fullmatch=True)), max_size=5),
    st.data(),
)
def test_directives_are_found_whatever_is_around_them(wanted, data) -> None:
    parts = []
    for name, value in wanted.items():
        written = data.draw(st.sampled_from([name, name.upper(), name.title()]))
        quoted = data.draw(st.booleans())
        parts.append(written + ("" if not value else f'="{value}"' if quoted else f"={value}"))
    blank = data.draw(st.sampled_from([",", ", ", " , ", ",,", "\t,"]))
    assert directives([blank.join(parts)]) == wanted
    assert directives(parts) == wanted
