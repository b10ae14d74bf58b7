"""Which instance a call goes to, seen from outside: by affinity, by how the calls before it went, by zone."""

from __future__ import annotations

import collections

import pytest
import trio
from support.service import BALANCERS, after, hang, in_background, outcome_of, running

import switchgear as sg
from switchgear.actors.service.road import Road

NO_BREAKER = sg.BreakerConfig(enabled=False)
PLAIN = {"breaker": NO_BREAKER, "outlier": None}


def instances(n, **metadata):
    return tuple(sg.InstanceConfig(f"http://h{i}.test", id=f"h{i}", metadata=metadata) for i in range(n))


def host(request):
    return request.url.host.partition(".")[0]


def hosts(upstream):
    return collections.Counter(map(host, upstream.requests))


def by_host(**steps):
    return lambda request: steps.get(host(request), after(0.05))


@pytest.mark.parametrize("balancer", ["ring_hash", "maglev"])
async def test_calls_of_one_user_go_to_one_instance(balancer, autojump_clock) -> None:
    async with running(200, instances=instances(5), balancer=balancer) as (service, upstream):
        for _ in range(5):
            for user in range(20):
                await service.get(f"/{user}", affinity=f"user-{user}")
        at = collections.defaultdict(set)
        for request in upstream.requests:
            at[request.url.path].add(host(request))
        assert all(len(those) == 1 for those in at.values())
        assert len(set.union(*at.values())) == 5


async def test_a_retry_leaves_the_instance_of_its_user(autojump_clock) -> None:
    retry = sg.RetryPolicy(base_delay=0.1, jitter="none")
    async with running(503, 200, instances=instances(5), balancer="ring_hash", retry=retry) as (service, upstream):
        assert (await service.get("/", affinity="user-42")).attempts == 2
        assert len(hosts(upstream)) == 2


@pytest.mark.parametrize("balancer", BALANCERS)
async def test_all_of_them_balance_calls_under_way(balancer, autojump_clock) -> None:
    async with running(after(1.0), instances=instances(3), balancer=balancer) as (service, upstream):
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(service.get, "/")
        assert min(hosts(upstream)[f"h{n}"] for n in range(3)) >= 8


async def test_by_default_a_slow_instance_is_left_out(autojump_clock) -> None:
    async with running(by_host(h0=after(2.0)), instances=instances(3)) as (service, upstream):
        for _ in range(100):
            await service.get("/")
        assert hosts(upstream)["h0"] <= 2


async def test_by_default_one_that_fails_at_once_draws_no_calls(autojump_clock) -> None:
    async with running(by_host(h0=503), instances=instances(3), **PLAIN) as (service, upstream):
        for _ in range(300):
            await outcome_of(service.get("/"))
        assert hosts(upstream)["h0"] <= 3


async def test_one_that_hangs_is_left_out_though_no_call_on_it_has_ended(autojump_clock) -> None:
    async with (
        running(by_host(h0=hang), instances=instances(2), timeout=sg.TimeoutConfig(total=60), **PLAIN) as (
            service,
            upstream,
        ),
        trio.open_nursery() as nursery,
    ):
        for _ in range(100):
            nursery.start_soon(outcome_of, service.get("/"))
            await trio.sleep(0.05)
        assert hosts(upstream)["h0"] <= 3
        nursery.cancel_scope.cancel()


async def test_one_whose_callers_give_up_is_left_out(autojump_clock) -> None:
    async with running(by_host(h0=hang), instances=instances(2), **PLAIN) as (service, upstream):
        for _ in range(50):
            with trio.move_on_after(1.0):
                await service.get("/")
        assert hosts(upstream)["h0"] <= 3


async def test_what_is_known_of_instances_outlives_a_configuration_and_a_crash(autojump_clock, monkeypatch) -> None:
    async def bug(*_):
        raise ZeroDivisionError("a bug")

    config = sg.ServiceConfig("svc", instances=instances(2), retry=sg.RetryPolicy(max_attempts=1))
    async with running(by_host(h0=after(5.0)), instances=instances(2)) as (service, upstream):
        for _ in range(20):
            await service.get("/")
        slow = hosts(upstream)["h0"]
        await upstream.runtime.reconfigure("svc", config)
        for _ in range(10):
            await service.get("/")
        with monkeypatch.context() as patch:
            patch.setattr(Road, "call", bug)
            assert isinstance(await outcome_of(service.get("/")), sg.ActorCrashed)
        for _ in range(10):
            await service.get("/")
        assert hosts(upstream)["h0"] == slow


async def test_calls_under_way_count_for_another_balancer_too(autojump_clock) -> None:
    config = sg.ServiceConfig("svc", instances=instances(2), balancer="least_outstanding")
    async with running(after(5.0), instances=instances(2), balancer="round_robin") as (service, upstream):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(service.get, "/")
            await trio.sleep(1)
            (busy,) = [name for name, count in hosts(upstream).items() if count == 2]
            await upstream.runtime.reconfigure("svc", config)
            nursery.start_soon(service.get, "/")
        assert hosts(upstream) == {busy: 2, ({"h0", "h1"} - {busy}).pop(): 2}


def zones(near, far, **fields):
    return {
        "instances": (
            *(sg.InstanceConfig(f"http://near{n}.test", metadata={"zone": "eu-1"}) for n in range(near)),
            *(sg.InstanceConfig(f"http://far{n}.test", metadata={"zone": "us-1"}) for n in range(far)),
        ),
        "zone": "eu-1",
        **fields,
    }


async def test_the_own_zone_is_preferred(autojump_clock) -> None:
    async with running(200, **zones(2, 5)) as (service, upstream):
        for _ in range(50):
            await service.get("/")
        assert hosts(upstream).keys() == {"near0", "near1"}


async def test_what_the_own_zone_cannot_manage_goes_to_others(autojump_clock) -> None:
    down = {"near0"}

    def step(request):
        return 503 if host(request) in down else 200

    check = sg.HealthCheckConfig(path="/up", interval=10, unhealthy_threshold=1, healthy_threshold=1)
    async with running(step, **zones(2, 4, health_check=check)) as (service, upstream):
        await upstream.runtime.health.check("svc")
        upstream.requests.clear()
        for _ in range(400):
            await service.get("/")
        found = hosts(upstream)
        assert found["near0"] == 0
        assert found["near1"] / 400 == pytest.approx(0.7, abs=0.08)
        down.add("near1")
        await upstream.runtime.health.check("svc")
        upstream.requests.clear()
        for _ in range(20):
            await service.get("/")
        assert all(name.startswith("far") for name in hosts(upstream))


async def test_priorities_come_before_zones(autojump_clock) -> None:
    spare = sg.InstanceConfig("http://spare.test", metadata={"zone": "eu-1", "priority": "1"})
    fleet = zones(0, 2)
    fleet["instances"] += (spare,)
    async with running(200, **fleet) as (service, upstream):
        for _ in range(20):
            await service.get("/")
        assert hosts(upstream).keys() == {"far0", "far1"}
        for name in ("far0", "far1"):
            await upstream.runtime.registry.register(
                sg.ServiceInstance(f"http://{name}.test", "svc", endpoint=f"http://{name}.test", weight=0)
            )
        upstream.requests.clear()
        await service.get("/")
        assert hosts(upstream).keys() == {"spare"}


async def test_calls_under_way_count_on_where_the_weight_was_zero_for_a_while(autojump_clock) -> None:
    fields = {"instances": instances(2), "balancer": "least_outstanding", "outlier": None}
    async with running(hang, **fields) as (service, upstream), in_background(service, *["/a", "/b", "/c", "/d"]):
        for weight in (0.0, 1.0):
            one = sg.ServiceInstance("h0", "svc", endpoint="http://h0.test", weight=weight)
            await upstream.runtime.registry.register(one)
            await trio.testing.wait_all_tasks_blocked()
        async with in_background(service, "/e", "/f"):
            assert set(hosts(upstream).values()) == {3}
            await upstream.runtime.remove_service("svc")


async def test_a_process_has_its_subset_and_keeps_it(autojump_clock) -> None:
    chosen = []
    for seed in range(3):
        async with running(200, instances=instances(50), subset_size=5, balancer="round_robin", seed=seed) as (
            service,
            upstream,
        ):
            for _ in range(20):
                await service.get("/")
            chosen.append(frozenset(hosts(upstream)))
            config = sg.ServiceConfig("svc", instances=instances(50), subset_size=5)
            await upstream.runtime.reconfigure("svc", config)
            for _ in range(20):
                await service.get("/")
            assert frozenset(hosts(upstream)) == chosen[-1]
    assert [len(one) for one in chosen] == [5, 5, 5]
    assert len(set(chosen)) == 3


async def test_a_stream_that_is_read_for_an_hour_makes_nobody_look_slow(autojump_clock) -> None:
    async with running(after(0.05), instances=instances(2)) as (service, upstream):
        for _ in range(4):
            await service.get("/")
        async with service.stream("GET", "/", timeout=7200):
            streaming = host(upstream.requests[-1])
            await trio.sleep(3600)
            upstream.requests.clear()
            async with trio.open_nursery() as nursery:
                for _ in range(9):
                    nursery.start_soon(service.get, "/")
            assert 3 <= hosts(upstream)[streaming] <= 5  # with the stream, as many as the other
