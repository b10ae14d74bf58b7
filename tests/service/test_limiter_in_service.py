"""The limiter on the road: first come, first served, and never faster than allowed."""

from __future__ import annotations

import random

import pytest
import trio
from support.service import STEADY, in_background, outcome_of, running

import switchgear as sg


def worst_window(times, length):
    """The most that fell into any window of that length."""
    return max(sum(start <= time < start + length for time in times) for start in times)


async def test_first_come_first_served_at_the_rate(autojump_clock) -> None:
    async with running(rate_limit=sg.RateLimit(2, per=1, burst=1)) as (service, upstream):
        paths = [f"/{n}" for n in range(10)]
        async with in_background(service, *paths):
            pass
    assert [request.url.path for request in upstream.requests] == paths
    assert upstream.times == pytest.approx([upstream.times[0] + n / 2 for n in range(10)])


@pytest.mark.parametrize(("rate", "burst"), [(10, 1), (10, 5), (3, 7)])
async def test_no_window_holds_more_than_burst_and_rate_allow(rate, burst, autojump_clock) -> None:
    rng = random.Random(rate * burst)
    async with running(rate_limit=sg.RateLimit(rate, burst=burst)) as (service, upstream):

        async def caller():
            await trio.sleep(rng.uniform(0, 10))
            with trio.move_on_after(rng.choice([0.05, 1, 100])):
                await outcome_of(service.get("/", timeout=100))

        async with trio.open_nursery() as nursery:
            for _ in range(150):
                nursery.start_soon(caller)
    assert len(upstream.times) > 50
    for length in (0.1, 0.5, 1.0, 3.0, 10.0):
        assert worst_window(upstream.times, length) <= burst + rate * length + 1e-6


async def test_a_turn_after_the_deadline_is_refused_at_once(autojump_clock) -> None:
    async with running(rate_limit=sg.RateLimit(1, per=10, burst=1)) as (service, upstream):
        await service.get("/")
        begun = trio.current_time()
        with pytest.raises(sg.RateLimited) as caught:
            await service.get("/", timeout=5)
        assert caught.value.status is None
        assert (caught.value.attempts, caught.value.service) == (0, "svc")
        assert caught.value.retry_at == pytest.approx(begun + 10)
        with trio.move_on_after(5) as scope, pytest.raises(sg.RateLimited):
            await service.get("/")
        assert not scope.cancelled_caught
        assert trio.current_time() == begun
    assert len(upstream.requests) == 1


async def test_the_estimate_knows_the_queue(autojump_clock) -> None:
    async with (
        running(rate_limit=sg.RateLimit(1, burst=1)) as (service, upstream),
        in_background(service, "/1", "/2", "/3", "/4"),
    ):
        with pytest.raises(sg.RateLimited):
            await service.get("/5", timeout=3.9)
        assert (await service.get("/6", timeout=4.1)).success
    assert upstream.times[-1] - upstream.times[0] == pytest.approx(4)


async def test_a_waiter_that_goes_leaves_its_turn_to_the_next(autojump_clock) -> None:
    async with running(rate_limit=sg.RateLimit(1, per=10, burst=1)) as (service, upstream):
        await service.get("/0")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.get, "/1")
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.001, shield=True) as scope:
                scope.deadline = trio.current_time() + 25  # so that it is let into the queue
                nursery.start_soon(cancel_soon, scope)
                await service.get("/2")
            assert scope.cancelled_caught
            nursery.start_soon(service.get, "/3")
    assert [request.url.path for request in upstream.requests] == ["/0", "/1", "/3"]
    assert upstream.times == pytest.approx([upstream.times[0] + t for t in (0, 10, 20)])


async def cancel_soon(scope):
    await trio.sleep(1)
    scope.cancel()


async def test_a_waiter_cancelled_in_the_moment_of_its_grant_gives_the_token_back(autojump_clock) -> None:
    async with running(rate_limit=sg.RateLimit(1, per=10, burst=1)) as (service, upstream):
        await service.get("/0")
        scope = trio.CancelScope()

        async def cancel_at_the_grant():
            await trio.sleep(10)
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_at_the_grant)
            with scope:
                await service.get("/1")
        used = len(upstream.requests)
        assert (await service.get("/2")).success
        # If /1 was still sent, /2 came a turn later; if not, its token was there for /2.
        assert upstream.times[-1] - upstream.times[0] == pytest.approx(10 * used)


async def test_tokens_come_back_over_time_up_to_the_burst(autojump_clock) -> None:
    async with running(rate_limit=sg.RateLimit(1, burst=3)) as (service, upstream):
        await trio.sleep(1000)
        async with in_background(service, *["/"] * 5):
            pass
    assert [t - upstream.times[0] for t in upstream.times] == pytest.approx([0, 0, 0, 1, 2])


async def test_a_retry_waits_behind_those_who_were_there(autojump_clock) -> None:
    limit = sg.RateLimit(1, per=4, burst=1)
    async with (
        running(503, 200, retry=STEADY, rate_limit=limit) as (service, upstream),
        in_background(service, "/1", "/2", "/3"),
    ):
        pass
    assert [request.url.path for request in upstream.requests] == ["/1", "/2", "/3", "/1"]
