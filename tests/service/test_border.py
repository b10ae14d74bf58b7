"""Wherever a request comes from, its URL is below the service's origin and prefix before credentials are added."""

from __future__ import annotations

from urllib.parse import unquote, urljoin, urlsplit

import httpx
import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from support.service import outcome_of, running

import switchgear as sg
from switchgear.actors.errors import InvalidRequest
from switchgear.actors.service.border import Border
from switchgear.actors.service.messages import Progress, Request
from switchgear.actors.service.target import Target, build_target, is_below

PREFIXES = ["", "/v1", "/a/b", "/v1;x"]
PIECES = ["/", "//", ".", "..", "%2e", "%2E", "%252e", "%2f", "%5c", "\\", ";", "?", "#", "@", ":", "evil.test"]
PIECES += ["%", "%00", "%0d%0a", "\r\n", "\x00", " ", "é", "\u2028", "\uff0f", "a", "v1", "http:", "&", "=", "{x}"]
hostile = st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=12)


def readings(url: str) -> list[str]:
    """The paths that servers may make of a URL: they decode it up to three times, and take ``\\`` for /."""
    path, found = urlsplit(url).path, []
    for _ in range(3):
        for one in (path, path.replace("\\", "/")):
            found.append(urlsplit(urljoin("https://x.test/", "/" + one.lstrip("/"))).path)
            found.append("/".join(segment.partition(";")[0] for segment in one.split("/")))  # without path parameters
        path = unquote(path)
    return found


def assert_below(base: str, target: str) -> None:
    url, base_parts = Target.parse(base).url(target), urlsplit(base)
    for one in (url, str(httpx.URL(url))):
        parts = urlsplit(one)
        assert (parts.scheme, parts.netloc) == (base_parts.scheme, base_parts.netloc)
        assert not parts.fragment
        assert (parts.path + "/").startswith(base_parts.path + "/")
        assert one.isascii()
        assert one.isprintable()
        assert " " not in one
        plain = base_parts.path.partition(";")[0]
        for path in readings(one):
            assert not {".", ".."} & set(path.split("/"))
            assert (path + "/").startswith((plain + "/", base_parts.path + "/"))


@given(target=hostile, prefix=st.sampled_from(PREFIXES))
@example(target="//evil.test/", prefix="")
@example(target="/x/..;/..;/admin", prefix="/v1")
@example(target="/%2e%2e/", prefix="/v1")
@example(target="@evil.test/", prefix="")
@example(target=".evil.test/", prefix="")
@example(target=":81/", prefix="")
def test_what_passes_the_border_is_below(target, prefix) -> None:
    base = f"https://api.test{prefix}"
    config = sg.ServiceConfig("svc", base)
    try:
        Border(config).check(Target.parse(base), target)
    except InvalidRequest:
        return
    assert_below(base, target)


@given(path=hostile, prefix=st.sampled_from(PREFIXES), params=st.dictionaries(hostile, hostile, max_size=2))
def test_what_a_caller_may_pass_passes_the_border(path, prefix, params) -> None:
    """Else a call would be refused twice, or only after it has waited for its turn."""
    try:
        target = build_target("/" + path, params)
    except InvalidRequest:
        return
    assert is_below(target)
    assert_below(f"https://api.test{prefix}", target)


@given(location=hostile, prefix=st.sampled_from(PREFIXES))
@example(location="/v1/%2e%2e/%2e%2e/admin", prefix="/v1")
@example(location="/v1/..%2fadmin", prefix="/v1")
@example(location="\\\\evil.test/", prefix="")
@example(location="https:evil.test", prefix="")
@example(location="https:///evil.test", prefix="")
@example(location="/v1;x/../..;/", prefix="/v1;x")
def test_a_redirect_stays_below(location, prefix) -> None:
    base = f"https://api.test{prefix}"
    target = Target.parse(base).relative(location, "/here")
    if target is not None:
        assert_below(base, target)


@pytest.mark.parametrize(
    "location", ["/v1/%2e%2e/admin", "/v1/a/..%2f..%2fadmin", "/v1/..\\..\\admin", "/v1//evil.test"]
)
async def test_a_redirect_that_a_server_would_resolve_out_of_the_prefix_is_not_followed(location) -> None:
    async with running((302, {"Location": location}, b""), base_url="http://svc.test/v1", follow_redirects=True) as (
        service,
        upstream,
    ):
        with pytest.raises(sg.HTTPStatusError, match="above the prefix"):
            await service.get("/a")
    assert len(upstream.requests) == 1


async def test_an_instance_that_is_found_later_gets_no_credentials_over_plain_http() -> None:
    """It was registered while the service had no credentials, which the registry checks when it is told."""
    async with running(base_url=None) as (service, upstream):
        there = sg.ServiceInstance("one", "svc", "", "http://10.0.0.1")
        await upstream.runtime.registry.register(there)
        assert (await service.get("/")).success
        auth = sg.BearerAuth(sg.Secret("k"))
        await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", auth=auth))
        error = await outcome_of(service.get("/"))
        assert isinstance(error, sg.ConfigError)
        assert "over plain http" in str(error)
        assert service.breaker == "closed"
        await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", auth=auth, allow_plain_http=True))
        assert (await service.get("/")).success
    assert upstream.header("authorization") == [None, "Bearer k"]


async def test_nor_is_it_registered() -> None:
    async with running(base_url=None, auth=sg.BearerAuth(sg.Secret("k"))) as (_, upstream):
        register = upstream.runtime.registry.register
        with pytest.raises(
            sg.ConfigError, match=r"endpoint: auth would send credentials over plain http.*use https://"
        ):
            await register(sg.ServiceInstance("one", "svc", "", "http://10.0.0.1"))
        for fine in ("https://10.0.0.1", "http://127.0.0.1:8080", "http://[::1]", "http://localhost"):
            await register(sg.ServiceInstance(fine, "svc", "", fine))


async def test_a_request_that_no_call_has_checked_passes_the_same_border() -> None:
    """As out of a queue's file that somebody else has written to."""
    async with running() as (service, upstream):
        with pytest.raises(sg.InvalidRequest, match="could lead out of the service"):
            await service.send(Request("GET", "//evil.test/", "r1", trio.current_time() + 5, 0.0, Progress()))
    assert not upstream.requests


@pytest.mark.parametrize("headers", [{"Authorization": "canary-1"}, [("Accept", "x"), ("cookie", "canary-1")]])
async def test_a_caller_sends_no_credentials_over_plain_http_either(headers) -> None:
    async with running(base_url="http://svc.test") as (service, upstream):
        with pytest.raises(sg.InvalidRequest, match=r"over plain http.*use https://") as caught:
            await service.get("/", headers=headers)
        assert "canary" not in str(caught.value)
        await service.get("/", headers={"Accept": "x"})
        assert service.breaker == "closed"
    assert len(upstream.requests) == 1
    for fields in ({"base_url": "https://svc.test"}, {"base_url": "http://127.0.0.1"}, {"allow_plain_http": True}):
        async with running(**fields) as (service, _):
            assert (await service.get("/", headers=headers)).success
