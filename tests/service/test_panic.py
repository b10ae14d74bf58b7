"""Panic: when most health checks fail, they are not believed. In a running service and virtual time."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from support.service import drain, running

import switchgear as sg
from switchgear.actors.events import InstanceReturned, PanicEntered, PanicLeft

OFF = sg.BreakerConfig(enabled=False)
CHECK = sg.HealthCheckConfig(interval=1.0, jitter=0.0, unhealthy_threshold=1, healthy_threshold=1)
NAMES = "abcdefghij"


def failing(ill, bad=""):
    """An upstream of which the hosts in ``ill`` fail their checks, and those in ``bad`` their calls."""

    def answer(request):
        return 503 if request.url.host[0] in (ill if request.url.path == "/health" else bad) else 200

    return answer


def fleet(n):
    return tuple(sg.InstanceConfig(f"http://{name}.test", name) for name in NAMES[:n])


def checked(answer, n=10, **fields):
    fields = {"instances": fleet(n), "balancer": "round_robin", "breaker": OFF, "health_check": CHECK, **fields}
    return running(answer, **fields)


async def used(service, upstream, n=40):
    """Which instances get calls."""
    upstream.requests.clear()
    for _ in range(n):
        await service.try_request("GET", "/")
    return "".join(sorted({request.url.host[0] for request in upstream.requests if request.url.path == "/"}))


async def test_with_half_of_them_healthy_only_those_are_used_and_with_less_all(autojump_clock) -> None:
    ill = set("abcde")
    async with checked(failing(ill)) as (service, upstream), upstream.runtime.events() as events:
        await trio.sleep(0.5)
        assert await used(service, upstream) == "fghij"
        assert not service.instances.panic
        ill.add("f")
        await trio.sleep(1)
        assert await used(service, upstream) == "abcdefghij"
        assert service.instances.panic
        assert service.instances.unhealthy == tuple("abcdef")
        assert upstream.runtime.metrics.get("svc").panic
        ill.discard("a")
        await trio.sleep(1)
        assert await used(service, upstream) == "aghij"
        assert not service.instances.panic
        assert not upstream.runtime.metrics.get("svc").panic
        panics = [one for one in drain(events) if isinstance(one, (PanicEntered, PanicLeft))]
        assert [(type(one), one.healthy, one.instances) for one in panics] == [
            (PanicEntered, 4, 10),
            (PanicLeft, 5, 10),
        ]


@pytest.mark.parametrize("down", range(11))
async def test_whatever_is_down_at_least_the_share_that_is_up_succeeds(autojump_clock, down) -> None:
    gone = NAMES[:down]
    async with checked(failing(gone, gone), balancer="p2c") as (service, _):
        await trio.sleep(0.5)
        good = [(await service.try_request("GET", "/")).success for _ in range(200)]
        assert sum(good) >= 200 * (10 - down) / 10
        if down <= 5:
            assert all(good)


async def test_a_lone_instance_is_used_whatever_its_checks_say(autojump_clock) -> None:
    async with checked(failing("a"), n=1) as (service, upstream):
        await trio.sleep(0.5)
        assert await used(service, upstream) == "a"


@pytest.mark.parametrize("down", [9, 10])
async def test_with_a_threshold_of_zero_the_checks_are_always_believed(autojump_clock, down) -> None:
    async with checked(failing(NAMES[:down]), panic_threshold=0.0) as (service, upstream):
        await trio.sleep(0.5)
        assert await used(service, upstream) == NAMES[down:]
        if down == 10:
            with pytest.raises(sg.NoHealthyInstances):
                await service.get("/")


async def test_a_weight_of_zero_stays_out_in_a_panic_and_does_not_count_towards_it(autojump_clock) -> None:
    instances = (*fleet(3), *(sg.InstanceConfig(f"http://{name}.test", name, weight=0.0) for name in "xyz"))
    async with checked(failing("ab"), instances=instances) as (service, upstream):
        await trio.sleep(0.5)
        assert await used(service, upstream) == "abc"


async def test_an_ejection_never_leads_to_a_panic(autojump_clock) -> None:
    """One of three ill, one of the others failing: without it, one of three would be left."""
    async with checked(failing("a", "b"), n=3) as (service, upstream):
        await trio.sleep(0.5)
        assert await used(service, upstream) == "bc"
        assert not service.instances.ejected


async def test_who_is_ejected_comes_back_before_health_is_ignored(autojump_clock) -> None:
    ill = set()
    async with checked(failing(ill, "a"), n=4) as (service, upstream), upstream.runtime.events() as events:
        await trio.sleep(0.5)
        await used(service, upstream)
        assert list(service.instances.ejected) == ["a"]
        ill.update("bc")
        await trio.sleep(1)
        assert await used(service, upstream) == "ad"
        assert not service.instances.panic
        assert [one.reason for one in drain(events) if isinstance(one, InstanceReturned)] == ["too few others are left"]


async def test_a_panic_outlives_a_crash_of_the_actor_and_is_told_once(autojump_clock) -> None:
    async with checked(failing("abcdef")) as (service, upstream), upstream.runtime.events() as events:
        await trio.sleep(0.5)
        await used(service, upstream)
        await service._ref.tell("no message of yours")
        await trio.sleep(5)
        assert await used(service, upstream) == NAMES
        assert Counter(type(one) for one in drain(events))[PanicEntered] == 1
