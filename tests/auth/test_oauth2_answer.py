"""What a token endpoint may answer, and what is made of it: nothing that comes from there is trusted."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr
from support.leaks import leaks

from switchgear.actors.auth.oauth2_answer import GrantRefused, read_answer
from switchgear.actors.errors import AuthFailed

GOOD = {"access_token": "abc", "token_type": "Bearer", "expires_in": 3600}
YEAR = 366 * 86400


def answer(status=200, **members):
    return read_answer(status, json.dumps(GOOD | members).encode())


def refusal(status, body, *secrets):
    with pytest.raises(AuthFailed) as caught:
        read_answer(status, body if isinstance(body, bytes) else json.dumps(body).encode(), secrets)
    return caught.value


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (3600, 3600.0),
        (0.5, 0.5),
        ("3600", 3600.0),
        ("3600.5", 3600.5),
        (None, None),
        (1e300, YEAR),
        (10**400, YEAR),
        ("9" * 20, YEAR),
    ],
)
def test_a_lifetime_comes_as_a_number_or_as_text_and_never_as_more_than_a_year(said, seconds):
    assert answer(expires_in=said).expires_in == seconds


@pytest.mark.parametrize(
    "said", [0, -1, -0.0, "0", "-1", "", "soon", "NaN", "inf", "1e5", " 3600", True, False, [], {}, [3600], "9" * 21]
)
def test_what_is_no_lifetime_is_an_accident_of_the_servers(said):
    with pytest.raises(AuthFailed, match="expires_in") as caught:
        answer(expires_in=said)
    assert caught.value.retryable


def test_without_one_it_is_unknown():
    assert read_answer(200, b'{"access_token": "abc"}').expires_in is None


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER", None])
def test_only_bearer_tokens_are_taken(kind):
    assert answer(token_type=kind).access_token == "abc"


@pytest.mark.parametrize("kind", ["DPoP", "mac", "", 1, ["Bearer"]])
def test_any_other_kind_is_for_good(kind):
    with pytest.raises(AuthFailed, match="no bearer token") as caught:
        answer(token_type=kind)
    assert not caught.value.retryable


@pytest.mark.parametrize("token", [None, "", "a b", "a\r\nX: y", "\u00e9", "a\0", 1, ["abc"], {"a": 1}])
def test_a_token_that_is_no_header_is_not_used(token):
    with pytest.raises(AuthFailed, match="access_token") as caught:
        answer(access_token=token)
    assert caught.value.retryable


@pytest.mark.parametrize(("token", "kept"), [("r1", "r1"), ("", None), (None, None)])
def test_a_refresh_token_is_optional(token, kept):
    assert answer(refresh_token=token).refresh_token == kept


@pytest.mark.parametrize("token", [1, [], {}, True, "r\r\n", "\u00e9"])
def test_what_cannot_be_one_is_not_kept(token):
    with pytest.raises(AuthFailed, match="refresh_token") as caught:
        answer(refresh_token=token)
    assert caught.value.retryable


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Welcome</html>",
        b'{"access_token": "abc"',
        b"[]",
        b"null",
        b'"abc"',
        b"\xff\xfe",
        b'{"access_token": "\xff"}',
        b'{"access_token": "\\ud800"}',
        b'{"a": ' + b"[" * 60_000,
        b'{"expires_in": 1e400}',
        b'{"access_token": "abc"} {}',
    ],
    ids=range(12),
)
def test_what_is_no_answer_at_all_is_an_accident_too(body):
    assert refusal(200, body).retryable


@pytest.mark.parametrize(
    "code",
    ["invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_request"],
)
@pytest.mark.parametrize("status", [400, 401, 200])
def test_what_no_wait_mends_is_for_good(code, status):
    error = refusal(status, {"error": code})
    assert code in error.message
    assert not error.retryable
    assert not isinstance(error, GrantRefused)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": "temporarily_unavailable"}),
        (400, {"error": "slow_down"}),
        (400, {"error": ["invalid_client"]}),
        (400, b"<html>"),
        (403, b"blocked"),
        (404, b""),
        (302, b""),
        (429, b""),
        (429, {"error": "invalid_request"}),
        (500, {"error": "invalid_client"}),
        (503, b"<html>"),
    ],
)
def test_everything_else_may_pass(status, body):
    error = refusal(status, body)
    assert error.retryable
    assert str(status) in error.message


def test_a_grant_that_is_not_taken_is_told_apart():
    error = refusal(400, {"error": "invalid_grant", "error_description": "Token revoked"})
    assert isinstance(error, GrantRefused)
    assert error.message == "the token endpoint answered 400 invalid_grant: 'Token revoked'"


def test_a_description_is_shown_as_far_as_it_is_harmless():
    said = "\x1b[31mred\r\nERROR forged\u202e" + "x" * 1000
    error = refusal(400, {"error": "invalid_client", "error_description": said})
    assert "'[31mred  ERROR forged xxx" in error.message
    assert len(error.message) < 300
    assert error.message.isprintable()


@pytest.mark.parametrize("said", [None, 1, [], "", "\n", {"a": "b"}])
def test_one_that_is_none_is_left_out(said):
    assert refusal(400, {"error": "invalid_client", "error_description": said}).message.endswith("invalid_client")


def test_a_secret_that_the_server_quotes_is_not_quoted_again():
    error = refusal(400, {"error": "invalid_client", "error_description": "no secret canary1 here"}, "canary1", "")
    assert error.message.endswith("400 invalid_client")


def test_an_answer_does_not_show_what_is_in_it():
    one = answer(access_token="canary1", refresh_token="canary2")
    assert not leaks([repr(one), str(one), pretty_repr(one)], "canary1", "canary2")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def some(good):
    return st.sampled_from(good) | JUNK


ANSWERS = (
    st.fixed_dictionaries(
        {},
        optional={
            "access_token": some(["abc", "a.b.c"]),
            "token_type": some(["Bearer"]),
            "expires_in": some([3600, "3600", -1, 1e308]),
            "refresh_token": some(["r"]),
            "error": some([None, "invalid_grant", "invalid_client"]),
            "error_description": JUNK,
        },
    )
    | JUNK
)


def token_or_error(status, body):
    try:
        return read_answer(status, body), None
    except AuthFailed as error:
        return None, error


@given(st.integers(100, 599), ANSWERS)
def test_whatever_comes_is_a_token_that_can_be_used_or_an_error_that_can_be_shown(status, said):
    token, error = token_or_error(status, json.dumps(said).encode())
    if error is not None:
        assert error.message.isprintable()
        assert len(error.message) < 500
        return
    assert 200 <= status < 300
    assert said["access_token"] == token.access_token
    assert all(33 <= ord(one) <= 126 for one in token.access_token)
    assert token.expires_in is None or 0 < token.expires_in <= YEAR
    assert not math.isnan(token.expires_in or 0)
    assert token.refresh_token is None or said["refresh_token"] == token.refresh_token


@given(st.integers(200, 599), st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_of_any_kind_are_no_crash(status, body):
    token, error = token_or_error(status, body)
    assert token is not None or error.message.isprintable()
