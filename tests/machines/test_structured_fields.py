"""Lists of items: the examples of the RFC and the draft, and all that must not be read as one."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.machines.structured_fields import Malformed, parse_items


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        ("  ", []),
        ("5", [(5, {})]),
        ("-42 , 4.5,\t-0.125", [(-42, {}), (4.5, {}), (-0.125, {})]),
        ('"hello world"', [("hello world", {})]),
        (r'"a \"quoted\" \\ one"', [('a "quoted" \\ one', {})]),
        ("foo123/456", [("foo123/456", {})]),
        (":cHJldGVuZCB0aGlzIGlzIGJpbmFyeSBjb250ZW50Lg==:", [(b"pretend this is binary content.", {})]),
        (":aGVsbG8:", [(b"hello", {})]),  # padding may be left out
        ("?1, ?0", [(True, {}), (False, {})]),
        ("@1659578233", [(1659578233, {})]),
        ("abc;a=1;b=2; cde_456", [("abc", {"a": 1, "b": 2, "cde_456": True})]),
        ("1;a=1;a=2", [(1, {"a": 2})]),  # the last one counts
        ("1;a=?0;*b.c-d=x", [(1, {"a": False, "*b.c-d": "x"})]),
        (
            '"burst";q=100;w=60,"daily";q=1000;w=86400',
            [("burst", {"q": 100, "w": 60}), ("daily", {"q": 1000, "w": 86400})],
        ),
        ('"u";q=9;qu="content-bytes";pk=:YWI=:', [("u", {"q": 9, "qu": "content-bytes", "pk": b"ab"})]),
        ("999999999999999", [(999999999999999, {})]),
    ],
)
def test_what_is_a_list_of_items(text, items):
    assert parse_items([text]) == items


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "1,",
        "1,,2",
        "1 2",
        "1;",
        "1;=2",
        "1;A=2",
        "1;a=",
        "1 ;a=2",
        '"open',
        '"tab\t"',
        '"é"',
        r'"\n"',
        "?2",
        "?",
        ":not*base64:",
        ":a:",
        ":YQ==",
        "@1.5",
        "1.",
        ".5",
        "-",
        "--1",
        "1.2345",
        "1000000000000000",
        "1234567890123.0",
        "(1 2)",
        "limit=100, remaining=0, reset=5",
        "²",
        "\n1",
        "1\r",
    ],
)
def test_what_is_none(text):
    with pytest.raises(Malformed):
        parse_items([text])


def test_lines_are_one_list():
    assert parse_items(["1", "2;a"]) == [(1, {}), (2, {"a": True})]


def written(item):
    bare, parameters = item
    return "".join([value(bare), *(f";{key}={value(one)}" for key, one in parameters.items())])


def value(bare):
    if isinstance(bare, bool):
        return f"?{bare:d}"
    if isinstance(bare, bytes):
        return f":{base64.b64encode(bare).decode()}:"
    if isinstance(bare, str):
        quoted = bare.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}"'
    return str(bare)


BARE = st.one_of(
    st.booleans(),
    st.integers(-(10**15) + 1, 10**15 - 1),
    st.integers(-999_999, 999_999).map(lambda n: n / 8),
    st.binary(max_size=9),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12),
)


@given(st.lists(st.tuples(BARE, st.dictionaries(st.from_regex(r"[a-z*][a-z0-9_.*-]{0,5}", fullmatch=True), BARE))))
def test_what_is_written_is_read(items):
    assert parse_items([", ".join(map(written, items))]) == items


@given(st.text(max_size=60))
def test_anything_else_is_malformed_and_nothing_worse(text):
    with contextlib.suppress(Malformed):
        parse_items([text])


@given(st.text(st.sampled_from(' \t,;="\\:?@-.019aA*()\n'), max_size=40))
def test_near_misses_too(text):
    with contextlib.suppress(Malformed):
        for bare, parameters in parse_items([text]):
            assert isinstance(bare, (str, int, float, bytes))
            assert isinstance(parameters, dict)
