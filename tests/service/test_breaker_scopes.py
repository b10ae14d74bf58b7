"""Breakers of single instances, and of single operations."""

from __future__ import annotations

import msgspec
import pytest
import trio
from support.service import BALANCERS, BASE, ONCE, Upstream, after, drain, hang, outcome_of, running

import switchgear as sg
from switchgear.actors.machines.breaker import CircuitBreaker

A, B, C = (sg.InstanceConfig(f"http://{name}.test", id=name) for name in "abc")
EACH = sg.BreakerConfig(failure_threshold=2, reset_timeout=10.0, scope="instance")
OPERATIONS = sg.BreakerConfig(failure_threshold=2, reset_timeout=10.0, scope="operation")


def broken(*hosts):
    """Those fail, the others answer."""
    return lambda request: 500 if request.url.host.partition(".")[0] in hosts else 200


def hosts(upstream):
    return [request.url.host[0] for request in upstream.requests]


async def test_a_broken_instance_is_left_out_and_the_others_are_called(autojump_clock) -> None:
    async with running(broken("a"), instances=(A, B, C), breaker=EACH) as (service, upstream):
        ends = [await outcome_of(service.get("/")) for _ in range(60)]
        assert sum(isinstance(end, sg.ServiceError) for end in ends) == 2
        assert hosts(upstream).count("a") == 2
        assert (service.breaker, service.breakers) == ("closed", {"a": "open", "b": "closed", "c": "closed"})


@pytest.mark.parametrize("balancer", BALANCERS)
async def test_all_open_is_open_with_the_earliest_trial(balancer, autojump_clock) -> None:
    async with running(500, instances=(A, B), breaker=EACH, balancer=balancer) as (service, upstream):
        while service.breaker == "closed":
            await outcome_of(service.get("/"))
            await trio.sleep(1)
        sent = len(upstream.requests)
        error = await outcome_of(service.get("/"))
        assert isinstance(error, sg.CircuitOpen)
        assert set(service.breakers.values()) == {"open"}
        await trio.sleep(error.retry_at - trio.current_time())
        assert len(upstream.requests) == sent
        assert (await outcome_of(service.get("/"))).status == 500  # a trial


MANY = tuple(sg.InstanceConfig(f"http://{name}.test", id=name) for name in "abcdefghijkl")
SHUT = {"instances": MANY, "breaker": sg.BreakerConfig(failure_threshold=1, reset_timeout=10.0, scope="instance")}


async def shut(service, upstream):
    """Call until all of them are open; when the first was called, and the error of who came after."""
    error = None
    while not isinstance(error, sg.CircuitOpen):
        await trio.sleep(0.1)
        error = await outcome_of(service.get("/"))
    assert len(upstream.requests) == len(MANY)
    assert error.retry_at == pytest.approx(upstream.times[0] + 10)
    return upstream.times[0]


async def asked(service, monkeypatch):
    """How often a breaker is asked in one call, and what comes of it."""
    calls = []
    for name in ("try_acquire", "retry_at"):
        real = getattr(CircuitBreaker, name)
        monkeypatch.setattr(CircuitBreaker, name, lambda *args, real=real: (calls.append(1), real(*args))[1])
    end = await outcome_of(service.get("/"))
    monkeypatch.undo()
    return len(calls), end


async def test_where_all_of_many_are_open_that_is_found_once_and_not_by_each_call(autojump_clock, monkeypatch) -> None:
    async with running(500, outlier=None, **SHUT) as (service, upstream):
        began = await shut(service, upstream)
        times, error = await asked(service, monkeypatch)
        assert (times, type(error), error.retry_at) == (1, sg.CircuitOpen, pytest.approx(began + 10))
        await trio.sleep_until(began + 10)
        assert (await outcome_of(service.get("/"))).status == 500  # the trial of the one that is due
        assert [request.url for request in upstream.requests[:1]] == [request.url for request in upstream.requests[12:]]


@pytest.mark.parametrize("news", ["instance", "weight", "gone", "operator", "configuration"])
async def test_news_end_what_was_found(news, autojump_clock) -> None:
    def step(request):
        return 200 if len(upstream.requests) > len(MANY) else 500

    upstream = Upstream(step)
    async with running(transport=upstream, outlier=None, **SHUT) as (service, _):
        await shut(service, upstream)
        runtime, first = upstream.runtime, hosts(upstream)[0]
        match news:
            case "instance":
                await runtime.registry.register(sg.ServiceInstance("new", "svc", endpoint="http://new.test"))
            case "weight":
                await runtime.registry.register(
                    sg.ServiceInstance(first, "svc", endpoint=f"http://{first}.test", weight=0.0)
                )
            case "gone":
                await runtime.registry.deregister("svc", first)
            case "operator":
                service.force_breaker("closed")
            case "configuration":
                off = msgspec.structs.replace(service.config, breaker=sg.BreakerConfig(enabled=False, scope="instance"))
                await runtime.reconfigure("svc", off)
        ends = [await outcome_of(service.get("/")) for _ in range(50)]
        if news in {"weight", "gone"}:  # the earliest trial was that one's
            assert [end.retry_at for end in ends] == [pytest.approx(upstream.times[1] + 10)] * 50
        else:
            assert all(end.success for end in ends)


async def test_a_place_that_is_given_back_is_found_though_all_were_taken_before(autojump_clock) -> None:
    def step(request):
        return 500 if len(upstream.requests) <= len(MANY) else hang(request)

    upstream = Upstream(step)
    fields = SHUT | {"balancer": "weighted_random", "outlier": None}  # p2c would go there by itself
    async with running(transport=upstream, **fields) as (service, _), trio.open_nursery() as nursery:
        await shut(service, upstream)
        await trio.sleep(10)
        first = await nursery.start(cancellable, service)
        for _ in MANY[1:]:
            await nursery.start(cancellable, service)
        await trio.testing.wait_all_tasks_blocked()
        assert upstream.running == len(MANY)  # the trials of all
        assert isinstance(await outcome_of(service.get("/")), sg.CircuitOpen)
        first.cancel()
        await nursery.start(cancellable, service)
        await trio.testing.wait_all_tasks_blocked()
        assert upstream.running == len(MANY)
        nursery.cancel_scope.cancel()


async def test_what_an_operator_lets_go_is_not_taken_for_shut(autojump_clock) -> None:
    async with running(broken("a"), outlier=None, **SHUT) as (service, _):
        for _ in range(100):
            await outcome_of(service.get("/"))
        service.force_breaker("open")
        assert (await outcome_of(service.get("/"))).retry_at is None
        service.force_breaker(None)
        ends = [await outcome_of(service.get("/")) for _ in range(100)]
        assert [getattr(end, "status", None) for end in ends].count(200) == 99  # but for a trial


async def cancellable(service, task_status):
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await service.get("/")


async def test_an_instance_that_is_mended_comes_back_by_a_trial(autojump_clock) -> None:
    bad = {"a"}

    def step(request):
        return 500 if request.url.host[0] in bad else 200

    async with running(step, instances=(A, B), breaker=EACH) as (service, upstream):
        for _ in range(20):
            await outcome_of(service.get("/"))
        bad.clear()
        await trio.sleep(10)
        for _ in range(20):
            assert (await service.get("/")).success
        assert service.breakers == {"a": "closed", "b": "closed"}
        assert hosts(upstream)[-10:].count("a") > 0


async def test_a_retry_goes_to_one_that_is_not_open_and_rather_again_than_nowhere(autojump_clock) -> None:
    retry = sg.RetryPolicy(max_attempts=3, base_delay=0.1, statuses=(500,))
    async with running(broken("a"), instances=(A, B), breaker=EACH, retry=retry) as (service, upstream):
        for _ in range(10):
            assert (await service.get("/")).success
        assert hosts(upstream).count("a") == 2
    one = sg.BreakerConfig(failure_threshold=1, reset_timeout=100.0, scope="instance")
    async with running(500, 200, instances=(A, B), breaker=one, retry=retry) as (service, upstream):
        assert (await service.get("/")).attempts == 2
        assert len(set(hosts(upstream))) == 2


async def test_events_say_which_one(autojump_clock) -> None:
    async with (
        running(broken("b"), instances=(A, B), breaker=EACH) as (service, upstream),
        upstream.runtime.events() as events,
    ):
        for _ in range(20):
            await outcome_of(service.get("/"))
        (event,) = [one for one in drain(events) if type(one).__name__ == "BreakerChanged"]
    assert (event.scope, event.new, event.failures) == ("b", "open", 2)


async def test_who_waits_for_a_turn_is_sent_to_one_that_is_not_open_by_then(autojump_clock) -> None:
    one = sg.BreakerConfig(failure_threshold=1, reset_timeout=100.0, scope="instance")
    limit = sg.RateLimit(1, per=1, burst=1)
    async with running(broken("a", "b"), instances=(A, B), breaker=one, rate_limit=limit) as (service, upstream):
        ends = []

        async def call():
            ends.append(await outcome_of(service.get("/")))

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(call)
    assert sorted(hosts(upstream)) == ["a", "b"]
    assert [type(end) for end in ends].count(sg.CircuitOpen) == 4


async def test_one_operation_may_be_broken(autojump_clock) -> None:
    def route(request):
        return 500 if request.url.path.startswith("/reports") else 200

    async with running(route, breaker=OPERATIONS) as (service, upstream):
        for number in range(5):
            await outcome_of(service.get(f"/reports/{number}", params={"x": number}))
            assert (await service.get(f"/users/{number}")).success
        assert isinstance(await outcome_of(service.get("/reports/77")), sg.CircuitOpen)
        assert (await outcome_of(service.post("/reports/77"))).status == 500
        assert service.breakers == {"GET /reports/*": "open", "GET /users/*": "closed", "POST /reports/*": "closed"}
        assert len(upstream.requests) == 2 + 5 + 1


async def test_no_more_breakers_than_a_thousand(autojump_clock) -> None:
    async with running(200, breaker=OPERATIONS) as (service, _):
        for number in range(1100):
            await service.get("/" + "x" * (number + 1))
        assert len(service.breakers) == 1000


async def test_an_operator_speaks_to_all_of_them_also_to_those_to_come(autojump_clock) -> None:
    async with running(200, instances=(A, B), breaker=EACH) as (service, upstream):
        for _ in range(10):
            await service.get("/")
        service.force_breaker("open")
        assert isinstance(await outcome_of(service.get("/")), sg.CircuitOpen)
        await upstream.runtime.registry.deregister("svc", "a")
        await upstream.runtime.registry.deregister("svc", "b")
        await upstream.runtime.registry.register(sg.ServiceInstance("c", "svc", endpoint="http://c.test"))
        error = await outcome_of(service.get("/"))
        assert (type(error), error.retry_at) == (sg.CircuitOpen, None)
        assert (service.breaker, service.breakers["c"]) == ("forced_open", "forced_open")
        service.force_breaker(None)
        assert (await service.get("/")).success
        assert service.breakers["c"] == "closed"


@pytest.mark.parametrize("scope", ["service", "instance", "operation"])
async def test_another_configuration_keeps_them_unless_it_is_for_something_else(scope, autojump_clock) -> None:
    async with running(500, instances=(A,), breaker=EACH) as (service, upstream):
        for _ in range(2):
            await outcome_of(service.get("/"))
        other = sg.BreakerConfig(failure_threshold=3, reset_timeout=10.0, scope=scope)
        config = sg.ServiceConfig("svc", instances=(A,), retry=ONCE, breaker=other)
        await upstream.runtime.reconfigure("svc", config)
        ends_open = isinstance(await outcome_of(service.get("/")), sg.CircuitOpen)
        assert ends_open is (scope == "instance")


@pytest.mark.parametrize("word", ["open", "closed"])
@pytest.mark.parametrize("scope", ["service", "instance", "operation"])
async def test_an_operators_word_outlives_a_configuration(scope, word, autojump_clock) -> None:
    async with running(200, instances=(A, B), breaker=EACH) as (service, upstream):
        for _ in range(10):
            await service.get("/")
        service.force_breaker(word)
        other = sg.BreakerConfig(failure_threshold=3, scope=scope)
        await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", instances=(A, B), retry=ONCE, breaker=other))
        ends = await outcome_of(service.get("/"))
        assert isinstance(ends, sg.CircuitOpen) is (word == "open")
        assert service.breaker == f"forced_{word}"


async def test_without_an_instance_it_says_so() -> None:
    async with running(200, base_url=None, breaker=EACH) as (service, _):
        assert isinstance(await outcome_of(service.get("/")), sg.NoHealthyInstances)
        assert service.breakers == {}


async def test_hedges_go_elsewhere_or_not_at_all(autojump_clock) -> None:
    slow = after(5.0)
    async with running(slow, instances=(A, B), breaker=EACH, hedge=sg.HedgeConfig(delay=1.0)) as (service, upstream):
        await service.get("/")
        assert sorted(hosts(upstream)) == ["a", "b"]


def test_the_base_url_is_one_instance() -> None:
    assert sg.ServiceConfig("svc", BASE, breaker=EACH).breaker.scope == "instance"


@pytest.mark.parametrize(
    ("fields", "scope"),
    [
        ({"base_url": BASE}, "service"),
        ({"instances": (A, B)}, "instance"),
        ({}, "instance"),  # they are registered
        ({"base_url": BASE, "sources": [sg.FileSource("a.toml")]}, "instance"),
        ({"instances": (A, B), "breaker": sg.BreakerConfig(scope="service")}, "service"),
        ({"base_url": BASE, "breaker": EACH}, "instance"),
    ],
)
def test_what_can_have_many_instances_has_a_breaker_for_each(fields, scope) -> None:
    assert sg.ServiceConfig("svc", **fields).breaker_scope == scope


@pytest.mark.parametrize(("trip", "refused"), [("failures", True), ("rate", False), ("consecutive", False)])
async def test_a_fleet_in_which_one_call_in_a_hundred_fails_is_for_a_rate(trip, refused, autojump_clock) -> None:
    """As docs/health.rst says: five failures within a minute are nothing for an instance that gets many calls."""
    count = iter(range(1, 10_000))
    breaker = sg.BreakerConfig(trip=trip)
    async with running(
        lambda _: 500 if next(count) % 100 == 0 else 200, instances=(A, B, C), breaker=breaker, balancer="round_robin"
    ) as (service, _):
        ends = []
        for _ in range(3000):
            ends.append(await service.try_request("GET", "/"))
            await trio.sleep(0.01)
        assert any(isinstance(end.error, sg.CircuitOpen) for end in ends) is refused
        assert not service.instances.ejected


async def test_half_of_a_fleet_does_not_take_the_rest_along(autojump_clock) -> None:
    fleet = [sg.InstanceConfig(f"http://{name}.test", id=name) for name in "abcdefgh"]
    async with running(broken(*"abcd"), instances=fleet) as (service, _):
        ends = [await outcome_of(service.get("/")) for _ in range(300)]
        failed = [end for end in ends if isinstance(end, sg.ServiceError)]
        assert {type(one) for one in failed} <= {sg.HTTPStatusError}
        assert len(failed) <= 4 * 5  # what it takes to open the breakers of four
