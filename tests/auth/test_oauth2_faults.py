"""A token endpoint that fails in every way: callers are told at once, and it is left in peace until it is well."""

from __future__ import annotations

import itertools
import math
import ssl
from urllib.parse import quote_plus

import msgspec
import pytest
import trio
import trustme
from support.oauth2 import URL, auth, oauth2, refusal, settled, token
from support.proxy import http_proxy
from support.service import ONCE, QUIET, after, drain, hang, in_background, outcome_of, reply_json
from support.wire import answers, drips, garbage, half, http_server, json_answer, never_answers, serve, unused_port

import switchgear as sg
from switchgear.actors.events import BreakerChanged

ONE_TRY = sg.RetryPolicy(max_attempts=1)


async def test_fifty_callers_are_one_request(autojump_clock):
    async with oauth2(after(1, token("one", 600))) as (service, peers), in_background(service, *["/"] * 50) as ends:
        await trio.sleep(1)
    assert [end.status for end in ends] == [200] * 50
    assert len(peers.asked) == 1
    assert peers.sent == ["Bearer one"] * 50


async def test_an_outage_from_the_first_token_to_the_next(autojump_clock):
    """Ten minutes of life, then an outage of twenty: the old token until its end, few attempts, and errors at once."""
    async with oauth2(token("one", 600), 503, retry=ONE_TRY) as (service, peers):
        ends = []
        for _ in range(1500):
            ends.append(await outcome_of(service.get("/")))
            await trio.sleep(1)
        failed = [end for end in ends if isinstance(end, sg.AuthFailed)]
        good = [end for end in ends if not isinstance(end, sg.AuthFailed)]
        peers.server.script = [token("two", 600)]
        await trio.sleep(60 * 1.2)
        assert (await service.get("/")).success
    assert 569 <= len(good) <= 571  # until 30 s before its end
    assert ends[: len(good)] == good
    assert all(end.retryable and trio.current_time() > end.retry_at for end in failed)
    stale = [at for at in peers.asked if 400 < at - peers.asked[0] < 570]
    assert all(later - sooner >= 30 for sooner, later in itertools.pairwise(stale))
    assert len(peers.asked) < 50
    assert peers.sent[-1] == "Bearer two"


async def test_who_waits_and_who_comes_later_is_told_when_it_makes_sense(autojump_clock):
    async with oauth2(after(1, 503), retry=ONE_TRY) as (service, peers):
        async with in_background(service, *["/"] * 20) as ends:
            await trio.sleep(1)
        late = await outcome_of(service.get("/"))
        assert all(isinstance(end, sg.AuthFailed) for end in [*ends, late])
        assert {end.retry_at for end in ends} == {late.retry_at}
        assert len(peers.asked) == 1
        peers.server.script = [token("one")]
        await trio.sleep_until(late.retry_at)
        assert (await service.get("/")).success


@pytest.mark.parametrize(("header", "seconds"), [("120", 120), ("99999999999", 3600), ("soon", None)])
async def test_a_busy_server_says_when(header, seconds, autojump_clock):
    async with oauth2((429, {"Retry-After": header}, b"")) as (service, peers):
        end = await outcome_of(service.get("/"))
        wait = end.retry_at - trio.current_time()
        assert wait == pytest.approx(seconds) if seconds else wait < 5
        for _ in range(10):
            await outcome_of(service.get("/"))
    assert len(peers.asked) == (1 if seconds else 2)


@pytest.mark.parametrize("code", ["invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type"])
async def test_what_is_for_good_is_asked_once(code, autojump_clock):
    async with oauth2(refusal(code), token("one")) as (service, peers):
        for _ in range(100):
            end = await outcome_of(service.get("/"))
            assert isinstance(end, sg.AuthFailed)
            assert (end.retryable, end.retry_at) == (False, None)
            assert code in end.message
            await trio.sleep(60)
        assert len(peers.asked) == 1
        config = sg.ServiceConfig("svc", "https://svc.test", auth=auth(client_secret=sg.Secret("right")))
        await peers.runtime.reconfigure("svc", config)
        assert (await service.get("/")).success


async def test_it_is_tried_again_within_its_own_time(autojump_clock):
    async with oauth2(503, (200, {}, b"<html>"), token("one")) as (service, peers):
        end = await outcome_of(service.get("/"))
        assert "not a JSON object" in end.message  # that is no fault that a second try mends at once
        await trio.sleep_until(end.retry_at)
        assert (await service.get("/")).success
    assert len(peers.asked) == 3


async def test_a_server_that_hangs_costs_an_attempts_time_each(autojump_clock):
    async with oauth2(hang, retry=sg.RetryPolicy(base_delay=0)) as (service, peers):
        began = trio.current_time()
        end = await outcome_of(service.get("/"))
        assert trio.current_time() - began == pytest.approx(10)
    assert "not in time" in end.message
    assert len(peers.asked) == 2


async def test_its_breaker_is_its_own(autojump_clock):
    config = sg.BreakerConfig(failure_threshold=2, reset_timeout=100)
    async with oauth2(503, retry=ONE_TRY, breaker=config) as (service, peers):
        async with peers.runtime.events() as events:
            for _ in range(2):
                end = await outcome_of(service.get("/"))
                await trio.sleep_until(end.retry_at)
            end = await outcome_of(service.get("/"))
            (change,) = [event for event in drain(events) if isinstance(event, BreakerChanged)]
        assert (change.service, change.scope, change.new) == ("svc", "token endpoint", "open")
        assert len(peers.asked) == 2
        assert end.retry_at > peers.asked[-1] + 99
        assert service.breaker == "closed"
        peers.server.script = [token("one")]
        await trio.sleep_until(end.retry_at)
        assert (await service.get("/")).success


async def test_its_breaker_outlives_a_crash_of_the_actor(autojump_clock, monkeypatch):
    config = sg.BreakerConfig(failure_threshold=1, reset_timeout=100)
    async with oauth2(503, retry=ONE_TRY, breaker=config) as (service, peers):
        await outcome_of(service.get("/"))
        await crash(peers.runtime)
        await trio.sleep(10)
        end = await outcome_of(service.get("/"))
    assert len(peers.asked) == 1
    assert "left alone" in end.message


async def test_a_trial_that_ends_with_the_actor_gives_its_place_back(autojump_clock):
    config = sg.BreakerConfig(failure_threshold=1, reset_timeout=100)
    async with oauth2(503, hang, token("one"), retry=ONE_TRY, breaker=config) as (service, peers):
        await outcome_of(service.get("/"))
        await trio.sleep(101)
        async with in_background(service, "/") as ends:
            await crash(peers.runtime)
        assert isinstance(ends[0], sg.ActorCrashed)
        assert (await service.get("/")).success
    assert len(peers.asked) == 3


async def test_its_retries_have_a_budget(autojump_clock):
    policy = sg.RetryPolicy(budget=sg.RetryBudget(ratio=0, min_per_second=0))
    async with oauth2(503, retry=policy) as (service, peers):
        await outcome_of(service.get("/"))
    assert len(peers.asked) == 1


async def test_what_is_for_good_is_not_tried_again_whatever_the_policy_says(autojump_clock):
    policy = sg.RetryPolicy(statuses=[400])
    async with oauth2(refusal("invalid_client"), retry=policy) as (service, peers):
        await outcome_of(service.get("/"))
    assert len(peers.asked) == 1


async def crash(runtime):
    """The actor meets a message that it cannot handle, which is a crash by the kernel's rules."""
    await runtime._services["svc"]._ref.tell(None)
    await trio.testing.wait_all_tasks_blocked()


async def test_a_lifetime_counts_from_when_the_request_left(autojump_clock):
    async with oauth2(after(4, token("one", 100)), token("two", 100)) as (service, peers):
        await service.get("/")
        asked = peers.asked[0]
        await trio.sleep_until(asked + 89.5)
        await service.get("/")  # stale, and still good
        await settled()
        peers.server.script = [hang]
    assert peers.sent == ["Bearer one", "Bearer one"]


@pytest.mark.parametrize(("default", "asked"), [(None, 1), (1000, 2)])
async def test_an_unknown_lifetime_is_that_of_the_configuration_or_until_a_refusal(default, asked, autojump_clock):
    async with oauth2(token("one"), default_lifetime=default) as (service, peers):
        await service.get("/")
        await trio.sleep(1000)
        await service.get("/")
    assert len(peers.asked) == asked


@pytest.mark.parametrize("expires_in", [0, -1, "x", True, [1]])
async def test_a_token_without_a_life_is_not_used(expires_in, autojump_clock):
    async with oauth2(token("one", expires_in)) as (service, peers):
        end = await outcome_of(service.get("/"))
    assert "expires_in" in end.message
    assert end.retryable
    assert not peers.sent


@pytest.mark.parametrize(("expires_in", "life"), [("3600", 3600), (0.5, 0.5)])
async def test_an_odd_life_is_read(expires_in, life, autojump_clock):
    async with oauth2(token("one", expires_in), token("two")) as (service, peers):
        await service.get("/")
        await trio.sleep(life * 0.7)
        await service.get("/")
        assert len(peers.asked) == 1
        await trio.sleep(life * 0.3)
        await service.get("/")
    assert peers.sent == ["Bearer one", "Bearer one", "Bearer two"]


async def test_an_answer_that_is_too_large_is_not_read(autojump_clock):
    async with oauth2(reply_json(b" " * 100_000)) as (service, _):
        end = await outcome_of(service.get("/"))
    assert "larger than" in end.message
    assert end.retryable


async def test_a_redirect_is_not_followed(autojump_clock):
    async with oauth2((307, {"Location": "https://evil.test/"}, b"")) as (service, peers):
        end = await outcome_of(service.get("/"))
    assert "answered 307" in end.message
    assert {request.url.host for request in peers.server.requests} == {"auth.test"}


async def test_a_401_costs_one_token_for_all_who_meet_it(autojump_clock):
    def api(request):
        return 401 if request.headers["authorization"] == "Bearer one" else 200

    async with (
        oauth2(token("one", 600), after(1, token("two", 600)), api=api) as (service, peers),
        in_background(service, *["/"] * 50) as ends,
    ):
        await trio.sleep(2)
    assert [end.status for end in ends] == [200] * 50
    assert len(peers.asked) == 2


async def test_a_service_that_refuses_every_token_does_not_cost_one_each_time(autojump_clock):
    async with oauth2(lambda _: token("good", 600), api=lambda _: 401) as (service, peers):
        for _ in range(600):
            assert isinstance(await outcome_of(service.get("/")), sg.AuthFailed)
            await trio.sleep(0.1)
    assert len(peers.asked) < 10


# ---- on real connections


def scene(server_url, service_url, *, proxy=None, **fields):
    config = auth(**({"token_url": f"{server_url}/token"} | fields))
    service = sg.ServiceConfig("svc", service_url, auth=config, retry=ONCE, proxy=proxy)
    return sg.open_runtime(sg.RuntimeConfig((service,), metrics=QUIET))


HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"
FAULTS = {
    "html": (answers(HTML), "not a JSON object"),
    "truncated": (half(), "no answer"),
    "garbage": (garbage(), "no answer"),
    "closed": (answers(b""), "no answer"),
    "slow": (drips(HTML, every=1.0), "not in time"),
    "silent": (never_answers(), "not in time"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broken_server(fault, autojump_clock):
    handler, says = FAULTS[fault]
    async with (
        serve(handler) as server,
        http_server(lambda _: json_answer({})) as api,
        scene(server.url, api.url) as runtime,
    ):
        end = await outcome_of(runtime.service("svc").get("/"))
    assert isinstance(end, sg.AuthFailed)
    assert says in end.message
    assert end.retryable
    assert math.isfinite(end.retry_at)
    assert not api.log


async def test_nobody_there():
    url = f"http://127.0.0.1:{unused_port()}"
    async with scene(url, url) as runtime:
        end = await outcome_of(runtime.service("svc").get("/"))
    assert "no answer from the token endpoint: no connection to 127.0.0.1" in end.message


async def test_it_is_reached_through_the_proxy_of_the_service_also_through_another_one():
    def answer(received):
        return json_answer({"access_token": "one"})

    async with (
        http_server(answer) as server,
        http_proxy() as first,
        http_proxy() as second,
        scene(server.url, server.url, proxy=sg.ProxyConfig(first.url)) as runtime,
    ):
        service = runtime.service("svc")
        await service.get("/")
        config = msgspec.structs.replace(service.config, proxy=sg.ProxyConfig(second.url))
        await runtime.reconfigure("svc", config)
        await service.get("/")
    for proxy in (first, second):
        assert [line.partition(server.url)[2] for line in proxy.log] == ["/token", "/"]


async def test_a_certificate_shows_who_we_are(tmp_path):
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ca, cert = tmp_path / "ca.pem", tmp_path / "cert.pem"
    authority.cert_pem.write_to_path(ca)
    authority.issue_cert("shop.example").private_key_and_cert_chain_pem.write_to_path(cert)
    mtls = {"client_auth": "tls_client_auth", "client_secret": None, "tls": sg.TLSConfig(str(ca), str(cert))}
    async with http_server(lambda _: json_answer({"access_token": "one"}), ssl_context=context) as server:
        url = f"https://localhost:{server.port}"
        async with http_server(lambda _: json_answer({})) as api, scene(url, api.url, **mtls) as runtime:
            assert (await runtime.service("svc").get("/")).success
        async with scene(url, url, tls=sg.TLSConfig(str(ca))) as runtime:
            end = await outcome_of(runtime.service("svc").get("/"))
    assert server.log[0].body == b"grant_type=client_credentials&client_id=me"
    assert "no answer from the token endpoint" in end.message
    assert len(server.log) == 1


async def test_a_good_one():
    async with (
        http_server(lambda _: json_answer({"access_token": "one"})) as server,
        http_server(lambda _: json_answer({})) as api,
        scene(server.url, api.url) as runtime,
    ):
        assert (await runtime.service("svc").get("/")).success
    assert dict(api.log[0].headers)["authorization"] == "Bearer one"
    assert URL.endswith(server.log[0].target)


async def test_no_half_of_a_secret_is_left_where_a_description_is_cut(autojump_clock):
    secret = "canary/1+canary/2+canary/3"
    said = refusal("invalid_client", error_description=f"{'x' * 180} {quote_plus(secret)}")
    async with oauth2(said, client_secret=sg.Secret(secret)) as (service, _):
        end = await outcome_of(service.get("/"))
    assert "xxx" in end.message
    assert "canary" not in end.message
