"""Which instances there are: registered, deregistered, discovered, and taken over from configurations."""

from __future__ import annotations

import pytest
import trio
from support.service import BALANCERS, BASE, ONCE, QUIET, Upstream, drain, outcome_of, running

import switchgear as sg
from switchgear.actors.events import InstanceDeregistered, InstanceRegistered

A, B, C = "http://a.test", "http://b.test", "http://c.test"


def instance(id="a", endpoint=A, **fields):
    return sg.ServiceInstance(id, fields.pop("name", "svc"), endpoint=endpoint, **fields)


def static(*ids, **fields):
    """The configuration of a service with these instances."""
    instances = tuple(sg.InstanceConfig(f"http://{one}.test", one) for one in ids)
    return sg.ServiceConfig("svc", instances=instances, retry=ONCE, **fields)


def hosts(upstream):
    return [request.url.host for request in upstream.requests]


async def ids(registry, service="svc"):
    return [one.id for one in await registry.discover(service)]


async def calls(service, number=20):
    for _ in range(number):
        await service.get("/")


# ---- register, deregister, discover


async def test_an_instance_that_is_registered_gets_calls_and_is_discovered() -> None:
    async with running(200, instances=()) as (service, upstream):
        registry = upstream.runtime.registry
        put = await registry.register(instance(metadata={"zone": "z1"}, version="2"))
        assert await registry.discover("svc") == (put,)
        assert (put.id, put.name, put.endpoint, put.version) == ("a", "svc", A, "2")
        assert put.health is sg.HealthStatus.UNKNOWN
        assert put.metadata == {"zone": "z1"}
        assert put.registered_at == put.last_seen > 1e9  # seconds since the epoch, whatever the instance said
        await service.get("/")
        assert hosts(upstream) == ["a.test"]


async def test_what_the_caller_says_of_health_and_times_is_not_believed() -> None:
    async with running(200, instances=()) as (_, upstream):
        claimed = instance(health=sg.HealthStatus.UNHEALTHY, registered_at=1.0, last_seen=2.0)
        put = await upstream.runtime.registry.register(claimed)
        assert put.health is sg.HealthStatus.UNKNOWN
        assert put.registered_at > 1e9
        assert put.last_seen > 1e9


async def test_registering_again_updates_at_once_and_keeps_what_was_learned(autojump_clock) -> None:
    checks = sg.HealthCheckConfig()
    async with running(200, instances=(), health_check=checks) as (service, upstream):
        registry = upstream.runtime.registry
        first = await registry.register(instance())
        await registry.health_check("svc")
        await trio.sleep(5)
        again = await registry.register(instance(endpoint=B, weight=3.0, metadata={"new": "yes"}, version="9"))
        assert (again.endpoint, again.weight, again.metadata, again.version) == (B, 3.0, {"new": "yes"}, "9")
        assert again.health is sg.HealthStatus.HEALTHY
        assert again.registered_at == first.registered_at
        assert again.last_seen == pytest.approx(first.last_seen + 5)
        assert await ids(registry) == ["a"]
        upstream.requests.clear()
        await service.get("/")
        assert hosts(upstream) == ["b.test"]


async def test_the_same_registration_twice_is_one_instance_and_one_event() -> None:
    async with running(200, instances=()) as (_, upstream):
        async with upstream.runtime.events() as events:
            first = await upstream.runtime.registry.register(instance())
            second = await upstream.runtime.registry.register(instance())
            told = [event for event in drain(events) if isinstance(event, InstanceRegistered)]
        assert first.registered_at == second.registered_at
        assert await ids(upstream.runtime.registry) == ["a"]
        assert [(one.service, one.instance, one.path) for one in told] == [("svc", "a", "/registry")]


async def test_deregister_takes_it_away_and_says_whether_it_was_there() -> None:
    async with running(200, instances=()) as (service, upstream):
        registry = upstream.runtime.registry
        await registry.register(instance("a", A))
        await registry.register(instance("b", B))
        async with upstream.runtime.events() as events:
            assert await registry.deregister("svc", "a") is True
            assert await registry.deregister("svc", "a") is False
            told = [event for event in drain(events) if isinstance(event, InstanceDeregistered)]
        assert [(one.service, one.instance) for one in told] == [("svc", "a")]
        await calls(service)
        assert set(hosts(upstream)) == {"b.test"}


async def test_a_call_under_way_ends_normally_on_an_instance_that_goes(autojump_clock) -> None:
    async def slow(request):
        await trio.sleep(3)
        return 200

    async with running(slow, instances=()) as (service, upstream):
        await upstream.runtime.registry.register(instance())
        async with trio.open_nursery() as nursery:
            ends = []

            async def call():
                ends.append(await outcome_of(service.get("/")))

            nursery.start_soon(call)
            await trio.sleep(1)
            await upstream.runtime.registry.deregister("svc", "a")
        assert [end.status for end in ends] == [200]


async def test_none_left_is_an_error_of_its_own() -> None:
    async with running(200, instances=()) as (service, upstream):
        with pytest.raises(sg.NoHealthyInstances, match="no instance is known: register one") as caught:
            await service.get("/")
        assert caught.value.service == "svc"
        await upstream.runtime.registry.register(instance(weight=0.0))
        with pytest.raises(sg.NoHealthyInstances, match="1 known"):
            await service.get("/")
        assert not upstream.requests


@pytest.mark.parametrize("balancer", BALANCERS)
async def test_a_weight_of_zero_gets_no_call_and_one_of_one_does(balancer) -> None:
    async with running(200, instances=(), balancer=balancer) as (service, upstream):
        registry = upstream.runtime.registry
        await registry.register(instance("a", A, weight=0.0))
        await registry.register(instance("b", B))
        await calls(service)
        assert set(hosts(upstream)) == {"b.test"}
        await registry.register(instance("a", A, weight=1.0))
        await registry.register(instance("b", B, weight=0.0))
        upstream.requests.clear()
        await calls(service)
        assert set(hosts(upstream)) == {"a.test"}


async def test_an_instance_of_an_unknown_service_is_refused() -> None:
    async with running(200) as (_, upstream):
        registry = upstream.runtime.registry
        for asked in (
            registry.register(instance(name="nope")),
            registry.deregister("nope", "a"),
            registry.discover("nope"),
            registry.health_check("nope"),
            upstream.runtime.health.check("nope"),
        ):
            with pytest.raises(sg.UnknownService, match="known: svc"):
                await asked
        with pytest.raises(KeyError):
            async with registry.watch("nope"):
                raise AssertionError


async def test_with_no_service_the_error_says_none() -> None:
    async with sg.open_runtime(sg.RuntimeConfig(metrics=QUIET)) as runtime:
        with pytest.raises(sg.UnknownService, match="known: none"):
            await runtime.registry.discover("svc")


@pytest.mark.parametrize(
    "endpoint", ["", "a.test", "ftp://a.test", "http://", "http://a.test:99999", "http://user:secret@a.test", 7, None]
)
async def test_an_endpoint_that_is_none_is_refused(endpoint) -> None:
    async with running(200) as (_, upstream):
        with pytest.raises(sg.ConfigError, match="endpoint") as caught:
            await upstream.runtime.registry.register(instance(endpoint=endpoint))
        assert "secret" not in str(caught.value)
        assert len(await upstream.runtime.registry.discover("svc")) == 1


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), "heavy", None])
async def test_a_weight_that_is_none_is_refused(weight) -> None:
    async with running(200, instances=()) as (service, upstream):
        with pytest.raises(sg.ConfigError, match="weight"):
            await upstream.runtime.registry.register(instance(weight=weight))
        assert await upstream.runtime.registry.discover("svc") == ()
        await upstream.runtime.registry.register(instance())
        await service.get("/")


@pytest.mark.parametrize("id", ["", None, 7])
async def test_an_id_that_is_none_is_refused(id) -> None:
    async with running(200, instances=()) as (_, upstream):
        with pytest.raises(sg.InvalidRequest, match="id"):
            await upstream.runtime.registry.register(instance(id=id))


async def test_what_is_no_instance_is_refused() -> None:
    async with running(200, instances=()) as (_, upstream):
        with pytest.raises(sg.InvalidRequest, match="ServiceInstance"):
            await upstream.runtime.registry.register({"id": "a"})


async def test_after_the_end_the_registry_says_so() -> None:
    async with running(200) as (_, upstream):
        registry = upstream.runtime.registry
    for asked in (registry.register(instance()), registry.deregister("svc", "a"), registry.discover("svc")):
        with pytest.raises(sg.ShuttingDown):
            await asked


# ---- configurations


async def test_a_base_url_is_an_instance() -> None:
    async with running(200, version="3") as (_, upstream):
        (only,) = await upstream.runtime.registry.discover("svc")
        assert (only.id, only.endpoint, only.version, only.weight) == (BASE, BASE, "3", 1.0)


async def test_static_instances_are_there_from_the_start_in_order() -> None:
    instances = (
        sg.InstanceConfig(A, "a", weight=2.0, metadata={"zone": "z"}),
        sg.InstanceConfig(B),
    )
    async with running(200, instances=instances) as (service, upstream):
        first, second = await upstream.runtime.registry.discover("svc")
        assert (first.id, first.weight, first.metadata) == ("a", 2.0, {"zone": "z"})
        assert (second.id, second.endpoint) == (B, B)
        await calls(service)
        assert "a.test" in hosts(upstream)


async def test_reconfigure_replaces_the_configured_ones_only() -> None:
    upstream = Upstream(200)
    config = sg.RuntimeConfig((static("a", "b"),), metrics=QUIET)
    async with sg.open_runtime(config, transport=upstream, seed=1) as runtime:
        await runtime.registry.register(instance("mine", C))
        async with runtime.events() as events:
            await runtime.reconfigure("svc", static("b", "d"))
            told = [(type(one).__name__, one.instance) for one in drain(events) if hasattr(one, "instance")]
        assert sorted(await ids(runtime.registry)) == ["b", "d", "mine"]
        assert sorted(told) == [("InstanceDeregistered", "a"), ("InstanceRegistered", "d")]
        await calls(runtime.service("svc"), 40)
        assert set(hosts(upstream)) == {"b.test", "c.test", "d.test"}


async def test_a_configured_instance_can_be_deregistered_until_the_next_configuration() -> None:
    async with sg.open_runtime(sg.RuntimeConfig((static("a", "b"),), metrics=QUIET)) as runtime:
        assert await runtime.registry.deregister("svc", "a")
        assert await ids(runtime.registry) == ["b"]
        await runtime.reconfigure("svc", static("a", "b"))
        assert sorted(await ids(runtime.registry)) == ["a", "b"]


async def test_a_removed_service_takes_its_instances_along() -> None:
    async with running(200) as (_, upstream):
        runtime = upstream.runtime
        await runtime.registry.register(instance())
        async with runtime.events() as events:
            await runtime.remove_service("svc")
            told = {one.instance for one in drain(events) if isinstance(one, InstanceDeregistered)}
        assert told == {"a", BASE}
        with pytest.raises(sg.UnknownService):
            await runtime.registry.discover("svc")
        await runtime.add_service(static("x"))
        assert await ids(runtime.registry) == ["x"]
