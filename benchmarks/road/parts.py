"""The objects of a running service, and what each of them does in a call: as something to be done again and again."""

from __future__ import annotations

import gc
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import trio

from switchgear.actors.service.actor import ServiceActor
from switchgear.actors.service.decode import decode
from switchgear.actors.service.messages import Request, ServiceResponse
from switchgear.actors.service.target import Target
from switchgear.actors.transport import Reply, Wire
from switchgear.actors.transport.connection import Connection
from switchgear.actors.transport.head import encode
from switchgear.actors.transport.link import connect
from switchgear.runtime.expiry import Expiries
from switchgear.service import Service

from ..call.contenders import Item, open_service
from ..call.job import Job
from .ready import Brief, ReadyDoor, ReadyLink, ReadyRef, ReadyRoad

T = TypeVar("T")
Action = Callable[[], Any]


class Parts:
    """What a running service is made of, after its first call."""

    def __init__(self, service: Service, callers: int, response: ServiceResponse[Any], raw: bytes) -> None:
        self.service = service
        self.callers = callers
        self.response = response
        self.raw = raw
        self.actor = living(ServiceActor)
        assert self.actor._road is not None
        self.road = self.actor._road
        self.door: Any = self.road._exchange._door
        self.now = trio.current_time()
        self.request = a_request(self)
        self.target = self.road._fleet.pick(self.now)[1]
        self.reply = Reply(200, response.headers, raw.partition(b"\r\n\r\n")[2])


def living(kind: type[T]) -> T:
    """The one of its kind: a program has no way to it, for good reasons."""
    return next(thing for thing in gc.get_objects() if type(thing) is kind)


@asynccontextmanager
async def open_parts(job: Job) -> AsyncIterator[Parts]:
    """Of a service of their own, which has been called once."""
    gc.collect()  # no service but this
    async with open_service(job) as service:
        response = await service.get("/item", type=Item)
        yield Parts(service, job.callers, response, await overhear(Target.parse(job.urls[0])))


async def overhear(target: Target) -> bytes:
    """What the server answers, as it says it."""
    link = await connect(target, None)
    await link.send_all(f"GET /item HTTP/1.1\r\nHost: x\r\nX-Request-ID: {'0' * 32}\r\n\r\n".encode())
    answer = await link.receive_some()
    link.close()
    return answer


# ---- the stretches of the road, each with the next one replaced


def actor(parts: Parts) -> Action:
    """From the caller to the actor and back."""
    parts.actor._road = ReadyRoad(parts.response)  # type: ignore[assignment]
    return partial(parts.service.get, "/item", type=Item)


def road(parts: Parts) -> Action:
    """Past the guards."""
    parts.road._exchange._door = ReadyDoor(parts.reply)  # type: ignore[assignment]

    async def past() -> None:
        parts.request.progress.attempts = 0
        await parts.road.call(parts.request, parts.now, math.inf)

    return past


def door(parts: Parts) -> Action:
    """The exchange, but for the socket."""
    wire = a_wire(parts)
    shelve(parts)
    options = {"connect": 5.0, "max_bytes": 10_000_000, "deadline": parts.now + 1000}
    return partial(parts.door.exchange, parts.target, wire, **options)


# ---- their parts


def request(parts: Parts) -> Action:
    """Checked and built, and what is made of the reply."""
    parts.service._ref = ReadyRef(parts.response)  # type: ignore[assignment]
    return partial(parts.service.get, "/item", type=Item)


def breaker(parts: Parts) -> Action:
    """Let in, and told of the success."""
    machine, now = parts.road._state.breakers.one, parts.now

    def step() -> None:
        permit = machine.try_acquire(now)
        assert permit is not None
        permit.success(now)

    return step


def limiter(parts: Parts) -> Action:
    """A token that is there."""
    gate = parts.road._gate
    assert gate is not None
    return partial(gate.limiter.admits, parts.now, 1)


def balancer(parts: Parts) -> Action:
    """Pick one of two, and count what it has under way."""
    fleet, now = parts.road._fleet, parts.now

    def step() -> None:
        endpoint, _ = fleet.pick(now, ())
        fleet.begin(endpoint, now)
        fleet.end(endpoint, now, now, failed=False)

    return step


def auth(parts: Parts) -> Action:
    """Whether there is a token, which is fixed."""
    road = parts.road
    return lambda: road._fixed or road._auth.ready(parts.now)


def body(parts: Parts) -> Action:
    """Into the Struct."""
    return partial(decode, parts.reply, Item)


def head_(parts: Parts) -> Action:
    """Of the request, as bytes."""
    wire = a_wire(parts)
    return partial(encode, parts.target, wire.method, wire.target, constant=wire.constant, headers=wire.headers, size=0)


def pool(parts: Parts) -> Action:
    """Off the stack and back."""
    shelve(parts)
    pool, to, now = parts.door.pool, parts.target, parts.now

    def step() -> None:
        pool.give_back(to, pool.take(to, now), now)

    return step


def parse(parts: Parts) -> Action:
    """The whole answer, which has come in one piece."""
    parser, raw = Connection(ReadyLink(parts.raw)).parser, parts.raw

    def step() -> None:
        parser.begin(head=False)
        parser.feed(raw)
        parser.chunks = []

    return step


def timeouts(parts: Parts) -> Action:
    """The ask's and the attempt's."""
    expiries, soon = Expiries(), parts.now + 10

    def step() -> None:
        for _ in range(2):
            one = Brief(soon)
            expiries.add(one)
            one.over = True

    return step


def record(parts: Parts) -> Action:
    """Into the histogram and the counters."""
    return partial(parts.actor._record, None, 0.001, parts.now, parts.request)


# ---- what they need


def a_request(parts: Parts) -> Request:
    """As the service gives it to its actor."""
    before, ready = parts.service._ref, ReadyRef(parts.response)
    parts.service._ref = ready  # type: ignore[assignment]
    finish(parts.service.get("/item", type=Item))
    parts.service._ref = before
    made: Request = ready.request
    return made


def a_wire(parts: Parts) -> Wire:
    """As the road gives it to its door."""
    before, ready = parts.road._exchange._door, ReadyDoor(parts.reply)
    parts.road._exchange._door = ready  # type: ignore[assignment]
    finish(parts.road.call(parts.request, parts.now, math.inf))
    parts.road._exchange._door = before
    assert ready.wire is not None
    return ready.wire


def finish(waits_for_nothing: Coroutine[Any, Any, Any]) -> None:
    """Run it to its end."""
    with suppress(StopIteration):
        waits_for_nothing.send(None)
        raise AssertionError("it waits for something")


def a_head(parts: Parts) -> bytes:
    """The request as bytes."""
    encoded: bytes = head_(parts)()
    return encoded


def shelve(parts: Parts) -> None:
    """An idle connection whose next answer is ready."""
    connection = Connection(ReadyLink(parts.raw))
    parts.door.pool.connected()
    parts.door.give_back(parts.target, connection, parts.now)
