"""What must not happen: checks that hang in the way of others, values that are none, changes that are none."""

from __future__ import annotations

import pytest
import trio
from support.service import QUIET, Upstream, drain, hang, running

import switchgear as sg
from switchgear.actors.events import InstanceDeregistered

CHECK = sg.HealthCheckConfig(interval=10.0, jitter=0.0, timeout=2.0)
UNCHECKED = sg.RegistryConfig(check_health=False)  # but on demand


def instance(id="a", name="svc", **fields):
    return sg.ServiceInstance(id, name, endpoint=fields.pop("endpoint", f"http://{id}.test"), **fields)


async def test_hundreds_of_hanging_checks_are_in_nobodys_way(autojump_clock) -> None:
    services = tuple(sg.ServiceConfig(f"s{n}", f"http://s{n}.test", health_check=CHECK) for n in range(250))
    config = sg.RuntimeConfig(services, metrics=QUIET, registry=UNCHECKED)
    async with sg.open_runtime(config, transport=Upstream(hang)) as runtime, trio.open_nursery() as nursery:
        begun, ended = trio.current_time(), []

        async def check_all():
            results = await runtime.health.check_all()
            ended.append((len(results), trio.current_time() - begun))

        nursery.start_soon(check_all)
        await trio.testing.wait_all_tasks_blocked()
        await runtime.registry.register(instance(name="s0"))
        assert trio.current_time() == begun
        await trio.sleep(2.5)
        assert ended == [(250, pytest.approx(2.0))]


@pytest.mark.parametrize("on_demand", [True, False])
async def test_a_check_under_way_ends_with_its_instance(autojump_clock, on_demand) -> None:
    settings = sg.RuntimeConfig(
        (sg.ServiceConfig("svc", health_check=CHECK),), metrics=QUIET, registry=sg.RegistryConfig(not on_demand)
    )
    upstream = Upstream(hang)
    async with sg.open_runtime(settings, transport=upstream) as runtime, trio.open_nursery() as nursery:
        for one in ("gone", "moved", "stays"):
            await runtime.registry.register(instance(one))
        results = []

        async def check():
            results.append(await runtime.health.check("svc"))

        if on_demand:
            nursery.start_soon(check)
        await trio.sleep(0 if on_demand else 10.5)
        await trio.testing.wait_all_tasks_blocked()
        assert upstream.running == 3
        await runtime.registry.deregister("svc", "gone")
        await runtime.registry.register(instance("moved", endpoint="http://elsewhere.test"))
        await trio.testing.wait_all_tasks_blocked()
        assert upstream.running == 1
        await trio.sleep(3)
        assert [[each.instance for each in one.instances] for one in results] == ([["stays"]] if on_demand else [])


@pytest.mark.parametrize("fields", [{"metadata": 7}, {"metadata": ["x"]}, {"metadata": {"a": 1}}, {"version": 2}])
async def test_a_field_of_another_type_is_refused(fields) -> None:
    async with running(200, instances=()) as (_, upstream):
        with pytest.raises(sg.InvalidRequest, match=next(iter(fields))):
            await upstream.runtime.registry.register(instance(**fields))
        assert await upstream.runtime.registry.discover("svc") == ()


async def test_a_configuration_that_changes_no_instance_wakes_nobody(autojump_clock) -> None:
    async with running(200) as (_, upstream):
        same = sg.ServiceConfig("svc", "http://svc.test", rate_limit=sg.RateLimit(5))
        async with upstream.runtime.registry.watch("svc") as changes:
            await anext(changes)
            await upstream.runtime.reconfigure("svc", same)
            with trio.move_on_after(5) as scope:
                pytest.fail(f"woken for nothing: {await anext(changes)}")
            assert scope.cancelled_caught


async def test_instances_that_go_with_a_configuration_go_in_a_fixed_order() -> None:
    names = [f"i{n}" for n in range(20, 40)]
    instances = tuple(sg.InstanceConfig(f"http://{one}.test", one) for one in names)
    async with running(200, instances=instances) as (_, upstream), upstream.runtime.events() as events:
        await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc"))
        assert [one.instance for one in drain(events) if isinstance(one, InstanceDeregistered)] == names


@pytest.mark.parametrize("path", ["/", "/health", "/v1/health?deep=yes&x=..", "//x", "/a%20b/~c;d=1"])
async def test_a_check_path_is_asked_for_as_it_stands(path) -> None:
    async with running(200, health_check=sg.HealthCheckConfig(path), base_url="http://svc.test/v1") as (_, upstream):
        await upstream.runtime.health.check("svc")
        assert {(one.url.host, one.url.raw_path.decode()) for one in upstream.requests} == {("svc.test", "/v1" + path)}
