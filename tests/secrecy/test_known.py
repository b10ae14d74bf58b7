"""Secrets by value: what is known is taken out of texts, whatever form it has there."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.service import outcome_of, running

import switchgear as sg
from switchgear.actors.auth import Credentials
from switchgear.actors.config import check_config, load_config
from switchgear.actors.secrecy.found import found
from switchgear.actors.secrecy.known import SHORTEST, Known

CANARY = "sk-Canary-4711"

FORMS = [
    str,
    repr,
    json.dumps,
    quote,
    quote_plus,
    lambda value: quote(value, safe=""),
    lambda value: repr(value.encode()),
    lambda value: json.dumps(value, ensure_ascii=False),
]


@given(
    st.text(min_size=SHORTEST, alphabet=st.characters(exclude_categories=["Cs"])),
    st.text(max_size=5),
    st.sampled_from(FORMS),
)
def test_a_known_value_is_found_in_each_of_its_forms(value, around, form):
    known = Known()
    known.learn(value)
    assert form(value).strip("\"'b") not in known.scrub(f"{around} {form(value)} {around}") or "***" in value


@given(st.lists(st.text("abc%'", min_size=1, max_size=30)), st.text("xyzé*%'\\"))
def test_a_text_without_a_secret_stays_as_it_is(values, text):
    known = Known()
    known.learn(*(f"a{value}" for value in values))
    assert known.scrub(text) == text


def test_what_is_too_short_is_not_looked_for():
    known = Known()
    known.learn("x" * (SHORTEST - 1), "")
    assert known.scrub("xxxxxxx") == "xxxxxxx"
    known.learn("x" * SHORTEST)
    assert known.scrub("say xxxxxxxx") == "say ***"


def test_one_that_is_a_part_of_another_leaves_nothing_of_it():
    known = Known()
    known.learn("abcdefgh", "abcdefgh-and-more")
    assert known.scrub("abcdefgh-and-more abcdefgh") == "*** ***"


def test_they_are_bounded_and_the_latest_stay():
    known = Known(configured=1, passing=3)
    known.keep("the-configured-one")
    for number in range(10):
        known.learn("the-first-one", f"token-number-{number}")
    assert known.scrub("the-first-one token-number-9 token-number-8") == "*** *** ***"
    assert known.scrub("token-number-6") == "token-number-6"
    assert known.scrub("the-configured-one") == "***"
    known.keep("the-configured-two")
    assert known.scrub("the-configured-one the-configured-two") == "the-configured-one ***"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6).map("secret-{:04}".format)), max_size=30))
def test_what_is_known_is_what_came_last_of_each_kind(steps):
    """Against the list of all that was said."""
    known = Known(configured=3, passing=2)
    for keep, value in steps:
        (known.keep if keep else known.learn)(value)
    latest = [list(dict.fromkeys(one for kind, one in reversed(steps) if kind is keep)) for keep in (True, False)]
    expected = {*latest[0][:3], *latest[1][:2]}
    assert {value for _, value in steps if known.scrub(value) == "***"} == expected


def test_what_is_learned_meanwhile_hides_nothing():
    """As by another thread, between two looks: what goes for it must not let another one be passed over."""
    known = Known(passing=3)
    known.learn("canary-the-longest", "canary-longer", "canary-7")

    class Text(str):
        __slots__ = ()

        def __contains__(self, form):
            found = super().__contains__(form)
            if form == "canary-the-longest":
                known.learn("another-one")  # the longest is forgotten, and those behind it move up
            return found

    assert known.scrub(Text("canary-longer")) == "***"


def test_what_one_service_knows_the_runtime_knows_and_another_does_not():
    runtime = Known()
    one, other = Known(above=runtime), Known(above=runtime)
    one.learn(CANARY)
    assert [known.scrub(CANARY) for known in (runtime, one, other)] == ["***", "***", CANARY]


def test_credentials_are_known_with_and_without_their_scheme():
    known = Known()
    known.learn_credentials(Credentials((("Authorization", f"Bearer {CANARY}"),), f"api_key={quote('s€cret key')}"))
    assert known.scrub(f"{CANARY} Bearer {CANARY} s€cret key s%E2%82%ACcret+key") == "*** *** *** ***"


def test_an_error_loses_them_and_nothing_else():
    known = Known()
    known.learn(CANARY)
    error = sg.HTTPStatusError(f"it said {CANARY}", status=500, body=CANARY.encode())
    known.clean(error)
    assert (str(error), error.args, error.body) == ("it said ***", ("it said ***",), CANARY.encode())


def test_all_secrets_of_a_configuration_are_found():
    basic = sg.BasicAuth("user", sg.Secret("of-the-proxy"))
    config = sg.RuntimeConfig(
        (
            sg.ServiceConfig(
                "a", auth=sg.BearerAuth(sg.Secret("of-a ")), headers={"X-Token": "of-a-header", "X": "no"}
            ),
            sg.ServiceConfig("b", proxy=sg.ProxyConfig("http://p:1", auth=basic)),
        )
    )
    packed = base64.b64encode(b"user:of-the-proxy").decode()
    assert sorted(found(config)) == sorted(["of-a", "of-a-header", "of-the-proxy", packed])


@pytest.mark.parametrize("name", ["X-API-Key", "Cookie", "accessToken"])
def test_a_header_whose_name_is_a_credentials_is_a_secret(name):
    config = sg.ServiceConfig("a", headers={name: CANARY, "Accept": "text/plain"})
    assert config.headers == {name: sg.Secret(CANARY), "Accept": "text/plain"}


def test_a_header_by_reference(tmp_path):
    (tmp_path / "key").write_text(CANARY)
    (tmp_path / "a.toml").write_text(
        '[[services]]\nname = "a"\n[services.headers]\nX-Own = { file = "key" }\nX-Plain = "plain"\n'
    )
    config = load_config(tmp_path / "a.toml")
    assert config.services[0].headers == {"X-Own": sg.Secret(CANARY), "X-Plain": "plain"}
    for bad in ({"value": CANARY}, {"env": "NOT_THERE"}, {"file": CANARY}, [CANARY]):
        (fault,) = check_config({"services": [{"name": "a", "headers": {"X-Own": bad, "B": "b"}}]})
        assert fault.key == "services[0].headers.X-Own"
        assert CANARY not in str(fault)


async def test_the_text_of_an_error_of_a_service_has_none_of_its_secrets():
    """Of what a caller's own iterator raises the text is told, and the caller may have it from anywhere."""

    async def pieces():
        raise OSError(f"cannot read {CANARY}")
        yield b""

    async def reads(request):
        return [piece async for piece in request.stream]

    async with running(reads, auth=sg.BearerAuth(sg.Secret(CANARY))) as (service, _):
        error = await outcome_of(service.post("/x", content=pieces()))
    assert str(error) == "svc: the iterator of the body raised OSError: cannot read ***"
    assert CANARY not in repr(error) + repr(error.args)
