"""One service behind a runtime, with a scripted upstream in place of the network.

async with running(503, 200) as (service, upstream):         # the last step serves all that come after
    ... await service.get("/x") ... upstream.requests ... upstream.times
"""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager

import httpx
import trio

import switchgear as sg
from switchgear.actors.machines.balancers import BALANCERS as _BALANCERS

BALANCERS = sorted(_BALANCERS)
BASE = "http://svc.test"
SAFE = "https://svc.test"  # for credentials, which do not go over plain http
QUIET = sg.MetricsConfig(websocket=False)
STEADY = sg.RetryPolicy(base_delay=1.0, jitter="none")
ONCE = sg.RetryPolicy(max_attempts=1)


class Upstream(httpx.AsyncBaseTransport):
    """A transport that does what its script says and remembers what it was sent.

    A step is a status, a tuple ``(status, headers, body)``, an exception (raised), an `httpx.Response`, or a
    function of the request, async or not, that gives any of these.
    """

    def __init__(self, *script):
        self.script = list(script) or [200]
        self.requests = []
        self.times = []
        self.running = 0
        self.most = 0
        self.closed = False

    async def handle_async_request(self, request):
        self.requests.append(request)
        self.times.append(trio.current_time())
        step = self.script[min(len(self.requests), len(self.script)) - 1]
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            while callable(step) and not isinstance(step, type):
                step = step(request)
                if inspect.isawaitable(step):
                    step = await step
        finally:
            self.running -= 1
        return respond(step)

    async def aclose(self):
        self.closed = True

    def header(self, name):
        """That header of each request so far."""
        return [request.headers.get(name) for request in self.requests]


def respond(step):
    if isinstance(step, BaseException) or (isinstance(step, type) and issubclass(step, BaseException)):
        raise step
    if isinstance(step, httpx.Response):
        return step
    status, headers, body = (step, {}, b"") if isinstance(step, int) else step
    return httpx.Response(status, headers=headers, content=body)


def reply_json(body, status=200):
    return (status, {"Content-Type": "application/json"}, body)


def after(seconds, step=200):
    """The step, that many seconds later."""

    async def later(request):
        await trio.sleep(seconds)
        return step

    return later


async def hang(request):
    await trio.sleep_forever()


@asynccontextmanager
async def running(*script, seed=1, others=(), transport=None, name="svc", **fields):
    """A runtime with one service; yields the service (``.runtime`` is on the upstream) and its upstream."""
    upstream = transport if transport is not None else Upstream(*script)
    base = SAFE if fields.get("auth") is not None else BASE
    fields.setdefault("base_url", None if "instances" in fields else base)
    fields.setdefault("retry", ONCE)
    config = sg.RuntimeConfig(services=(sg.ServiceConfig(name, **fields), *others), metrics=QUIET, app_name="shop")
    async with sg.open_runtime(config, transport=upstream, seed=seed) as runtime:
        upstream.runtime = runtime
        yield runtime.service(name), upstream


async def outcome_of(awaitable):
    """What a call ends with: its response, or its ServiceError."""
    try:
        return await awaitable
    except sg.ServiceError as error:
        return error


@asynccontextmanager
async def in_background(service, *paths, **options):
    """Calls under way, in the order of their paths; yields a list that fills with how they end."""
    ends = []

    async def one(path):
        ends.append(await outcome_of(service.get(path, **options)))

    async with trio.open_nursery() as nursery:
        for path in paths:
            nursery.start_soon(one, path)
            await trio.testing.wait_all_tasks_blocked()
        yield ends


def drain(receive):
    """All events there are now."""
    events = []
    while True:
        try:
            events.append(receive.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return events
