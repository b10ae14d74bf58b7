"""What is kept of answers, for whom, and for how long."""

from __future__ import annotations

import httpx
import msgspec
import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.service import ONCE, SAFE, outcome_of, running

import switchgear as sg
from switchgear.actors.service.cache import ResponseCache
from switchgear.actors.service.messages import Progress, Request
from switchgear.actors.transport import Reply

CACHE = sg.CacheFallback(max_age=600)
FRESH = sg.CacheFallback(max_age=600, serve_fresh=True)


def answer(n, **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return 200, {"Content-Type": "application/json", **fields}, msgspec.json.encode(n)


def counting(**headers):
    """Each answer is the number of its request."""
    count = 0

    def step(request):
        nonlocal count
        count += 1
        return answer(count, **headers)

    return step


# ---- for whom


@pytest.mark.parametrize(
    ("vary", "first", "second", "same"),
    [
        ("", {"Accept-Language": "de"}, {"Accept-Language": "fr"}, True),
        ("Accept-Language", {"Accept-Language": "de"}, {"Accept-Language": "fr"}, False),
        ("accept-language", {"Accept-Language": "de"}, {"ACCEPT-LANGUAGE": "de"}, True),
        ("X-A, Accept-Language", {"Accept-Language": "de"}, {}, False),
        ("X-A", {}, {}, True),
        ("*", {}, {}, False),
        ("", {"Authorization": "Bearer me"}, {"Authorization": "Bearer you"}, False),
        ("", {"Cookie": "me"}, {"Cookie": "you"}, False),
        ("", {"X-API-Key": "me"}, {}, False),
        ("", {"Range": "bytes=0-3"}, {}, False),
        ("", {"Cache-Control": "no-store"}, {}, False),
    ],
)
async def test_an_answer_is_for_those_who_asked_the_same(vary, first, second, same) -> None:
    headers = {"Vary": vary} if vary else {}
    async with running(answer(1, **headers), 503, base_url=SAFE, fallbacks=(CACHE,)) as (service, _):
        await service.get("/a", headers=first)
        assert isinstance(await outcome_of(service.get("/a", headers=second)), sg.ServiceResponse) is same


@pytest.mark.parametrize("status", [201, 204, 206, 302])
async def test_only_whole_answers_are_kept(status) -> None:
    async with running(status, 503, base_url=SAFE, fallbacks=(CACHE,)) as (service, _):
        await service.get("/a")
        assert isinstance(await outcome_of(service.get("/a")), sg.HTTPStatusError)


# ---- what the service says


@pytest.mark.parametrize(
    ("control", "strict", "kept"),
    [
        ("no-store", False, False),
        ("max-age=0, must-revalidate", False, True),
        ("max-age=0, must-revalidate", True, False),
        ("no-cache", False, True),
        ("no-cache", True, False),
        ("max-age=0", True, True),
        ("max-age=60, must-revalidate", True, True),
    ],
)
async def test_what_may_be_used_when_it_is_old(control, strict, kept) -> None:
    fallback = sg.CacheFallback(strict=strict)
    async with running(answer(1, Cache_Control=control), 503, base_url=SAFE, fallbacks=(fallback,)) as (service, _):
        await service.get("/a")
        end = await outcome_of(service.get("/a"))
        assert isinstance(end, sg.ServiceResponse) is kept
        if kept:
            assert end.stale is ("60" not in control)


# ---- fresh ones


async def test_a_fresh_answer_costs_no_call(autojump_clock) -> None:
    async with running(counting(Cache_Control="max-age=60"), base_url=SAFE, fallbacks=(FRESH,)) as (service, upstream):
        assert (await service.get("/a")).source == "live"
        for _ in range(3):
            response = await service.get("/a", type=int)
            assert (response.data, response.source, response.stale) == (1, "cache", False)
            assert (response.attempts, response.error, response.status) == (0, None, 200)
        assert (await service.get("/b")).data == 2
        await trio.sleep(60)
        assert (await service.get("/a")).data == 3
        assert len(upstream.requests) == 3
        assert upstream.runtime.metrics.get("svc").count == 3


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"headers": {"Cache-Control": "no-cache"}}, "the caller wants a new one"),
        ({"headers": {"Cache-Control": "max-age=0"}}, "the same"),
        ({"fallback": False}, "the caller wants no fallback"),
        ({"type": str}, "it is no text"),
    ],
)
async def test_and_yet_the_service_is_called(options, why) -> None:
    async with running(counting(Cache_Control="max-age=60"), base_url=SAFE, fallbacks=(FRESH,)) as (service, upstream):
        await service.get("/a")
        await outcome_of(service.get("/a", **options))
        assert len(upstream.requests) == 2, why


async def test_what_is_not_fresh_or_not_wanted_fresh_is_called_for() -> None:
    for headers, fallback in [({}, FRESH), ({"Cache_Control": "max-age=60"}, CACHE)]:
        async with running(counting(**headers), base_url=SAFE, fallbacks=(fallback,)) as (service, upstream):
            await service.get("/a")
            assert (await service.get("/a")).source == "live"
            assert len(upstream.requests) == 2


async def test_a_cached_answer_is_a_checkpoint() -> None:
    async with running(counting(Cache_Control="max-age=60"), base_url=SAFE, fallbacks=(FRESH,)) as (service, _):
        await service.get("/a")
        with trio.CancelScope() as scope:
            scope.cancel()
            await service.get("/a")
        assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("method", "status", "forgotten"),
    [("PUT", 200, True), ("DELETE", 204, True), ("PUT", 500, False), ("OPTIONS", 200, False)],
)
async def test_who_changes_something_makes_its_answers_forgotten(method, status, forgotten) -> None:
    def step(request):
        return answer(len(upstream.requests), Cache_Control="max-age=60") if request.method == "GET" else status

    async with running(step, base_url=SAFE, fallbacks=(FRESH,)) as (service, upstream):
        await service.get("/a")
        await service.get("/a", headers={"Authorization": "Bearer me"})
        await outcome_of(service.request(method, "/a", fallback=False))
        for headers in ({}, {"Authorization": "Bearer me"}):
            assert ((await service.get("/a", headers=headers)).source == "live") is forgotten


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({}, True),
        ({"timeout": sg.TimeoutConfig(total=3.0)}, True),
        ({"headers": {"X-API-Key": "yours"}}, False),
        ({"base_url": "https://other.test"}, False),
        ({"auth": sg.BearerAuth(token=sg.Secret("yours"))}, False),
    ],
)
async def test_another_account_finds_nothing_of_the_one_before(changed, kept, autojump_clock) -> None:
    fields = {"base_url": SAFE, "headers": {"X-API-Key": "mine"}, "fallbacks": (FRESH,), "retry": ONCE}
    async with running(counting(Cache_Control="max-age=60"), **fields) as (service, upstream):
        assert (await service.get("/a")).data == 1
        await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", **{**fields, **changed}))
        assert (await service.get("/a")).data == (1 if kept else 2)


async def test_an_alternative_answers_from_its_own_cache(autojump_clock) -> None:
    other = sg.ServiceConfig("other", "http://other.test", fallbacks=(FRESH,))

    def step(request):
        return 503 if request.url.host == "svc.test" else answer(1, Cache_Control="max-age=60")

    async with running(step, base_url=SAFE, fallbacks=(sg.AlternativeFallback("other"),), others=(other,)) as (
        service,
        upstream,
    ):
        for _ in range(2):
            assert (await service.get("/a")).source == "alternative"
        assert [request.url.host for request in upstream.requests] == ["svc.test", "other.test", "svc.test"]


# ---- against a model

TARGETS, SCOPES, LANGUAGES = ["/a", "/b"], ["", "me", "you"], ["", "de", "fr"]
BODY = 100


def request(method, target, scope, language):
    headers = [*([("Authorization", scope)] if scope else []), *([("Accept-Language", language)] if language else [])]
    return Request(method, target, "id", 0.0, 0.0, Progress(), headers=tuple(headers))


class Caches(RuleBasedStateMachine):
    """A list of all that was ever put, newest last, looked through each time."""

    @initialize(entries=st.integers(1, 5), size=st.integers(1, 6))
    def begin(self, entries, size) -> None:
        self.bounds = entries, size * (BODY + 500)
        self.cache = ResponseCache(*self.bounds)
        self.now, self.number = 0.0, 0
        self.kept = []  # [request fields, vary, when, max-age, body], least recently used first
        self.vary = {}

    @rule(seconds=st.sampled_from([0.0, 1.0, 20.0, 100.0]))
    def time_passes(self, seconds) -> None:
        self.now += seconds

    @rule(
        method=st.sampled_from(["GET", "GET", "HEAD"]),
        where=st.sampled_from(TARGETS),
        scope=st.sampled_from(SCOPES),
        language=st.sampled_from(LANGUAGES),
        vary=st.booleans(),
        fresh=st.sampled_from([0, 30]),
    )
    def an_answer_comes(self, method, where, scope, language, vary, fresh) -> None:
        self.number += 1
        headers = (("cache-control", f"max-age={fresh}"), *([("vary", "Accept-Language")] if vary else []))
        body = b"%d" % self.number
        reply = Reply(200, headers, body.ljust(BODY), self.now)
        self.cache.put(request(method, where, scope, language), reply, self.now, 1e9 + self.now)
        key = (method, where, scope, language if vary else None)
        self.kept = [one for one in self.kept if one[0] != key]
        self.kept.append((key, self.now, fresh, reply))
        self.vary[where] = vary
        most, size = self.bounds
        self.kept = self.kept[-min(most, size // (BODY + 500)) :]
        if not any(one[0][1] == where for one in self.kept):
            self.vary.pop(where)

    @rule(
        method=st.sampled_from(["GET", "HEAD"]),
        where=st.sampled_from(TARGETS),
        scope=st.sampled_from(SCOPES),
        language=st.sampled_from(LANGUAGES),
        max_age=st.sampled_from([10.0, 50.0, 1000.0]),
        only_fresh=st.booleans(),
    )
    def one_is_looked_for(self, method, where, scope, language, max_age, only_fresh) -> None:
        wanted = request(method, where, scope, language)
        found = (self.cache.fresh if only_fresh else self.cache.get)(wanted, max_age, self.now)
        key = (method, where, scope, language if self.vary.get(where) else None)
        one = next((one for one in self.kept if one[0] == key), None)
        if one is not None:
            self.kept.remove(one)
            if self.now - one[1] > max_age:
                one = None
            else:
                self.kept.append(one)
        if one is not None and only_fresh and self.now - one[1] >= one[2]:
            one = None
        assert (found and found.reply) == (one and one[3])

    @rule(where=st.sampled_from(TARGETS))
    def something_is_changed(self, where) -> None:
        self.cache.put(request("POST", where, "", ""), Reply(201, (), b"", self.now), self.now, 1e9)
        self.kept = [one for one in self.kept if one[0][1] != where]

    @invariant()
    def as_many_as_the_model_has(self) -> None:
        if hasattr(self, "cache"):
            assert len(self.cache) == len(self.kept)
            assert set(self.cache._resources) == {one[0][1] for one in self.kept}
            self.vary = {target: vary for target, vary in self.vary.items() if target in self.cache._resources}


TestCaches = Caches.TestCase
TestCaches.settings = settings(max_examples=150, stateful_step_count=40)


async def test_a_secret_of_the_caller_is_not_in_what_is_shown() -> None:
    async with running(answer(1), httpx.ConnectError("x"), base_url=SAFE, fallbacks=(CACHE,)) as (service, _):
        await service.get("/a", headers={"Authorization": "Bearer hunter2"})
        response = await service.get("/a", headers={"Authorization": "Bearer hunter2"})
        assert "hunter2" not in repr(response)
        assert response.source == "cache"
