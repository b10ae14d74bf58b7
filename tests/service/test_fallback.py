"""What a caller gets when the service fails."""

from __future__ import annotations

import msgspec
import pytest
import trio
from support.service import BASE, ONCE, STEADY, Upstream, hang, in_background, outcome_of, reply_json, running

import switchgear as sg
from switchgear.actors.service.road import Road

CACHE = sg.CacheFallback(max_age=60)
DEFAULT = sg.DefaultFallback({"items": []})
GOOD, NEWER = reply_json(b'{"n": 1}'), reply_json(b'{"n": 2}')


class Items(msgspec.Struct):
    items: list[int]


def backup(*fallbacks, **fields):
    """Another service, on a host of its own."""
    fields.setdefault("retry", ONCE)
    return sg.ServiceConfig("backup", "https://backup.test", fallbacks=fallbacks, **fields)


def by_host(primary, other):
    """Steps for the primary's host, and for the other's."""

    def step(request):
        return primary if request.url.host == "svc.test" else other

    return step


async def test_the_last_good_answer_marked_as_what_it_is(autojump_clock) -> None:
    async with running(GOOD, NEWER, 503, fallbacks=(CACHE,)) as (service, _):
        for _ in range(2):
            assert (await service.get("/a")).source == "live"
        response = await service.get("/a")
        assert (response.success, response.data, response.status) == (True, {"n": 2}, 200)
        assert (response.source, response.stale, response.attempts) == ("cache", True, 1)
        assert isinstance(response.error, sg.HTTPStatusError)
        assert response.error.status == 503


async def test_not_older_than_max_age(autojump_clock) -> None:
    async with running(GOOD, 503, fallbacks=(CACHE,)) as (service, _):
        await service.get("/a")
        await trio.sleep(60)
        assert (await service.get("/a")).source == "cache"
        await trio.sleep(0.1)
        with pytest.raises(sg.HTTPStatusError) as caught:
            await service.get("/a")
    assert caught.value.__notes__ == ["fallback 'cache' had no answer"]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({}, {}, True),
        ({"params": {"a": 1}}, {"params": {"a": 2}}, False),
        ({"headers": {"Authorization": "Bearer me"}}, {"headers": {"Authorization": "Bearer you"}}, False),
        ({"headers": {"Accept-Language": "de"}}, {"headers": {"accept-language": "de"}}, True),
        ({"headers": {"X-Request-ID": "1"}}, {"headers": {"X-Request-ID": "2"}}, True),
    ],
)
async def test_answers_are_kept_apart_by_what_can_change_them(first, second, same) -> None:
    async with running(GOOD, 503, base_url="https://svc.test", fallbacks=(CACHE,)) as (service, _):
        await service.get("/a", **first)
        end = await outcome_of(service.get("/a", **second))
    assert isinstance(end, sg.ServiceResponse) is same


async def test_only_answers_to_get_and_head_are_kept() -> None:
    async with running(GOOD, 503, fallbacks=(CACHE,)) as (service, _):
        await service.post("/a", json={})
        with pytest.raises(sg.HTTPStatusError):
            await service.post("/a", json={})


async def test_an_answer_that_does_not_fit_does_not_push_out_one_that_does() -> None:
    async with running(reply_json(b'{"items": [1]}'), reply_json(b"[]"), fallbacks=(CACHE,)) as (service, _):
        await service.get("/a", type=Items)
        response = await service.get("/a", type=Items)
    assert (response.data, response.source, response.error.code) == (Items([1]), "cache", "DECODE")


async def test_a_kept_answer_that_does_not_fit_this_callers_type_is_none() -> None:
    async with running(reply_json(b"[]"), 503, fallbacks=(CACHE, DEFAULT)) as (service, _):
        await service.get("/a")
        response = await service.get("/a", type=Items)
    assert response.source == "default"
    assert "fallback 'cache' failed" in response.error.__notes__[0]


async def test_the_cache_is_bounded_and_drops_the_least_used() -> None:
    cache = sg.CacheFallback(max_entries=2)
    async with running(*[GOOD] * 4, 503, fallbacks=(cache,)) as (service, _):
        for path in ("/a", "/b"):
            await service.get(path)
        await service.get("/a")
        await service.get("/c")
        assert await kept_of(service, "/a", "/b", "/c") == ["/a", "/c"]


async def kept_of(service, *paths):
    """Those of which there is an answer, now that the service gives none."""
    return [path for path in paths if (await service.try_request("GET", path)).success]


async def test_and_bounded_in_bytes() -> None:
    cache = sg.CacheFallback(max_bytes=10_000)
    answers = [(200, {}, b"x" * size) for size in (4000, 4000, 4000, 20_000)]
    async with running(*answers, 503, fallbacks=(cache,), breaker=sg.BreakerConfig(100)) as (service, _):
        for path in ("/a", "/b", "/c", "/d"):
            await service.get(path)
        assert await kept_of(service, "/a", "/b", "/c", "/d") == ["/b", "/c"]


async def test_a_default_is_each_callers_own() -> None:
    async with running(503, fallbacks=(DEFAULT,)) as (service, _):
        first = await service.get("/")
        first.data["items"].append("mine")
        second = await service.get("/")
    assert (second.data, second.source, second.stale, second.status) == ({"items": []}, "default", False, None)


async def test_a_default_becomes_the_callers_type_or_is_none() -> None:
    async with running(503, fallbacks=(DEFAULT,)) as (service, _):
        assert (await service.get("/", type=Items)).data == Items([])
        with pytest.raises(sg.HTTPStatusError) as caught:
            await service.get("/", type=list[int])
        assert "fallback 'default' failed: the default cannot be given" in caught.value.__notes__[0]
    async with running(503, fallbacks=(sg.DefaultFallback(Items([7])),)) as (service, _):
        assert (await service.get("/", type=Items)).data == Items([7])


async def test_another_service_through_its_own_guards(autojump_clock) -> None:
    step = by_host(503, GOOD)
    other = backup(auth=sg.BearerAuth(sg.Secret("theirs")))
    fallbacks = (sg.AlternativeFallback("backup"),)
    async with running(step, others=(other,), auth=sg.BearerAuth(sg.Secret("ours")), fallbacks=fallbacks) as (
        service,
        upstream,
    ):
        response = await service.get("/a", params={"x": 1}, headers={"X-More": "y"})
    assert (response.data, response.source, response.stale, response.status) == ({"n": 1}, "alternative", False, 200)
    first, second = upstream.requests
    assert str(second.url) == "https://backup.test/a?x=1"
    assert second.headers["authorization"] == "Bearer theirs"
    assert second.headers["x-more"] == "y"
    assert second.headers["x-request-id"] == first.headers["x-request-id"] == response.request_id


async def test_the_other_service_has_all_its_attempts(autojump_clock) -> None:
    replies = {"svc.test": iter([503, 503, 503]), "backup.test": iter([503, 503, GOOD])}
    fallbacks = (sg.AlternativeFallback("backup"),)
    async with running(
        lambda request: next(replies[request.url.host]),
        retry=STEADY,
        others=(backup(retry=STEADY),),
        fallbacks=fallbacks,
    ) as (service, upstream):
        response = await service.get("/a")
    assert (response.source, response.attempts) == ("alternative", 3)
    assert upstream.header("x-retry-attempt") == ["0", "1", "2"] * 2


async def test_an_alternatives_stale_answer_is_stale() -> None:
    replies = iter([GOOD, 503, 503])
    fallbacks = (sg.AlternativeFallback("backup"),)
    async with running(lambda _: next(replies), others=(backup(CACHE),), fallbacks=fallbacks) as (service, upstream):
        await upstream.runtime.service("backup").get("/a")
        response = await service.get("/a")
    assert (response.source, response.stale) == ("alternative", True)


async def test_they_are_tried_in_order_and_the_failed_ones_are_noted() -> None:
    fallbacks = (CACHE, sg.AlternativeFallback("backup"))
    async with running(by_host(503, 500), others=(backup(),), fallbacks=fallbacks) as (service, _):
        with pytest.raises(sg.HTTPStatusError) as caught:
            await service.get("/")
    assert (caught.value.service, caught.value.status) == ("svc", 503)
    assert caught.value.__notes__ == [
        "fallback 'cache' had no answer",
        "fallback 'alternative' failed: backup: the service answered 500",
    ]


async def test_each_is_for_the_errors_it_names() -> None:
    slow, refused = sg.DefaultFallback("slow", on=("TIMEOUT",)), sg.DefaultFallback("no", on=("HTTP_STATUS", "DECODE"))
    async with running(503, reply_json(b"{"), 401, fallbacks=(slow, refused)) as (service, _):
        assert (await service.get("/")).data == "no"
        assert (await service.get("/")).data == "no"
        with pytest.raises(sg.AuthFailed) as caught:
            await service.get("/")
        assert not hasattr(caught.value, "__notes__")


async def test_not_for_calls_that_cannot_be_made_nor_when_not_wanted() -> None:
    async with running(503, fallbacks=(DEFAULT,)) as (service, _):
        with pytest.raises(sg.InvalidRequest):
            await service.get("//evil.test")
        with pytest.raises(sg.HTTPStatusError):
            await service.get("/", fallback=False)
        assert (await service.try_request("GET", "/")).source == "default"


@pytest.mark.parametrize("step", [401, 403, 429, 503, hang, (200, {}, b"x" * 200)], ids=str)
async def test_they_answer_whatever_went_wrong(step, autojump_clock) -> None:
    async with running(step, fallbacks=(DEFAULT,), max_response_bytes=100) as (service, _):
        assert (await service.get("/", timeout=1)).source == "default"


async def test_they_answer_when_the_breaker_is_open_and_when_no_turn_comes(autojump_clock) -> None:
    breaker, limit = sg.BreakerConfig(failure_threshold=1), sg.RateLimit(1, per=1000, burst=1)
    async with running(503, fallbacks=(DEFAULT,), breaker=breaker) as (service, upstream):
        codes = [(await service.get("/")).error.code for _ in range(2)]
        assert (codes, len(upstream.requests)) == (["HTTP_STATUS", "CIRCUIT_OPEN"], 1)
    async with running(503, fallbacks=(DEFAULT,), rate_limit=limit) as (service, _):
        assert [(await service.get("/")).error.code for _ in range(2)] == ["HTTP_STATUS", "RATE_LIMITED"]


async def test_they_answer_when_the_actor_is_full(autojump_clock) -> None:
    full = sg.BulkheadConfig(1, 0, "fail")
    async with (
        running(hang, fallbacks=(DEFAULT,), bulkhead=full) as (service, _),
        in_background(service, "/", timeout=5) as ends,
    ):
        assert (await service.get("/")).error.code == "OVERLOADED"
    assert ends[0].error.code == "TIMEOUT"


async def test_they_answer_when_the_actor_has_crashed_or_gone(autojump_clock, monkeypatch) -> None:
    async def bug(*_):
        raise ZeroDivisionError("a bug")

    async with running(GOOD, fallbacks=(CACHE, DEFAULT)) as (service, upstream):
        await service.get("/a")
        with monkeypatch.context() as patch:
            patch.setattr(Road, "call", bug)
            response = await service.get("/a")
        assert (response.source, response.error.code) == ("cache", "ACTOR_CRASHED")
        await upstream.runtime.remove_service("svc")
        response = await service.get("/a")
        assert (response.source, response.error.code) == ("cache", "SHUTTING_DOWN")
    assert (await service.get("/b")).source == "default"  # even when the whole runtime has ended


async def test_waiting_for_another_service_holds_no_place_in_the_bulkhead(autojump_clock) -> None:
    fallbacks = (sg.AlternativeFallback("backup"),)
    tight = sg.BulkheadConfig(1, 0, "fail")
    async with (
        running(by_host(503, hang), others=(backup(),), fallbacks=fallbacks, bulkhead=tight) as (service, upstream),
        in_background(service, "/1", "/2", timeout=5) as ends,
    ):
        info = upstream.runtime.tree()
        assert (info.find("/services/svc").in_flight, info.find("/services/backup").in_flight) == (0, 2)
    assert [end.status for end in ends] == [503, 503]


async def test_a_cancelled_call_falls_back_on_nothing(autojump_clock) -> None:
    async with running(hang, fallbacks=(DEFAULT,)) as (service, _):
        with trio.move_on_after(1) as scope:
            await service.get("/")
        assert scope.cancelled_caught


async def test_answers_of_fallbacks_are_counted(autojump_clock) -> None:
    async with running(503, fallbacks=(DEFAULT,)) as (service, upstream):
        for _ in range(3):
            await service.get("/")
        figures = upstream.runtime.metrics.get("svc")
    assert (figures.count, figures.errors, figures.fallbacks_by_source) == (3, 3, {"default": 3})


@pytest.mark.parametrize("change", ["add", "reconfigure"])
@pytest.mark.parametrize(
    ("fallbacks", "why"),
    [((sg.AlternativeFallback("nobody"),), "no service"), ((sg.AlternativeFallback("svc"),), "break the loop")],
    ids=["unknown", "loop"],
)
async def test_alternatives_are_checked_at_run_time_too(change, fallbacks, why) -> None:
    to_backup = (sg.AlternativeFallback("backup"),)
    async with running(503, others=(backup(),), fallbacks=to_backup) as (service, upstream):
        runtime = upstream.runtime
        if change == "add":
            await runtime.remove_service("backup")
        act = runtime.add_service if change == "add" else lambda config: runtime.reconfigure("backup", config)
        with pytest.raises(sg.ConfigError, match=why):
            await act(backup(*fallbacks))
        with pytest.raises(sg.HTTPStatusError):
            await service.get("/")


async def test_a_loop_through_a_service_that_came_later_is_found() -> None:
    upstream = Upstream(503)
    config = sg.RuntimeConfig((sg.ServiceConfig("a", BASE),), metrics=sg.MetricsConfig(websocket=False))
    async with sg.open_runtime(config, transport=upstream) as runtime:
        await runtime.add_service(sg.ServiceConfig("b", BASE, fallbacks=(sg.AlternativeFallback("a"),)))
        with pytest.raises(sg.ConfigError, match="break the loop"):
            await runtime.reconfigure("a", sg.ServiceConfig("a", BASE, fallbacks=(sg.AlternativeFallback("b"),)))


async def test_what_is_wrong_with_another_service_since_it_came_does_not_matter() -> None:
    fallbacks = (sg.AlternativeFallback("backup"),)
    async with running(503, others=(backup(),), fallbacks=fallbacks) as (service, upstream):
        await upstream.runtime.remove_service("backup")
        await upstream.runtime.add_service(sg.ServiceConfig("new", BASE))
        with pytest.raises(sg.HTTPStatusError) as caught:
            await service.get("/")
        assert "there is no service 'backup'" in caught.value.__notes__[0]


async def test_a_default_that_cannot_be_copied_is_none() -> None:
    async with running(503, fallbacks=(sg.DefaultFallback(n for n in ()),)) as (service, _):
        with pytest.raises(sg.HTTPStatusError) as caught:
            await service.get("/")
    assert "cannot be given" in caught.value.__notes__[0]


async def test_a_cache_that_is_configured_anew_keeps_what_fits_and_that_of_another_account_nothing() -> None:
    async with running(GOOD, GOOD, 503, fallbacks=(CACHE, DEFAULT)) as (service, upstream):
        await service.get("/a")
        await service.get("/b")
        smaller, token = sg.CacheFallback(max_entries=1), sg.BearerAuth(sg.Secret("another"))
        for fields, kept in [({}, "cache"), ({"auth": token, "allow_plain_http": True}, "default")]:
            config = sg.ServiceConfig("svc", BASE, retry=ONCE, fallbacks=(smaller, DEFAULT), **fields)
            await upstream.runtime.reconfigure("svc", config)
            assert (await service.get("/a")).source == "default"
            assert (await service.get("/b")).source == kept


# ---- conditions


@pytest.mark.parametrize(
    ("conditions", "step", "answers"),
    [
        ({"statuses": (503,)}, 503, True),
        ({"statuses": (503,)}, 500, False),
        ({"statuses": ("5xx",)}, 500, True),
        ({"statuses": ("5xx", 404)}, 404, True),
        ({"statuses": ("4xx",)}, 429, True),
        ({"statuses": ("4xx",)}, 500, False),
        ({"statuses": (503,)}, ConnectionError("x"), False),
        ({"on": ("TRANSPORT",), "statuses": (503,)}, 503, False),
        ({"when": lambda error: error.status == 404}, 404, True),
        ({"when": lambda error: error.status == 404}, 500, False),
        ({"on": ("HTTP_STATUS",), "when": lambda error: error.attempts > 1}, 500, False),
    ],
)
async def test_each_is_for_the_answers_and_errors_that_it_names(conditions, step, answers) -> None:
    async with running(step, retry=ONCE, fallbacks=(sg.DefaultFallback(1, **conditions),)) as (service, _):
        assert isinstance(await outcome_of(service.get("/a")), sg.ServiceResponse) is answers


async def test_a_condition_that_raises_is_a_fallback_that_failed() -> None:
    bad, good = sg.DefaultFallback(1, when=lambda error: error.nothing), sg.DefaultFallback(2)
    async with running(500, fallbacks=(bad, good)) as (service, _):
        response = await service.get("/a")
    assert response.data == 2
    assert response.error.__notes__ == ["fallback 'default' failed: its condition raised AttributeError"]
    assert isinstance(response.error.fallback_errors[0].__cause__, AttributeError)


async def test_when_all_fail_the_errors_of_all_are_with_the_first() -> None:
    fallbacks = (
        sg.DefaultFallback("x"),
        sg.DegradeFallback(lambda *_: 1 / 0),
        sg.AlternativeFallback("backup"),
    )
    async with running(by_host(500, 404), fallbacks=fallbacks, others=(backup(),)) as (service, _):
        error = await outcome_of(service.get("/a", type=Items))
        again = await service.try_request("GET", "/a", type=Items)
    assert isinstance(error, sg.HTTPStatusError)
    assert error.status == 500
    assert [type(one) for one in error.fallback_errors] == [sg.FallbackFailed] * 3
    assert isinstance(error.fallback_errors[1].__cause__, ZeroDivisionError)
    assert error.fallback_errors[2].__cause__.status == 404
    assert len(again.error.fallback_errors) == 3


@pytest.mark.parametrize("statuses", [(99,), ("3xx",), (True,), ("503",)])
def test_a_status_that_is_none_is_refused(statuses) -> None:
    with pytest.raises(sg.ConfigError, match="must be an HTTP status"):
        sg.CacheFallback(statuses=statuses)


# ---- graceful degradation


async def test_a_function_builds_a_reduced_answer() -> None:
    seen = []

    def reduced(error, call):
        seen.append((error, call))
        return {"items": [], "why": error.code}

    async with running(503, retry=ONCE, fallbacks=(sg.DegradeFallback(reduced),)) as (service, upstream):
        response = await service.post("/a", params={"b": 1}, json={"c": 2}, headers={"X-One": "1"})
        figures = upstream.runtime.metrics.get("svc")
    assert (response.source, response.stale, response.status) == ("degraded", False, None)
    assert response.data == {"items": [], "why": "HTTP_STATUS"}
    ((error, call),) = seen
    assert response.error is error
    assert (call.method, call.target, call.body, call.type) == ("POST", "/a?b=1", b'{"c":2}', None)
    assert dict(call.headers)["X-One"] == "1"
    assert (call.request_id, call.attempts, call.idempotency_key) == (response.request_id, 1, None)
    assert figures.fallbacks_by_source == {"degraded": 1}


async def test_it_may_be_async_and_becomes_the_callers_type(autojump_clock) -> None:
    async def reduced(error, call):
        await trio.sleep(0.5)
        return {"items": [1]}

    async with running(503, retry=ONCE, fallbacks=(sg.DegradeFallback(reduced),)) as (service, _):
        response = await service.get("/a", type=Items)
    assert response.data == Items([1])
    assert response.elapsed == 0.5


async def test_it_has_a_time_of_its_own_when_that_of_the_call_is_over(autojump_clock) -> None:
    async def reduced(error, call):
        await trio.sleep(0.5)
        return 1

    async def too_slow(error, call):
        await trio.sleep_forever()

    fallbacks = (sg.DegradeFallback(too_slow, timeout=2.0), sg.DegradeFallback(reduced))
    async with running(hang, fallbacks=fallbacks) as (service, _):
        response = await service.get("/a", timeout=3)
    assert (response.data, response.elapsed) == (1, 5.5)
    assert response.error.code == "TIMEOUT"
    assert "longer than 2 s" in str(response.error.fallback_errors[0])


async def test_a_cancelled_caller_takes_it_along(autojump_clock) -> None:
    ended = []

    async def slow(error, call):
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with running(503, retry=ONCE, fallbacks=(sg.DegradeFallback(slow, timeout=60),)) as (service, _):
        begun = trio.current_time()
        with trio.move_on_after(1) as scope:
            await service.get("/a")
    assert scope.cancelled_caught
    assert ended == [begun + 1]


async def test_what_it_gives_that_does_not_fit_is_its_failure() -> None:
    fallbacks = (sg.DegradeFallback(lambda *_: {"items": "no"}), sg.DefaultFallback({"items": []}))
    async with running(503, retry=ONCE, fallbacks=fallbacks) as (service, _):
        response = await service.get("/a", type=Items)
    assert (response.source, response.data) == ("default", Items([]))


async def test_a_body_that_was_sent_in_pieces_is_not_there() -> None:
    async def pieces():
        yield b"x"

    async with running(503, retry=ONCE, fallbacks=(sg.DegradeFallback(lambda _, call: call.body),)) as (service, _):
        assert (await service.post("/a", content=pieces())).data == b""
