"""The fallback and the actor in a runtime: what is queued, told, delivered, given up. In memory, in virtual time."""

import trio
from support.service import BASE, ONCE, QUIET, Upstream, drain

import switchgear as sg
from switchgear.actors.events import ItemDead, ItemDelivered, ItemQueued

MEMORY = sg.QueueConfig(":memory:")
ITEMS = (ItemDead, ItemDelivered, ItemQueued)


def runtime_with(upstream, *fallbacks, queue=MEMORY, others=(), seed=1, **fields):
    fields.setdefault("retry", ONCE)
    service = sg.ServiceConfig("svc", BASE, fallbacks=fallbacks or (sg.QueueFallback(),), **fields)
    config = sg.RuntimeConfig(services=(service, *others), queue=queue, metrics=QUIET)
    return sg.open_runtime(config, transport=upstream, seed=seed)


async def delivered(runtime, count, kind=ItemDelivered):
    """Wait until so many have been."""
    async with runtime.events(10_000) as events:
        left = count
        async for event in events:
            left -= isinstance(event, kind)
            if not left:
                return


async def empty(runtime):
    while await runtime.queue.stats():  # noqa: ASYNC110 - in virtual time
        await trio.sleep(1)


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
        seen = [event for event in drain(events) if isinstance(event, ITEMS)]
    first, second = upstream.requests
    assert (second.method, second.url, second.content) == (first.method, first.url, first.content)
    for header in ("content-type", "x-more", "x-request-id", "idempotency-key"):
        assert first.headers[header] == second.headers[header]
    assert [(type(event), event.service, event.id, event.request_id) for event in seen] == [
        (ItemQueued, "svc", 1, "mine"),
        (ItemDelivered, "svc", 1, "mine"),
    ]
