"""The figures of a service: exact at any moment, wherever the reports are; and subscribing to them."""

from __future__ import annotations

import math

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from support.service import BASE, ONCE, QUIET, Upstream, after, drain, outcome_of, running
from trio.testing import MockClock

import switchgear as sg
from switchgear.runtime import MailboxFull

TICKING = sg.MetricsConfig(interval=1.0, websocket=False)


async def crash(runtime):
    """Kill the metrics actor: it does not understand what it is told."""
    await runtime.metrics.ref.tell("no report of yours")
    await trio.testing.wait_all_tasks_blocked()


# ---- get and all


async def test_a_service_that_has_done_nothing_has_figures_of_nothing(autojump_clock) -> None:
    async with running(200) as (_, upstream):
        await trio.sleep(3)
        figures = upstream.runtime.metrics.get("svc")
    assert (figures.count, figures.errors, figures.attempts, figures.retries, figures.fallbacks) == (0, 0, 0, 0, 0)
    assert (figures.mean, figures.p50, figures.p95, figures.p99, figures.min, figures.max) == (0, 0, 0, 0, 0, 0)
    assert (figures.errors_by_code, figures.fallbacks_by_source) == ({}, {})
    assert (figures.last_error, figures.last_error_age, figures.breaker) == (None, None, "closed")
    assert figures.uptime == pytest.approx(3.0)


async def test_figures_are_those_of_the_calls(autojump_clock) -> None:
    script = [after(1.0), after(3.0, 404), 503, after(2.0)]
    retry = sg.RetryPolicy(max_attempts=2, base_delay=1.0, jitter="none")
    async with running(*script, retry=retry) as (service, upstream):
        for _ in range(3):
            await outcome_of(service.get("/"))
        await trio.sleep(10)
        figures = upstream.runtime.metrics.get("svc")
    assert (figures.count, figures.errors, figures.errors_by_code) == (3, 1, {"HTTP_STATUS": 1})
    assert (figures.attempts, figures.retries, figures.shed) == (4, 1, 0)
    assert (figures.min, figures.max) == (pytest.approx(1.0), pytest.approx(3.0))
    assert figures.mean == pytest.approx((1.0 + 3.0 + 3.0) / 3)
    assert figures.p99 == pytest.approx(3.0, rel=0.0110)
    assert (figures.last_error, figures.last_error_age) == ("HTTP_STATUS", pytest.approx(13.0))
    assert figures.uptime == pytest.approx(17.0)


async def test_refusals_are_shed_and_the_breaker_is_seen_as_it_is(autojump_clock) -> None:
    breaker = sg.BreakerConfig(failure_threshold=2, reset_timeout=30.0)
    async with running(500, 500, 200, breaker=breaker) as (service, upstream):
        metrics = upstream.runtime.metrics
        for _ in range(5):
            await outcome_of(service.get("/"))
        figures = metrics.get("svc")
        assert (figures.count, figures.shed, figures.breaker) == (5, 3, "open")
        assert figures.errors_by_code == {"HTTP_STATUS": 2, "CIRCUIT_OPEN": 3}
        await trio.sleep(40)  # reported long ago
        assert metrics.get("svc").breaker == "open"
        await service.get("/")
        assert metrics.get("svc").breaker == "closed"


async def test_answers_of_fallbacks_are_counted_by_source(autojump_clock) -> None:
    fallbacks = (sg.DefaultFallback({"empty": True}),)
    async with running(500, fallbacks=fallbacks) as (service, upstream):
        for _ in range(3):
            assert (await service.get("/")).source == "default"
        await trio.sleep(2)
        await service.get("/")
        figures = upstream.runtime.metrics.get("svc")
    assert (figures.count, figures.errors, figures.fallbacks) == (4, 4, 4)
    assert figures.fallbacks_by_source == {"default": 4}


async def test_an_unknown_service_has_no_figures(autojump_clock) -> None:
    async with running(200) as (_, upstream):
        with pytest.raises(sg.UnknownService, match="known: svc"):
            upstream.runtime.metrics.get("nope")
    async with sg.open_runtime(sg.RuntimeConfig(metrics=QUIET)) as runtime:
        with pytest.raises(KeyError, match="known: none"):
            runtime.metrics.get("svc")
        assert runtime.metrics.all() == {}


async def test_a_removed_service_vanishes_and_its_successor_begins_anew(autojump_clock) -> None:
    other = sg.ServiceConfig("other", BASE, retry=ONCE)
    async with running(200, others=(other,)) as (service, upstream):
        runtime = upstream.runtime
        await service.get("/")
        await trio.sleep(1.0)  # its report is due just now
        await runtime.remove_service("svc")
        assert list(runtime.metrics.all()) == ["other"]
        with pytest.raises(sg.UnknownService):
            runtime.metrics.get("svc")
        await runtime.add_service(sg.ServiceConfig("svc", BASE, retry=ONCE))
        await trio.sleep(5)
        figures = runtime.metrics.get("svc")
        assert (figures.count, figures.uptime) == (0, pytest.approx(5.0))


async def test_a_report_that_is_under_way_is_not_for_the_next_service_of_that_name(autojump_clock) -> None:
    async with running(200) as (service, upstream):
        runtime = upstream.runtime
        await crash(runtime)  # from now on reports wait in the mailbox
        await service.get("/")
        runtime._states["svc"].ship(runtime.metrics.ref)
        assert runtime.metrics.get("svc").count == 1
        await runtime.remove_service("svc")
        await runtime.add_service(sg.ServiceConfig("svc", BASE, retry=ONCE))
        await trio.sleep(60)
        assert runtime.metrics.get("svc").count == 0


async def test_a_call_on_a_service_that_is_gone_harms_nothing(autojump_clock) -> None:
    async with running(200) as (service, upstream):
        await upstream.runtime.remove_service("svc")
        assert isinstance(await outcome_of(service.get("/")), sg.ShuttingDown)
        await trio.sleep(5)
        assert upstream.runtime.metrics.all() == {}


# ---- exact at any moment


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("call"), st.sampled_from([200, 404, 500]), st.floats(0.0, 5.0)),
            st.tuples(st.just("sleep"), st.floats(0.0, 3.0)),
            st.tuples(st.just("ship")),
            st.tuples(st.just("crash")),
            st.tuples(st.just("full")),
        ),
        max_size=25,
    )
)
def test_nothing_is_lost_or_counted_twice(story) -> None:
    """Whatever happens to reports and to who takes them, the figures are those of all calls so far."""

    async def main():
        wanted = [200]
        log = []

        async def answer(request):
            status, seconds = wanted[-1]
            await trio.sleep(seconds)
            return status

        breaker = sg.BreakerConfig(enabled=False)
        config = sg.ServiceConfig("svc", BASE, retry=ONCE, breaker=breaker)
        everything = sg.RuntimeConfig((config,), metrics=TICKING)
        async with sg.open_runtime(everything, transport=Upstream(answer), seed=1) as runtime:
            service, metrics = runtime.service("svc"), runtime.metrics
            last_crash = -math.inf
            for step in story:
                match step:
                    case ("call", status, seconds):
                        wanted.append((status, seconds))
                        await outcome_of(service.get("/"))
                        log.append((status, seconds))
                    case ("sleep", seconds):
                        await trio.sleep(seconds)
                    case ("ship",):
                        runtime._states["svc"].ship(metrics.ref)
                    case ("crash",) if trio.current_time() - last_crash > 10:
                        last_crash = trio.current_time()
                        await crash(runtime)
                    case ("full",):
                        runtime._states["svc"].ship(_Full())
                check(metrics.get("svc"), log)
            await trio.sleep(100)
            check(metrics.get("svc"), log)
            assert not runtime._states["svc"].meter.unbooked()

    trio.run(main, clock=MockClock(autojump_threshold=0))


class _Full:
    """The ref of a metrics actor whose mailbox is full."""

    def tell_nowait(self, message):
        raise MailboxFull("/metrics", "no room")


def check(figures, log):
    """One big account, kept by hand."""
    failed = [status for status, _ in log if status >= 400]
    taken = sorted(seconds for _, seconds in log)
    assert (figures.count, figures.attempts, figures.retries) == (len(log), len(log), 0)
    assert figures.errors == len(failed)
    assert figures.errors_by_code == ({"HTTP_STATUS": len(failed)} if failed else {})
    if log:
        assert figures.mean == pytest.approx(sum(taken) / len(taken), abs=1e-6)
        assert (figures.min, figures.max) == (pytest.approx(taken[0], abs=1e-6), pytest.approx(taken[-1], abs=1e-6))
        for q, figure in ((0.5, figures.p50), (0.95, figures.p95), (0.99, figures.p99)):
            exact = taken[max(0, math.ceil(q * len(taken)) - 1)]
            assert figure == pytest.approx(exact, rel=0.011, abs=1e-6)


# ---- subscribe


async def test_a_subscriber_gets_a_snapshot_a_tick(autojump_clock) -> None:
    config = sg.RuntimeConfig((sg.ServiceConfig("svc", BASE, retry=ONCE),), metrics=TICKING)
    async with sg.open_runtime(config, transport=Upstream(after(0.5))) as runtime, runtime.metrics.subscribe() as ticks:
        begun, got = trio.current_time(), []
        for _ in range(3):
            await runtime.service("svc").get("/")
            snapshot = await ticks.receive()
            got.append((trio.current_time() - begun, snapshot.services["svc"].count))
            assert snapshot.at > 1e9
        assert got == [(pytest.approx(1.0), 1), (pytest.approx(2.0), 2), (pytest.approx(3.0), 3)]


async def test_a_slow_subscriber_finds_the_latest_and_only_that(autojump_clock) -> None:
    config = sg.RuntimeConfig(metrics=TICKING)
    async with (
        sg.open_runtime(config) as runtime,
        runtime.metrics.subscribe() as slow,
        runtime.metrics.subscribe() as fast,
    ):
        seqs = [(await fast.receive()).seq for _ in range(7)]
        await trio.testing.wait_all_tasks_blocked()
        assert seqs == list(range(seqs[0], seqs[0] + 7))
        assert [one.seq for one in drain(slow)] == [seqs[-1]]


async def test_all_subscribers_get_the_same_snapshot(autojump_clock) -> None:
    async with sg.open_runtime(sg.RuntimeConfig(metrics=TICKING)) as runtime:
        subscribe = runtime.metrics.subscribe
        async with subscribe() as one, subscribe() as other:
            first = await one.receive()
            assert first is await other.receive()


async def test_services_come_and_go_in_the_snapshots(autojump_clock) -> None:
    async with sg.open_runtime(sg.RuntimeConfig(metrics=TICKING)) as runtime, runtime.metrics.subscribe() as ticks:
        assert (await ticks.receive()).services == {}
        await runtime.add_service(sg.ServiceConfig("svc", BASE))
        assert list((await ticks.receive()).services) == ["svc"]
        await runtime.remove_service("svc")
        assert (await ticks.receive()).services == {}


async def test_figures_in_a_snapshot_are_rounded_and_say_what_get_says(autojump_clock) -> None:
    config = sg.RuntimeConfig((sg.ServiceConfig("svc", BASE, retry=ONCE),), metrics=TICKING)
    upstream = Upstream(after(1 / 3), after(1 / 7, 500))
    async with sg.open_runtime(config, transport=upstream) as runtime, runtime.metrics.subscribe() as ticks:
        for _ in range(2):
            await outcome_of(runtime.service("svc").get("/"))
        told = (await ticks.receive()).services["svc"]
        figures = runtime.metrics.get("svc")
        for name in told.__struct_fields__:
            said, exact = getattr(told, name), getattr(figures, name)
            assert said == (round(exact, 6) if isinstance(exact, float) else exact), name
        assert told.mean == 0.238095


async def test_calls_that_nobody_took_up_are_in_the_snapshots_too(autojump_clock) -> None:
    bulkhead = sg.BulkheadConfig(max_concurrent=1, max_queue=1, when_full="fail")
    config = sg.RuntimeConfig((sg.ServiceConfig("svc", BASE, retry=ONCE, bulkhead=bulkhead),), metrics=TICKING)
    async with sg.open_runtime(config, transport=Upstream(after(50))) as runtime, trio.open_nursery() as nursery:
        async with runtime.metrics.subscribe() as ticks:
            for _ in range(5):
                nursery.start_soon(outcome_of, runtime.service("svc").get("/", timeout=90))
            figures = (await ticks.receive()).services["svc"]
            assert (figures.count, figures.shed) == (3, 3)
        nursery.cancel_scope.cancel()


async def test_a_subscription_ends_with_the_runtime(autojump_clock) -> None:
    ends = []

    async def follow(runtime):
        async with runtime.metrics.subscribe() as ticks:
            async for _ in ticks:
                pass
        ends.append("end")

    async with trio.open_nursery() as nursery, sg.open_runtime(sg.RuntimeConfig(metrics=TICKING)) as runtime:
        nursery.start_soon(follow, runtime)
        nursery.start_soon(follow, runtime)
        await trio.sleep(2.5)
    assert ends == ["end", "end"]


async def test_an_error_of_the_subscriber_comes_out_as_it_is(autojump_clock) -> None:
    async with sg.open_runtime(sg.RuntimeConfig(metrics=TICKING)) as runtime:

        async def fail():
            async with runtime.metrics.subscribe() as ticks:
                await ticks.receive()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        with trio.move_on_after(2.5) as scope:
            async with runtime.metrics.subscribe() as ticks:
                async for _ in ticks:
                    pass
        assert scope.cancelled_caught


async def test_who_closes_his_end_early_harms_nobody(autojump_clock) -> None:
    async with sg.open_runtime(sg.RuntimeConfig(metrics=TICKING)) as runtime, runtime.metrics.subscribe() as other:
        async with runtime.metrics.subscribe() as ticks:
            ticks.close()
            await trio.sleep(3.5)
        assert (await other.receive()).seq == 3


async def test_a_crash_of_the_metrics_actor_is_a_pause_in_the_ticks(autojump_clock) -> None:
    async with running(200) as (service, upstream), upstream.runtime.metrics.subscribe() as ticks:
        first = await ticks.receive()
        await crash(upstream.runtime)
        await service.get("/")
        later = await ticks.receive()
        assert later.seq == first.seq + 1
        assert later.services["svc"].count == 1
        (actor,) = (one for one in upstream.runtime.tree().children if one.path == "/metrics")
        assert actor.restarts == 1
