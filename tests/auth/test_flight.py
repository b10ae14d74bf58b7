"""One flight for all who wait: whoever goes, whatever fails, the service gets its token and the source its peace."""

from __future__ import annotations

import itertools
import math
import traceback

import pytest
import trio
from support.service import ONCE, drain, in_background, outcome_of, running
from support.tokens import Mint, after

import switchgear as sg
from switchgear.actors.auth.bearer import FunctionSource
from switchgear.actors.events import TokenRefreshed, TokenRefreshFailed

CANARY = "canary-51c0de"
MANY = sg.BulkheadConfig(max_concurrent=100)


def bearing(*script):
    mint = Mint(*script)
    return mint, sg.BearerAuth(token_from=mint)


def sent(upstream):
    return upstream.header("authorization")


async def test_fifty_callers_and_no_token_are_one_request_for_a_token(autojump_clock) -> None:
    mint, auth = bearing(after(1, "one"))
    async with running(auth=auth, bulkhead=MANY) as (service, upstream), in_background(service, *["/"] * 50) as ends:
        await trio.sleep(1)
    assert len(mint.times) == 1
    assert [end.status for end in ends] == [200] * 50
    assert sent(upstream) == ["Bearer one"] * 50


@pytest.mark.parametrize("leaver", [0, 25, 49])
async def test_whoever_is_cancelled_leaves_alone(leaver, autojump_clock) -> None:
    """The first among them, whose call began the flight."""
    mint, auth = bearing(after(1, "one"))
    ends, scopes = {}, {}

    async def one(number):
        with trio.CancelScope() as scopes[number]:
            ends[number] = await outcome_of(service.get("/"))

    async with running(auth=auth, bulkhead=MANY) as (service, upstream), trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(one, number)
            await trio.testing.wait_all_tasks_blocked()
        scopes[leaver].cancel()
    assert len(mint.times) == 1
    assert set(ends) == set(range(50)) - {leaver}
    assert {end.status for end in ends.values()} == {200}
    assert len(upstream.requests) == 49


async def test_even_if_all_of_them_go_the_token_is_there_for_the_next(autojump_clock) -> None:
    mint, auth = bearing(after(1, "one"))
    async with running(auth=auth) as (service, upstream):
        for _ in range(3):
            with trio.move_on_after(0.2):
                await service.get("/")
        await trio.sleep(1)
        await service.get("/")
    assert len(mint.times) == 1
    assert sent(upstream) == ["Bearer one"]


async def test_a_caller_waits_within_his_own_deadline(autojump_clock) -> None:
    _, auth = bearing(after(5, "one"))
    async with running(auth=auth) as (service, upstream):
        began = trio.current_time()
        end = await outcome_of(service.get("/", timeout=2))
        assert isinstance(end, sg.CallTimeout)
        assert trio.current_time() - began == pytest.approx(2)
        assert (await service.get("/")).success
    assert len(upstream.requests) == 1


async def test_a_token_is_used_until_it_is_stale_and_then_while_another_is_fetched(autojump_clock) -> None:
    mint, auth = bearing(("one", 1000), after(3, ("two", 1000)))
    async with running(auth=auth) as (service, upstream), upstream.runtime.events() as events:
        for _ in range(4):
            await service.get("/")
        await trio.sleep(900)  # less than a fifth of it is left
        for _ in range(4):
            await service.get("/")
            assert service.breaker == "closed"
        assert trio.current_time() == pytest.approx(mint.times[1])  # nobody has waited
        await trio.sleep(3)
        await service.get("/")
        told = [one for one in drain(events) if isinstance(one, TokenRefreshed)]
    assert sent(upstream) == ["Bearer one"] * 8 + ["Bearer two"]
    assert len(mint.times) == 2
    assert [(one.service, one.generation, one.expires_in) for one in told] == [("svc", 1, 1000), ("svc", 2, 1000)]
    assert [one.reason for one in told] == ["there were none", "they expire soon"]


async def test_what_fails_in_the_background_leaves_the_old_token_in_use_and_is_not_tried_again_soon(
    autojump_clock,
) -> None:
    mint, auth = bearing(("one", 1000), OSError(CANARY))
    async with running(auth=auth) as (service, upstream), upstream.runtime.events() as events:
        await service.get("/")
        await trio.sleep(900)
        for _ in range(50):
            await service.get("/")
            await trio.sleep(1)
        failures = [one for one in drain(events) if isinstance(one, TokenRefreshFailed)]
    assert sent(upstream) == ["Bearer one"] * 51
    attempts = mint.times[1:]
    assert 1 <= len(attempts) <= 2
    assert all(later - earlier >= 30 for earlier, later in itertools.pairwise(attempts))
    assert [one.generation for one in failures] == [1] * len(attempts)
    assert CANARY not in repr(failures)
    assert "OSError" in failures[0].reason


async def test_expired_and_down_all_waiters_fail_at_once_and_nobody_hammers(autojump_clock) -> None:
    mint, auth = bearing(after(1, OSError(CANARY)))
    async with running(auth=auth, bulkhead=MANY) as (service, upstream):
        began = trio.current_time()
        async with in_background(service, *["/"] * 50) as ends:
            pass
        assert trio.current_time() - began == pytest.approx(1)
        later = [await outcome_of(service.get("/")) for _ in range(50)]
        assert trio.current_time() - began == pytest.approx(1)  # said at once
        assert len(mint.times) == 1
        for end in ends + later:
            assert isinstance(end, sg.AuthFailed)
            assert end.retryable
            assert trio.current_time() < end.retry_at < math.inf
        assert len(set(map(id, ends))) == 50  # an error each: they are signed with the call
        assert service.breaker == "closed"
        await trio.sleep_until(ends[0].retry_at)
        await outcome_of(service.get("/"))
        assert len(mint.times) == 2
    assert not upstream.requests


async def test_when_it_is_mended_calls_go_on(autojump_clock) -> None:
    _, auth = bearing(OSError("down"), "one")
    async with running(auth=auth) as (service, upstream):
        end = await outcome_of(service.get("/"))
        await trio.sleep_until(end.retry_at)
        assert (await service.get("/")).success
    assert sent(upstream) == ["Bearer one"]


async def test_the_source_says_when_it_wants_to_be_asked_again(autojump_clock) -> None:
    _, auth = bearing(lambda: sg.AuthFailed("sealed", retry_at=trio.current_time() + 100))
    async with running(auth=auth) as (service, _):
        end = await outcome_of(service.get("/"))
    assert end.retry_at >= trio.current_time() + 99


async def test_what_a_function_raises_is_told_by_its_type_and_place_and_by_nothing_else(autojump_clock) -> None:
    _, auth = bearing(KeyError(CANARY))
    async with running(auth=auth) as (service, _):
        end = await outcome_of(service.get("/"))
    text = "".join(traceback.TracebackException.from_exception(end, capture_locals=True).format())
    assert CANARY not in text
    assert "KeyError" in str(end)
    assert "tokens.py" in str(end)


@pytest.mark.parametrize(
    "given",
    [
        "",
        " \n",
        "a\nb",
        "a\0b",
        None,
        5,
        b"x",
        ("x", 0),
        ("x", -1),
        ("x", math.nan),
        ("x", True),
        ("x", "60"),
        ("x", 1, 2),
        "\u20ac",
        "x" * 70_000,
    ],
)
async def test_what_is_no_token_is_refused_and_not_sent(given, autojump_clock) -> None:
    _, auth = bearing(given)
    async with running(auth=auth) as (service, upstream):
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert end.retryable
    assert not upstream.requests


async def test_a_source_that_hangs_is_given_up(autojump_clock) -> None:
    mint, auth = bearing(trio.sleep_forever, "one")
    async with running(auth=auth) as (service, upstream):
        end = await outcome_of(service.get("/", timeout=1000))
        assert isinstance(end, sg.AuthFailed)
        await trio.sleep_until(end.retry_at)
        await service.get("/")
    assert mint.running == 0
    assert sent(upstream) == ["Bearer one"]


async def test_a_crash_with_a_flight_under_way_leaves_nobody_waiting_and_the_next_life_flies_itself(
    autojump_clock,
) -> None:
    mint, auth = bearing(after(10, "one"), "two")
    async with running(auth=auth) as (service, upstream):
        async with in_background(service, *["/"] * 5) as ends:
            await crash(upstream.runtime)
        assert [type(end) for end in ends] == [sg.ActorCrashed] * 5
        assert mint.running == 0
        await service.get("/")
    assert len(mint.times) == 2
    assert sent(upstream) == ["Bearer two"]


async def test_a_token_and_the_memory_of_a_failure_outlive_a_crash(autojump_clock) -> None:
    mint, auth = bearing(("one", 1000), OSError("down"))
    async with running(auth=auth) as (service, upstream):
        await service.get("/")
        await crash(upstream.runtime)
        await service.get("/")
        assert len(mint.times) == 1
        await trio.sleep(1000)
        error = await outcome_of(service.get("/"))
        await crash(upstream.runtime)
        again = await outcome_of(service.get("/"))
        assert error.retry_at == again.retry_at
        assert len(mint.times) == 2
    assert sent(upstream) == ["Bearer one"] * 2


async def test_a_token_survives_another_configuration_and_not_another_auth(autojump_clock) -> None:
    mint, auth = bearing(after(1, "one"))
    other, instead = bearing("two")
    async with running(auth=auth) as (service, upstream):

        async def reconfigure(**fields):
            await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", "https://svc.test", retry=ONCE, **fields))

        async with in_background(service, "/"):  # a flight is under way
            await reconfigure(auth=auth, rate_limit=sg.RateLimit(100))
        await service.get("/")
        await reconfigure(auth=auth, timeout=sg.TimeoutConfig(total=7))
        await service.get("/")
        assert len(mint.times) == 1
        await reconfigure(auth=instead)
        await service.get("/")
        await reconfigure(auth=auth)
        await service.get("/")
    assert sent(upstream) == ["Bearer one"] * 3 + ["Bearer two", "Bearer one"]
    assert (len(mint.times), len(other.times)) == (2, 1)


async def test_a_call_ends_with_the_credentials_that_it_began_with(autojump_clock) -> None:
    _, auth = bearing(after(5, "one"))
    async with running(auth=auth) as (service, upstream):
        async with in_background(service, "/") as ends:
            config = sg.ServiceConfig("svc", "https://svc.test", retry=ONCE, auth=sg.BearerAuth(sg.Secret("two")))
            await upstream.runtime.reconfigure("svc", config)
            await service.get("/")
        assert ends[0].success
    assert sent(upstream) == ["Bearer two", "Bearer one"]


async def test_who_waited_for_credentials_does_not_overrun_the_rate(autojump_clock) -> None:
    """Fifty that were let through by the limit and then waited together would be sent together."""
    _, auth = bearing(after(30, "one"))
    limit = sg.RateLimit(10, burst=1)
    async with (
        running(auth=auth, rate_limit=limit, bulkhead=MANY) as (service, upstream),
        in_background(service, *["/"] * 50, timeout=100),
    ):
        await trio.sleep(30)
    gaps = [later - earlier for earlier, later in itertools.pairwise(upstream.times)]
    assert len(gaps) == 49
    assert min(gaps) >= 0.1 - 1e-9


async def test_who_waited_for_his_turn_is_sent_with_the_newest(autojump_clock) -> None:
    mint, auth = bearing(("t1", 100), ("t2", 100))
    limit = sg.RateLimit(1, per=40)
    async with (
        running(auth=auth, rate_limit=limit, bulkhead=MANY) as (service, upstream),
        in_background(service, *["/"] * 4, timeout=200),
    ):
        await trio.sleep(120)
    assert upstream.times == [0, 40, 80, 120]  # at 80 it is stale, and at 120 it has expired
    assert sent(upstream) == ["Bearer t1"] * 3 + ["Bearer t2"]
    assert mint.times == [0, 80]


async def test_who_waited_for_credentials_meets_the_breaker_that_has_opened_since(autojump_clock) -> None:
    _, auth = bearing(after(30, "one"))
    async with running(auth=auth, bulkhead=MANY) as (service, upstream):
        async with in_background(service, *["/"] * 5, timeout=100) as ends:
            service.force_breaker("open")
        assert [type(end) for end in ends] == [sg.CircuitOpen] * 5
    assert not upstream.requests


async def test_the_wait_for_credentials_is_no_slowness_of_the_service(autojump_clock) -> None:
    _, auth = bearing(after(20, "one"))
    slow = sg.BreakerConfig(trip="rate", slow_after=5.0, slow_rate=0.1, minimum_calls=1)
    async with running(auth=auth, breaker=slow) as (service, _):
        await service.get("/", timeout=100)
        assert service.breaker == "closed"


async def test_a_source_of_ours_with_a_bug_is_no_crash_either(autojump_clock, monkeypatch) -> None:
    async def bug(self, previous):
        raise KeyError(CANARY)

    monkeypatch.setattr(FunctionSource, "fetch", bug)
    _, auth = bearing("one")
    async with running(auth=auth) as (service, upstream):
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert "KeyError" in str(end)
        assert CANARY not in "".join(traceback.format_exception(end))
        assert upstream.runtime.tree().find("/services/svc").restarts == 0


async def crash(runtime):
    """The actor meets a message that it cannot handle, which is a crash by the kernel's rules."""
    await runtime._services["svc"]._ref.tell(object())
    await trio.testing.wait_all_tasks_blocked()
