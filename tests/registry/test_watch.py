"""Watching a service's instances, and what a crash of the registry leaves untouched."""

from __future__ import annotations

import msgspec
import pytest
import trio
from support.service import ONCE, QUIET, Upstream, hang, running

import switchgear as sg

A, B = "http://a.test", "http://b.test"


def instance(id="a", endpoint=A, **fields):
    return sg.ServiceInstance(id, "svc", endpoint=endpoint, **fields)


async def collect(registry, seen, service="svc"):
    """What a watcher that is always ready sees, to the end of the watch."""
    async with registry.watch(service) as changes:
        async for one in changes:
            seen.append(one)


async def crash(runtime):
    """Kill the registry actor: it does not understand what it is told."""
    await runtime.registry._ref.tell("no message of yours")
    await trio.testing.wait_all_tasks_blocked()


# ---- watch


async def test_a_watch_begins_with_now_and_sees_every_change_once_in_order() -> None:
    async with running(200, instances=()) as (_, upstream), trio.open_nursery() as nursery:
        registry = upstream.runtime.registry
        seen = []
        nursery.start_soon(collect, registry, seen)
        steps = [
            registry.register(instance("a", A)),
            registry.register(instance("b", B, weight=0.0)),
            registry.register(instance("b", B, weight=2.0)),
            registry.deregister("svc", "a"),
        ]
        await trio.testing.wait_all_tasks_blocked()
        for step in steps:
            await step
            await trio.testing.wait_all_tasks_blocked()
        assert [[one.id for one in state.instances] for state in seen] == [[], ["a"], ["a", "b"], ["a", "b"], ["b"]]
        assert [[one.id for one in state.routable] for state in seen] == [[], ["a"], ["a"], ["a", "b"], ["b"]]
        first = seen[0].version
        assert [state.version for state in seen] == list(range(first, first + 5))
        assert {state.service for state in seen} == {"svc"}
        nursery.cancel_scope.cancel()


async def test_a_slow_watcher_gets_the_latest_and_nothing_twice() -> None:
    async with running(200, instances=()) as (_, upstream):
        registry = upstream.runtime.registry
        async with registry.watch("svc") as changes:
            first = await anext(changes)
            for weight in range(1, 11):
                await registry.register(instance(weight=float(weight)))
            latest = await anext(changes)
            assert latest.instances[0].weight == 10.0
            assert latest.version == first.version + 10
            again = []

            async def take():
                again.append(await anext(changes))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(take)
                await trio.testing.wait_all_tasks_blocked()
                assert not again
                nursery.cancel_scope.cancel()


async def test_changes_that_come_while_a_watcher_is_being_woken_are_seen_once() -> None:
    async with running(200, instances=()) as (_, upstream), trio.open_nursery() as nursery:
        registry = upstream.runtime.registry
        seen = []
        nursery.start_soon(collect, registry, seen)
        for weight in range(1, 200):
            await registry.register(instance(weight=float(weight)))
        await trio.testing.wait_all_tasks_blocked()
        versions = [one.version for one in seen]
        assert versions == sorted(set(versions))
        assert seen[-1].instances[0].weight == 199.0
        nursery.cancel_scope.cancel()


async def test_nothing_new_is_no_change() -> None:
    async with running(200, instances=()) as (_, upstream), trio.open_nursery() as nursery:
        registry = upstream.runtime.registry
        await registry.register(instance())
        seen = []
        nursery.start_soon(collect, registry, seen)
        await trio.testing.wait_all_tasks_blocked()
        await registry.register(instance())
        await registry.deregister("svc", "nobody")
        await trio.testing.wait_all_tasks_blocked()
        assert len(seen) == 1
        nursery.cancel_scope.cancel()


async def test_what_a_watcher_holds_does_not_change_under_him() -> None:
    async with running(200, instances=()) as (_, upstream):
        registry = upstream.runtime.registry
        mine = {"zone": "z1"}
        put = await registry.register(instance(metadata=mine))
        async with registry.watch("svc") as changes:
            held = await anext(changes)
            mine["zone"] = "z2"
            await registry.deregister("svc", "a")
            assert held.instances == (put,)
            assert held.instances[0].metadata == {"zone": "z1"}
            with pytest.raises(AttributeError):
                held.instances = ()


async def test_a_watch_ends_with_its_service() -> None:
    async with running(200) as (_, upstream), trio.open_nursery() as nursery:
        seen = []
        nursery.start_soon(collect, upstream.runtime.registry, seen)
        await trio.testing.wait_all_tasks_blocked()
        await upstream.runtime.remove_service("svc")
        await trio.testing.wait_all_tasks_blocked()
        assert [(len(one.instances), one.gone) for one in seen] == [(1, False), (0, True)]
        assert not nursery.child_tasks


async def test_a_watch_ends_with_the_runtime() -> None:
    seen = []
    async with trio.open_nursery() as nursery, running(200) as (_, upstream):  # the nursery ends, that is the test
        for _ in range(3):
            nursery.start_soon(collect, upstream.runtime.registry, seen)
        await trio.testing.wait_all_tasks_blocked()
    assert len(seen) == 3


async def test_who_stops_watching_leaves_nothing_behind() -> None:
    async with running(200) as (_, upstream):
        tasks = len(trio.lowlevel.current_task().parent_nursery.child_tasks)
        for _ in range(3):
            async with upstream.runtime.registry.watch("svc") as changes:
                await anext(changes)
                with trio.move_on_after(0):
                    await anext(changes)
        assert len(trio.lowlevel.current_task().parent_nursery.child_tasks) == tasks
        with pytest.raises(StopAsyncIteration):
            await anext(changes)


async def test_an_error_of_the_watcher_comes_out_as_it_is() -> None:
    async with running(200) as (_, upstream):

        async def fail():
            async with upstream.runtime.registry.watch("svc") as changes:
                async for _ in changes:
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()


# ---- a crash


async def test_a_crash_loses_nothing_and_watches_go_on(autojump_clock) -> None:
    checks = sg.HealthCheckConfig(interval=10.0, jitter=0.0, unhealthy_threshold=1)
    answers = [200]

    def answer(request):
        return answers[-1] if request.url.path == "/health" else 200

    async with (
        running(answer, instances=(), health_check=checks) as (service, upstream),
        trio.open_nursery() as nursery,
    ):
        runtime = upstream.runtime
        first = await runtime.registry.register(instance(metadata={"kept": "yes"}))
        seen = []
        nursery.start_soon(collect, runtime.registry, seen)
        await trio.sleep(10.5)
        before = await runtime.registry.discover("svc")
        await crash(runtime)
        assert (await service.get("/")).status == 200  # calls do not need the registry
        (again,) = await runtime.registry.discover("svc")  # waits for the restart
        assert msgspec.structs.replace(again, last_seen=before[0].last_seen) == before[0]
        (registry,) = (one for one in runtime.tree().children if one.path == "/registry")
        assert registry.restarts == 1
        assert before[0].registered_at == first.registered_at
        assert before[0].health is sg.HealthStatus.HEALTHY

        await trio.testing.wait_all_tasks_blocked()  # it has been checked at once
        number = len(upstream.requests)
        answers.append(503)
        await trio.sleep(31)
        assert len(upstream.requests) == number + 3  # checked again, and by one task only
        answers.append(hang)
        await runtime.registry.register(instance("b", B))
        await trio.testing.wait_all_tasks_blocked()
        states = [[(one.id, one.health.value) for one in state.instances] for state in seen]
        assert states[-3:] == [
            [("a", "healthy")],
            [("a", "unhealthy")],
            [("a", "unhealthy"), ("b", "unknown")],
        ]
        assert [one.version for one in seen] == list(range(seen[0].version, seen[0].version + len(seen)))
        nursery.cancel_scope.cancel()


async def test_a_check_on_demand_that_meets_a_crash_says_so(autojump_clock) -> None:
    async def hang(request):
        await trio.sleep_forever()

    checks = sg.HealthCheckConfig(interval=1000.0, timeout=60.0)
    service = sg.ServiceConfig("svc", A, retry=ONCE, health_check=checks)
    config = sg.RuntimeConfig((service,), metrics=QUIET, registry=sg.RegistryConfig(check_health=False))
    async with sg.open_runtime(config, transport=Upstream(hang)) as runtime, trio.open_nursery() as nursery:
        ends = []

        async def check():
            with pytest.raises(sg.ActorCrashed, match="ask again"):
                await runtime.health.check_all()
            ends.append("crashed")

        nursery.start_soon(check)
        await trio.sleep(1)
        await crash(runtime)
        assert ends == ["crashed"]
        assert [one.id for one in await runtime.registry.discover("svc")] == [A]


async def test_services_come_and_go_across_crashes(autojump_clock) -> None:
    async with running(200) as (_, upstream):
        runtime = upstream.runtime
        await crash(runtime)
        await runtime.add_service(sg.ServiceConfig("new", B))
        await trio.sleep(60)
        await crash(runtime)
        await runtime.reconfigure("new", sg.ServiceConfig("new", A))
        assert [one.endpoint for one in await runtime.registry.discover("new")] == [A]
        await trio.sleep(60)
        await crash(runtime)
        await runtime.remove_service("new")
        with pytest.raises(sg.UnknownService):
            await runtime.registry.discover("new")
