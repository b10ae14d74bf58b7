"""Instances whose calls fail get none for a while: ejection and its way back, in a running service and virtual time."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from support.service import ONCE, after, drain, hang, outcome_of, running

import switchgear as sg
from switchgear.actors.events import InstanceEjected, InstanceReturned

OFF = sg.BreakerConfig(enabled=False)  # that of the service would open, and hide what is looked at here
NAMES = "abcdefghij"


def fleet(n):
    return tuple(sg.InstanceConfig(f"http://{name}.test", name) for name in NAMES[:n])


def eject(**fields):
    return sg.OutlierConfig(**{"jitter": 0.0, **fields})


def unless(bad, good=200, otherwise=500):
    """An upstream of which the hosts in ``bad``, which may change, answer otherwise."""

    def answer(request):
        return otherwise if request.url.host[0] in bad else good

    return answer


def robin(answer, n=3, **fields):
    fields = {"outlier": eject(), "balancer": "round_robin", "breaker": OFF, "instances": fleet(n), **fields}
    return running(answer, **fields)


async def calls(service, upstream, n, **options):
    """So many calls; how many came to each instance."""
    upstream.requests.clear()
    for _ in range(n):
        await service.try_request("GET", "/", **options)
    return Counter(request.url.host[0] for request in upstream.requests)


def told(events):
    kinds = {InstanceEjected: "out", InstanceReturned: "back"}
    return [(kinds[type(one)], one.instance, one.reason) for one in drain(events) if type(one) in kinds]


async def test_after_five_failures_in_a_row_it_gets_none_and_later_one_as_its_trial(autojump_clock) -> None:
    bad = {"b"}
    async with robin(unless(bad)) as (service, upstream), upstream.runtime.events() as events:
        assert (await calls(service, upstream, 60))["b"] == 5
        assert service.instances.ejected == {"b": pytest.approx(30.0)}
        assert service.instances.used == ("a", "c")
        await trio.sleep(30)
        assert (await calls(service, upstream, 60))["b"] == 1
        await trio.sleep(60)
        bad.clear()
        assert (await calls(service, upstream, 61))["b"] == 21
        assert told(events) == [
            ("out", "b", "5 failures in a row"),
            ("out", "b", "its trial failed"),
            ("back", "b", "its trial succeeded"),
        ]


async def test_an_ejection_says_how_it_came_and_how_long_it_lasts(autojump_clock) -> None:
    async with robin(unless("b")) as (service, upstream), upstream.runtime.events() as events:
        await calls(service, upstream, 15)
        (event,) = [one for one in drain(events) if isinstance(one, InstanceEjected)]
        assert (event.service, event.seconds, event.calls, event.failures, event.ejections) == ("svc", 30.0, 5, 5, 1)


async def test_one_call_is_the_trial_and_others_do_not_wait_for_it(autojump_clock) -> None:
    async with robin(unless("b", otherwise=after(9.0, 500))) as (service, upstream):
        await calls(service, upstream, 60)
        await trio.sleep(30)
        upstream.requests.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(outcome_of, service.get("/"))
        assert Counter(request.url.host[0] for request in upstream.requests)["b"] == 1


async def test_a_trial_that_its_caller_gives_up_says_nothing(autojump_clock) -> None:
    steps = {"b": 500}
    async with robin(lambda request: steps.get(request.url.host[0], 200)) as (service, upstream):
        await calls(service, upstream, 60)
        steps["b"] = hang
        await trio.sleep(30)
        async with upstream.runtime.events() as events:
            with trio.move_on_after(1):
                await service.get("/")
            assert told(events) == []
            steps["b"] = 200
            await service.get("/")
            assert told(events) == [("back", "b", "its trial succeeded")]


async def test_no_retry_is_spent_on_a_trial(autojump_clock) -> None:
    bad = {"b"}
    twice = sg.RetryPolicy(max_attempts=2, base_delay=0.0, budget=None, statuses=(500,))
    async with robin(unless(bad), retry=twice) as (service, upstream):
        await calls(service, upstream, 60)
        await trio.sleep(30)
        upstream.requests.clear()
        assert (await service.get("/")).attempts == 2  # the first was the trial
        bad |= {"a", "c"}
        await trio.sleep(60)
        upstream.requests.clear()
        await service.try_request("GET", "/")
        first, second = (request.url.host[0] for request in upstream.requests)
        assert first == "b" != second


@pytest.mark.parametrize("reset", [5.0, 30.0, 300.0])
async def test_a_trial_waits_for_the_breaker_of_its_instance_and_costs_no_call(autojump_clock, reset) -> None:
    """Whichever of the two is over first: no call is refused for it, one goes there when both are, and it is back."""
    bad = {"b"}
    each = sg.BreakerConfig(failure_threshold=5, reset_timeout=reset)
    async with robin(unless(bad), breaker=each) as (service, upstream), upstream.runtime.events() as events:
        assert (await calls(service, upstream, 60))["b"] == 5
        assert (service.breakers["b"], service.instances.ejected.keys()) == ("open", {"b"})
        both = max(reset, 30.0)
        for wait, expected in ((both - 1, 0), (2, 1)):
            await trio.sleep(wait)
            upstream.requests.clear()
            ends = [await service.try_request("GET", "/") for _ in range(20)]
            came = Counter(request.url.host[0] for request in upstream.requests)
            assert (came["b"], sum(not end.success for end in ends)) == (expected, expected)
            assert sum(came.values()) == 20
        bad.clear()
        await trio.sleep(max(reset, 60.0))
        ends = [await service.try_request("GET", "/") for _ in range(20)]
        assert all(end.success for end in ends)
        assert (service.breakers["b"], service.instances.ejected) == ("closed", {})
        assert told(events)[-1] == ("back", "b", "its trial succeeded")


async def test_the_last_one_is_never_ejected_nor_a_lone_one(autojump_clock) -> None:
    async with robin(unless("ab"), n=2) as (service, upstream):
        await calls(service, upstream, 40)
        assert len(service.instances.used) == len(service.instances.ejected) == 1
    async with robin(500, n=1) as (service, upstream):
        assert (await calls(service, upstream, 40)) == {"a": 40}
        assert not service.instances.ejected


async def test_what_is_ejected_stays_so_through_a_crash_and_a_new_configuration(autojump_clock) -> None:
    async with robin(unless("b")) as (service, upstream):
        await calls(service, upstream, 60)
        await service._ref.tell("no message of yours")
        await trio.sleep(5)
        assert "b" not in await calls(service, upstream, 60)
        other = sg.ServiceConfig(
            "svc", instances=fleet(3), balancer="weighted_random", breaker=OFF, retry=ONCE, outlier=eject(interval=5.0)
        )
        await upstream.runtime.reconfigure("svc", other)
        assert "b" not in await calls(service, upstream, 60)


async def test_it_can_be_switched_off_and_who_was_out_comes_back(autojump_clock) -> None:
    async with robin(unless("b")) as (service, upstream), upstream.runtime.events() as events:
        await calls(service, upstream, 60)
        off = sg.ServiceConfig("svc", instances=fleet(3), balancer="round_robin", breaker=OFF, retry=ONCE, outlier=None)
        await upstream.runtime.reconfigure("svc", off)
        assert (await calls(service, upstream, 60))["b"] == 20
        assert told(events)[1:] == [("back", "b", "ejection is switched off")]
        assert not service.instances.ejected


async def test_registering_it_again_does_not_bring_it_back_and_deregistering_forgets(autojump_clock) -> None:
    async with robin(unless("b")) as (service, upstream):
        registry = upstream.runtime.registry
        await calls(service, upstream, 60)
        await registry.register(sg.ServiceInstance("b", "svc", endpoint="http://b.test", weight=3.0))
        assert "b" not in await calls(service, upstream, 60)
        assert await registry.deregister("svc", "b")
        await service.get("/")
        assert not service.instances.ejected


async def test_four_hundreds_are_no_failures_and_timeouts_are(autojump_clock) -> None:
    async with robin(unless("b", otherwise=404)) as (service, upstream):
        assert (await calls(service, upstream, 60))["b"] == 20
    async with robin(unless("b", otherwise=hang), timeout=sg.TimeoutConfig(attempt=1.0)) as (service, upstream):
        assert (await calls(service, upstream, 60))["b"] == 5
    async with robin(unless("b", otherwise=hang)) as (service, upstream):
        assert (await calls(service, upstream, 30, timeout=1.0))["b"] == 5  # the call's own time, too


async def test_a_stream_has_passed_its_trial_with_its_head(autojump_clock) -> None:
    bad = {"b"}
    async with robin(unless(bad)) as (service, upstream), upstream.runtime.events() as events:
        await calls(service, upstream, 60)
        bad.clear()
        await trio.sleep(30)
        async with service.stream("GET", "/"):
            assert [what for what, *_ in told(events)] == ["out", "back"]


async def test_a_passing_check_after_failing_ones_brings_it_back_at_once(autojump_clock) -> None:
    ill, bad = {"b"}, {"b"}

    def answer(request):
        return 500 if request.url.host[0] in (ill if request.url.path == "/health" else bad) else 200

    check = sg.HealthCheckConfig(interval=1.0, jitter=0.0, unhealthy_threshold=1, healthy_threshold=1)
    ill.clear()
    async with robin(answer, health_check=check) as (service, upstream), upstream.runtime.events() as events:
        await trio.sleep(0.5)
        await calls(service, upstream, 60)
        await trio.sleep(1)
        assert "b" not in await calls(service, upstream, 60)  # a check that passes all the time says nothing new
        ill.add("b")
        await trio.sleep(1)
        assert "b" not in await calls(service, upstream, 60)
        ill.clear()
        bad.clear()
        await trio.sleep(1)
        assert (await calls(service, upstream, 60))["b"] == 20
        assert told(events)[1:] == [("back", "b", "it passes its health checks again")]


@pytest.mark.parametrize("fields", [{}, {"balancer": "round_robin", "breaker": OFF}], ids=["defaults", "round robin"])
async def test_a_black_hole_among_ten_costs_a_thousandth_at_most(autojump_clock, fields) -> None:
    """It fails in 2 ms where the others take 50: as a fast one it would draw calls (20 % of all, without a penalty)."""

    async def answer(request):
        hole = request.url.host[0] == "e"
        await trio.sleep(0.002 if hole else 0.05)
        return 500 if hole else 200

    failed = 0
    async with running(answer, instances=fleet(10), **fields) as (service, _):

        async def one():
            nonlocal failed
            failed += not (await service.try_request("GET", "/")).success

        async with trio.open_nursery() as nursery:
            for _ in range(6000):
                nursery.start_soon(one)
                await trio.sleep(0.005)
    assert failed <= 6


async def test_one_that_flaps_changes_who_is_used_less_than_once_an_interval(autojump_clock) -> None:
    def answer(request):
        return 500 if request.url.host[0] == "b" and trio.current_time() % 2 >= 1 else 200

    async with robin(answer, outlier=sg.OutlierConfig()) as (service, upstream), upstream.runtime.events() as events:
        for _ in range(3000):
            await service.try_request("GET", "/")
            await trio.sleep(0.05)
        changes = [one for one in told(events) if one[2] != "its trial failed"]
        assert 0 < len(changes) <= 15  # 150 seconds, in intervals of 10
