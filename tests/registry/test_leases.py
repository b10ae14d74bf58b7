"""Leases in the registry: who is heard of stays, who falls silent goes, and a silence of most is taken for ours."""

from __future__ import annotations

import time

import pytest
import trio
from support.service import QUIET, Upstream, drain, running
from support.sources import Scripted, source

import switchgear as sg
from switchgear.actors.events import InstanceDeregistered, LeaseExpired, SelfPreservation


def instance(id="a", name="svc", **fields):
    return sg.ServiceInstance(id, name, endpoint=f"http://{id}.test", **fields)


async def ids(upstream, service="svc"):
    return {one.id for one in await upstream.runtime.registry.discover(service)}


async def beat(registry, *names, every=3.0):
    """Who sends a heartbeat for each of them, at once and then again and again."""
    while True:
        for name in names:
            await registry.heartbeat("svc", name)
        await trio.sleep(every)


def lasts(number):
    """Instances of one to so many: i0, i1, ..."""
    return [f"i{one}" for one in range(number)]


async def test_who_is_heard_of_stays_and_who_is_not_goes_within_a_second(autojump_clock) -> None:
    async with running(200, instances=()) as (service, upstream), upstream.runtime.events() as events:
        registry = upstream.runtime.registry
        await registry.register(instance("a"), ttl=10)
        await registry.register(instance("b"), ttl=10)
        await registry.register(instance("c"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, registry, "a")
            await trio.sleep(9.5)
            assert await ids(upstream) == {"a", "b", "c"}
            await trio.sleep(1.6)
            assert await ids(upstream) == {"a", "c"}
            await trio.sleep(1000)
            nursery.cancel_scope.cancel()
        told = [one for one in drain(events) if isinstance(one, (LeaseExpired, InstanceDeregistered))]
        assert [(type(one), one.service, one.instance) for one in told] == [
            (LeaseExpired, "svc", "b"),
            (InstanceDeregistered, "svc", "b"),
        ]
        for _ in range(20):
            await service.get("/")
        assert {one.url.host for one in upstream.requests} == {"a.test", "c.test"}
        assert await registry.leases() == sg.LeaseCounts(1, 0, 0)


async def test_a_heartbeat_says_whether_there_is_a_lease_and_changes_when_it_was_seen_only(autojump_clock) -> None:
    async with running(200, instances=()) as (_, upstream):
        registry = upstream.runtime.registry
        assert await registry.heartbeat("svc", "a") is False
        first = await registry.register(instance(), ttl=10)
        async with registry.watch("svc") as changes:
            version = (await anext(changes)).version
            await trio.sleep(5)
            assert await registry.heartbeat("svc", "a") is True
            (then,) = await registry.discover("svc")
            assert (then.registered_at, then.last_seen) == (first.registered_at, pytest.approx(first.last_seen + 5))
            await registry.register(instance(weight=2.0), ttl=10)
            assert (await anext(changes)).version == version + 1
        with pytest.raises(sg.UnknownService):
            await registry.heartbeat("nope", "a")


async def test_registering_again_is_a_heartbeat_and_without_a_ttl_the_end_of_the_lease(autojump_clock) -> None:
    async with running(200, instances=()) as (_, upstream):
        registry = upstream.runtime.registry
        for _ in range(5):
            await registry.register(instance(), ttl=10)
            await trio.sleep(9)
        await registry.register(instance())
        assert await registry.heartbeat("svc", "a") is False
        await trio.sleep(1000)
        assert await ids(upstream) == {"a"}


async def test_who_is_deregistered_has_no_lease_any_more(autojump_clock) -> None:
    async with running(200, instances=()) as (_, upstream), upstream.runtime.events() as events:
        registry = upstream.runtime.registry
        await registry.register(instance(), ttl=10)
        await registry.deregister("svc", "a")
        assert await registry.heartbeat("svc", "a") is False
        await registry.register(instance(), ttl=10)
        await upstream.runtime.remove_service("svc")
        assert (await registry.leases()).leases == 0
        await upstream.runtime.add_service(sg.ServiceConfig("svc"))
        await registry.register(instance())
        await trio.sleep(100)
        assert await ids(upstream) == {"a"}
        assert not [one for one in drain(events) if isinstance(one, LeaseExpired)]


async def test_when_a_lease_is_at_an_end_the_word_of_a_source_counts(monkeypatch, autojump_clock) -> None:
    scripted = Scripted(monkeypatch, first={"one": {"a": 5.0}})
    async with running(200, instances=(), sources=[source("one")]) as (_, upstream):
        registry = upstream.runtime.registry
        await registry.register(instance(weight=1.0), ttl=10)
        await trio.sleep(12)
        (left,) = await registry.discover("svc")
        assert (left.weight, left.sources) == (5.0, ("one",))
        await scripted.say("one", {})
        assert await ids(upstream) == set()


async def test_a_call_under_way_ends_normally_when_its_instance_has_fallen_silent(autojump_clock) -> None:
    async def slow(request):
        await trio.sleep(5)
        return 200

    async with running(slow, instances=()) as (service, upstream):
        await upstream.runtime.registry.register(instance(), ttl=2)
        response = await service.get("/")
        assert response.status == 200
        assert await ids(upstream) == set()


async def test_a_silence_of_all_is_suspected_to_be_ours_until_they_are_heard_again(autojump_clock) -> None:
    names = lasts(10)
    async with running(200, instances=()) as (service, upstream), upstream.runtime.events() as events:
        registry = upstream.runtime.registry
        for name in names:
            await registry.register(instance(name), ttl=10)
        await trio.sleep(30)
        assert await ids(upstream) == set(names)
        assert await registry.leases() == sg.LeaseCounts(10, 10, 10)
        assert (await registry.leases()).preserving
        assert (await service.get("/")).success
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, registry, *names)
            await trio.sleep(100)
            nursery.cancel_scope.cancel()
        assert await ids(upstream) == set(names)
        assert await registry.leases() == sg.LeaseCounts(10, 0, 0)
        told = [one for one in drain(events) if isinstance(one, (SelfPreservation, LeaseExpired))]
        assert [(type(one), one.active, one.doubted, one.leases) for one in told] == [
            (SelfPreservation, True, 10, 10),
            (SelfPreservation, False, 0, 10),
        ]


async def test_the_suspicion_ends_by_itself_when_a_fleet_has_become_smaller(autojump_clock) -> None:
    names = lasts(10)
    async with running(200, instances=()) as (_, upstream), upstream.runtime.events() as events:
        registry = upstream.runtime.registry
        for name in names:
            await registry.register(instance(name), ttl=10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beat, registry, *names[:4])
            await trio.sleep(45)
            assert await ids(upstream) == set(names)
            await trio.sleep(10)
            assert await ids(upstream) == set(names[:4])
            assert await registry.leases() == sg.LeaseCounts(4, 0, 0)
            nursery.cancel_scope.cancel()
        told = [one for one in drain(events) if isinstance(one, (SelfPreservation, LeaseExpired))]
        assert [type(one) for one in told] == [SelfPreservation, *([LeaseExpired] * 6), SelfPreservation]


async def test_leases_survive_a_crash_of_the_registry(autojump_clock) -> None:
    async with running(200, instances=()) as (_, upstream):
        registry = upstream.runtime.registry
        await registry.register(instance("a"), ttl=10)
        await registry.register(instance("b"), ttl=10)
        await trio.sleep(5)
        await registry._ref.tell("no message of yours")
        await trio.sleep(1)
        assert await registry.heartbeat("svc", "a") is True
        await trio.sleep(5.5)
        assert await ids(upstream) == {"a"}


async def test_a_loop_that_stood_still_has_nobody_gone() -> None:
    config = sg.RuntimeConfig((sg.ServiceConfig("svc"),), metrics=QUIET)
    async with sg.open_runtime(config, transport=Upstream(200)) as runtime:
        registry = runtime.registry
        await registry.register(instance("a"), ttl=2)
        await registry.register(instance("b"), ttl=2)
        time.sleep(3.5)  # noqa: ASYNC251 - the blocked loop is what this is about
        await trio.sleep(0.01)
        assert [one.id for one in await registry.discover("svc")] == ["a", "b"]
        assert await registry.heartbeat("svc", "a")


@pytest.mark.parametrize("ttl", [0, 1.9, -1, float("nan"), float("inf"), "long", True])
async def test_a_ttl_that_is_none_is_refused(ttl) -> None:
    async with running(200, instances=()) as (_, upstream):
        with pytest.raises(sg.ConfigError, match="ttl"):
            await upstream.runtime.registry.register(instance(), ttl=ttl)
        assert await ids(upstream) == set()
