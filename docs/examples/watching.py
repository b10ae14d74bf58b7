"""The examples of docs/watching.rst, as they stand there. tests/metrics/test_watching_examples.py runs them."""

# --- begin figures
import switchgear as sg


def slow_ones(runtime: sg.Runtime) -> list[str]:
    """Which services keep one call in twenty waiting for more than a second."""
    return [name for name, figures in runtime.metrics.all().items() if figures.p95 > 1.0]


async def follow(runtime: sg.Runtime) -> None:
    async with runtime.metrics.subscribe() as snapshots:
        async for snapshot in snapshots:
            print({name: one.count for name, one in snapshot.services.items()})


# --- end figures

# --- begin stream
import json

from trio_websocket import open_websocket_url


async def follow_from_elsewhere(url: str, token: str | None = None) -> None:
    headers = [] if token is None else [(b"Authorization", f"Bearer {token}".encode())]
    async with open_websocket_url(url, subprotocols=["metrics.v1"], extra_headers=headers) as connection:
        while True:
            message = json.loads(await connection.get_message())
            if message["type"] == "bye":
                break
            if message["type"] == "snapshot":
                print({name: one["errors_by_code"] for name, one in message["services"].items()})


# --- end stream


# --- begin events
async def ring_the_bell(runtime: sg.Runtime) -> None:
    async with runtime.events() as happening:
        async for event in happening:
            match event:
                case sg.events.BreakerChanged(service=service, new="open", reason=reason):
                    print(f"{service} is left alone: {reason}")
                case sg.events.InstanceEjected(service=service, instance=instance):
                    print(f"{service} does without {instance}")
                case sg.events.ActorCrashed(path=path, error=error):
                    print(f"{path} crashed: {error}")


# --- end events


# --- begin tree
def restless(info: sg.ActorInfo) -> list[str]:
    """The actors that have been started again, or have a mailbox that is more than half full."""
    here = info.restarts or (info.mailbox and info.mailbox.depth > info.mailbox.capacity / 2)
    return [info.path] * bool(here) + [path for child in info.children for path in restless(child)]


# --- end tree
