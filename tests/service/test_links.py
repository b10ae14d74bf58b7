"""URLs that a service itself gave: its own are called, those of allowed hosts without credentials, others never."""

from __future__ import annotations

import httpx
import pytest
import trio
from support.leaks import leaks, told
from support.service import Upstream, after, hang, outcome_of, reply_json, running

import switchgear as sg

BASE = "https://api.test/v1"
CDN = "https://cdn.test/file%20a?sig=canary-5a1"
KEY = sg.Secret("canary-key")
GUARDED = {
    "base_url": BASE,
    "auth": sg.BearerAuth(KEY),
    "headers": {"X-API-Key": "canary-key", "X-Tenant": "canary-tenant", "User-Agent": "canary-agent"},
    "allowed_hosts": ("cdn.test", "other.test"),
    "follow_redirects": True,
}


LEARNS = sg.BulkheadConfig(adaptive=sg.AimdConfig(timeout=5.0))


def to(location, status=302):
    return (status, {"Location": location}, b"")


def went(upstream):
    return [str(request.url) for request in upstream.requests]


def assert_nobody(request: httpx.Request) -> None:
    """Whoever reads this request does not know who made it."""
    assert "canary-key" not in repr(request.headers.raw)
    assert "canary-tenant" not in repr(request.headers.raw)
    assert "canary-agent" not in repr(request.headers.raw)
    known = {"host", "user-agent", "accept", "accept-encoding", "accept-language", "range", "if-none-match"}
    assert set(request.headers) <= known
    assert request.content == b""


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (f"{BASE}/jobs/7", "/jobs/7"),
        ("https://API.test:443/v1/jobs?page=2#top", "/jobs?page=2"),
        ("/v1/jobs/a%20b", "/jobs/a%20b"),
        ("8", "/jobs/8"),
        ("?page=2", "/jobs/7?page=2"),
        (BASE, ""),
        ("/v1/j\u00f6/{x}", "/j%C3%B6/%7Bx%7D"),
    ],
)
async def test_one_of_its_own_is_called_like_any_other(url, path) -> None:
    async with running(base_url=BASE, auth=sg.BearerAuth(KEY)) as (service, upstream):
        assert service.link(url, base="/jobs/7") == path
        await service.delete(service.link(url, base="/jobs/7"))
    assert went(upstream) == [BASE + path]
    assert upstream.header("authorization") == ["Bearer canary-key"]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/",
        "//evil.test/v1/",
        "http://api.test/v1/jobs",
        "https://api.test:8443/v1/jobs",
        "https://api.test@evil.test/v1/jobs",
        "https://user@api.test/v1/jobs",
        "https://user@cdn.test/",
        "https://cdn.test:8443/",
        "http://cdn.test/",
        "https://cdn.test.evil.test/",
        "https://sub.cdn.test/",
        "/admin",
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/..%2fadmin",
        "/v1evil",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://[bad",
        "https://cdn.test/../x/%2e%2e/y",
        "https://\u20ac..test/",
    ],
)
async def test_all_others_are_refused_and_not_shown(url) -> None:
    async with running(**GUARDED) as (service, upstream):
        with pytest.raises(sg.InvalidRequest, match="allowed_hosts") as caught:
            service.link(url, base="/jobs/7")
        assert caught.value.service == "svc"
        assert not leaks(told(caught.value), "evil", "cdn.test", "/admin")
    assert not upstream.requests


async def test_neither_a_url_nor_a_base_of_another_kind() -> None:
    async with running(base_url=BASE) as (service, _):
        with pytest.raises(sg.InvalidRequest, match="a URL is text, not a NoneType") as caught:
            service.link(None)
        assert caught.value.service == "svc"
        with pytest.raises(sg.InvalidRequest, match="starts with '/'"):
            service.link("/v1/x", base="x")


async def test_each_instance_may_be_named() -> None:
    instances = (sg.InstanceConfig("https://one.test/v1"), sg.InstanceConfig("https://two.test/v2"))
    async with running(instances=instances) as (service, upstream):
        assert service.link("https://two.test/v2/x") == "/x"
        await upstream.runtime.registry.deregister("svc", "https://two.test/v2")
        with pytest.raises(sg.InvalidRequest):
            service.link("https://two.test/v2/x")


async def test_another_host_is_called_as_nobody() -> None:
    headers = {"Cookie": "canary-key", "Authorization": "canary-key", "Range": "bytes=0-9", "X-Mine": "canary-key"}
    async with running(reply_json(b"[1]"), **GUARDED) as (service, upstream):
        there = service.link(CDN)
        assert "canary" not in repr(there)
        response = await service.get(there, headers=headers, type=list[int])
    assert (response.data, response.attempts, went(upstream)) == ([1], 1, [CDN])
    assert_nobody(upstream.requests[0])
    assert upstream.header("range") == ["bytes=0-9"]


async def test_it_is_read_as_a_stream_too() -> None:
    async with running((200, {}, b"abc"), **GUARDED) as (service, upstream):
        there = service.link(CDN)
        async with service.stream("GET", there) as response:
            assert b"".join([piece async for piece in response]) == b"abc"
    assert_nobody(upstream.requests[0])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_only_what_reads_is_done_there(method) -> None:
    async with running(**GUARDED) as (service, upstream):
        with pytest.raises(sg.InvalidRequest, match="goes to the service itself only"):
            await service.request(method, service.link(CDN))
        with pytest.raises(sg.InvalidRequest, match="taken as it is"):
            await service.get(service.link(CDN), params={"a": 1})
    assert not upstream.requests


async def test_what_is_not_allowed_any_more_is_not_called() -> None:
    async with running(**GUARDED) as (service, upstream):
        there = service.link(CDN)
        for hosts in (("other.test",), ()):
            fields = GUARDED | {"allowed_hosts": hosts}
            await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", **fields))
            with pytest.raises(sg.InvalidRequest, match="not one of allowed_hosts"):
                await service.get(there)
    assert not upstream.requests


@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_what_goes_wrong_there_is_not_the_services(status, autojump_clock) -> None:
    fields = GUARDED | {"breaker": sg.BreakerConfig(failure_threshold=1), "rate_limit": sg.RateLimit(1, per=1000)}
    async with running((status, {"Retry-After": "50"}, b""), **fields) as (service, upstream):
        for _ in range(3):
            error = await outcome_of(service.get(service.link(CDN)))
            assert isinstance(error, sg.HTTPStatusError)
            assert (error.status, error.service) == (status, "svc")
            assert "canary" not in str(error)
        assert service.breaker == "closed"
        assert service.limiter.paused_for == 0
    assert len(upstream.requests) == 3


async def test_it_is_tried_again_under_the_same_rules(autojump_clock) -> None:
    fields = GUARDED | {"retry": sg.RetryPolicy(max_attempts=3), "hedge": sg.HedgeConfig(delay=0.1)}
    async with running(503, httpx.ConnectError("no"), 200, **fields) as (service, upstream):
        assert (await service.get(service.link(CDN))).attempts == 3
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    ("status", "method", "body"), [(302, "GET", None), (303, "POST", {"a": 1}), (307, "HEAD", None)]
)
async def test_a_redirect_to_an_allowed_host_is_followed_as_nobody(status, method, body) -> None:
    async with running(to(CDN, status), to("//other.test/b"), 200, **GUARDED) as (service, upstream):
        await service.request(method, "/export", json=body, headers={"Cookie": "canary-key"}, idempotency_key="k")
    assert went(upstream) == [f"{BASE}/export", CDN, "https://other.test/b"]
    assert upstream.requests[0].headers["authorization"] == "Bearer canary-key"
    for request in upstream.requests[1:]:
        assert request.method == ("HEAD" if method == "HEAD" else "GET")
        assert_nobody(request)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_body_never_goes_there(status) -> None:
    async with running(to(CDN, status), **GUARDED) as (service, upstream):
        with pytest.raises(sg.HTTPStatusError, match="another origin"):
            await service.post("/export", json={"a": 1})
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("back", ["https://api.test/v1/x", "https://evil.test/", "http://cdn.test/", "https://[bad"])
async def test_from_there_the_way_leads_to_allowed_hosts_only(back) -> None:
    async with running(to(CDN), to(back), **GUARDED) as (service, upstream):
        with pytest.raises(sg.HTTPStatusError, match="not of allowed_hosts"):
            await service.get("/export")
    assert len(upstream.requests) == 2


async def test_a_ring_of_redirects_ends_there_too() -> None:
    async with running(to(CDN), **GUARDED) as (service, upstream):
        with pytest.raises(sg.TransportError, match="redirects at other hosts"):
            await service.get("/export")
    assert len(upstream.requests) == 7


async def test_a_redirect_of_theirs_is_an_answer_unless_they_are_followed() -> None:
    async with running(to("/b"), **(GUARDED | {"follow_redirects": False})) as (service, _):
        assert (await service.get(service.link(CDN))).status == 302


async def test_its_answer_is_kept_under_its_whole_url() -> None:
    fields = GUARDED | {"fallbacks": (sg.CacheFallback(),)}
    async with running((200, {}, b"theirs"), (200, {}, b"ours"), 503, **fields) as (service, _):
        await service.get(service.link("https://cdn.test/x"))
        await service.get("/x")
        assert (await service.get(service.link("https://cdn.test/x"))).data == b"theirs"
        assert (await service.get("/x")).data == b"ours"


@pytest.mark.parametrize(
    "host", ["https://cdn.test", "cdn.test:443", "cdn.test/x", "*.cdn.test", "CDN.test", "10.0.0.1", "[::1]", "cdn", ""]
)
def test_hosts_are_names(host) -> None:
    with pytest.raises(sg.ConfigError, match=r"allowed_hosts\[0\]: must be the name of a host"):
        sg.ServiceConfig("svc", BASE, allowed_hosts=[host])


def test_behind_a_proxy_nobody_could_look_at_addresses() -> None:
    with pytest.raises(sg.ConfigError, match="allowed_hosts: cannot be had behind a proxy"):
        sg.ServiceConfig("svc", BASE, allowed_hosts=["cdn.test"], proxy=sg.ProxyConfig("http://127.0.0.1:3128"))


async def test_the_doors_are_closed_with_the_service() -> None:
    async with running(**GUARDED) as (service, upstream):
        with trio.fail_after(5):
            await service.get(service.link(CDN))
            await upstream.runtime.remove_service("svc")


async def test_the_timeout_of_an_attempt_is_for_those_too(autojump_clock) -> None:
    fields = GUARDED | {"timeout": sg.TimeoutConfig(total=10, attempt=2)}
    async with running(hang, to(CDN), hang, **fields) as (service, _):
        begun = trio.current_time()
        assert isinstance(await outcome_of(service.get(service.link(CDN))), sg.CallTimeout)
        assert isinstance(await outcome_of(service.get("/export")), sg.CallTimeout)
        assert trio.current_time() - begun == pytest.approx(4)


@pytest.mark.parametrize("step", [401, 429, 503, httpx.ConnectError("no"), hang])
async def test_nor_is_it_where_a_redirect_led_there(step, autojump_clock) -> None:
    if isinstance(step, int):
        step = (step, {"Retry-After": "50"}, b"")
    fields = GUARDED | {"breaker": sg.BreakerConfig(failure_threshold=1), "bulkhead": LEARNS}
    async with running(to(CDN), step, **fields) as (service, _):
        assert isinstance(await outcome_of(service.get("/export")), sg.ServiceError)
        assert (service.breaker, service.limiter.paused_for, service.bulkhead.limit) == ("closed", 0, 20)


async def test_nor_are_its_slowness_and_its_quota(autojump_clock) -> None:
    slow = sg.BreakerConfig(trip="rate", minimum_calls=1, slow_rate=0.5, slow_after=1.0)
    theirs = after(8.0, (200, {"RateLimit": '"theirs";r=0;t=50'}, b""))
    async with running(to(CDN), theirs, **(GUARDED | {"breaker": slow, "bulkhead": LEARNS})) as (service, _):
        assert (await service.get("/export")).elapsed == pytest.approx(8.0)
        assert (service.breaker, service.limiter.paused_for, service.bulkhead.limit) == ("closed", 0, 20)


async def test_the_redirect_itself_is_a_success_of_the_services(autojump_clock) -> None:
    fields = GUARDED | {"breaker": sg.BreakerConfig(failure_threshold=1, reset_timeout=5.0)}
    async with running(500, to(CDN), hang, **fields) as (service, _):
        await outcome_of(service.get("/export"))
        await trio.sleep(5)
        with trio.move_on_after(1):
            await service.get("/export")
        assert service.breaker == "closed"  # though the caller has not waited for the end of it


async def test_a_stream_is_led_there_too() -> None:
    upstream = Upstream(to(CDN), (200, {}, b"abc"))
    async with running(transport=upstream, **GUARDED) as (service, _), service.stream("GET", "/export") as response:
        assert b"".join([piece async for piece in response]) == b"abc"
    assert went(upstream) == [f"{BASE}/export", CDN]
