"""What a service's answers say about how often it wants to be called, and what follows for all calls to it."""

from __future__ import annotations

import pytest
import trio
from support.service import BASE, STEADY, after, drain, in_background, outcome_of, running
from support.wire import http_server

import switchgear as sg
from switchgear.actors import events
from switchgear.actors.machines.bucket import TokenBucket
from switchgear.actors.service.road import Road

PAUSE = (429, {"Retry-After": "10"}, b"")
USED_UP = (200, {"RateLimit": '"default";r=0;t=10'}, b"")


@pytest.mark.parametrize(
    "answer",
    [
        PAUSE,
        (403, {"Retry-After": "10"}, b""),
        (429, {"RateLimit": '"default";r=0;t=10'}, b""),
        (429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "10"}, b""),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "10"}, b""),
        (500, {"RateLimit": '"default";r=0;t=10'}, b""),
        (429, {"Retry-After": "10", "RateLimit": '"default";r=0;t=99'}, b""),  # the former counts
        USED_UP,
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "10"}, b""),
        (404, {"RateLimit-Remaining": "0", "RateLimit-Reset": "10"}, b""),
    ],
)
@pytest.mark.parametrize("limit", [None, sg.RateLimit(1000)])
async def test_everybody_waits_and_not_only_who_was_told(answer, limit, autojump_clock) -> None:
    async with running(answer, 200, rate_limit=limit) as (service, upstream):
        began = trio.current_time()
        await outcome_of(service.get("/first"))
        assert service.limiter.paused_for == pytest.approx(10)
        async with in_background(service, "/1", "/2", "/3") as ends:
            assert service.limiter.waiting == 3
        assert all(end.success for end in ends)
        assert service.limiter == sg.LimiterStatus(waiting=0, paused_for=0.0, learned_rate=None)
    assert [when - began for when in upstream.times] == pytest.approx([0, 10, 10, 10])


@pytest.mark.parametrize(
    "answer",
    [
        (429, {}, b""),
        (429, {"Retry-After": "soon"}, b""),
        (429, {"Retry-After": "-5"}, b""),
        (429, {"Retry-After": "0"}, b""),
        (503, {"Retry-After": "10"}, b""),  # of one instance; others may well
        (404, {"Retry-After": "10"}, b""),
        (202, {"Retry-After": "10"}, b""),  # poll again then
        (200, {"RateLimit": '"default";r=1;t=10'}, b""),
        (200, {"RateLimit": '"default";r=0;t=10;pk=:YWI=:'}, b""),
    ],
)
async def test_nobody_waits_for_what_is_no_pause_or_not_for_all(answer, autojump_clock) -> None:
    async with running(answer, 200) as (service, _upstream):
        await outcome_of(service.get("/"))
        assert service.limiter.paused_for == 0
        assert (await service.get("/")).elapsed == 0


async def test_those_who_were_under_way_are_not_held(autojump_clock) -> None:
    async with (
        running(after(3), PAUSE, 200) as (service, _),
        in_background(service, "/slow", "/told", "/waits") as ends,
    ):
        await trio.sleep(3)
        await trio.testing.wait_all_tasks_blocked()
        assert [getattr(end, "status", None) for end in ends] == [429, 200]
        assert service.limiter.waiting == 1


async def test_who_would_be_too_late_is_told_at_once(autojump_clock) -> None:
    """Also whoever waits already: he could do nothing else until his deadline than wait in vain."""
    limit = sg.RateLimit(1, burst=1)
    async with running(200, PAUSE, 200, rate_limit=limit) as (service, upstream), trio.open_nursery() as nursery:
        await service.get("/")
        ends = {}

        async def call(path, timeout):
            ends[path] = await outcome_of(service.get(path, timeout=timeout))
            ends[path, "after"] = trio.current_time() - began

        began = trio.current_time()
        for path, timeout in (("/told", 5), ("/hasty", 5), ("/patient", 60), ("/first in time", 12.5)):
            nursery.start_soon(call, path, timeout)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        await trio.testing.wait_all_tasks_blocked()
        assert ends["/told"].status == 429
        assert isinstance(ends["/hasty"], sg.RateLimited)
        assert ends["/hasty"].status is None
        assert ends["/hasty", "after"] == pytest.approx(1)
        assert ends["/hasty"].retry_at == pytest.approx(began + 13)  # behind those who can wait
        with pytest.raises(sg.RateLimited, match="wants no calls for 10 s") as refused:
            await service.get("/newcomer", timeout=9.9)
        assert (refused.value.attempts, refused.value.retry_at) == (0, pytest.approx(began + 13))
    assert ends["/patient"].success
    assert ends["/first in time"].success
    assert [when - began for when in upstream.times] == pytest.approx([0, 1, 11, 12])


async def test_nobody_is_sent_into_a_service_that_wants_a_pause_by_his_own_retry(autojump_clock) -> None:
    async with running(PAUSE, 200, retry=STEADY) as (service, upstream):
        response = await service.get("/")
    assert (response.attempts, response.elapsed) == (2, pytest.approx(10))
    async with running((429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "20"}, b""), 200, retry=STEADY) as (
        service,
        upstream,
    ):
        response = await service.get("/")
    assert (response.attempts, response.elapsed) == (2, pytest.approx(20))
    assert len(upstream.times) == 2


async def test_an_absurd_pause_is_cut(autojump_clock) -> None:
    answer = (429, {"Retry-After": "99999999999999"}, b"")
    async with running(answer, 200, pushback=sg.PushbackConfig(max_pause=60)) as (service, _):
        await outcome_of(service.get("/"))
        assert service.limiter.paused_for == pytest.approx(60)
        assert (await service.get("/", timeout=61)).elapsed == pytest.approx(60)
    async with running(answer) as (service, _upstream):
        await outcome_of(service.get("/"))
        assert service.limiter.paused_for == pytest.approx(3600)


async def test_a_later_answer_can_make_a_pause_longer_and_never_shorter(autojump_clock) -> None:
    async def later(request):
        await trio.sleep(2)
        return (429, {"Retry-After": {"/short": "1", "/long": "30"}[request.url.path]}, b"")

    async with running(PAUSE, later) as (service, _), trio.open_nursery() as nursery:
        nursery.start_soon(outcome_of, service.get("/a"))
        nursery.start_soon(outcome_of, service.get("/short"))
        await trio.sleep(2)
        await trio.testing.wait_all_tasks_blocked()
        assert service.limiter.paused_for == pytest.approx(8)
    async with running(later, PAUSE) as (service, _), trio.open_nursery() as nursery:
        nursery.start_soon(outcome_of, service.get("/long"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(outcome_of, service.get("/b"))
        await trio.sleep(2)
        await trio.testing.wait_all_tasks_blocked()
        assert service.limiter.paused_for == pytest.approx(30)


async def test_it_can_be_switched_off(autojump_clock) -> None:
    async with running(PAUSE, 200, pushback=sg.PushbackConfig(pause=False)) as (service, upstream):
        with pytest.raises(sg.RateLimited) as caught:
            await service.get("/")
        assert caught.value.retry_at == pytest.approx(upstream.times[0] + 10)  # the call itself is told
        assert (await service.get("/")).elapsed == 0


def config(**fields):
    return sg.ServiceConfig(**({"name": "svc", "base_url": BASE, "retry": sg.RetryPolicy(max_attempts=1)} | fields))


async def test_a_pause_outlives_a_new_configuration_unless_it_is_of_another_account(autojump_clock) -> None:
    async with running(PAUSE, 200) as (service, upstream):
        await outcome_of(service.get("/"))
        reconfigure = upstream.runtime.reconfigure
        await reconfigure("svc", config(headers={"X-New": "1"}, rate_limit=sg.RateLimit(5)))
        assert service.limiter.paused_for == pytest.approx(10)
        await reconfigure("svc", config(auth=sg.BearerAuth(sg.Secret("another")), allow_plain_http=True))
        assert service.limiter.paused_for == 0
        assert (await service.get("/")).elapsed == 0


async def test_who_waits_goes_on_when_the_pause_is_switched_off(autojump_clock) -> None:
    async with running(PAUSE, 200) as (service, upstream):
        await outcome_of(service.get("/"))
        async with in_background(service, "/1", "/2") as ends:
            await upstream.runtime.reconfigure("svc", config(pushback=sg.PushbackConfig(pause=False)))
        assert [end.elapsed for end in ends] == [0, 0]


async def test_a_pause_and_a_learned_rate_outlive_a_crash(autojump_clock, monkeypatch) -> None:
    pushback = sg.PushbackConfig(adapt=True)
    async with running(200, PAUSE, 200, pushback=pushback) as (service, upstream):
        await service.get("/")
        await outcome_of(service.get("/"))
        before = service.limiter
        assert before.learned_rate is not None
        with monkeypatch.context() as bug:
            bug.setattr(Road, "call", lambda *_: 1 / 0)
            assert isinstance(await outcome_of(service.get("/")), sg.ActorCrashed)
        assert service.limiter == before
        assert (await service.get("/")).success
    assert upstream.times[2] - upstream.times[1] == pytest.approx(10)


async def test_a_pause_and_a_learned_rate_are_events(autojump_clock) -> None:
    pushback = sg.PushbackConfig(adapt=True)
    async with (
        running(200, PAUSE, PAUSE, 200, pushback=pushback) as (service, upstream),
        upstream.runtime.events() as receive,
    ):
        for _ in range(3):
            await outcome_of(service.get("/"))
        seen = [one for one in drain(receive) if isinstance(one, (events.CallsPaused, events.RateChanged))]
        assert [type(one).__name__ for one in seen] == ["CallsPaused", "RateChanged"] * 2
        assert (seen[0].service, seen[0].seconds) == ("svc", pytest.approx(10))
        assert seen[0].reason == "it answered 429"
        assert seen[1].rate > seen[3].rate == service.limiter.learned_rate
        await trio.sleep(20)
        while service.limiter.learned_rate is not None:
            await service.get("/")
        (*_, last) = [one for one in drain(receive) if isinstance(one, events.RateChanged)]
        assert last.rate is None


async def test_a_hundred_answers_that_say_the_same_are_one_event(autojump_clock) -> None:
    async def later(request):
        await trio.sleep(1 + len(upstream.times) / 1000)
        return PAUSE

    async with (
        running(later) as (service, upstream),
        upstream.runtime.events() as receive,
        trio.open_nursery() as nursery,
    ):
        for _ in range(100):
            nursery.start_soon(outcome_of, service.get("/"))
        await trio.sleep(5)
        assert len(upstream.times) == 100
        assert len([one for one in drain(receive) if isinstance(one, events.CallsPaused)]) == 1


async def adaptive_run(adapt, *, allowed, limit=None):
    """60 calls a second for a minute to a service that takes ``allowed`` of them; what it served and refused."""
    bucket, served, refused = TokenBucket(allowed, allowed / 10), 0, 0

    async def server(request):
        nonlocal served, refused
        await trio.sleep(0.05)
        if bucket.try_acquire(trio.current_time()):
            served += 1
            return 200
        refused += 1
        return 429

    fields = {
        "pushback": sg.PushbackConfig(adapt=adapt),
        "rate_limit": limit,
        "breaker": sg.BreakerConfig(enabled=False),
    }
    async with running(server, **fields) as (service, _), trio.open_nursery() as nursery:
        for _n in range(60 * 60):
            nursery.start_soon(outcome_of, service.get("/", timeout=2))
            await trio.sleep(1 / 60)
    return served, refused


@pytest.mark.parametrize("limit", [None, sg.RateLimit(50, burst=10)])
async def test_the_learned_rate_keeps_the_calls_that_are_refused_few(limit, autojump_clock) -> None:
    plain = await adaptive_run(False, allowed=30, limit=limit)
    adaptive = await adaptive_run(True, allowed=30, limit=limit)
    assert adaptive[1] < plain[1] / 4
    assert adaptive[0] > 0.75 * plain[0]


async def test_what_was_learned_ends_where_it_is_switched_off_and_no_earlier(autojump_clock) -> None:
    adapt = sg.PushbackConfig(adapt=True)
    async with running(429, 200, pushback=adapt) as (service, upstream):
        await outcome_of(service.get("/"))
        learned = service.limiter.learned_rate
        await upstream.runtime.reconfigure("svc", config(pushback=adapt, rate_limit=sg.RateLimit(100)))
        assert service.limiter.learned_rate == learned
        await upstream.runtime.reconfigure("svc", config(rate_limit=sg.RateLimit(100)))
        assert service.limiter.learned_rate is None
        async with in_background(service, *["/"] * 5) as ends:
            pass
        assert [end.elapsed for end in ends] == [0] * 5


async def test_a_server_on_a_socket_that_refuses_is_left_alone_for_as_long_as_it_says() -> None:
    """Real time, real bytes: thirty callers, and a server that takes five in each fifth of a second, and says so."""
    window = [0.0, 0]
    refused = []

    def route(received):
        now = trio.current_time()
        if now >= window[0] + 0.2:
            window[:] = [now, 0]
        window[1] += 1
        left = 5 - window[1]
        headers = {
            "X-RateLimit-Remaining": str(max(0, left)),
            "X-RateLimit-Reset-After": f"{window[0] + 0.2 - now:.6f}",
        }
        if left < 0:
            refused.append(now)
        return (429 if left < 0 else 200), headers, b""

    async with http_server(route) as server:
        services = [sg.ServiceConfig("svc", server.url, retry=sg.RetryPolicy(max_attempts=20, base_delay=0.01))]
        async with sg.open_runtime(sg.RuntimeConfig(services, metrics=sg.MetricsConfig(websocket=False))) as runtime:
            service = runtime.service("svc")
            async with trio.open_nursery() as nursery:
                for _ in range(30):
                    nursery.start_soon(service.get, "/")
    assert len(server.log) - len(refused) == 30
    # Each pause begins with the answer that says so, and what was under way by then is refused; but nothing after it.
    assert len(refused) <= 6 * 30
    assert len(server.log) < 200
