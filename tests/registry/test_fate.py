"""Who names an instance, and what its health checks say: each row of the table that decides what becomes of it."""

from __future__ import annotations

import pytest
import trio
from support.service import ONCE, drain, hang, running
from support.sources import Scripted, source

import switchgear as sg
from switchgear.actors.events import InstanceDeregistered
from switchgear.actors.machines.fate import FATES, Fate

CHECK = sg.HealthCheckConfig(interval=10.0, jitter=0.0, unhealthy_threshold=1, healthy_threshold=1)
ONE = source("one")


@pytest.fixture
def scripted(monkeypatch):
    return Scripted(monkeypatch)


def config(*sources, **fields):
    return sg.ServiceConfig("svc", sources=sources, retry=ONCE, **fields)


async def known(upstream):
    """Id -> weight, and who says so."""
    return {one.id: (one.weight, one.sources) for one in await upstream.runtime.registry.discover("svc")}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("health", list(sg.HealthStatus))
async def test_every_row_of_the_matrix(scripted, autojump_clock, named, health) -> None:
    answers = {"healthy": 200, "unhealthy": 503, "unknown": hang}

    def answer(request):
        return answers[health] if request.url.path == "/health" else 200

    fields = {"instances": (), "sources": [ONE], "health_check": CHECK, "panic_threshold": 0.0}
    async with running(answer, **fields) as (service, upstream):
        await scripted.say("one", {"a": 1.0})
        await trio.sleep(0 if health == "unknown" else 11)
        assert [one.health for one in await upstream.runtime.registry.discover("svc")] == [health]
        if not named:
            await scripted.say("one", {})
        fate = FATES[named, health]
        assert list(await known(upstream)) == ([] if fate is Fate.DELETE else ["a"])
        assert (await service.try_request("GET", "/")).success is (fate is Fate.ROUTE)


async def test_what_is_absent_goes_when_it_fails_its_check_and_comes_back_as_a_new_one(
    scripted, autojump_clock
) -> None:
    answers = [200]

    def answer(request):
        return answers[-1] if request.url.path == "/health" else 200

    async with running(answer, instances=(), sources=[ONE], health_check=CHECK) as (service, upstream):
        await scripted.say("one", {"a": 1.0})
        await trio.sleep(11)
        await scripted.say("one", {})
        await trio.sleep(100)
        assert await known(upstream) == {"a": (1.0, ())}
        assert (await service.get("/")).success
        async with upstream.runtime.events() as events:
            answers.append(503)
            await trio.sleep(11)
            assert await known(upstream) == {}
            assert [one.instance for one in drain(events) if isinstance(one, InstanceDeregistered)] == ["a"]
        answers.append(hang)
        await scripted.say("one", {"a": 1.0})
        (back,) = await upstream.runtime.registry.discover("svc")
        assert back.health is sg.HealthStatus.UNKNOWN


@pytest.mark.parametrize("how", ["deregistered", "not checked any more", "source removed", "named again"])
async def test_what_is_kept_for_its_health_can_be_taken_away(scripted, autojump_clock, how) -> None:
    async with running(200, instances=(), sources=[ONE], health_check=CHECK) as (_, upstream):
        runtime = upstream.runtime
        await scripted.say("one", {"a": 1.0})
        await trio.sleep(11)
        if how == "source removed":
            await runtime.reconfigure("svc", config(health_check=CHECK))
        else:
            await scripted.say("one", {})
            assert await known(upstream) == {"a": (1.0, ())}
        if how == "deregistered":
            assert await runtime.registry.deregister("svc", "a")
        if how == "not checked any more":
            await runtime.reconfigure("svc", config(ONE))
        if how == "named again":
            await scripted.say("one", {"a": 5.0})
        assert await known(upstream) == ({"a": (5.0, ("one",))} if how == "named again" else {})
