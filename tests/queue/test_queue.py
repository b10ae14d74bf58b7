"""The fallback and the actor in a runtime: what is queued, told, delivered, given up. In memory, in virtual time."""

import pytest
import trio
from support.queue import empty, runtime_with, seen
from support.service import BASE, ONCE, Upstream, after, drain, outcome_of

import switchgear as sg
from switchgear.actors.events import ItemDead, ItemDelivered, ItemQueued


async def test_the_caller_is_told_queued_and_the_service_gets_the_call_when_it_is_well(autojump_clock) -> None:
    upstream = Upstream(503, 200)
    async with runtime_with(upstream) as runtime, runtime.events() as events:
        response = await runtime.service("svc").put(
            "/x", params={"n": 1}, json={"a": 1}, headers={"X-More": "y", "X-Request-ID": "mine"}, idempotency_key="k"
        )
        assert (response.success, response.source, response.stale) == (True, "queued", False)
        assert (response.data, response.status, response.request_id, response.attempts) == (None, None, "mine", 1)
        assert isinstance(response.error, sg.HTTPStatusError)
        (item,) = await runtime.queue.list()
        assert (item.service, item.request_id, item.method, item.path) == ("svc", "mine", "PUT", "/x?n=1")
        assert (item.state, item.attempts, item.error, item.idempotency_key) == ("ready", 0, None, "k")
        assert 0.5 <= item.due - item.queued_at <= 1.0
        await empty(runtime)
        told = [event for event in drain(events) if isinstance(event, (ItemDead, ItemDelivered, ItemQueued))]
    first, second = upstream.requests
    assert (second.method, second.url, second.content) == (first.method, first.url, first.content)
    for header in ("content-type", "x-more", "x-request-id", "idempotency-key"):
        assert first.headers[header] == second.headers[header]
    assert [(type(event), event.service, event.id, event.request_id) for event in told] == [
        (ItemQueued, "svc", 1, "mine"),
        (ItemDelivered, "svc", 1, "mine"),
    ]


def sometimes(until, good=200, bad=503):
    """Out of order until a time of the test's clock (which begins at 0)."""
    return lambda request: bad if trio.current_time() < until else good


async def test_an_outage_of_an_hour_loses_nothing_and_keeps_the_order(autojump_clock) -> None:
    """200 calls into an open breaker, each once at the service afterwards, in the order in which they were made."""
    began = trio.current_time()
    upstream = Upstream(sometimes(began + 3600))
    async with runtime_with(upstream) as runtime:
        service = runtime.service("svc")
        for number in range(200):
            response = await service.post("/charge", json=number, idempotency_key=f"k{number}")
            assert response.source == "queued"
            await trio.sleep(15)
        asked = len(upstream.requests)
        assert service.breaker != "closed"
        assert (await runtime.queue.stats())["svc"].ready == 200
        await empty(runtime)
        assert service.breaker == "closed"
    served = [request for request, at in zip(upstream.requests, upstream.times, strict=True) if at >= began + 3600]
    assert [request.headers["idempotency-key"] for request in served] == [f"k{number}" for number in range(200)]
    assert [request.content for request in served] == [b"%d" % number for number in range(200)]
    assert asked < 3000 / 30 + 20  # the breaker's trials, and what it took to open it: an outage is no hot loop
    assert served
    assert upstream.times[-1] - upstream.times[-200] < 1  # one trial, and then all at once


async def test_live_traffic_that_closes_the_breaker_ends_the_waiting_at_once(autojump_clock) -> None:
    began = trio.current_time()
    upstream = Upstream(sometimes(began + 100))
    policy = sg.QueueFallback(base_delay=600, max_delay=600, on=["HTTP_STATUS"])
    async with runtime_with(upstream, policy, breaker=sg.BreakerConfig(1, reset_timeout=99)) as runtime:
        await runtime.service("svc").put("/x")
        await trio.sleep(100)
        assert len(await runtime.queue.list()) == 1
        assert (await runtime.service("svc").get("/live")).source == "live"
        await trio.testing.wait_all_tasks_blocked()
        assert await runtime.queue.list() == []
    assert upstream.times[-1] == began + 100


@pytest.mark.parametrize("freed", [None, "closed", "observing"])
async def test_an_operators_word_holds_and_frees_the_queue(freed, autojump_clock) -> None:
    upstream = Upstream(503, 200)
    async with runtime_with(upstream, sg.QueueFallback(base_delay=600, max_delay=600)) as runtime:
        service = runtime.service("svc")
        service.force_breaker("open")
        assert (await service.put("/x")).error.code == "CIRCUIT_OPEN"
        upstream.script = [200]
        await trio.sleep(3600)
        assert upstream.requests == []
        service.force_breaker(freed)
        await empty(runtime)
    assert len(upstream.requests) == 1


async def test_a_key_is_made_where_one_is_needed_and_stays_the_same(autojump_clock) -> None:
    refused = sg.TransportError("no connection", processed="no")
    upstream = Upstream(refused, refused, 500, 500, 200)
    async with runtime_with(upstream, breaker=sg.BreakerConfig(enabled=False)) as runtime:
        assert (await runtime.service("svc").post("/x", json=1)).source == "queued"
        (item,) = await runtime.queue.list()
        await empty(runtime)
    keys = upstream.header("idempotency-key")
    assert keys == [None] + [item.idempotency_key] * 4
    assert len(item.idempotency_key) == 36


async def test_what_needs_no_key_gets_none(autojump_clock) -> None:
    upstream = Upstream(500, 200)
    async with runtime_with(upstream) as runtime:
        await runtime.service("svc").delete("/x")
        await empty(runtime)
    assert upstream.header("idempotency-key") == [None, None]


async def test_a_call_that_the_service_refuses_becomes_a_dead_letter_and_can_be_retried(autojump_clock, caplog) -> None:
    upstream = Upstream(503, (422, {}, b"card number 4711 is not valid"), 200, 200)
    caplog.set_level("DEBUG", "switchgear")
    async with runtime_with(upstream) as runtime, runtime.events() as events:
        first = await runtime.service("svc").put("/bad", headers={"X-Request-ID": "bad"})
        await seen(runtime, 1, ItemDead)
        (item,) = await runtime.queue.list()
        assert (item.state, item.due, item.attempts) == ("dead", None, 1)
        assert item.error == "HTTP_STATUS: the service answered 422"  # and not what is in the body
        assert [event.error for event in drain(events) if isinstance(event, ItemDead)] == [item.error]
        stats = (await runtime.queue.stats())["svc"]
        assert (stats.ready, stats.leased, stats.dead, stats.bytes, stats.oldest) == (0, 0, 1, item.size, None)
        await trio.sleep(10**4)
        assert len(upstream.requests) == 2
        logged = [
            (one.levelname, one.message.split()[1]) for one in caplog.records if one.message.startswith("/queue I")
        ]
        assert logged == [("DEBUG", "ItemQueued"), ("WARNING", "ItemDead")]
        assert await runtime.queue.retry(first.request_id) == 1
        await empty(runtime)
    assert len(upstream.requests) == 3


async def test_one_that_is_refused_does_not_hold_up_those_behind_it(autojump_clock) -> None:
    def step(request):
        return 503 if trio.current_time() < began + 1 else 400 if request.url.path == "/bad" else 200

    began = trio.current_time()
    async with runtime_with(Upstream(step)) as runtime:
        for path in ("/a", "/bad", "/b"):
            await runtime.service("svc").put(path)
        await trio.sleep(100)
        assert [(item.path, item.state) for item in await runtime.queue.list()] == [("/bad", "dead")]


async def test_attempts_are_bounded(autojump_clock) -> None:
    upstream = Upstream(500)
    policy = sg.QueueFallback(max_attempts=3)
    async with runtime_with(upstream, policy) as runtime:
        await runtime.service("svc").put("/x")
        await seen(runtime, 1, ItemDead)
        (item,) = await runtime.queue.list(dead=True)
        assert item.attempts == 3
        assert item.error == "3 attempts, the last of which ended of HTTP_STATUS: the service answered 500"
    assert len(upstream.requests) == 4


@pytest.mark.parametrize("failure", [503, 429, 425, 401, sg.TransportError("refused", processed="no")])
async def test_what_the_service_cannot_have_worked_on_is_no_attempt(failure, autojump_clock) -> None:
    policy = sg.QueueFallback(max_attempts=1, max_delay=10)
    upstream = Upstream(*[failure] * 30, 200)
    async with runtime_with(upstream, policy, breaker=sg.BreakerConfig(enabled=False)) as runtime:
        await runtime.service("svc").put("/x")
        await trio.sleep(30)
        (item,) = await runtime.queue.list()
        assert (item.state, item.attempts) == ("ready", 0)
        await empty(runtime)
    assert len(upstream.requests) == 31


async def test_and_so_is_age(autojump_clock) -> None:
    policy = sg.QueueFallback(max_age=3600)
    async with runtime_with(Upstream(503), policy) as runtime:
        await runtime.service("svc").put("/x")
        queued = trio.current_time()
        await seen(runtime, 1, ItemDead)
        assert queued + 3599 < trio.current_time() < queued + 3601
        (item,) = await runtime.queue.list()
        assert item.error == "it was not delivered within max_age (3600 s)"
        assert await runtime.queue.retry(item.id) == 1  # it is young again
        await trio.sleep(1800)
        (again,) = await runtime.queue.list(dead=False)
        assert (again.id, again.queued_at) == (item.id, item.queued_at)


async def test_the_service_says_when_it_wants_to_be_asked_again(autojump_clock) -> None:
    upstream = Upstream(503, (503, {"Retry-After": "77"}, b""), 200)
    async with runtime_with(upstream) as runtime:
        await runtime.service("svc").put("/x")
        await empty(runtime)
    assert upstream.times[2] - upstream.times[1] == pytest.approx(77)


async def test_several_at_once_where_that_is_configured(autojump_clock) -> None:
    upstream = Upstream(*[503] * 8, after(1))
    policy = sg.QueueFallback(concurrency=4)
    async with runtime_with(upstream, policy, breaker=sg.BreakerConfig(enabled=False)) as runtime:
        for number in range(8):
            await runtime.service("svc").put(f"/{number}")
        await trio.sleep(1.5)
        assert sorted(item.state for item in await runtime.queue.list()) == ["leased"] * 4 + ["ready"] * 4
        assert (await runtime.queue.stats())["svc"].leased == 4
        await empty(runtime)
    assert upstream.most == 4


async def test_callers_who_wait_for_the_limit_go_first(autojump_clock) -> None:
    def step(request):
        return 503 if trio.current_time() < began + 0.1 else 200

    began = trio.current_time()
    upstream = Upstream(step)
    async with runtime_with(upstream, rate_limit=sg.RateLimit(1, burst=2)) as runtime, trio.open_nursery() as nursery:
        service = runtime.service("svc")
        await service.put("/queued")
        await trio.sleep(0.2)
        nursery.start_soon(outcome_of, service.get("/1"))
        await trio.sleep(0.7)  # the queued one waits for a token as well, now
        for path in ("/2", "/3"):
            nursery.start_soon(outcome_of, service.get(path))
        await empty(runtime)
    paths = [request.url.path for request in upstream.requests]
    assert (paths[0], paths[1], set(paths[2:4]), paths[4:]) == ("/queued", "/1", {"/2", "/3"}, ["/queued"])


async def test_the_lists_and_what_is_dropped(autojump_clock) -> None:
    other = sg.ServiceConfig("other", BASE, retry=ONCE, fallbacks=(sg.QueueFallback(base_delay=100),))
    async with runtime_with(Upstream(503), sg.QueueFallback(base_delay=100), others=(other,)) as runtime:
        for name, path in (("svc", "/1"), ("other", "/2"), ("svc", "/3")):
            await runtime.service(name).put(path, headers={"X-Request-ID": f"mine-{name}"})
        queue = runtime.queue
        assert [item.path for item in await queue.list()] == ["/1", "/2", "/3"]
        assert [item.path for item in await queue.list("svc")] == ["/1", "/3"]
        assert [item.path for item in await queue.list(limit=1)] == ["/1"]
        assert [item.path for item in await queue.list(dead=True)] == []
        assert await queue.drop(2) == 1
        assert await queue.drop(2) == 0
        assert await queue.retry("nobody") == 0
        assert await queue.drop("mine-svc") == 2
        assert await queue.stats() == {}


@pytest.mark.parametrize("wrong", [True, None, 0, 1.5, 2**63, b"x"])
async def test_an_item_has_a_name_of_a_kind(wrong) -> None:
    async with runtime_with(Upstream()) as runtime:
        for do in (runtime.queue.retry, runtime.queue.drop):
            with pytest.raises(sg.InvalidRequest, match="named by its id or by the request id of its call, not by"):
                await do(wrong)


@pytest.mark.parametrize("limit", [0, -1, 1.0, None, 2**31])
async def test_a_list_has_a_length(limit) -> None:
    async with runtime_with(Upstream()) as runtime:
        with pytest.raises(sg.InvalidRequest, match="limit is a whole number from 1, not"):
            await runtime.queue.list(limit=limit)


async def test_one_that_is_retried_by_hand_is_tried_now(autojump_clock) -> None:
    upstream = Upstream(503, 200)
    async with runtime_with(upstream, sg.QueueFallback(base_delay=1000, max_delay=1000)) as runtime:
        response = await runtime.service("svc").put("/x")
        assert await runtime.queue.retry(response.request_id) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert await runtime.queue.list() == []


async def test_one_that_is_dropped_while_it_is_tried_is_not_tried_again(autojump_clock) -> None:
    upstream = Upstream(503, after(5, 503))
    async with runtime_with(upstream) as runtime:
        await runtime.service("svc").put("/x")
        await trio.sleep(3)
        assert await runtime.queue.drop(1) == 1
        await trio.sleep(1000)
        assert await runtime.queue.stats() == {}
    assert len(upstream.requests) == 2


async def test_a_queue_that_is_full_passes_on(autojump_clock) -> None:
    fallbacks = (sg.QueueFallback(max_items=2), sg.DefaultFallback("sorry"))
    async with runtime_with(Upstream(503), *fallbacks) as runtime:
        ends = [await runtime.service("svc").put("/x") for _ in range(3)]
        assert [end.source for end in ends] == ["queued", "queued", "default"]
        assert "it holds 2 calls, which is max_items; 0 of them are dead letters" in ends[2].error.__notes__[0]
        assert await runtime.queue.drop(1) == 1
        assert (await runtime.service("svc").put("/x")).source == "queued"


async def test_an_alternative_that_queues_it_says_so(autojump_clock) -> None:
    backup = sg.ServiceConfig("backup", "http://backup.test", retry=ONCE, fallbacks=(sg.QueueFallback(),))
    upstream = Upstream(503, 503, 200)
    async with runtime_with(upstream, sg.AlternativeFallback("backup"), others=(backup,)) as runtime:
        response = await runtime.service("svc").put("/x")
        assert (response.source, response.data, response.status) == ("queued", None, None)
        assert [item.service for item in await runtime.queue.list()] == ["backup"]
        await empty(runtime)
    assert [request.url.host for request in upstream.requests] == ["svc.test", "backup.test", "backup.test"]


async def test_who_has_lost_events_asks_the_breakers_themselves(autojump_clock) -> None:
    upstream = Upstream(503, 200)
    async with runtime_with(upstream, sg.QueueFallback(base_delay=600, max_delay=600)) as runtime:
        await runtime.service("svc").put("/x")
        queued = trio.current_time()
        for _ in range(2000):  # without letting anybody read them
            runtime._system.events.publish(ItemQueued(path="/elsewhere", service="svc", id=0, request_id=""))
        await empty(runtime)
        assert trio.current_time() < queued + 2


async def test_only_services_that_are_there_are_called(autojump_clock) -> None:
    upstream = Upstream(503, 200)
    async with runtime_with(upstream) as runtime:
        await runtime.service("svc").put("/x")
        state = runtime._states.pop("svc")  # as in the middle of a removal
        await trio.sleep(100)
        assert len(upstream.requests) == 1
        runtime._states["svc"] = state
        await runtime.queue.changed("svc")
        await empty(runtime)


async def test_a_message_that_is_none_is_a_crash_and_no_end(autojump_clock) -> None:
    async with runtime_with(Upstream(503)) as runtime:
        with pytest.raises(sg.ActorCrashed):
            await runtime.queue._ask("what it does not understand")
        assert await runtime.queue.stats() == {}
