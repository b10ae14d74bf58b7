"""The queue while services come, go and change, and what the configuration says of it. In memory, in virtual time."""

import pytest
import trio
from support.queue import empty, runtime_with
from support.service import BASE, ONCE, QUIET, Upstream, after

import switchgear as sg


async def test_calls_of_a_service_that_was_removed_wait_until_it_is_added_again(autojump_clock) -> None:
    upstream = Upstream(503, 200)
    async with runtime_with(upstream, sg.QueueFallback(max_age=1000)) as runtime:
        config = runtime.service("svc").config
        await runtime.service("svc").put("/x")
        await runtime.remove_service("svc")
        await trio.sleep(2000)
        assert [item.state for item in await runtime.queue.list("svc")] == ["ready"]
        await runtime.add_service(config)
        await trio.testing.wait_all_tasks_blocked()
        assert [item.error for item in await runtime.queue.list("svc")] == [
            "it was not delivered within max_age (1000 s)"
        ]
        await runtime.queue.retry(1)
        await trio.testing.wait_all_tasks_blocked()
        assert await runtime.queue.list() == []


async def test_a_service_that_goes_while_a_call_is_tried(autojump_clock) -> None:
    upstream = Upstream(503, after(5, 200), 200)
    async with runtime_with(upstream) as runtime:
        config = runtime.service("svc").config
        await runtime.service("svc").put("/x")
        await trio.sleep(3)
        await runtime.remove_service("svc")
        await trio.sleep(100)
        (item,) = await runtime.queue.list()
        assert item.state == "ready"
        assert item.error.startswith("SHUTTING_DOWN: ")
        await runtime.add_service(config)
        await empty(runtime)
    assert len(upstream.requests) == 3


async def test_a_fallback_that_is_not_configured_any_more_keeps_its_promise(autojump_clock) -> None:
    upstream = Upstream(503, 200)
    async with runtime_with(upstream) as runtime:
        await runtime.service("svc").put("/x")
        await runtime.reconfigure("svc", sg.ServiceConfig("svc", BASE, retry=ONCE))
        await empty(runtime)
    assert len(upstream.requests) == 2


async def test_another_policy_counts_at_once(autojump_clock) -> None:
    upstream = Upstream(500)
    async with runtime_with(upstream, sg.QueueFallback(max_attempts=100)) as runtime:
        await runtime.service("svc").put("/x")
        await trio.sleep(20)
        assert [item.state for item in await runtime.queue.list()] == ["ready"]
        config = sg.ServiceConfig("svc", BASE, retry=ONCE, fallbacks=[sg.QueueFallback(max_attempts=2)])
        await runtime.reconfigure("svc", config)
        await trio.testing.wait_all_tasks_blocked()
        assert [item.state for item in await runtime.queue.list()] == ["dead"]


# ---- the configuration


NEEDED = 'a fallback of type "queue" needs a place for its calls: RuntimeConfig.queue=QueueConfig.path="queue.db"..'


async def test_a_queue_fallback_needs_a_queue() -> None:
    service = sg.ServiceConfig("svc", BASE, fallbacks=[sg.QueueFallback()])
    with pytest.raises(sg.ConfigError, match=rf"services\[0\].fallbacks: {NEEDED}"):
        sg.RuntimeConfig([service])
    async with sg.open_runtime(sg.RuntimeConfig([sg.ServiceConfig("a", BASE)], QUIET)) as runtime:
        changed = sg.ServiceConfig("a", BASE, fallbacks=service.fallbacks)
        for change in (runtime.add_service(service), runtime.reconfigure("a", changed)):
            with pytest.raises(sg.ConfigError, match=NEEDED):
                await change
        assert runtime.tree().find("/queue") is None
        with pytest.raises(sg.ConfigError, match=r"no queue is configured: RuntimeConfig.queue=QueueConfig"):
            await runtime.queue.list()


@pytest.mark.parametrize("path", ["", " ", "a\nb"])
def test_a_path_is_one(path) -> None:
    with pytest.raises(sg.ConfigError, match="path: must be"):
        sg.QueueConfig(path)


def test_all_of_it_can_stand_in_a_file(tmp_path) -> None:
    file = tmp_path / "services.toml"
    file.write_text(
        """
        queue = { path = "/var/lib/shop/queue.db" }
        [[services]]
        name = "orders"
        base_url = "https://orders.example"
        fallbacks = [{ type = "queue", on = ["TIMEOUT", "CIRCUIT_OPEN"], max_age = 3600, concurrency = 4 }]
        """
    )
    config = sg.load_config(file)
    assert config.queue == sg.QueueConfig("/var/lib/shop/queue.db")
    assert config.services[0].fallbacks == (
        sg.QueueFallback(on=["TIMEOUT", "CIRCUIT_OPEN"], max_age=3600, concurrency=4),
    )
