"""Slow start in a running service and virtual time: who comes to others gets its share little by little."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from support.service import running

import switchgear as sg

OFF = sg.BreakerConfig(enabled=False)


def fleet(names):
    return tuple(sg.InstanceConfig(f"http://{name}.test", name) for name in names)


def starting(answer, names, **fields):
    fields = {"balancer": "weighted_random", "breaker": OFF, "slow_start": 100.0, **fields}
    return running(answer, instances=fleet(names), **fields)


async def share(service, upstream, name, n=2000):
    upstream.requests.clear()
    for _ in range(n):
        await service.try_request("GET", "/")
    return Counter(one.url.host[0] for one in upstream.requests if one.url.path == "/")[name] / n


async def come(upstream, name):
    await upstream.runtime.registry.register(sg.ServiceInstance(name, "svc", endpoint=f"http://{name}.test"))


async def test_one_that_comes_to_another_gets_more_and_more(autojump_clock) -> None:
    async with starting(200, "a") as (service, upstream):
        await service.get("/")
        await come(upstream, "b")
        found = []
        for seconds in (0, 30, 30, 41):
            await trio.sleep(seconds)
            found.append(await share(service, upstream, "b"))
            assert service.instances.starting == (("b",) if seconds < 41 else ())
        assert found == pytest.approx([0.1 / 1.1, 0.3 / 1.3, 0.6 / 1.6, 0.5], abs=0.05)


async def test_where_all_are_new_nobody_starts_slowly(autojump_clock) -> None:
    async with starting(200, "ab") as (service, upstream):
        assert await share(service, upstream, "b") == pytest.approx(0.5, abs=0.05)
        assert service.instances.starting == ()


async def test_who_comes_back_from_an_ejection_starts_slowly(autojump_clock) -> None:
    bad = {"b"}
    async with starting(lambda request: 500 if request.url.host[0] in bad else 200, "ab") as (service, upstream):
        await share(service, upstream, "b", 60)
        bad.clear()
        await trio.sleep(35)
        await service.get("/")  # the trial
        await service.get("/")
        assert service.instances.starting == ("b",)
        assert await share(service, upstream, "b") == pytest.approx(0.1 / 1.1, abs=0.05)


async def test_who_becomes_healthy_again_starts_slowly_and_not_in_a_panic(autojump_clock) -> None:
    ill = {"c"}

    def answer(request):
        return 503 if request.url.path == "/health" and request.url.host[0] in ill else 200

    check = sg.HealthCheckConfig(interval=1.0, jitter=0.0, healthy_threshold=1, unhealthy_threshold=1)
    async with starting(answer, "abc", health_check=check) as (service, upstream):
        await trio.sleep(0.5)
        assert await share(service, upstream, "c", 100) == 0.0
        ill.clear()
        await trio.sleep(1)
        assert await share(service, upstream, "c") == pytest.approx(0.1 / 2.1, abs=0.05)
        ill.update("ab")
        await trio.sleep(1)
        assert await share(service, upstream, "c") == pytest.approx(1 / 3, abs=0.05)
        assert service.instances.panic


@pytest.mark.parametrize("balancer", ["p2c", "least_outstanding", "round_robin", "weighted_round_robin"])
async def test_every_balancer_goes_on_through_its_steps(autojump_clock, balancer) -> None:
    async with starting(200, "ab", balancer=balancer) as (service, upstream):
        await service.get("/")
        await come(upstream, "c")
        for _ in range(110):
            await trio.sleep(1)
            assert (await service.get("/")).status == 200
        assert service.instances.starting == ()
