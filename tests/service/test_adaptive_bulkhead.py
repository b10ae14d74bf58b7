"""The bulkhead's learned limit: what teaches it, where it ends up before a server of known size, what it keeps."""

from __future__ import annotations

import itertools

import httpx
import pytest
import trio
import trio.testing
from support.service import BASE, after, drain, hang, in_background, outcome_of, running

import switchgear as sg
from switchgear.actors.events import ConcurrencyChanged
from switchgear.actors.service.road import Road

NO_BREAKER = sg.BreakerConfig(enabled=False)
ROUND = 30.0  # seconds of traffic


def learns(adaptive=None, **fields):
    return sg.BulkheadConfig(adaptive=adaptive or sg.AimdConfig(), **fields)


def config(**fields):
    return sg.ServiceConfig("svc", **{"base_url": BASE, "retry": sg.RetryPolicy(max_attempts=1), **fields})


class Server:
    """Works on ``hands`` calls at once, first come first served; refuses what finds ``queue`` others waiting."""

    def __init__(self, hands, queue=10**6, work=0.1):
        self.hands, self.queue, self.work = trio.CapacityLimiter(hands), queue, work
        self.latencies = []  # when, and how long

    async def __call__(self, request):
        began = trio.current_time()
        if self.hands.statistics().tasks_waiting >= self.queue:
            await trio.sleep(self.work / 10)
            return 503
        async with self.hands:
            await trio.sleep(self.work)
        self.latencies.append((trio.current_time(), trio.current_time() - began))
        return 200

    def slowest(self, since):
        return max(latency for at, latency in self.latencies if at >= since)


async def keep_calling(service, callers, seconds):
    """As many callers as that, each of whom calls again as soon as he has an answer."""
    limits = []

    async def caller():
        while True:
            await outcome_of(service.get("/"))

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(caller)
            while True:
                await trio.sleep(seconds / 100)
                limits.append(service.bulkhead.limit)
    return limits


# ---- where it ends up


@pytest.mark.parametrize(("hands", "initial"), [(5, 4), (20, 20)])
async def test_gradient2_finds_the_size_of_an_overloaded_server_and_keeps_it_quick(
    hands, initial, autojump_clock
) -> None:
    server = Server(hands)
    gradient = sg.Gradient2Config(initial_limit=initial, window=0.5)
    async with running(server, bulkhead=learns(gradient)) as (service, _):
        began = trio.current_time()
        limits = await keep_calling(service, 100, ROUND)
    later = limits[50:]
    assert hands <= min(later) <= max(later) <= 2 * hands + 8
    assert server.slowest(since=began + ROUND / 2) <= 0.1 * (2 * hands + 8) / hands + 0.1
    assert len(server.latencies) >= 0.9 * ROUND * hands / 0.1  # and it was never idle for that


@pytest.mark.parametrize("hands", [5, 20])
async def test_aimd_finds_what_an_overloaded_server_takes_and_little_is_refused(hands, autojump_clock) -> None:
    server = Server(hands, queue=hands)
    fields = {"bulkhead": learns(sg.AimdConfig()), "breaker": NO_BREAKER}
    async with running(server, **fields) as (service, upstream):
        limits = await keep_calling(service, 100, ROUND)
        refused = len(upstream.requests) - len(server.latencies)
    assert hands <= min(limits[50:]) <= max(limits[50:]) <= 2 * hands + 1
    assert refused <= 0.15 * len(server.latencies)
    assert len(server.latencies) >= 0.9 * ROUND * hands / 0.1


async def test_without_it_the_same_server_is_slow(autojump_clock) -> None:
    server = Server(5)
    async with running(server) as (service, _):
        began = trio.current_time()
        await keep_calling(service, 100, 10.0)
    assert server.slowest(since=began + 5) == pytest.approx(2.0)


# ---- what it is learned from


async def refuse(request):
    raise httpx.ConnectError("refused")


async def too_slow(request):
    await trio.sleep(3)
    return 200


@pytest.mark.parametrize(
    ("step", "limit"),
    [
        (429, 18),
        (503, 18),
        (504, 18),
        (refuse, 18),
        (hang, 18),  # until the attempt's timeout
        (too_slow, 18),
        (404, 20),
        (500, 20),  # it says nothing
        (401, 20),
    ],
)
async def test_what_counts_as_dropped(step, limit, autojump_clock) -> None:
    fields = {"bulkhead": learns(sg.AimdConfig(timeout=2)), "timeout": sg.TimeoutConfig(attempt=5)}
    async with running(step, **fields) as (service, _):
        await outcome_of(service.get("/"))
        assert service.bulkhead.limit == limit


async def test_the_end_of_the_calls_own_time_is_a_drop_and_a_cancellation_says_nothing(autojump_clock) -> None:
    async with running(hang, bulkhead=learns()) as (service, _):
        with trio.move_on_after(3):
            await service.get("/")
        assert service.bulkhead.limit == 20
        assert isinstance(await outcome_of(service.get("/", timeout=3)), sg.CallTimeout)
        await trio.testing.wait_all_tasks_blocked()
        assert service.bulkhead.limit == 18


async def test_what_our_own_side_refuses_says_nothing(autojump_clock) -> None:
    fields = {"bulkhead": learns(), "rate_limit": sg.RateLimit(1, per=60)}
    async with running(200, **fields) as (service, _):
        assert (await service.get("/")).success
        assert isinstance(await outcome_of(service.get("/")), sg.RateLimited)
        service.force_breaker("open")
        assert isinstance(await outcome_of(service.get("/")), sg.CircuitOpen)
        assert service.bulkhead.limit == 20


async def test_a_stream_that_is_read_slowly_is_no_slow_answer(autojump_clock) -> None:
    bulkhead = learns(sg.AimdConfig(timeout=2))
    async with running(after(1, (200, {}, b"data")), bulkhead=bulkhead) as (service, _):
        async with service.stream("GET", "/") as response:
            await trio.sleep(20)
            assert [piece async for piece in response] == [b"data"]
        assert service.bulkhead.limit == 20


async def test_what_is_not_in_use_does_not_grow(autojump_clock) -> None:
    async with running(after(1), bulkhead=learns()) as (service, _):
        for _ in range(60):
            await service.get("/")
        assert service.bulkhead.limit == 20


async def test_it_grows_while_all_of_it_is_in_use_and_callers_that_wait_come_in(autojump_clock) -> None:
    bulkhead = learns(sg.AimdConfig(initial_limit=1))
    async with running(after(1), bulkhead=bulkhead) as (service, upstream):
        begun = trio.current_time()
        async with in_background(service, *["/"] * 15):
            assert service.bulkhead.queued == 14
        # One more with each round trip: 1 + 2 + 3 + 4 + 5.
        assert trio.current_time() == pytest.approx(begun + 5)
        assert upstream.most == 5


# ---- what it is bounded by, and what keeps it


async def test_it_keeps_within_its_bounds(autojump_clock) -> None:
    bulkhead = learns(sg.AimdConfig(initial_limit=20, min_limit=3), max_concurrent=4)
    async with running(*[503] * 30, after(1), bulkhead=bulkhead, breaker=NO_BREAKER) as (service, _):
        assert service.bulkhead.limit == 4
        for _ in range(30):
            await outcome_of(service.get("/"))
            await trio.sleep(1)
        assert service.bulkhead.limit == 3
        for _ in range(10):
            async with in_background(service, *["/"] * 4):
                pass
        assert service.bulkhead.limit == 4


async def learned(service, limit=18):
    """It has learned from a refusal."""
    await outcome_of(service.get("/"))
    assert service.bulkhead == sg.BulkheadStatus(limit=limit, learned=True, in_flight=0, queued=0, waiting=0, shed=0)


async def test_what_was_learned_outlives_a_crash(autojump_clock, monkeypatch) -> None:
    async with running(503, after(1), bulkhead=learns()) as (service, upstream):
        await learned(service)
        with monkeypatch.context() as bug:
            bug.setattr(Road, "call", lambda *_: 1 / 0)
            assert isinstance(await outcome_of(service.get("/")), sg.ActorCrashed)
        async with in_background(service, *["/"] * 25):
            await trio.sleep(0.5)  # it is up again
            assert (service.bulkhead.limit, service.bulkhead.in_flight, service.bulkhead.queued) == (18, 18, 7)
        assert upstream.most == 18


async def test_what_was_learned_survives_another_configuration_of_the_same_service(autojump_clock) -> None:
    async with running(503, after(1), bulkhead=learns()) as (service, upstream):
        await learned(service)
        for bulkhead, limit in [
            (learns(sg.AimdConfig(backoff_ratio=0.5)), 18),
            (learns(sg.Gradient2Config()), 18),  # learned in another way
            (learns(sg.Gradient2Config(queue_size=2)), 18),
            (learns(sg.Gradient2Config(), max_concurrent=5), 5),
            (learns(sg.AimdConfig()), 5),
            (sg.BulkheadConfig(max_concurrent=7), 7),
            (learns(sg.AimdConfig()), 20),
        ]:
            await upstream.runtime.reconfigure("svc", config(bulkhead=bulkhead))
            assert (service.bulkhead.limit, service.bulkhead.learned) == (limit, bulkhead.adaptive is not None)


async def test_what_was_learned_of_another_service_or_account_is_forgotten(autojump_clock) -> None:
    async with running(503, bulkhead=learns()) as (service, upstream):
        account = {"auth": sg.BearerAuth(sg.Secret("token of another")), "allow_plain_http": True}
        for other in ({"base_url": "http://other.test"}, account):
            await learned(service)
            await upstream.runtime.reconfigure("svc", config(bulkhead=learns(), **other))
            assert service.bulkhead.limit == 20


async def test_what_is_learned_under_way_to_no_limit_at_all_is_dropped(autojump_clock) -> None:
    async with running(after(1, 503), bulkhead=learns()) as (service, upstream):
        async with in_background(service, "/"):
            await upstream.runtime.reconfigure("svc", config())
        assert service.bulkhead.limit == 100
        await upstream.runtime.reconfigure("svc", config(bulkhead=learns()))
        async with in_background(service, "/"):
            await upstream.runtime.reconfigure("svc", config(bulkhead=learns(sg.Gradient2Config())))
        assert service.bulkhead.limit == 20  # and nothing of what was begun before is counted twice, or below none
        await upstream.runtime.reconfigure("svc", config(bulkhead=learns(sg.AimdConfig(initial_limit=1))))
        async with in_background(service, *["/"] * 3):
            pass


async def test_changes_are_events_if_they_are_worth_it(autojump_clock) -> None:
    async with (
        running(*[503] * 5, 200, bulkhead=learns(), breaker=NO_BREAKER) as (service, upstream),
        upstream.runtime.events() as receive,
    ):
        for _ in range(5):
            await outcome_of(service.get("/"))
            await trio.sleep(1)
        await upstream.runtime.reconfigure("svc", config(bulkhead=sg.BulkheadConfig(max_concurrent=50)))
        seen = [one for one in drain(receive) if isinstance(one, ConcurrencyChanged)]
    assert [(one.service, one.old, one.new, one.reason) for one in seen] == [
        ("svc", 20, 16, "the service did not keep up"),
        ("svc", 16, 11, "the service did not keep up"),
        ("svc", 11, 50, "the configuration has changed"),
    ]


async def test_growth_and_a_measurement_are_events_too(autojump_clock) -> None:
    work = itertools.chain([0.1] * 3000, itertools.repeat(1.0))
    server = Server(20)

    async def slower(request):
        server.work = next(work)
        return await server(request)

    gradient = sg.Gradient2Config(initial_limit=8, window=0.1)
    async with (
        running(slower, bulkhead=learns(gradient)) as (service, upstream),
        upstream.runtime.events() as receive,
    ):
        await keep_calling(service, 60, 120.0)
        reasons = [one.reason for one in drain(receive) if isinstance(one, ConcurrencyChanged)]
    assert reasons[0] == "it was in use, and the service kept up"
    assert "it is low for a moment, to measure the latency anew" in reasons
