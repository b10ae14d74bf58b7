"""What of the breaker can be chosen: what counts, what trips it, how long it stays open, and who decides."""

from __future__ import annotations

import json
import logging

import httpx
import pytest
import trio
from support.service import BASE, ONCE, after, drain, hang, outcome_of, reply_json, running

import switchgear as sg
from switchgear.actors.service.road import Road

ONE = {"failure_threshold": 1, "reset_timeout": 10.0}


# ---- what counts


def picky(status, error):
    """A user's own judgement: of errors with a status, of those without, and of good answers."""
    if status == 418:
        return "failure"
    if error is not None and error.code == "TRANSPORT":
        return "ignore"
    return "success" if status == 503 else None


@pytest.mark.parametrize(
    ("options", "step", "state"),
    [
        ({"failure_statuses": (503,)}, 500, "closed"),
        ({"failure_statuses": (503,)}, 503, "open"),
        ({"failure_statuses": ("5xx", 404)}, 404, "open"),
        ({"failure_statuses": ("5xx",), "ignored_statuses": (503,)}, 503, "closed"),
        ({"failure_statuses": (429,), "ignored_statuses": ("4xx",)}, 429, "open"),
        ({"failure_statuses": (200,)}, 200, "open"),
        ({"failure_errors": ("TIMEOUT",)}, httpx.ConnectError("x"), "closed"),
        ({"failure_errors": ("TRANSPORT",)}, hang, "closed"),
        ({"failure_errors": ("RESPONSE_TOO_LARGE",)}, (200, {}, b"x" * 200), "open"),
        ({"classify": picky}, 418, "open"),
        ({"classify": picky}, 503, "closed"),
        ({"classify": picky}, 500, "open"),
        ({"classify": picky}, httpx.ConnectError("x"), "closed"),
        ({"classify": lambda status, error: "failure" if error is None else None}, 200, "open"),
    ],
    ids=str,
)
async def test_what_counts_is_configured(options, step, state, autojump_clock) -> None:
    async with running(step, breaker=sg.BreakerConfig(**ONE, **options), max_response_bytes=100) as (service, _):
        await service.try_request("GET", "/", timeout=5)
        await trio.testing.wait_all_tasks_blocked()
        assert service.breaker == state


@pytest.mark.parametrize(
    ("step", "seen"),
    [
        (200, (200, None)),
        (401, (401, "AUTH_FAILED")),
        (429, (429, "RATE_LIMITED")),
        (503, (503, "HTTP_STATUS")),
        (httpx.ConnectError("x"), (None, "TRANSPORT")),
    ],
    ids=str,
)
async def test_each_attempt_is_judged_once(step, seen) -> None:
    asked = []

    def judge(status, error):
        asked.append((status, error and error.code))

    async with running(step, breaker=sg.BreakerConfig(classify=judge)) as (service, _):
        await service.try_request("GET", "/")
    assert asked == [seen]


@pytest.mark.parametrize("bad", [lambda *_: 1 / 0, lambda *_: "perhaps"])
async def test_a_judgement_that_fails_leaves_it_to_the_lists_and_is_logged(bad, caplog) -> None:
    async with running(500, breaker=sg.BreakerConfig(**ONE, classify=bad)) as (service, _):
        with caplog.at_level(logging.WARNING):
            assert (await outcome_of(service.get("/"))).status == 500
        assert service.breaker == "open"
    assert "breaker.classify failed, and the lists decide" in caplog.text


async def test_a_429_in_half_open_says_nothing_and_gives_the_place_back(autojump_clock) -> None:
    async with running(500, 429, 429, 200, breaker=sg.BreakerConfig(**ONE)) as (service, _):
        await outcome_of(service.get("/"))
        await trio.sleep(10)
        for _ in range(2):
            assert isinstance(await outcome_of(service.get("/")), sg.RateLimited)
            assert service.breaker == "half_open"
        await service.get("/")
        assert service.breaker == "closed"


async def test_a_file_names_the_function(tmp_path) -> None:
    breaker = {"trip": "rate", "failure_statuses": [500, "4xx"], "classify": f"{__name__}:picky"}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"services": [{"name": "svc", "base_url": BASE, "breaker": breaker}]}))
    loaded = sg.load_config(path).services[0].breaker
    assert loaded == sg.BreakerConfig(trip="rate", failure_statuses=(500, "4xx"), classify=picky)


# ---- what trips it


async def test_a_service_that_is_slow_opens_it(autojump_clock) -> None:
    breaker = sg.BreakerConfig(trip="rate", slow_rate=0.5, slow_after=1.0, minimum_calls=4, reset_timeout=10.0)
    script = (after(0.5), after(0.5), after(2.0), after(2.0))
    async with running(*script, breaker=breaker) as (service, upstream), upstream.runtime.events() as events:
        for _ in range(4):
            assert (await service.get("/")).success
        (event,) = [one for one in drain(events) if type(one).__name__ == "BreakerChanged"]
    assert (event.new, event.reason) == ("open", "2 of 4 calls took more than 1 s")
    assert (event.calls, event.failures, event.slow, event.trips, event.open_for) == (4, 0, 2, 1, 10.0)


async def test_the_wait_for_a_turn_is_no_slowness_of_the_service(autojump_clock) -> None:
    breaker = sg.BreakerConfig(trip="rate", slow_rate=0.1, slow_after=1.0, minimum_calls=2)
    limit = sg.RateLimit(1, per=5, burst=1)
    async with running(after(0.5), breaker=breaker, rate_limit=limit) as (service, _):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(service.get, "/")
        assert service.breaker == "closed"


async def test_one_failure_in_a_hundred_opens_no_breaker_that_goes_by_the_rate(autojump_clock) -> None:
    steps = [*[200] * 99, 500]
    async with running(lambda _: steps[len(upstream.requests) % 100], breaker=sg.BreakerConfig(trip="rate")) as (
        service,
        upstream,
    ):
        for _ in range(1000):
            await outcome_of(service.get("/"))
        assert service.breaker == "closed"


# ---- how long


async def test_an_outage_that_lasts_is_tried_less_and_less(autojump_clock) -> None:
    breaker = sg.BreakerConfig(1, reset_timeout=10.0, reset_multiplier=2.0, max_reset_timeout=80.0, reset_jitter=0.5)
    async with running(500, breaker=breaker) as (service, upstream), upstream.runtime.events() as events:
        for _ in range(1000):
            await outcome_of(service.get("/"))
            await trio.sleep(1)
        changes = [one for one in drain(events) if type(one).__name__ == "BreakerChanged" and one.new == "open"]
    times = [one.open_for for one in changes]
    assert [one.trips for one in changes] == list(range(1, len(times) + 1))
    assert times[0] == 10.0
    assert all(
        min(80.0, 10.0 * 2**trip) / 2 <= took <= min(80.0, 10.0 * 2**trip) for trip, took in enumerate(times) if trip
    )
    assert len(set(times)) == len(times)
    assert len(upstream.requests) == len(times) < 40


# ---- when the configuration changes


async def test_what_was_counted_is_kept_by_another_configuration(autojump_clock) -> None:
    breaker = sg.BreakerConfig(trip="rate", minimum_calls=4)
    async with running(500, breaker=breaker) as (service, upstream):
        for _ in range(3):
            await outcome_of(service.get("/"))
        other = sg.BreakerConfig(trip="rate", minimum_calls=4, failure_rate=0.9, reset_timeout=20)
        config = sg.ServiceConfig("svc", base_url=BASE, retry=ONCE, breaker=other)
        await upstream.runtime.reconfigure("svc", config)
        assert service.breaker == "closed"
        await outcome_of(service.get("/"))
        assert service.breaker == "open"


# ---- operators


async def test_an_operator_lets_nothing_through_and_gives_it_back(autojump_clock) -> None:
    async with running(200) as (service, upstream), upstream.runtime.events() as events:
        service.force_breaker("open")
        assert service.breaker == "forced_open"
        error = await outcome_of(service.get("/"))
        assert isinstance(error, sg.CircuitOpen)
        assert (error.retry_at, error.retryable, "an operator" in str(error)) == (None, False, True)
        assert upstream.requests == []
        service.force_breaker(None)
        assert service.breaker == "half_open"
        assert (await service.get("/")).success
        assert service.breaker == "closed"
        changes = [one for one in drain(events) if type(one).__name__ == "BreakerChanged"]
    assert [(one.old, one.new) for one in changes] == [
        ("closed", "forced_open"),
        ("forced_open", "half_open"),
        ("half_open", "closed"),
    ]


async def test_fallbacks_answer_while_an_operator_lets_nothing_through() -> None:
    async with running(200, fallbacks=(sg.DefaultFallback(1),)) as (service, _):
        service.force_breaker("open")
        assert (await service.get("/")).source == "default"


async def test_an_operator_lets_everything_through_or_looks_on(autojump_clock) -> None:
    async with running(500, breaker=sg.BreakerConfig(**ONE)) as (service, upstream):
        for to in ("closed", "observing"):
            service.force_breaker(to)
            async with upstream.runtime.events() as events:
                for _ in range(3):
                    assert (await outcome_of(service.get("/"))).status == 500
                told = [one.reason for one in drain(events) if type(one).__name__ == "BreakerChanged"]
            assert told == ([] if to == "closed" else ["it would open: 1 failures in 0 s"] * 3)
        assert len(upstream.requests) == 6


async def test_an_operators_word_outlives_a_crash_and_a_configuration(autojump_clock, monkeypatch) -> None:
    async with running(reply_json(b"1")) as (service, upstream):
        await service.get("/")
        with monkeypatch.context() as patch:
            patch.setattr(Road, "call", None)
            assert isinstance(await outcome_of(service.get("/")), sg.ActorCrashed)
        service.force_breaker("open")
        await trio.sleep(60)
        other = sg.BreakerConfig(9)
        await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", base_url=BASE, breaker=other))
        assert service.breaker == "forced_open"
        assert isinstance(await outcome_of(service.get("/")), sg.CircuitOpen)


async def test_an_operator_says_one_of_three_words() -> None:
    async with running(200) as (service, _):
        with pytest.raises(sg.InvalidRequest, match="'open', 'closed', 'observing', None, not 'ajar'"):
            service.force_breaker("ajar")
