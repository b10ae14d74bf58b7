"""A process that calls a service of moods, and prints the idempotency key of each call that was answered or queued.

python enqueue_until_killed.py FILE URL NAME: several callers at once, until it is killed.
"""

import sys

import trio

import switchgear as sg


async def call_for_ever(service: sg.Service, caller: str) -> None:
    number = 0
    while True:
        number += 1
        key = f"{caller}-{number}"
        response = await service.post("/orders", json={"padding": "x" * 3000}, idempotency_key=key)
        print(response.source, key, flush=True)  # noqa: T201 - that is what it is for


async def main(file: str, url: str, name: str) -> None:
    service = sg.ServiceConfig(
        "orders",
        url,
        retry=sg.RetryPolicy(max_attempts=1),
        breaker=sg.BreakerConfig(reset_timeout=0.02),
        fallbacks=[sg.QueueFallback(base_delay=0.01, max_delay=0.05, max_items=1_000_000, max_bytes=10**9)],
    )
    config = sg.RuntimeConfig([service], sg.MetricsConfig(websocket=False), queue=sg.QueueConfig(file))
    async with sg.open_runtime(config) as runtime, trio.open_nursery() as nursery:
        for caller in range(5):
            nursery.start_soon(call_for_ever, runtime.service("orders"), f"{name}-{caller}")


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
