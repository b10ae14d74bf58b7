"""Redirects: not unless asked, and never to another origin."""

from __future__ import annotations

import httpx
import pytest
from support.service import STEADY, outcome_of, running

import switchgear as sg


def to(location, status=302):
    return (status, {"Location": location}, b"")


def urls(upstream):
    return [str(request.url) for request in upstream.requests]


async def test_not_followed_unless_asked() -> None:
    async with running(to("/b")) as (service, upstream):
        response = await service.get("/a")
    assert (response.status, response.header("location"), len(upstream.requests)) == (302, "/b", 1)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/v1/b?x=1#here", "http://svc.test/v1/b?x=1"),
        ("b", "http://svc.test/v1/b"),
        ("http://svc.test:80/v1/b", "http://svc.test/v1/b"),
        ("?page=2", "http://svc.test/v1/a?page=2"),
        ("/v1/j\u00f6 x".encode("latin-1"), "http://svc.test/v1/j%C3%B6%20x"),
    ],
)
async def test_followed_on_the_same_origin(location, url) -> None:
    async with running(to(location), 200, base_url="http://svc.test/v1", follow_redirects=True) as (service, upstream):
        response = await service.get("/a")
    assert (response.status, response.attempts) == (200, 1)
    assert urls(upstream) == ["http://svc.test/v1/a", url]


@pytest.mark.parametrize(
    "location",
    ["http://evil.test/", "//evil.test/", "https://svc.test/", "http://svc.test:81/", "http://svc.test@evil.test/"],
)
async def test_never_to_another_origin(location) -> None:
    async with running(to(location), follow_redirects=True) as (service, upstream):
        with pytest.raises(sg.HTTPStatusError, match="another origin") as caught:
            await service.get("/a")
        assert (caught.value.status, caught.value.headers) == (302, (("location", location),))
        assert service.breaker == "closed"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("status", "method", "onward"),
    [
        (301, "GET", "GET"),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (302, "PUT", "PUT"),
        (301, "DELETE", "DELETE"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (308, "PATCH", "PATCH"),
    ],
)
async def test_the_method_is_kept_where_the_rfc_says_so(status, method, onward) -> None:
    async with running(to("/b", status), 200, follow_redirects=True) as (service, upstream):
        await service.request(method, "/a", json={"a": 1})
    second = upstream.requests[1]
    assert second.method == onward
    kept = method == onward
    assert second.content == (b'{"a":1}' if kept else b"")
    assert ("content-type" in second.headers) is kept


async def test_credentials_go_along_on_the_same_origin() -> None:
    key = sg.Secret("k1")
    for auth in (sg.BearerAuth(key), sg.ApiKeyAuth(key, name="key", location="query")):
        async with running(to("/b?x=1"), 200, auth=auth, follow_redirects=True) as (service, upstream):
            await service.get("/a")
        if isinstance(auth, sg.BearerAuth):
            assert upstream.header("authorization") == ["Bearer k1"] * 2
        else:
            assert urls(upstream) == ["https://svc.test/a?key=k1", "https://svc.test/b?x=1&key=k1"]


async def test_a_ring_of_redirects_ends() -> None:
    async with running(to("/a"), follow_redirects=True) as (service, upstream):
        with pytest.raises(sg.TransportError, match="redirects"):
            await service.get("/a")
    assert len(upstream.requests) == 6


@pytest.mark.parametrize("status", [300, 304])
async def test_what_is_no_redirect_is_an_answer(status) -> None:
    async with running(to("/b", status), follow_redirects=True) as (service, _):
        assert (await service.get("/a")).status == status


async def test_one_without_a_location_is_an_answer() -> None:
    async with running(302, follow_redirects=True) as (service, _):
        assert (await service.get("/a")).status == 302


@pytest.mark.parametrize("then", [httpx.ConnectError("no"), 429, 425, 503])
@pytest.mark.parametrize("status", [301, 302, 303])
async def test_what_has_been_done_is_not_done_again_for_what_comes_after(status, then, autojump_clock) -> None:
    """A connection that is not there, or a 429, says of the GET that nothing was done, and not of the POST."""
    fields = {"follow_redirects": True, "retry": STEADY}
    async with running(to("/done", status), then, 200, **fields) as (service, upstream):
        error = await outcome_of(service.post("/orders", json=1))
        assert isinstance(error, sg.ServiceError)
        assert getattr(error, "processed", "maybe") == "maybe"
        assert [request.method for request in upstream.requests] == ["POST", "GET"]


async def test_nor_to_look_with_other_credentials() -> None:
    tokens = iter("ab")
    auth = sg.BearerAuth(token_from=lambda: next(tokens))
    async with running(to("/done", 303), 401, 200, auth=auth, follow_redirects=True) as (service, upstream):
        error = await outcome_of(service.post("/orders", json=1))
        assert isinstance(error, sg.AuthFailed)
        assert [request.method for request in upstream.requests] == ["POST", "GET"]


@pytest.mark.parametrize(
    ("status", "method", "key"), [(303, "POST", "k"), (303, "PUT", None), (307, "POST", None), (302, "GET", None)]
)
async def test_it_is_where_that_does_no_harm(status, method, key, autojump_clock) -> None:
    fields = {"follow_redirects": True, "retry": STEADY}
    async with running(to("/done", status), httpx.ConnectError("no"), 200, **fields) as (service, upstream):
        assert (await service.request(method, "/orders", content=b"x", idempotency_key=key)).attempts == 2
        assert len(upstream.requests) == 3
