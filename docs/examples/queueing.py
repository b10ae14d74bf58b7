"""The examples of docs/queue.rst, as they stand there. tests/queue/test_examples.py runs them."""

# --- begin config
import switchgear as sg

CONFIG = sg.RuntimeConfig(
    services=[
        sg.ServiceConfig(
            "orders",
            base_url="https://orders.example",
            auth=sg.BearerAuth(sg.Secret("...")),
            fallbacks=[sg.QueueFallback(max_age=3 * 86_400)],
        )
    ],
    queue=sg.QueueConfig("/var/lib/shop/queue.db"),
)


async def order(runtime: sg.Runtime, number: int) -> str:
    """What to tell the customer."""
    response = await runtime.service("orders").post(
        "/orders", json={"number": number}, idempotency_key=f"order-{number}"
    )
    if response.source == "queued":  # ``data`` is None: nobody has looked at the order yet
        return f"We have your order and are working on it ({response.request_id})."
    return "Your order is on its way."


# --- end config


# --- begin dead
async def look_through(runtime: sg.Runtime) -> None:
    """What an operator does after a bad night."""
    for service, stats in (await runtime.queue.stats()).items():
        print(f"{service}: {stats.ready} wait, {stats.dead} were given up")
    for item in await runtime.queue.list(dead=True):
        if item.error is not None and "max_age" in item.error:
            await runtime.queue.retry(item.id)  # they were down for days, and it is still wanted
        else:
            print(f"{item.method} {item.path} of {item.request_id}: {item.error}")
            await runtime.queue.drop(item.id)


# --- end dead

# --- begin virtual
import httpx
import trio
import trio.testing


async def an_outage_of_an_hour() -> tuple[list[str], list[str]]:
    """What customers were told, and what the service got in the end."""
    got: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if trio.current_time() < 3600:
            return httpx.Response(503)
        got.append(request.headers["Idempotency-Key"])
        return httpx.Response(201)

    services = CONFIG.services
    config = sg.RuntimeConfig(services, queue=sg.QueueConfig(":memory:"))  # no disk follows a mock clock
    async with sg.open_runtime(config, transport=httpx.MockTransport(answer), seed=1) as runtime:
        told = []
        for number in range(30):
            told.append(await order(runtime, number))
            await trio.sleep(60)
        await trio.sleep(3600)
        assert not await runtime.queue.stats()
    return told, got


def test_that_orders_of_an_outage_arrive_in_order() -> None:
    told, got = trio.run(an_outage_of_an_hour, clock=trio.testing.MockClock(autojump_threshold=0))
    assert all("are working on it" in text for text in told)
    assert got == [f"order-{number}" for number in range(30)]


# --- end virtual
