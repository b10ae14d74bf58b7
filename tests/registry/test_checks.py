"""Health checks: when they are made, what they believe, and where they end. In virtual time, or on real sockets."""

from __future__ import annotations

import itertools
import socket

import pytest
import trio
from support.service import ONCE, QUIET, Upstream, drain, running
from support.wire import closes_at_once, garbage, half, http_server, never_answers, resets, serve, unused_port

import switchgear as sg
from switchgear.actors.events import InstanceHealthChanged

A, B = "http://a.test", "http://b.test"
BOTH = (sg.InstanceConfig(A, "a"), sg.InstanceConfig(B, "b"))
HEALTHY, UNHEALTHY, UNKNOWN = sg.HealthStatus.HEALTHY, sg.HealthStatus.UNHEALTHY, sg.HealthStatus.UNKNOWN


def checks(**fields):
    return sg.HealthCheckConfig(**{"jitter": 0.0, **fields})


def probes(upstream):
    """When it was asked how it is, in seconds after the first time."""
    times = [at for at, one in zip(upstream.times, upstream.requests, strict=True) if one.url.path == "/health"]
    return [round(at - times[0], 6) for at in times]


async def health(runtime, service="svc"):
    return {one.id: one.health for one in await runtime.registry.discover(service)}


def scripted(script):
    """Health by host: the n-th check gets the n-th status, the last one serves all that come after."""
    seen = dict.fromkeys(script, 0)

    def answer(request):
        if request.url.path != "/health":
            return 200
        steps = script[request.url.host]
        seen[request.url.host] += 1
        return steps[min(seen[request.url.host], len(steps)) - 1]

    return answer


def health_events(events):
    return [(one.instance, one.health, one.detail) for one in drain(events) if isinstance(one, InstanceHealthChanged)]


# ---- when


async def test_checks_are_made_at_once_and_then_once_an_interval(autojump_clock) -> None:
    async with running(200, health_check=checks(interval=7.0)) as (_, upstream):
        await trio.sleep(21.5)
        assert probes(upstream) == [0.0, 7.0, 14.0, 21.0]
        assert {(one.method, one.url.path) for one in upstream.requests} == {("GET", "/health")}


async def test_an_instance_that_does_not_answer_makes_no_check_rarer(autojump_clock) -> None:
    async with running(hang, health_check=checks(interval=10.0, timeout=2.0)) as (_, upstream):
        await trio.sleep(35)
        assert probes(upstream) == [0.0, 10.0, 20.0, 30.0]


async def hang(request):
    await trio.sleep_forever()


async def test_an_instance_that_does_not_answer_delays_no_verdict_on_others(autojump_clock) -> None:
    def answer(request):
        return hang if request.url.host == "a.test" else 503

    async with running(answer, instances=BOTH, health_check=checks(timeout=2.0)) as (_, upstream):
        await trio.sleep(0.5)
        assert await health(upstream.runtime) == {"a": UNKNOWN, "b": UNHEALTHY}
        await trio.sleep(2)
        assert await health(upstream.runtime) == {"a": UNHEALTHY, "b": UNHEALTHY}


@pytest.mark.parametrize("seed", range(3))
async def test_jitter_keeps_within_its_bounds_and_is_there(autojump_clock, seed) -> None:
    async with running(200, seed=seed, health_check=checks(interval=10.0, jitter=0.2)) as (_, upstream):
        begun = trio.current_time()
        await trio.sleep(1000)
        times = upstream.times
    gaps = [later - at for at, later in itertools.pairwise(times)]
    assert 0.0 <= times[0] - begun <= 2.0
    assert 0.0 <= gaps[0] <= 10.0
    assert all(8.0 <= gap <= 12.0 for gap in gaps[1:])
    assert max(gaps[1:]) - min(gaps[1:]) > 1.0


async def test_jitter_spreads_the_instances_over_the_interval(autojump_clock) -> None:
    many = tuple(sg.InstanceConfig(f"http://{i}.test") for i in range(100))
    async with running(200, instances=many, health_check=checks(interval=10.0, jitter=0.1)) as (_, upstream):
        begun = trio.current_time()
        await trio.sleep(1)
        assert len({one.url.host for one in upstream.requests}) == 100  # the first verdicts do not wait for that
        await trio.sleep(99)
        last = [at - begun - 90 for at in upstream.times if at - begun > 90]
    assert all(sum(second <= at < second + 1 for at in last) <= 25 for second in range(10))


async def test_an_instance_that_hangs_delays_no_check_of_another(autojump_clock) -> None:
    def answer(request):
        return hang if request.url.host == "a.test" else 200

    config = checks(interval=1.0, timeout=30.0)
    async with running(answer, instances=BOTH, health_check=config) as (_, upstream):
        await trio.sleep(10.5)
        assert [one.url.host for one in upstream.requests].count("b.test") == 11
        assert await health(upstream.runtime) == {"a": UNKNOWN, "b": HEALTHY}


async def test_checks_that_take_longer_than_their_interval_follow_each_other(autojump_clock) -> None:
    async with running(hang, health_check=checks(interval=1.0, timeout=3.0)) as (_, upstream):
        await trio.sleep(10)
        assert probes(upstream) == [0.0, 3.0, 6.0, 9.0]


async def test_instances_are_checked_at_once_and_not_one_after_the_other(autojump_clock) -> None:
    async with running(hang, instances=BOTH, health_check=checks()) as (_, upstream):
        await trio.sleep(1)
        assert upstream.running == 2


async def test_an_instance_that_is_registered_later_is_checked_at_once(autojump_clock) -> None:
    async with running(200, instances=(), health_check=checks()) as (_, upstream):
        await trio.sleep(15)
        assert not upstream.requests
        await upstream.runtime.registry.register(sg.ServiceInstance("a", "svc", endpoint=A))
        await trio.sleep(0.1)
        assert await health(upstream.runtime) == {"a": HEALTHY}
        await upstream.runtime.registry.register(sg.ServiceInstance("a", "svc", endpoint=A))
        assert checkers() == 1  # once more is no other instance


async def test_a_registry_that_does_not_check_does_not_but_can_be_asked_to(autojump_clock) -> None:
    service = sg.ServiceConfig("svc", A, health_check=checks())
    config = sg.RuntimeConfig((service,), metrics=QUIET, registry=sg.RegistryConfig(check_health=False))
    upstream = Upstream(200)
    async with sg.open_runtime(config, transport=upstream) as runtime:
        await trio.sleep(100)
        assert not upstream.requests
        assert (await runtime.health.check("svc")).status is HEALTHY
        assert await health(runtime) == {A: HEALTHY}


# ---- what they believe


async def test_the_first_check_decides_and_then_it_takes_rise_and_fall(autojump_clock) -> None:
    answers = scripted({"a.test": [503, 200, 200, 503, 503, 200, 503, 503, 503, 200]})
    config = checks(interval=1.0, healthy_threshold=2, unhealthy_threshold=3)
    async with running(answers, base_url=A, health_check=config) as (_, upstream):
        said = []
        for _ in range(10):
            await trio.sleep(0.1)
            said.append((await health(upstream.runtime))[A].value[0])
            await trio.sleep(0.9)
        assert "".join(said) == "uuhhhhhhuu"


async def test_an_unhealthy_instance_gets_no_call_until_it_is_well_again(autojump_clock) -> None:
    answers = scripted({"a.test": [503, 200], "b.test": [200]})
    config = checks(interval=10.0, healthy_threshold=2)
    async with running(answers, instances=BOTH, balancer="round_robin", health_check=config) as (service, upstream):

        async def used():
            upstream.requests.clear()
            for _ in range(4):
                await service.get("/")
            return {one.url.host for one in upstream.requests}

        await trio.sleep(1)  # the first checks have been made
        async with upstream.runtime.events() as events:
            assert await used() == {"b.test"}
            await trio.sleep(10)
            assert await used() == {"b.test"}
            await trio.sleep(10)
            assert await used() == {"a.test", "b.test"}
            assert health_events(events) == [("a", "healthy", "status 200")]


async def test_without_panic_all_unhealthy_is_no_healthy_instance(autojump_clock) -> None:
    fields = {"base_url": A, "health_check": checks(), "panic_threshold": 0.0}
    async with running(scripted({"a.test": [500]}), **fields) as (service, _):
        await trio.sleep(1)
        with pytest.raises(sg.NoHealthyInstances):
            await service.get("/")


async def test_flapping_below_the_thresholds_changes_nothing(autojump_clock) -> None:
    answers = scripted({"a.test": [200] + [503, 503, 200] * 30})
    config = checks(interval=1.0, unhealthy_threshold=3)
    async with running(answers, base_url=A, health_check=config) as (_, upstream):
        await trio.sleep(0.5)
        async with upstream.runtime.events() as events:
            await trio.sleep(80)
            assert health_events(events) == []
        assert await health(upstream.runtime) == {A: HEALTHY}


@pytest.mark.parametrize(
    ("statuses", "status", "expected"),
    [
        ((200, 399), 204, HEALTHY),
        ((200, 399), 302, HEALTHY),
        ((200, 399), 404, UNHEALTHY),
        ((200, 299), 302, UNHEALTHY),
        ((404, 404), 404, HEALTHY),
    ],
)
async def test_statuses_say_what_is_healthy(autojump_clock, statuses, status, expected) -> None:
    async with running(status, health_check=checks(statuses=statuses)) as (_, upstream):
        await trio.sleep(1)
        assert set((await health(upstream.runtime)).values()) == {expected}


@pytest.mark.parametrize(("listed", "expected"), [([503], "hhu"), (["5xx"], "huu"), ([418], "hhh")])
async def test_some_statuses_are_unhealthy_at_once(autojump_clock, listed, expected) -> None:
    answers = scripted({"a.test": [200, 500, 503]})
    config = checks(interval=1.0, unhealthy_threshold=9, unhealthy_statuses=listed)
    async with running(answers, base_url=A, health_check=config) as (_, upstream):
        said = []
        for _ in range(3):
            await trio.sleep(0.5)
            said.append((await health(upstream.runtime))[A].value[0])
            await trio.sleep(0.5)
        assert "".join(said) == expected


async def test_it_takes_the_threshold_to_come_back_from_there(autojump_clock) -> None:
    answers = scripted({"a.test": [200, 503, 200]})
    config = checks(interval=1.0, healthy_threshold=3, unhealthy_statuses=[503])
    async with running(answers, base_url=A, health_check=config) as (_, upstream):
        await trio.sleep(3.5)
        assert await health(upstream.runtime) == {A: UNHEALTHY}
        await trio.sleep(1)
        assert await health(upstream.runtime) == {A: HEALTHY}


async def test_one_that_flaps_publishes_at_most_once_an_interval(autojump_clock) -> None:
    """Up for a second, down for a second, and the most nervous of thresholds."""

    def answer(request):
        return 200 if trio.current_time() % 2 < 1 else 503

    config = checks(interval=5.0, jitter=0.1, healthy_threshold=1, unhealthy_threshold=1)
    async with (
        running(answer, base_url=A, health_check=config) as (_, upstream),
        upstream.runtime.registry.watch("svc") as changes,
    ):
        first = await anext(changes)
        await trio.sleep(500)
        assert 10 < (await anext(changes)).version - first.version <= 500 / 4.5 + 1


async def test_last_seen_is_the_last_good_check(autojump_clock) -> None:
    answers = scripted({"a.test": [200, 200, 503]})
    async with running(answers, base_url=A, health_check=checks(interval=10.0)) as (_, upstream):

        async def seen():
            (one,) = await upstream.runtime.registry.discover("svc")
            return one.last_seen - one.registered_at

        await trio.sleep(5)
        assert await seen() == pytest.approx(0.0)
        await trio.sleep(10)
        assert await seen() == pytest.approx(10.0)
        await trio.sleep(20)
        assert await seen() == pytest.approx(10.0)


async def test_being_seen_once_more_is_no_change(autojump_clock) -> None:
    async with running(200, health_check=checks(interval=1.0)) as (_, upstream):
        await trio.sleep(0.5)
        async with upstream.runtime.registry.watch("svc") as changes:
            await anext(changes)
            with trio.move_on_after(100):
                pytest.fail(f"a change: {await anext(changes)}")


# ---- where they end


def checkers():
    """Tasks that check somebody's health."""
    root = trio.lowlevel.current_root_task()
    found, todo = [], [root]
    while todo:
        task = todo.pop()
        found += [task.name] if "Checks._for_ever" in task.name else []
        todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return len(found)


async def test_checks_end_with_their_service(autojump_clock) -> None:
    async with running(hang, health_check=checks()) as (_, upstream):
        await trio.sleep(0.5)
        assert (checkers(), upstream.running) == (1, 1)
        await upstream.runtime.remove_service("svc")
        await trio.testing.wait_all_tasks_blocked()
        assert (checkers(), upstream.running) == (0, 0)
        number = len(upstream.requests)
        await trio.sleep(100)
        assert len(upstream.requests) == number


async def test_checks_end_with_their_instance(autojump_clock) -> None:
    async with running(200, instances=BOTH, health_check=checks()) as (_, upstream):
        await trio.sleep(5)
        await upstream.runtime.registry.deregister("svc", "a")
        upstream.requests.clear()
        await trio.sleep(50)
        assert {one.url.host for one in upstream.requests} == {"b.test"}


async def test_a_check_of_an_instance_that_went_or_moved_meanwhile_counts_for_nobody(autojump_clock) -> None:
    async def slow(request):
        await trio.sleep(1)
        return 503 if request.url.host == "a.test" else 200

    async with running(slow, instances=(), health_check=checks(interval=100.0)) as (_, upstream):
        registry = upstream.runtime.registry
        for one in ("went", "moved", "again"):
            await registry.register(sg.ServiceInstance(one, "svc", endpoint=A))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(registry.health_check, "svc")
            await trio.sleep(0.5)
            await registry.deregister("svc", "went")
            await registry.register(sg.ServiceInstance("moved", "svc", endpoint=B))
            await registry.deregister("svc", "again")
            await registry.register(sg.ServiceInstance("again", "svc", endpoint=A))
        assert await health(upstream.runtime) == {"moved": UNKNOWN, "again": UNKNOWN}


async def test_a_check_under_the_old_configuration_says_nothing_under_the_new(autojump_clock) -> None:
    old, new = checks(interval=1000.0), checks(interval=1000.0, statuses=(503, 503), path="/new")

    async def slow(request):
        await trio.sleep(1)
        return 503

    async with running(slow, base_url=A, health_check=old) as (_, upstream):
        await trio.sleep(5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upstream.runtime.health.check, "svc")
            await trio.sleep(0.5)
            await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", A, retry=ONCE, health_check=new))
        await trio.sleep(0.2)
        assert await health(upstream.runtime) == {A: UNHEALTHY}  # as it was
        await trio.sleep(1)
        assert await health(upstream.runtime) == {A: HEALTHY}


async def test_checks_that_are_configured_anew_start_anew(autojump_clock) -> None:
    async with running(200, health_check=checks(interval=5.0)) as (_, upstream):
        await trio.sleep(12)
        config = sg.ServiceConfig("svc", A, retry=ONCE, health_check=checks(path="/ready", interval=1.0))
        upstream.requests.clear()
        await upstream.runtime.reconfigure("svc", config)
        await trio.sleep(3.5)
        assert [(one.url.host, one.url.path) for one in upstream.requests] == [("a.test", "/ready")] * 4
        assert checkers() == 1
        await upstream.runtime.reconfigure("svc", config)  # the same again starts nothing
        assert checkers() == 1


async def test_the_first_check_of_a_new_configuration_decides(autojump_clock) -> None:
    config = sg.ServiceConfig("svc", A, retry=ONCE, health_check=checks(unhealthy_threshold=9))
    answers = scripted({"a.test": [200, 503]})
    async with running(answers, base_url=A, health_check=checks()) as (_, upstream):
        await trio.sleep(1)
        assert await health(upstream.runtime) == {A: HEALTHY}
        async with upstream.runtime.events() as events:
            await upstream.runtime.reconfigure("svc", config)
            assert await health(upstream.runtime) == {A: HEALTHY}
            await trio.sleep(1)
            assert health_events(events) == [(A, "unhealthy", "status 503")]
        assert await health(upstream.runtime) == {A: UNHEALTHY}


async def test_who_is_not_checked_any_more_is_used_again(autojump_clock) -> None:
    async with running(scripted({"a.test": [503]}), base_url=A, health_check=checks()) as (service, upstream):
        await trio.sleep(1)
        async with upstream.runtime.events() as events:
            await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", A, retry=ONCE))
            assert health_events(events) == [(A, "unknown", "it is not checked any more")]
        assert await health(upstream.runtime) == {A: UNKNOWN}
        assert checkers() == 0
        assert (await service.get("/")).status == 200


async def test_the_end_of_the_runtime_does_not_wait_for_a_check(autojump_clock) -> None:
    async with running(hang, health_check=checks(timeout=60.0)):
        await trio.sleep(1)
        ending = trio.current_time()
    assert trio.current_time() == ending


# ---- on demand


async def test_nothing_to_check_is_unknown() -> None:
    async with running(200, others=(sg.ServiceConfig("empty", health_check=checks()),)) as (_, upstream):
        result = await upstream.runtime.health.check("svc")
        assert (result.service, result.status, result.instances) == ("svc", UNKNOWN, ())
        assert (await upstream.runtime.health.check("empty")).status is UNKNOWN
        assert not upstream.requests


async def test_a_service_is_healthy_if_an_instance_is(autojump_clock) -> None:
    async def answer(request):
        await trio.sleep(0.5 if request.url.host == "a.test" else 0.25)
        return 200 if request.url.host == "a.test" else 503

    async with running(answer, instances=BOTH, health_check=checks(interval=1000.0)) as (_, upstream):
        await trio.sleep(1)
        result = await upstream.runtime.health.check("svc")
        assert (result.status, result.instance, result.latency) == (HEALTHY, None, pytest.approx(0.5))
        assert result.detail == "1 of 2 instances are healthy"
        assert result.at == trio.current_time()
        assert [(one.instance, one.status, one.detail) for one in result.instances] == [
            ("a", HEALTHY, "status 200"),
            ("b", UNHEALTHY, "status 503"),
        ]
        assert [one.latency for one in result.instances] == [pytest.approx(0.5), pytest.approx(0.25)]


async def test_a_check_on_demand_counts_like_any_other(autojump_clock) -> None:
    answers = scripted({"a.test": [200, 503]})
    config = checks(interval=1000.0, unhealthy_threshold=2)
    async with running(answers, base_url=A, health_check=config) as (_, upstream):
        await trio.sleep(1)
        assert (await upstream.runtime.health.check("svc")).status is UNHEALTHY
        assert await health(upstream.runtime) == {A: HEALTHY}
        await upstream.runtime.health.check("svc")
        assert await health(upstream.runtime) == {A: UNHEALTHY}


async def test_all_services_are_checked_at_once(autojump_clock) -> None:
    async def slow(request):
        await trio.sleep(1.5)
        return 200

    many = tuple(sg.ServiceConfig(f"s{i}", A, health_check=checks()) for i in range(20))
    config = sg.RuntimeConfig(many, metrics=QUIET, registry=sg.RegistryConfig(check_health=False))
    async with sg.open_runtime(config, transport=Upstream(slow)) as runtime:
        begun = trio.current_time()
        results = await runtime.health.check_all()
        assert trio.current_time() - begun == pytest.approx(1.5)
        assert list(results) == [one.name for one in many]
        assert {one.status for one in results.values()} == {HEALTHY}


async def test_checking_all_leaves_out_who_is_removed_meanwhile(autojump_clock) -> None:
    async def slow(request):
        await trio.sleep(1)
        return 200

    many = tuple(sg.ServiceConfig(f"s{i}", A, health_check=checks(interval=1000.0)) for i in range(3))
    async with sg.open_runtime(sg.RuntimeConfig(many, metrics=QUIET), transport=Upstream(slow)) as runtime:
        results = {}

        async def check():
            results.update(await runtime.health.check_all())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(check)
            nursery.start_soon(runtime.registry.forget, "s1")  # what removing it comes to, in the same moment
        assert sorted(results) == ["s0", "s2"]
        await runtime.remove_service("s0")
        assert list(await runtime.health.check_all()) == ["s2"]


async def test_checking_all_at_the_end_of_the_runtime_is_one_plain_error(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        errors = []

        async def check(runtime):
            try:
                await runtime.health.check_all()
            except sg.ServiceError as error:
                errors.append(type(error))

        many = tuple(sg.ServiceConfig(f"s{i}", A, health_check=checks(interval=1000.0)) for i in range(3))
        async with sg.open_runtime(sg.RuntimeConfig(many, metrics=QUIET), transport=Upstream(hang)) as runtime:
            nursery.start_soon(check, runtime)
            await trio.sleep(0.5)
    assert errors == [sg.ShuttingDown]


async def test_checks_on_demand_do_not_keep_the_registry_from_its_work(autojump_clock) -> None:
    async with running(hang, health_check=checks(timeout=60.0, interval=1000.0)) as (_, upstream):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(upstream.runtime.health.check, "svc")
            await trio.sleep(1)
            begun = trio.current_time()
            await upstream.runtime.registry.register(sg.ServiceInstance("a", "svc", endpoint=A))
            assert trio.current_time() == begun
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert upstream.running == 2  # those of the interval: who has gone is not asked for any more


# ---- on real sockets


@pytest.mark.parametrize(
    "peer",
    [garbage(), half(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), closes_at_once(), resets()],
    ids=["garbage", "half", "closes", "resets"],
)
async def test_a_peer_that_misbehaves_is_unhealthy_and_the_detail_says_how(peer) -> None:
    result = await checked(peer)
    assert result.status is UNHEALTHY
    assert result.instances[0].detail


async def test_a_peer_that_does_not_answer_is_unhealthy_after_the_timeout(autojump_clock) -> None:
    result = await checked(never_answers())
    assert (result.status, result.instances[0].detail) == (UNHEALTHY, "no answer within 2 s")
    assert result.latency == pytest.approx(2.0)


async def checked(peer, **fields):
    async with serve(peer) as server:
        config = sg.ServiceConfig("svc", server.url, health_check=checks(**fields))
        quiet = sg.RegistryConfig(check_health=False)
        async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET, registry=quiet)) as runtime:
            return await runtime.health.check("svc")


@pytest.mark.parametrize("peer", [garbage(), never_answers(), closes_at_once(), resets()])
async def test_whoever_listens_is_healthy_where_a_check_only_connects(peer) -> None:
    result = await checked(peer, kind="tcp")
    assert (result.status, result.instances[0].detail) == (HEALTHY, "connected")


async def test_a_check_that_only_connects_sends_nothing_and_leaves_nothing_open() -> None:
    async with http_server(lambda received: (200, {}, b"ok")) as server:
        config = sg.ServiceConfig("svc", server.url, health_check=checks(kind="tcp", interval=0.01))
        async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET)) as runtime:
            while server.accepted < 5:
                await trio.testing.wait_all_tasks_blocked(0.001)
            assert await health(runtime) == {server.url: HEALTHY}
        with trio.fail_after(5):
            while server.open:
                await trio.testing.wait_all_tasks_blocked()
        assert not server.log


async def test_a_connection_that_does_not_come_about_is_unhealthy_after_the_timeout(autojump_clock) -> None:
    backlog = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = backlog.getsockname()[1]
    filling = [socket.socket() for _ in range(4)]  # its queue is full then, and SYNs are dropped
    for one in filling:
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
    config = sg.ServiceConfig("svc", f"http://127.0.0.1:{port}", health_check=checks(kind="tcp"))
    quiet = sg.RegistryConfig(check_health=False)
    async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET, registry=quiet)) as runtime:
        result = await runtime.health.check("svc")
    assert (result.status, result.instances[0].detail) == (UNHEALTHY, "no answer within 2 s")
    for one in (backlog, *filling):
        one.close()


async def test_past_a_transport_of_the_users_nothing_can_be_connected_to_and_nothing_is_known() -> None:
    async with running(200, base_url=A, health_check=checks(kind="tcp")) as (service, upstream):
        result = await upstream.runtime.health.check("svc")
        assert (result.status, result.instances[0].status) == (UNKNOWN, UNKNOWN)
        assert result.instances[0].detail == "the transport that was passed in makes no connections"
        assert await health(upstream.runtime) == {A: UNKNOWN}
        assert (await service.get("/")).status == 200


async def test_a_check_that_only_connects_does_so_for_http2_too() -> None:
    async with serve(closes_at_once()) as server:
        config = sg.ServiceConfig("svc", server.url, http2=True, health_check=checks(kind="tcp", interval=1000.0))
        async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET)) as runtime:
            assert (await runtime.health.check("svc")).status is HEALTHY


@pytest.mark.parametrize("kind", ["http", "tcp"])
async def test_nobody_there_is_unhealthy(kind) -> None:
    config = sg.ServiceConfig("svc", f"http://127.0.0.1:{unused_port()}", health_check=checks(kind=kind))
    quiet = sg.RegistryConfig(check_health=False)
    async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET, registry=quiet)) as runtime:
        result = await runtime.health.check("svc")
        assert result.status is UNHEALTHY
        assert "no connection" in result.instances[0].detail


async def test_a_health_answer_of_any_size_is_taken_up_to_a_bound() -> None:
    async with http_server(lambda received: (200, {}, b"x" * 100_000)) as server:
        config = sg.ServiceConfig("svc", server.url, health_check=checks())
        quiet = sg.RegistryConfig(check_health=False)
        async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET, registry=quiet)) as runtime:
            result = await runtime.health.check("svc")
            assert result.status is UNHEALTHY
            assert "larger" in result.instances[0].detail


async def test_checks_ask_below_the_prefix_on_one_connection_and_leave_none_behind() -> None:
    async with http_server(lambda received: (200, {}, b"ok")) as server:
        config = sg.ServiceConfig("svc", f"{server.url}/v1", health_check=checks(path="/up?deep=1", interval=1000.0))
        async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET)) as runtime:
            for _ in range(3):
                assert (await runtime.health.check("svc")).status is HEALTHY
            assert server.accepted <= 2  # the first two may have met the one of the interval
        with trio.fail_after(5):
            while server.open:
                await trio.testing.wait_all_tasks_blocked()
        assert {one.target for one in server.log} == {"/v1/up?deep=1"}
        assert {dict(one.headers)["user-agent"] for one in server.log} == {"switchgear health check"}
