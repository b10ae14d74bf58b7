"""Nothing that a caller passes leaves the service."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.errors import InvalidRequest
from switchgear.actors.service.target import Target, build_target, check_headers, check_method, request_id_of

BASE = Target.parse("https://api.example.com:8443/v1")

hostile = st.text(alphabet="/.%2eE5cC\\?#:@a \r\n\t\x00é", max_size=20)


@given(
    path=hostile | st.text(max_size=20), params=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)
)
def test_a_target_stays_below_its_prefix_or_is_refused(path: str, params: dict[str, str]) -> None:
    try:
        target = build_target(path, params)
    except InvalidRequest:
        return
    parts = urlsplit(BASE.url(target))
    assert (parts.scheme, parts.netloc) == ("https", "api.example.com:8443")
    assert (parts.path + "/").startswith("/v1/")
    assert not {".", ".."} & set(unquote(unquote(parts.path)).split("/"))
    assert target.isascii()
    assert target.isprintable()
    assert " " not in target


@pytest.mark.parametrize(
    "path",
    [
        "http://evil.example/",
        "//evil.example/x",
        "evil",
        "/a/../../admin",
        "/a/%2e%2e/admin",
        "/a/%252e%252e/admin",
        "/./x",
        "/a\r\nHost: evil",
        "/a\x00",
        "/a%0d%0aHost:%20evil",
        "/a\\..\\b",
        "/a#fragment",
        "/a?x=1\r\ny",
    ],
)
def test_paths_that_could_leave_are_refused(path: str) -> None:
    with pytest.raises(InvalidRequest):
        build_target(path, None)


def test_what_needs_quoting_is_quoted() -> None:
    assert build_target("/users/jos\u00e9 x", {"q": "a&b", "n": 3, "flag": True, "none": None, "many": ["x", "y"]}) == (
        "/users/jos%C3%A9%20x?q=a%26b&n=3&flag=true&many=x&many=y"
    )
    assert build_target("/a?b=c", {"d": "e"}) == "/a?b=c&d=e"
    assert build_target("/a%20b", None) == "/a%20b"


def test_a_parameter_that_is_no_text_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match="'when' is a object"):
        build_target("/", {"when": object()})


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\n", "ä"])
def test_header_names_are_tokens(name: str) -> None:
    with pytest.raises(InvalidRequest):
        check_headers({name: "x"})


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nb", "a\x00b", "\u20ac"])
def test_header_values_cannot_split_a_request(value: str) -> None:
    with pytest.raises(InvalidRequest):
        check_headers({"X-Test": value})


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection", "X-Retry-Attempt"])
def test_headers_that_are_ours_cannot_be_passed(name: str) -> None:
    with pytest.raises(InvalidRequest, match="set by Switchgear"):
        check_headers({name: "x"})


def test_methods_are_tokens() -> None:
    assert check_method("patch") == "PATCH"
    for method in ("", "GET /x", "GET\r\n", "G\u00c9T"):
        with pytest.raises(InvalidRequest):
            check_method(method)


def test_a_request_id_of_the_callers_own_must_look_like_one() -> None:
    assert request_id_of({"x-request-id": "abc-1._Z"}) == "abc-1._Z"
    assert request_id_of({"Other": "x"}) is None
    for bad in ("", "a b", "x" * 129, "a\n"):
        with pytest.raises(InvalidRequest):
            request_id_of({"X-Request-ID": bad})


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/v1/b?x=1", "/b?x=1"),
        ("b", "/b"),
        ("https://api.example.com:8443/v1/c", "/c"),
        ("/v1", ""),
        ("/v1/j\u00f6 x?q=\u00e9 \x00", "/j%C3%B6%20x?q=%C3%A9%20%00"),
        ("/v1/a%20b", "/a%20b"),
        ("https://api.example.com/v1/c", None),
        ("http://api.example.com:8443/v1/c", None),
        ("https://evil.example:8443/v1/c", None),
        ("https://api.example.com:8443@evil.example/v1", None),
        ("//evil.example/v1/x", None),
        ("/v2/c", None),
        ("/v1evil", None),
        ("../../c", None),
        ("ftp://x/", None),
        ("https://[bad", None),
    ],
)
def test_redirects_stay_on_the_origin_and_below_the_prefix(location: str, target: str | None) -> None:
    assert BASE.relative(location, "/a") == target


def test_a_name_of_other_letters_is_as_dns_and_headers_want_it() -> None:
    assert Target.parse("http://b\u00fccher.test/x").url("/a") == "http://xn--bcher-kva.test/x/a"


def test_default_ports_and_ipv6_hosts() -> None:
    assert Target.parse("http://x").url("/a") == "http://x/a"
    assert Target.parse("https://x:443/").url("/a") == "https://x/a"
    assert Target.parse("http://[::1]:8080/p/").url("/a") == "http://[::1]:8080/p/a"
