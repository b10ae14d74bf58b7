"""The circuit breaker on the road: what counts, what does not, and that a permit always comes back."""

from __future__ import annotations

import httpx
import pytest
import trio
from support.service import after, drain, hang, in_background, outcome_of, running

import switchgear as sg
from switchgear.actors.service.road import Road

ONE = sg.BreakerConfig(failure_threshold=1, reset_timeout=10.0)


def states(receive):
    return [(event.old, event.new) for event in drain(receive) if type(event).__name__ == "BreakerChanged"]


@pytest.mark.parametrize(
    ("step", "state"),
    [
        (200, "closed"),
        (302, "closed"),
        (400, "closed"),
        (401, "closed"),
        (404, "closed"),
        (429, "closed"),
        (500, "open"),
        (503, "open"),
        (httpx.ConnectError("refused"), "open"),
        (httpx.ReadError("cut"), "open"),
        (RuntimeError("a transport's own"), "open"),
        ((200, {}, b"x" * 200), "closed"),
        (hang, "open"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value)[:20],
)
async def test_what_counts_as_a_failure_of_the_service(step, state, autojump_clock) -> None:
    async with running(step, breaker=ONE, max_response_bytes=100) as (service, _):
        await service.try_request("GET", "/", timeout=5)
        await trio.testing.wait_all_tasks_blocked()  # whoever times out is told first, and the actor in the same moment
        assert service.breaker == state


async def test_a_body_that_does_not_fit_the_callers_type_is_no_failure_of_the_service() -> None:
    async with running((200, {}, b"[]"), breaker=ONE) as (service, _):
        with pytest.raises(sg.DecodeError):
            await service.get("/", type=int)
        assert service.breaker == "closed"


async def test_open_it_refuses_at_once_and_says_when_to_come_again(autojump_clock) -> None:
    async with running(500, 200, breaker=ONE) as (service, upstream):
        with pytest.raises(sg.HTTPStatusError):
            await service.get("/")
        opened = trio.current_time()
        await trio.sleep(9)
        with pytest.raises(sg.CircuitOpen, match="1 s") as caught:
            await service.get("/")
        assert caught.value.retry_at == pytest.approx(opened + 10)
        assert len(upstream.requests) == 1
        await trio.sleep(1)
        assert (await service.get("/")).success
        assert service.breaker == "closed"


async def test_its_transitions_are_events(autojump_clock) -> None:
    async with (
        running(500, 500, 200, breaker=ONE) as (service, upstream),
        upstream.runtime.events() as events,
    ):
        for _ in range(3):
            await service.try_request("GET", "/")
            await trio.sleep(10)
        assert states(events) == [
            ("closed", "open"),
            ("open", "half_open"),
            ("half_open", "open"),
            ("open", "half_open"),
            ("half_open", "closed"),
        ]


async def test_a_cancelled_call_says_nothing_about_the_service(autojump_clock) -> None:
    async with running(hang, breaker=ONE) as (service, upstream):
        for _ in range(5):
            with trio.move_on_after(1) as scope:
                await service.get("/")
            assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert (service.breaker, upstream.running) == ("closed", 0)


async def test_a_cancelled_trial_gives_its_place_back(autojump_clock) -> None:
    async with running(500, hang, 200, breaker=ONE) as (service, _):
        await service.try_request("GET", "/")
        await trio.sleep(10)
        with trio.move_on_after(1):
            await service.get("/")
        assert service.breaker == "half_open"
        assert (await service.get("/")).success
        assert service.breaker == "closed"


async def test_a_trial_that_times_out_opens_it_again(autojump_clock) -> None:
    async with running(500, hang, 200, breaker=ONE) as (service, _):
        await service.try_request("GET", "/")
        await trio.sleep(10)
        assert (await service.try_request("GET", "/", timeout=1)).error.code == "TIMEOUT"
        await trio.testing.wait_all_tasks_blocked()
        assert service.breaker == "open"


@pytest.mark.parametrize("trials", [1, 3])
async def test_of_a_stampede_exactly_as_many_as_allowed_are_trials(trials, autojump_clock) -> None:
    breaker = sg.BreakerConfig(failure_threshold=1, reset_timeout=10, half_open_max_requests=trials)
    async with running(500, after(1), breaker=breaker) as (service, upstream):
        await service.try_request("GET", "/")
        await trio.sleep(10)
        async with in_background(service, *["/"] * 20) as ends:
            pass
        assert sum(isinstance(end, sg.CircuitOpen) for end in ends) == 20 - trials
        assert sum(isinstance(end, sg.ServiceResponse) for end in ends) == trials
        assert upstream.most == trials
        assert service.breaker == "closed"


async def test_a_trial_that_our_own_side_stops_gives_its_place_back(autojump_clock) -> None:
    async with running(500, 200, breaker=ONE) as (service, upstream):
        await service.try_request("GET", "/")
        await trio.sleep(10)
        (only,) = await upstream.runtime.registry.discover("svc")
        await upstream.runtime.registry.deregister("svc", only.id)
        with pytest.raises(sg.NoHealthyInstances):
            await service.get("/")
        await upstream.runtime.registry.register(only)
        assert (await service.get("/")).success
        assert service.breaker == "closed"


async def test_a_breaker_that_is_off_lets_everything_through() -> None:
    breaker = sg.BreakerConfig(failure_threshold=1, enabled=False)
    async with running(500, breaker=breaker) as (service, upstream):
        for _ in range(5):
            assert (await service.try_request("GET", "/")).error.code == "HTTP_STATUS"
        assert (service.breaker, len(upstream.requests)) == ("closed", 5)


async def test_who_waits_for_a_turn_while_it_opens_is_not_sent_into_the_outage(autojump_clock) -> None:
    limit = sg.RateLimit(1, per=5, burst=1)
    async with running(after(1, 500), 200, breaker=ONE, rate_limit=limit) as (service, upstream):
        begun = trio.current_time()
        async with in_background(service, "/1", "/2", "/3", "/4") as ends:
            pass
        assert [end.code for end in ends] == ["HTTP_STATUS", "CIRCUIT_OPEN", "CIRCUIT_OPEN", "CIRCUIT_OPEN"]
        assert len(upstream.requests) == 1
        assert trio.current_time() == pytest.approx(begun + 5)  # one token was enough to turn all of them away
        await trio.sleep(6)
        assert (await service.get("/")).elapsed == 0  # and it is still there


async def crash(service, monkeypatch):
    """There is no public way to crash a service's actor: this is a bug on its road."""

    async def bug(*_):
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(Road, "call", bug)
        return await outcome_of(service.get("/crash"))


async def test_a_crash_does_not_close_it(autojump_clock, monkeypatch) -> None:
    breaker = sg.BreakerConfig(failure_threshold=2, reset_timeout=100)
    async with running(500, 500, 200, breaker=breaker) as (service, upstream):
        await service.try_request("GET", "/")
        error = await crash(service, monkeypatch)
        assert isinstance(error, sg.ActorCrashed)
        assert (error.service, error.attempts, error.retryable) == ("svc", 0, True)
        assert (await service.try_request("GET", "/")).error.code == "HTTP_STATUS"  # waits until it is back
        assert service.breaker == "open"  # the failure before the crash counts
        await crash(service, monkeypatch)
        with pytest.raises(sg.CircuitOpen):
            await service.get("/")
        assert upstream.runtime.tree().find("/services/svc").restarts == 2
        await trio.sleep(100)
        assert (await service.get("/")).success


async def test_a_crash_does_not_fill_the_bucket(autojump_clock, monkeypatch) -> None:
    async with running(rate_limit=sg.RateLimit(1, per=100, burst=1)) as (service, _):
        await service.get("/")
        await crash(service, monkeypatch)
        with pytest.raises(sg.RateLimited):
            await service.get("/")


async def test_a_crash_ends_the_call_in_hand_and_serves_what_is_queued(autojump_clock, monkeypatch) -> None:
    async with running(hang, 200, bulkhead=sg.BulkheadConfig(max_concurrent=2)) as (service, _):
        async with in_background(service, "/1") as ends:
            error = await crash(service, monkeypatch)
            assert isinstance(error, sg.ActorCrashed)
            async with in_background(service, "/2") as later:
                pass
        assert [type(end) for end in (*ends, *later)] == [sg.ActorCrashed, sg.ServiceResponse]


async def test_calls_under_way_do_not_report_for_a_breaker_that_has_been_replaced(autojump_clock) -> None:
    """They settle on the breaker that let them in; its opening is no event of the one in force."""

    async def fail_late(_request: httpx.Request) -> httpx.Response:
        await trio.sleep(1)
        return httpx.Response(500)

    def configured(threshold: int) -> sg.ServiceConfig:
        breaker = sg.BreakerConfig(failure_threshold=threshold)
        return sg.ServiceConfig("svc", "http://svc.test", breaker=breaker, retry=sg.RetryPolicy(max_attempts=1))

    config = sg.RuntimeConfig([configured(2)], metrics=sg.MetricsConfig(websocket=False))
    async with sg.open_runtime(config, transport=httpx.MockTransport(fail_late)) as runtime:
        service = runtime.service("svc")
        async with runtime.events() as events:
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(service.try_request, "GET", "/")
                await trio.sleep(0.5)
                await runtime.reconfigure("svc", configured(50))
            assert service.breaker == "closed"
            assert states(events) == []
