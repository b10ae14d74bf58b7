"""Sources: what several of them say is put together, what one of them loses is kept, and none is in another's way."""

from __future__ import annotations

import pytest
import trio
from support.service import ONCE, QUIET, Upstream, drain, running
from support.sources import Scripted, instances, source

import switchgear as sg
from switchgear.actors.events import InstanceDeregistered, InstanceRegistered, SourceDown, SourceRecovered
from switchgear.actors.registry.records import Sourced, SourceFailed

CHECK = sg.HealthCheckConfig(interval=10.0, jitter=0.0, unhealthy_threshold=1, healthy_threshold=1)
ONE, TWO = source("one"), source("two")


@pytest.fixture
def scripted(monkeypatch):
    return Scripted(monkeypatch)


def config(*sources, **fields):
    return sg.ServiceConfig("svc", sources=sources, retry=ONCE, **fields)


async def known(upstream):
    """Id -> weight, and who says so."""
    return {one.id: (one.weight, one.sources) for one in await upstream.runtime.registry.discover("svc")}


async def statuses(upstream):
    return {one.name: one for one in await upstream.runtime.registry.sources("svc")}


# ---- one source


async def test_what_a_source_names_gets_calls_and_what_it_names_no_more_gets_none(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE], version="7") as (service, upstream):
        await scripted.say("one", {"a": 1.0, "b": 2.0})
        assert await known(upstream) == {"a": (1.0, ("one",)), "b": (2.0, ("one",))}
        assert {one.version for one in await upstream.runtime.registry.discover("svc")} == {"7"}
        await scripted.say("one", {"b": 2.0})
        assert await known(upstream) == {"b": (2.0, ("one",))}
        await service.get("/")
        assert upstream.requests[-1].url.host == "b.test"
        await scripted.say("one", {})
        with pytest.raises(sg.NoHealthyInstances):
            await service.get("/")


async def test_a_set_is_one_change_and_the_same_set_is_none(scripted, autojump_clock) -> None:
    async with (
        running(200, instances=(), sources=[ONE]) as (_, upstream),
        upstream.runtime.registry.watch("svc") as changes,
    ):
        first = await anext(changes)
        await scripted.say("one", {"a": 1.0, "b": 1.0})
        assert (await anext(changes)).version == first.version + 1
        await scripted.say("one", {"a": 1.0, "b": 1.0})
        await scripted.say("one", None)
        await scripted.say("one", {"b": 3.0, "c": 1.0})
        third = await anext(changes)
        assert third.version == first.version + 2
        assert {one.id: one.weight for one in third.instances} == {"b": 3.0, "c": 1.0}


async def test_of_two_instances_with_one_id_the_first_counts(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE]) as (_, upstream):
        await scripted.say_exactly("one", instances({"a": 1.0}) + instances({"a": 5.0}) + instances({"b": 1.0}))
        assert await known(upstream) == {"a": (1.0, ("one",)), "b": (1.0, ("one",))}
        assert (await statuses(upstream))["one"].instances == 2


async def test_an_instance_may_say_its_version_and_address(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE], version="7") as (_, upstream):
        await scripted.say_exactly("one", [sg.InstanceConfig("http://a.test", version="8", address="10.0.0.1")])
        (only,) = await upstream.runtime.registry.discover("svc")
        assert (only.id, only.version, only.address) == ("http://a.test", "8", "10.0.0.1")


async def test_what_may_not_be_called_without_a_certificate_is_left_out(scripted, autojump_clock) -> None:
    unverified = sg.TLSConfig(verify=False)
    async with running(200, instances=(), sources=[ONE], tls=unverified) as (_, upstream):
        far, near = sg.InstanceConfig("https://far.test"), sg.InstanceConfig("https://localhost:1")
        await scripted.say_exactly("one", [far, near])
        assert list(await known(upstream)) == ["https://localhost:1"]
        status = (await statuses(upstream))["one"]
        assert not status.ok
        assert "1 of 2 instances are left out: tls.verify" in status.error


async def test_what_was_found_before_certificates_were_given_up_is_not_called_without_them(
    scripted, autojump_clock
) -> None:
    async with running(200, instances=(), sources=[ONE]) as (service, upstream):
        await scripted.say_exactly("one", [sg.InstanceConfig("https://far.test")])
        assert (await service.get("/")).success
        await upstream.runtime.reconfigure("svc", config(ONE, tls=sg.TLSConfig(verify=False)))
        with pytest.raises(sg.ConfigError, match="verify = false is only for services on this machine"):
            await service.get("/")
        assert len(upstream.requests) == 1


# ---- several


async def test_an_instance_lives_while_anybody_names_it(scripted, autojump_clock) -> None:
    static = (sg.InstanceConfig("http://a.test", "a", 2.0),)
    async with running(200, instances=static, sources=[ONE, TWO]) as (_, upstream):
        registry = upstream.runtime.registry
        async with upstream.runtime.events() as events:
            await scripted.say("two", {"a": 4.0})
            await scripted.say("one", {"a": 3.0})
            await registry.register(sg.ServiceInstance("a", "svc", endpoint="http://a.test", weight=1.0))
            assert await known(upstream) == {"a": (1.0, ("registered", "static", "one", "two"))}
            assert await registry.deregister("svc", "a")  # that, and what the configuration says
            assert await known(upstream) == {"a": (3.0, ("one", "two"))}
            assert not await registry.deregister("svc", "a")  # it is not ours to take away
            await scripted.say("one", {})
            assert await known(upstream) == {"a": (4.0, ("two",))}
            assert not [one for one in drain(events) if isinstance(one, (InstanceRegistered, InstanceDeregistered))]
            await scripted.say("two", {})
            assert await known(upstream) == {}
            assert [one.instance for one in drain(events) if isinstance(one, InstanceDeregistered)] == ["a"]


async def test_who_registers_a_weight_of_zero_takes_out_what_a_source_names(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE]) as (service, upstream):
        await scripted.say("one", {"a": 1.0, "b": 1.0})
        await upstream.runtime.registry.register(sg.ServiceInstance("a", "svc", endpoint="http://a.test", weight=0.0))
        for _ in range(20):
            await service.get("/")
        assert {one.url.host for one in upstream.requests} == {"b.test"}


async def test_health_and_the_first_registration_survive_whoever_names_it(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE, TWO], health_check=CHECK) as (_, upstream):
        await scripted.say("one", {"a": 1.0})
        await trio.sleep(11)
        (first,) = await upstream.runtime.registry.discover("svc")
        await scripted.say("two", {"a": 2.0})
        await scripted.say("one", {})
        (then,) = await upstream.runtime.registry.discover("svc")
        assert (then.health, then.registered_at, then.weight) == (sg.HealthStatus.HEALTHY, first.registered_at, 2.0)


# ---- outages


async def test_a_source_that_is_down_keeps_its_last_good_set_and_says_how_old_it_is(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE]) as (service, upstream):
        assert (await statuses(upstream))["one"] == sg.SourceStatus("one", 0, None, None)
        assert not (await statuses(upstream))["one"].ok
        await scripted.say("one", {"a": 1.0})
        async with upstream.runtime.events() as events:
            await trio.sleep(3)
            assert (await statuses(upstream))["one"] == sg.SourceStatus("one", 1, None, 3.0)
            await scripted.say("one", None)
            assert (await statuses(upstream))["one"].age == 0.0
            await scripted.fail("one", "no answer")
            await trio.sleep(5)
            await scripted.fail("one", "still no answer")
            assert (await statuses(upstream))["one"] == sg.SourceStatus("one", 1, "still no answer", 5.0)
            assert not (await statuses(upstream))["one"].ok
            assert (await service.get("/")).success
            await scripted.say("one", None)
            assert (await statuses(upstream))["one"].ok
            told = [one for one in drain(events) if isinstance(one, (SourceDown, SourceRecovered))]
        assert [(type(one), one.service, one.source, one.instances) for one in told] == [
            (SourceDown, "svc", "one", 1),
            (SourceRecovered, "svc", "one", 1),
        ]
        assert told[0].error == "no answer"


async def test_a_crash_restarts_that_source_with_backoff_and_nothing_else(scripted, autojump_clock) -> None:
    other = sg.ServiceConfig("other", sources=[source("three")])
    async with running(200, instances=(), sources=[ONE, TWO], others=[other]) as (service, upstream):
        await scripted.say("one", {"a": 1.0})
        await scripted.say("two", {"b": 1.0})
        for _ in range(20):  # far more than a supervisor with an intensity would stand
            await scripted.crash("one")
            status = (await statuses(upstream))["one"]
            assert (status.ok, status.instances) == (False, 1)
            assert "it has crashed (ZeroDivisionError)" in status.error
            assert (await service.get("/")).success
            await trio.sleep(31)
        assert scripted.lives == {"one": 21, "two": 1, "three": 1}
        assert scripted.running == {"one": 1, "two": 1, "three": 1}
        assert scripted.memories[:3] == [None, None, None]
        assert scripted.memories[3:] == list(range(1, 21))  # what it wanted to know in its next life
        assert await known(upstream) == {"a": (1.0, ("one",)), "b": (1.0, ("two",))}
        assert upstream.runtime.tree().find("/sources/svc:one").restarts == 20
        assert upstream.runtime.tree().find("/registry").restarts == 0
        await scripted.say("one", {"c": 1.0})
        assert await known(upstream) == {"b": (1.0, ("two",)), "c": (1.0, ("one",))}
        assert (await statuses(upstream))["one"].ok


async def test_a_crash_of_the_registry_keeps_what_the_sources_said(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE]) as (_, upstream):
        await scripted.say("one", {"a": 1.0})
        await scripted.fail("one", "no answer")
        await upstream.runtime.registry._ref.tell("no message of yours")
        await trio.sleep(1)
        assert await known(upstream) == {"a": (1.0, ("one",))}
        assert (await statuses(upstream))["one"] == sg.SourceStatus("one", 1, "no answer", 1.0)
        await scripted.say("one", {"b": 1.0})
        assert await known(upstream) == {"b": (1.0, ("one",))}


async def test_a_crash_of_the_registry_with_a_sources_word_in_hand_is_no_crash_of_the_source(
    scripted, autojump_clock
) -> None:
    async with running(200, instances=(), sources=[ONE]) as (_, upstream), upstream.runtime.events() as events:
        registry = upstream.runtime.registry._ref
        async with trio.open_nursery() as nursery:  # so that it has several messages in hand
            for _ in range(3):
                nursery.start_soon(upstream.runtime.registry.health_check, "svc")

        async def say(publish):
            registry.tell_nowait("no message of yours")
            await publish(instances({"a": 1.0}))

        await scripted._do("one", say)
        await trio.sleep(1)
        assert upstream.runtime.tree().find("/registry").restarts == 1
        assert await known(upstream) == {"a": (1.0, ("one",))}
        assert scripted.lives == {"one": 1}
        assert not [one for one in drain(events) if isinstance(one, SourceDown)]


# ---- start, stop, change


async def test_a_start_waits_for_the_first_words_so_that_the_first_call_succeeds(monkeypatch, autojump_clock) -> None:
    Scripted(monkeypatch, first={"one": {"a": 1.0}})
    async with running(200, instances=(), sources=[ONE]) as (service, upstream):
        assert (await service.get("/")).success
        await upstream.runtime.add_service(sg.ServiceConfig("new", sources=[ONE]))


async def test_sources_that_say_nothing_hold_up_the_start_for_five_seconds_in_all(scripted, autojump_clock) -> None:
    services = tuple(sg.ServiceConfig(f"s{n}", sources=[ONE, TWO]) for n in range(10))
    began = trio.current_time()
    async with sg.open_runtime(sg.RuntimeConfig(services, metrics=QUIET), transport=Upstream(200)):
        assert trio.current_time() - began == 5.0


async def test_a_source_that_says_nothing_does_not_hold_up_another_service(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE]) as (_, upstream):
        began = trio.current_time()
        await upstream.runtime.add_service(sg.ServiceConfig("new", "http://new.test"))
        assert trio.current_time() == began


async def test_sources_come_and_go_with_configurations_and_services(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE, TWO]) as (_, upstream):
        runtime = upstream.runtime
        await scripted.say("one", {"a": 1.0})
        await scripted.say("two", {"b": 1.0})
        await runtime.reconfigure("svc", config(TWO, source("three")))
        assert await known(upstream) == {"b": (1.0, ("two",))}
        assert {name for name, number in scripted.running.items() if number} == {"two", "three"}
        assert [one.name for one in await runtime.registry.sources("svc")] == ["two", "three"]
        assert scripted.lives["two"] == 1  # nothing has changed for it
        moved = sg.FileSource("elsewhere.toml", name="two")
        await runtime.reconfigure("svc", config(moved))
        await trio.testing.wait_all_tasks_blocked()
        assert scripted.lives["two"] == 2
        assert await known(upstream) == {"b": (1.0, ("two",))}  # until the new one says otherwise
        await runtime.remove_service("svc")
        assert not +scripted.running
        assert runtime.tree().find("/sources").children == ()
        await runtime.add_service(config(ONE))
        await scripted.say("one", {"z": 1.0})
        assert await known(upstream) == {"z": (1.0, ("one",))}


async def test_what_is_known_stays_until_a_source_that_replaces_another_has_spoken(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE]) as (service, upstream), trio.open_nursery() as nursery:
        await scripted.say("one", {"a": 1.0})
        nursery.start_soon(upstream.runtime.reconfigure, "svc", config(TWO))
        await trio.sleep(4)
        assert (await service.get("/")).success
        await scripted.say("two", {"b": 1.0})
        assert await known(upstream) == {"b": (1.0, ("two",))}
        assert scripted.running == {"one": 0, "two": 1}


async def test_a_source_that_says_nothing_holds_up_a_configuration_for_five_seconds(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE]) as (_, upstream):
        await scripted.say("one", {"a": 1.0})
        began = trio.current_time()
        await upstream.runtime.reconfigure("svc", config(TWO))
        assert trio.current_time() - began == 5.0
        assert await known(upstream) == {}
        await upstream.runtime.reconfigure("svc", config(TWO))  # nothing new to wait for
        assert trio.current_time() - began == 5.0


async def test_a_configuration_that_is_given_up_meanwhile_leaves_all_as_it_was(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE]) as (_, upstream):
        await scripted.say("one", {"a": 1.0})
        with trio.move_on_after(1):
            await upstream.runtime.reconfigure("svc", config(TWO))
        assert await known(upstream) == {"a": (1.0, ("one",))}
        assert [one.name for one in await upstream.runtime.registry.sources("svc")] == ["one"]
        assert scripted.running == {"one": 1, "two": 0}
        await upstream.runtime.reconfigure("svc", config(ONE))


async def test_a_configuration_that_is_given_up_as_the_runtime_ends_is_a_cancellation(
    scripted, monkeypatch, autojump_clock
) -> None:
    async def ended(_):
        raise sg.ShuttingDown("the runtime has ended")

    async with running(200, instances=(), sources=[ONE]) as (_, upstream), trio.open_nursery() as nursery:
        await scripted.say("one", {"a": 1.0})
        nursery.start_soon(upstream.runtime.reconfigure, "svc", config(TWO))
        await trio.testing.wait_all_tasks_blocked()
        monkeypatch.setattr(upstream.runtime.registry, "configure", ended)
        nursery.cancel_scope.cancel()  # if anything but this came out, the block would not end quietly


async def test_another_order_is_another_belief(scripted, autojump_clock) -> None:
    async with running(200, instances=(), sources=[ONE, TWO]) as (_, upstream):
        await scripted.say("one", {"a": 1.0})
        await scripted.say("two", {"a": 2.0})
        await upstream.runtime.reconfigure("svc", config(TWO, ONE))
        assert await known(upstream) == {"a": (2.0, ("two", "one"))}


async def test_a_runtime_without_sources_has_no_supervisor_for_them() -> None:
    async with running(200) as (_, upstream):
        assert upstream.runtime.tree().find("/sources") is None
        assert await upstream.runtime.registry.sources("svc") == ()


async def test_unknown_services_have_no_sources() -> None:
    async with running(200) as (_, upstream):
        with pytest.raises(sg.UnknownService):
            await upstream.runtime.registry.sources("nope")


async def test_after_the_end_a_new_source_is_refused(scripted) -> None:
    async with running(200) as (_, upstream):
        runtime = upstream.runtime
    with pytest.raises(sg.ShuttingDown):
        await runtime.add_service(sg.ServiceConfig("new", sources=[ONE]))


# ---- configuration


@pytest.mark.parametrize(
    ("endpoint", "address", "told"),
    [("http://a.test", "a.test", "must be an IP address"), ("http://localhost", "10.0.0.1", "is on this machine")],
)
def test_an_address_that_is_none_is_refused(endpoint, address, told) -> None:
    with pytest.raises(sg.ConfigError, match=f"address: .*{told}"):
        sg.InstanceConfig(endpoint, address=address)


def test_sources_are_told_apart_by_name() -> None:
    with pytest.raises(sg.ConfigError, match=r"sources\[1\].name: 'file' is that of another source"):
        config(sg.FileSource("a.toml"), sg.FileSource("b.toml"))
    for name in ("static", "registered"):
        with pytest.raises(sg.ConfigError, match=r"sources\[0\].name: .* is ours"):
            config(source(name))


@pytest.mark.parametrize("path", ["", "a.yaml", "a", "a\0.toml"])
def test_a_file_of_instances_is_toml_or_json(path) -> None:
    with pytest.raises(sg.ConfigError, match="path"):
        sg.FileSource(path)


def test_sources_come_from_a_file_or_a_dict() -> None:
    loaded = sg.load_config(
        {"services": [{"name": "svc", "sources": [{"type": "file", "path": "a.json", "interval": 2}]}]}
    )
    assert loaded.services[0].sources == (sg.FileSource("a.json", 2.0),)
    with pytest.raises(sg.ConfigError, match=r"sources\[0\].type: must be one of"):
        sg.load_config({"services": [{"name": "svc", "sources": [{"type": "magic"}]}]})


async def test_only_who_is_heard_of_is_seen(scripted, autojump_clock) -> None:
    """A registration, a heartbeat and a check that is passed say that it is there; a word about others does not."""
    async with running(200, instances=(), sources=[ONE, TWO]) as (_, upstream):
        registry = upstream.runtime.registry
        await scripted.say("one", {"a": 1.0})
        (first,) = await registry.discover("svc")
        await trio.sleep(5)
        await scripted.say("one", {"a": 1.0, "b": 1.0})
        await scripted.say("two", {"a": 1.0})
        await upstream.runtime.reconfigure("svc", config(TWO, ONE))
        assert {one.id: one.last_seen - first.last_seen for one in await registry.discover("svc")} == {
            "a": 0.0,
            "b": pytest.approx(5.0),
        }


async def test_the_last_words_of_what_has_gone_are_heard_by_nobody(scripted, autojump_clock) -> None:
    """As when a source speaks in the very moment in which its service is removed."""
    async with running(200, instances=(), sources=[ONE]) as (_, upstream):
        ref = upstream.runtime.registry._ref
        for service, name in (("svc", "two"), ("gone", "one")):
            await ref.ask(Sourced(service, name, tuple(instances({"a": 1.0}))))
            await ref.ask(SourceFailed(service, name, "no answer"))
        assert await known(upstream) == {}
        assert list(await statuses(upstream)) == ["one"]
