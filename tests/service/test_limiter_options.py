"""Several limits at once, heavy calls, priorities: what a call and a configuration can say to the limiter."""

from __future__ import annotations

import math

import pytest
import trio
from support.service import BASE, QUIET, in_background, running
from support.wire import http_server

import switchgear as sg


def paths(upstream):
    return [request.url.path for request in upstream.requests]


async def test_two_limits_are_kept_at_once(autojump_clock) -> None:
    """Two a second, and five in ten seconds."""
    limits = [sg.RateLimit(2, burst=2), sg.RateLimit(5, per=10)]
    async with running(rate_limit=limits) as (service, upstream):
        async with in_background(service, *["/"] * 8):
            pass
        assert service.config.rate_limits == tuple(limits)
    assert upstream.times == pytest.approx([0, 0, 0.5, 1, 1.5, 2, 4, 6], abs=1e-3)


async def test_no_limit_at_all_is_an_empty_list(autojump_clock) -> None:
    async with running(rate_limit=[]) as (service, upstream), in_background(service, *["/"] * 9):
        pass
    assert len({*upstream.times}) == 1


async def test_a_heavy_call_takes_what_it_weighs(autojump_clock) -> None:
    async with running(rate_limit=sg.RateLimit(1, burst=4)) as (service, upstream):
        await service.get("/", weight=4)
        await service.get("/", weight=0)  # not counted
        await service.get("/", weight=2.5)
        await service.get("/", weight=1.5)
    assert [when - upstream.times[0] for when in upstream.times] == pytest.approx([0, 0, 2.5, 4])


async def test_so_does_a_stream() -> None:
    async with http_server(lambda _: (200, {}, b"abc")) as server:
        config = sg.ServiceConfig("svc", server.url, rate_limit=sg.RateLimit(1, per=1000, burst=4))
        async with sg.open_runtime(sg.RuntimeConfig([config], metrics=QUIET)) as runtime:
            service = runtime.service("svc")
            async with service.stream("GET", "/", weight=3, priority="high") as response:
                assert [piece async for piece in response] == [b"abc"]
            assert (await service.get("/", weight=1)).success
            with pytest.raises(sg.RateLimited):
                await service.get("/")


async def test_each_attempt_of_a_heavy_call_takes_it_again(autojump_clock) -> None:
    retry = sg.RetryPolicy(base_delay=0.1, jitter="none")
    async with running(503, 200, rate_limit=sg.RateLimit(1, burst=3), retry=retry) as (service, _):
        assert (await service.get("/", weight=3)).elapsed == pytest.approx(3)


async def test_what_is_heavier_than_the_burst_is_refused_at_once(autojump_clock) -> None:
    limits = [sg.RateLimit(100, burst=50), sg.RateLimit(5, per=10)]
    async with running(rate_limit=limits) as (service, upstream):
        with pytest.raises(sg.InvalidRequest, match="weight of 6 can never pass: the burst of rate_limit is 5"):
            await service.get("/", weight=6)
        assert (await service.get("/", weight=5)).elapsed == 0
    assert len(upstream.requests) == 1


async def test_who_has_become_too_heavy_for_a_new_limit_is_told(autojump_clock) -> None:
    async with (
        running(rate_limit=sg.RateLimit(1, burst=5)) as (service, upstream),
        in_background(service, "/1", "/2", weight=5) as ends,
    ):
        fresh = sg.ServiceConfig("svc", BASE, rate_limit=sg.RateLimit(1, burst=4))
        await upstream.runtime.reconfigure("svc", fresh)
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(ends[1], sg.InvalidRequest)


async def test_there_is_one_queue_over_all_configurations(autojump_clock) -> None:
    async with running(rate_limit=sg.RateLimit(1, per=2, burst=1)) as (service, upstream):
        await service.get("/0")
        async with in_background(service, "/1", "/2"):
            for n in range(3, 7):
                fresh = sg.ServiceConfig("svc", BASE, rate_limit=sg.RateLimit(1, burst=1), headers={"X-N": str(n)})
                await upstream.runtime.reconfigure("svc", fresh)
                async with in_background(service, f"/{n}"):
                    pass
    assert paths(upstream) == [f"/{n}" for n in range(7)]
    assert upstream.times == pytest.approx([upstream.times[0] + n for n in range(7)])


@pytest.mark.parametrize("weight", [-1, math.nan, math.inf, True, "1", None])
async def test_a_weight_must_make_sense(weight) -> None:
    async with running() as (service, _):
        with pytest.raises(sg.InvalidRequest, match="weight is a number"):
            await service.get("/", weight=weight)


@pytest.mark.parametrize("priority", ["urgent", 1, None, []])
async def test_a_priority_is_one_of_three(priority) -> None:
    async with running() as (service, _):
        with pytest.raises(sg.InvalidRequest, match="'high', 'normal' or 'low'"):
            await service.get("/", priority=priority)


async def test_a_higher_priority_goes_first(autojump_clock) -> None:
    async with running(rate_limit=sg.RateLimit(1, burst=1)) as (service, upstream), trio.open_nursery() as nursery:

        async def call(path, priority):
            await service.get(path, priority=priority)

        for path, priority in (
            *(("/0", "normal"), ("/l1", "low"), ("/n1", "normal"), ("/l2", "low")),
            *(("/h1", "high"), ("/n2", "normal"), ("/h2", "high")),
        ):
            nursery.start_soon(call, path, priority)
            await trio.testing.wait_all_tasks_blocked()
    assert paths(upstream) == ["/0", "/h1", "/h2", "/n1", "/n2", "/l1", "/l2"]
    assert upstream.times == pytest.approx([upstream.times[0] + n for n in range(7)])


async def test_a_light_call_of_high_priority_need_not_wait_until_a_heavy_one_would_be_due(autojump_clock) -> None:
    """The pump sleeps until then; whoever is next now must wake it."""
    async with running(rate_limit=sg.RateLimit(1, burst=10)) as (service, upstream), trio.open_nursery() as nursery:
        await service.get("/", weight=10)
        nursery.start_soon(lambda: service.get("/heavy", weight=9))
        await trio.testing.wait_all_tasks_blocked()
        assert (await service.get("/light", priority="high")).elapsed == pytest.approx(1)
    assert paths(upstream) == ["/", "/light", "/heavy"]
    assert upstream.times[-1] - upstream.times[0] == pytest.approx(10)


async def test_when_the_heavy_one_gives_up_the_light_one_behind_it_is_due(autojump_clock) -> None:
    async with running(rate_limit=sg.RateLimit(1, burst=10)) as (service, upstream), trio.open_nursery() as nursery:
        await service.get("/", weight=10)
        with trio.CancelScope() as heavy:
            nursery.start_soon(cancel_after, heavy, 3)
            nursery.start_soon(late_call, service, "/light")
            await service.get("/heavy", weight=9)
        assert heavy.cancelled_caught
    assert paths(upstream) == ["/", "/light"]
    assert upstream.times[-1] - upstream.times[0] == pytest.approx(3)


async def cancel_after(scope, seconds):
    await trio.sleep(seconds)
    scope.cancel()


async def late_call(service, path):
    await trio.sleep(2)
    await service.get(path)


async def test_the_lowest_priority_gets_its_tenth(autojump_clock) -> None:
    async with running(rate_limit=sg.RateLimit(10, burst=1)) as (service, upstream), trio.open_nursery() as nursery:

        async def always(priority):
            while True:
                await service.get(f"/{priority}", priority=priority)

        for _ in range(5):
            nursery.start_soon(always, "high")
            nursery.start_soon(always, "low")
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert len(upstream.requests) == pytest.approx(1000, abs=2)
    assert paths(upstream).count("/low") == pytest.approx(100, abs=5)


async def test_an_alternative_service_weighs_by_its_own_measure(autojump_clock) -> None:
    other = sg.ServiceConfig("other", "http://other.test", rate_limit=sg.RateLimit(1, burst=1))
    fallbacks = [sg.AlternativeFallback("other")]
    async with running(503, 200, rate_limit=sg.RateLimit(100, burst=100), fallbacks=fallbacks, others=(other,)) as (
        service,
        _,
    ):
        response = await service.get("/", weight=100)
    assert response.source == "alternative"


def loaded(rate_limit):
    (service,) = sg.load_config({"services": [{"name": "a", "base_url": BASE, "rate_limit": rate_limit}]}).services
    return service


def test_a_file_says_one_limit_or_a_list() -> None:
    assert loaded({"rate": 5}).rate_limit == sg.RateLimit(5)
    assert loaded([{"rate": 5}, {"rate": 9, "per": 60}]).rate_limit == (sg.RateLimit(5), sg.RateLimit(9, 60))
    assert loaded([]).rate_limits == ()
    assert sg.ServiceConfig("a", BASE, rate_limit=[sg.RateLimit(5)]).rate_limits == (sg.RateLimit(5),)
    assert sg.ServiceConfig("a", BASE, rate_limit=sg.RateLimit(5)).rate_limits == (sg.RateLimit(5),)


@pytest.mark.parametrize(
    ("rate_limit", "fault"),
    [
        ([{"rate": 5}, {"rate": 0}], r"rate_limit\[1\]\.rate: must be more than 0"),
        ([{"rate": 5}, 7], r"rate_limit\[1\]: must be a table, not a number"),
        ([{"rate": 5, "every": 1}], r"rate_limit\[0\]\.every: unknown key"),
        ("5/s", r"rate_limit: must be a table, not a text"),
    ],
)
def test_what_is_wrong_with_one_of_a_list_is_found(rate_limit, fault) -> None:
    with pytest.raises(sg.ConfigError, match=fault):
        loaded(rate_limit)


@pytest.mark.parametrize("rate_limit", [5, [5], [sg.RateLimit(5), None], "5/s"])
def test_so_it_is_in_code(rate_limit) -> None:
    with pytest.raises(sg.ConfigError, match="rate_limit"):
        sg.ServiceConfig("a", BASE, rate_limit=rate_limit)
