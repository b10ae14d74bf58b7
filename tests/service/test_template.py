"""Path templates: a value is one segment of the path, or it is refused; the template names the operation."""

from __future__ import annotations

import enum
from contextlib import suppress
from urllib.parse import unquote, urlsplit
from uuid import UUID

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.service import running

import switchgear as sg
from switchgear.actors.service.target import Target, build_target

hostile = st.text(alphabet="/.%2eE5fFcC0dDaA\\?#:;@&={} \r\n\t\x00\x7fé\u2028\ud800", max_size=12)
BASE = "https://api.example.com:8443/v1"


class Colour(str, enum.Enum):  # noqa: UP042 - the kind whose str() is its name
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("42", "42"),
        (42, "42"),
        (-1, "-1"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Colour.RED, "red"),
        (Number.ONE, "1"),
        ("a/b", "a%2Fb"),
        ("a\\b", "a%5Cb"),
        ("a?b#c", "a%3Fb%23c"),
        ("50%", "50%25"),
        ("a%2Fb", "a%252Fb"),
        (";v=1", "%3Bv%3D1"),
        ("josé x", "jos%C3%A9%20x"),
        ("a.b..c", "a.b..c"),
        ("...", "..."),
        ("{id}", "%7Bid%7D"),
        ("https://evil.example/", "https%3A%2F%2Fevil.example%2F"),
    ],
)
async def test_a_value_is_one_segment(value, path) -> None:
    async with running() as (service, upstream):
        await service.get("/users/{id}/orders", path={"id": value}, params={"q": "x"})
    assert upstream.requests[0].url.raw_path.decode() == f"/users/{path}/orders?q=x"


@pytest.mark.parametrize(
    ("value", "how"),
    [
        ("", "is empty"),
        (".", "as a segment"),
        ("..", "as a segment"),
        ("../admin", "as a segment"),
        ("a/../b", "as a segment"),
        ("a\\..\\b", "as a segment"),
        ("%2e%2e", "as a segment"),
        ("%252e%252e%252fadmin", "as a segment"),
        ("..;x", "as a segment"),
        ("a\r\nHost: evil", "control character"),
        ("a\x00", "control character"),
        ("\ud800", "lone surrogate"),
        pytest.param(10**5000, "too many digits", id="many-digits"),
        (True, "is a bool"),
        (1.5, "is a float"),
        (None, "is a NoneType"),
        (b"x", "is a bytes"),
        (["x"], "is a list"),
    ],
)
async def test_what_cannot_be_quoted_is_refused_by_name_and_not_shown(value, how) -> None:
    async with running() as (service, upstream):
        with pytest.raises(sg.InvalidRequest, match=rf"path value 'id' .*{how}") as caught:
            await service.get("/users/{id}", path={"id": value})
        assert caught.value.service == "svc"
    assert "admin" not in str(caught.value)
    assert not upstream.requests


@pytest.mark.parametrize(
    ("template", "path", "how"),
    [
        ("/users/{id}", {}, "no value for 'id'"),
        ("/users/{id}", {"id": 1, "other": 2}, "the template has no 'other'"),
        ("/users/{id}", {"ID": 1}, "no value for 'id' and the template has no 'ID'"),
        ("/users/{id}", {"id": 1, 7: 2}, "the template has no 7"),
        ("/users/{id}", "/users/7", "passed by position"),
        ("/users/{id}", ["id"], "mapping of the names"),
        (7, {"id": 1}, "not a int"),
        ("users/{id}", {"id": 1}, "starts with '/'"),
        ("https://evil.example/{id}", {"id": 1}, "starts with '/'"),
        ("//evil.example/{id}", {"id": 1}, "names another host"),
        ("/../{id}", {"id": 1}, "no '.' or '..' segments"),
        ("/.{id}", {"id": ".x/.."}, "as a segment"),
        ("/{a}{b}", {"a": "x", "b": ".."}, "as a segment"),
        ("/.{id}/x", {"id": "%2e"}, "as a segment"),
        ("/users/{id", {"id": 1}, "no partner"),
        ("/users/id}", {"id": 1}, "no partner"),
        ("/users/{{id}}", {"id": 1}, "no partner"),
        ("/users/{}", {"": 1}, "is not the name"),
        ("/users/{0}", {"0": 1}, "is not the name"),
        ("/users/{id!r}", {"id": 1}, "is not the name"),
        ("/{id}/{id}", {"id": 1}, "there once"),
        ("/users/{id}?x=1", {"id": 1}, "no query"),
        ("/users/{id}#x", {"id": 1}, "no control characters, backslashes or '#'"),
        ("/" + "x" * 500, {}, "at most 500"),
        ("/users/{id}", None, "gives no value for it"),
    ],
)
async def test_a_template_and_its_values_fit(template, path, how) -> None:
    async with running() as (service, upstream):
        with pytest.raises(sg.InvalidRequest, match=how.replace("'.' or '..'", ".*")):
            await service.get(template, path=path)
    assert not upstream.requests


async def test_a_template_without_names_is_one_too() -> None:
    async with running() as (service, upstream):
        await service.get("/health", path={})
    assert upstream.requests[0].url.path == "/health"


async def test_a_path_with_a_lone_brace_is_a_path() -> None:
    async with running() as (service, upstream):
        await service.get("/a{b")
    assert upstream.requests[0].url.raw_path == b"/a%7Bb"


async def test_each_way_to_call_takes_values() -> None:
    async with running() as (service, upstream):
        values = {"path": {"id": "a/b"}}
        await service.request("OPTIONS", "/x/{id}", **values)
        await service.get("/x/{id}", **values)
        await service.post("/x/{id}", **values)
        await service.put("/x/{id}", **values)
        await service.patch("/x/{id}", **values)
        await service.delete("/x/{id}", **values)
        await service.head("/x/{id}", **values)
        await service.try_request("GET", "/x/{id}", **values)
        async with service.stream("GET", "/x/{id}", **values):
            pass
    assert {request.url.raw_path for request in upstream.requests} == {b"/x/a%2Fb"}
    assert len(upstream.requests) == 9


async def test_an_operation_of_its_own_for_each_template() -> None:
    """The values look like words, so that a guess by their digits would make three operations of them."""
    async with running(breaker=sg.BreakerConfig(scope="operation")) as (service, _):
        for name in ("ann", "bob", "carol"):
            await service.get("/users/{name}", path={"name": name})
            await service.delete("/users/{name}", path={"name": name})
        await service.get("/users/42")
        assert set(service.breakers) == {"GET /users/{name}", "DELETE /users/{name}", "GET /users/*"}


@given(
    values=st.tuples(hostile | st.text(max_size=12), hostile), template=st.sampled_from(["/{a}/{b}", "/x/{a}.{b}/y"])
)
@example(values=(".", "."), template="/x/{a}.{b}/y")
@example(values=("%2", "e"), template="/x/{a}.{b}/y")
def test_whatever_the_values_the_path_has_the_templates_shape(values, template) -> None:
    with suppress(sg.InvalidRequest):
        target = build_target(template, None, dict(zip("ab", values, strict=True)))
        for url in (Target.parse(BASE).url(target), str(httpx.URL(Target.parse(BASE).url(target)))):
            parts = urlsplit(url)
            assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == (
                "https",
                "api.example.com:8443",
                "",
                "",
            )
            segments = parts.path.split("/")
            assert len(segments) == len(f"/v1{template}".split("/"))
            if template == "/{a}/{b}":  # and each is what was given, unquoted once
                assert tuple(map(unquote, segments[2:])) == values
            decoded = parts.path
            for _ in range(3):
                assert not {".", ".."} & set(decoded.replace("\\", "/").split("/"))
                decoded = unquote(decoded)
