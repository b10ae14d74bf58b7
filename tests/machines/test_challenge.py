"""WWW-Authenticate: what RFC 9110 and RFC 6750 say it may be, and what servers make of it."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from switchgear.actors.machines.challenge import Challenge, new_token_may_help, parse_challenges

TOKENS = st.text("abcXYZ019-_.~!#$%&'*+^`|", min_size=1, max_size=12)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", []),
        ("Bearer", [("bearer", {})]),
        ('Bearer realm="x"', [("bearer", {"realm": "x"})]),
        ("BEARER Error=invalid_token", [("bearer", {"error": "invalid_token"})]),
        ('Basic realm="a, b", Bearer error="x"', [("basic", {"realm": "a, b"}), ("bearer", {"error": "x"})]),
        ('Basic realm="say \\"hi\\""', [("basic", {"realm": 'say "hi"'})]),
        ("Negotiate YWJj==, Basic", [("negotiate", {}), ("basic", {})]),
        ("Newauth realm = a , title =b, Basic", [("newauth", {"realm": "a", "title": "b"}), ("basic", {})]),
        (", ,Bearer,,", [("bearer", {})]),
        ('Bearer realm="a", realm="b"', [("bearer", {"realm": "a"})]),
        ('error="x", Bearer', [("bearer", {})]),
        ('Bearer realm="unterminated, error=x', [("bearer", {"error": "x"})]),
        ('Bearer realm="\\"open\\", a=b, x=\\"y, error=x', [("bearer", {"a": "b", "error": "x"})]),
        ("Bearer =, error=y", [("bearer", {"error": "y"})]),
    ],
)
def test_what_it_reads(value, expected):
    assert parse_challenges([value]) == [Challenge(*one) for one in expected]


def test_several_headers_are_one_list():
    assert [one.scheme for one in parse_challenges(["Basic", "Bearer a=b", "Digest"])] == ["basic", "bearer", "digest"]


@given(st.lists(st.tuples(TOKENS, st.dictionaries(TOKENS.map(str.lower), TEXTS, max_size=3)), max_size=4), st.data())
def test_what_is_written_by_the_grammar_is_read(challenges, data):
    written = []
    for scheme, params in challenges:
        parts = []
        for name, text in params.items():
            as_token = re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text) and data.draw(st.booleans())
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f"{name}={text}" if as_token else f'{name}="{quoted}"')
        written.append(f"{scheme} {', '.join(parts)}".rstrip())
    assert parse_challenges([",".join(written)]) == [Challenge(scheme.lower(), params) for scheme, params in challenges]


GARBAGE = st.one_of(
    st.text(st.characters(max_codepoint=255)),
    st.lists(st.sampled_from([*'"\\,= \t;', "Bearer", "error", "invalid_token", "==", "x"])).map("".join),
)


@given(st.lists(GARBAGE, max_size=3))
@example(['a="' * 3000])
@example(['Bearer a="' + '\\"' * 4000])  # where each quote was looked for to the end: a third of a second for one 401
@example(['Bearer x="\\'])
def test_garbage_is_skipped_and_nothing_is_raised(values):
    for one in parse_challenges(values):
        assert re.fullmatch(r"[^\s,=\"]+", one.scheme)
    assert new_token_may_help(values) in {True, False}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], True),
        (["Bearer"], True),
        (['Bearer realm="x"'], True),
        (['Bearer error="invalid_token", error_description="expired"'], True),
        (['Bearer error="insufficient_scope", scope="a b"'], False),
        (['Bearer error="invalid_request"'], False),
        (["Basic realm=x"], False),
        (["Basic realm=x", "Bearer"], True),
        (["Digest nonce=x, Bearer error=insufficient_scope"], False),
    ],
)
def test_for_which_of_them_a_new_token_may_help(values, expected):
    assert new_token_may_help(values) is expected
