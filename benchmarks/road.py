"""Where the time of a guarded call goes: CPU of each part of its road, in a call and alone.

"in a call": of a running service the stack is looked at now and then (`sampled.py`), and the modules found there tell
what it was at. These add up to the whole. "event loop" is trio's: choosing tasks, switching, epoll.

"alone": the road has four stretches. Each is measured as it is, on the objects of a running service, with the next one
replaced by something that has its answer ready; the whole is their sum. What is below a stretch is a part of it, in a
loop of its own. Alone, each part finds its code and data in the caches, so this is what it would cost at best; and what
it makes the event loop do counts here as its own.

* actor: from `Service.get` to the actor and back: the request is built and checked, asked, timed and recorded.
* road: past the guards: breaker, limiter, balancer, credentials; at the end the body is decoded.
* door: the head is encoded, a connection taken and given back, the answer parsed.
* socket: is it stale? send, wait, receive; against a real server. (Most of this is in the kernel of the machine.)
"""

from __future__ import annotations

import gc
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import repeat
from typing import Any, TypeVar

import trio
import trio.testing

from switchgear.actors.service.actor import ServiceActor
from switchgear.actors.service.decode import decode
from switchgear.actors.service.messages import Request, ServiceResponse
from switchgear.actors.transport import Reply, Wire
from switchgear.actors.transport.connection import Connection
from switchgear.actors.transport.head import encode
from switchgear.actors.transport.link import connect
from switchgear.runtime.expiry import Expiries
from switchgear.service import Service

from .ask import open_switchgear
from .call import servers
from .call.contenders import Item, open_service
from .call.crew import measure
from .call.job import Job, Outcome
from .call.plan import by
from .call.work import work
from .harness import Contender, Metric, Sample, Scenario
from .sampled import sampled

T = TypeVar("T")
Action = Callable[[], Any]
US = 1e6
WHOLE, EVENT_LOOP, LIMIT = "a guarded call", "event loop", "limit: trio socket"


# ---- things that have their answer ready


class ReadyRoad:
    """Past all guards at once."""

    def __init__(self, response: ServiceResponse[Any]) -> None:
        self._response = response

    async def call(self, request: Request, now: float, deadline: float) -> ServiceResponse[Any]:
        """As `Road.call`."""
        return self._response


class ReadyDoor:
    """The answer without a connection."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.wire: Wire | None = None

    async def exchange(self, to: object, wire: Wire, **_: object) -> Reply:
        """As `Door.exchange`."""
        self.wire = wire
        return self._reply


class ReadyLink:
    """The bytes without a socket."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def send_nowait(self, data: bytes) -> int:
        """As `Link.send_nowait`."""
        return len(data)

    async def receive_some(self) -> bytes:
        """As `Link.receive_some`."""
        return self._raw

    def is_stale(self) -> bool:
        """As `Link.is_stale`."""
        return False

    def close(self) -> None:
        """As `Link.close`."""


# ---- the objects of a running service


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
        self.door: Any = self.road._door
        self.now = trio.current_time()
        self.request = self.build()
        self.target = self.road._fleet.pick()[1]
        self.reply = Reply(200, response.headers, raw.partition(b"\r\n\r\n")[2])

    def build(self) -> Request:
        """As `Service.get` does."""
        nothing = dict.fromkeys(("params", "json", "content", "headers", "timeout", "idempotency_key", "affinity"))
        return self.service._build("GET", "/item", type_=Item, **nothing)


def living(kind: type[T]) -> T:
    """The one of its kind: a program has no way to it, for good reasons."""
    return next(thing for thing in gc.get_objects() if type(thing) is kind)


@asynccontextmanager
async def open_parts(job: Job) -> AsyncIterator[Parts]:
    """A service that has been called once, and what the server says, as it says it."""
    gc.collect()  # no service but this
    async with open_service(job) as service:
        response = await service.get("/item", type=Item)
        parts = Parts(service, job.callers, response, b"")
        link = await connect(parts.target.host, parts.target.port, None)
        await link.send_all(f"GET /item HTTP/1.1\r\nHost: x\r\nX-Request-ID: {'0' * 32}\r\n\r\n".encode())
        yield Parts(service, job.callers, response, await link.receive_some())
        link.close()


# ---- the stretches: each gives what its callers do again and again


def actor(parts: Parts) -> Action:
    """From the caller to the actor and back."""
    parts.actor._road = ReadyRoad(parts.response)  # type: ignore[assignment]
    return partial(parts.service.get, "/item", type=Item)


def road(parts: Parts) -> Action:
    """Past the guards."""
    parts.road._door = ReadyDoor(parts.reply)  # type: ignore[assignment]

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


async def sockets(parts: Parts, calls: int) -> float:
    """What is left: every caller has a connection of his own."""
    head = a_head(parts)
    links = [await connect(parts.target.host, parts.target.port, None) for _ in range(parts.callers)]

    def new_action() -> Action:
        link = links.pop()

        async def there_and_back() -> None:
            link.is_stale()
            link.send_nowait(head)
            await link.receive_some()

        return there_and_back

    return await by_all(parts.callers, new_action, calls)


# ---- their parts


def breaker(parts: Parts) -> Action:
    """Let in, and told of the success."""
    machine, now = parts.road._state.breaker, parts.now

    def step() -> None:
        permit = machine.try_acquire(now)
        assert permit is not None
        permit.success(now)

    return step


def limiter(parts: Parts) -> Action:
    """A token that is there."""
    gate = parts.road._gate
    assert gate is not None
    return partial(gate.enter, parts.now, math.inf)


def balancer(parts: Parts) -> Action:
    """Pick one of two, and count what it has under way."""
    fleet = parts.road._fleet

    def step() -> None:
        endpoint, _ = fleet.pick(())
        fleet.begin(endpoint)
        fleet.end(endpoint)

    return step


def auth(parts: Parts) -> Action:
    """The token, from the cache."""
    return partial(parts.road._auth.credentials, parts.now)


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


class Brief:
    """Over before its time, as nearly all things are that have a timeout."""

    __slots__ = ("expiry", "over")

    def __init__(self, expiry: float) -> None:
        self.expiry = expiry
        self.over = False

    def expire(self) -> None:
        """As `Expiring.expire`."""
        raise AssertionError("it was over")


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


def a_wire(parts: Parts) -> Wire:
    """The request as the road gives it to its door."""
    ready = ReadyDoor(parts.reply)
    before, parts.road._door = parts.road._door, ready  # type: ignore[assignment]
    try:
        parts.road.call(parts.request, parts.now, math.inf).send(None)  # it waits for nothing
    except StopIteration:
        assert ready.wire is not None
    finally:
        parts.road._door = before
    return ready.wire


def a_head(parts: Parts) -> bytes:
    """The request as bytes."""
    encoded: bytes = head_(parts)()
    return encoded


def shelve(parts: Parts) -> None:
    """An idle connection whose next answer is ready."""
    connection = Connection(ReadyLink(parts.raw))
    parts.door.pool.connected()
    parts.door.give_back(parts.target, connection, parts.now)


# ---- measuring


def again(action: Action, calls: int) -> float:
    """CPU seconds."""
    start = time.process_time()
    for _ in repeat(None, calls):
        action()
    return time.process_time() - start


async def again_and_wait(action: Callable[[], Awaitable[Any]], calls: int) -> float:
    """The same for what has to be awaited."""
    start = time.process_time()
    for _ in repeat(None, calls):
        await action()
    return time.process_time() - start


async def by_all(callers: int, new_action: Callable[[], Action], calls: int) -> float:
    """The same for so many callers at once, who share the calls."""
    begin = trio.Event()

    async def caller(action: Action) -> None:
        await action()
        await begin.wait()
        for _ in repeat(None, calls // callers):
            await action()

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller, new_action())
        await trio.testing.wait_all_tasks_blocked(0.01)
        start = time.process_time()
        begin.set()
    return time.process_time() - start


async def actor_by_all(parts: Parts, calls: int) -> float:
    """The stretch that has other tasks in it."""
    action = actor(parts)
    return await by_all(parts.callers, lambda: action, calls)


async def one_by_one(step: Callable[[Parts], Action], parts: Parts, calls: int) -> float:
    """A part that waits for nobody costs the same however many call."""
    action = step(parts)
    first = action()
    if not hasattr(first, "__await__"):
        return again(action, calls)
    await first
    return await again_and_wait(action, calls)


Measure = Callable[[Parts, int], Awaitable[float]]


def part(step: Callable[[Parts], Action]) -> Measure:
    """A part, to be measured alone."""
    return partial(one_by_one, step)


async def ask(parts: Parts, calls: int) -> float:
    """The kernel's share of the actor."""
    async with open_switchgear() as ask:
        return await by_all(parts.callers, lambda: partial(ask, parts.request), calls)


STRETCHES: dict[str, Measure] = {"actor": actor_by_all, "road": part(road), "door": part(door), "socket": sockets}
ALONE: dict[str, Measure | None] = {
    "actor": STRETCHES["actor"],
    ". request": part(lambda parts: parts.build),
    ". ask": ask,
    ". timeouts": part(timeouts),
    ". record": part(record),
    "road": STRETCHES["road"],
    ". breaker": part(breaker),
    ". limiter": part(limiter),
    ". balancer": part(balancer),
    ". auth": part(auth),
    ". decode": part(body),
    "door": STRETCHES["door"],
    ". head": part(head_),
    ". pool": part(pool),
    ". parse": part(parse),
    "socket": STRETCHES["socket"],
    EVENT_LOOP: None,
}
"""The rows of the table, in the order of the road."""

MODULES = {
    "switchgear.service": ". request",
    "switchgear.actors.service.target": ". request",
    "switchgear.actors.service.actor": ". ask",
    "switchgear.runtime.ref": ". ask",
    "switchgear.runtime.cell": ". ask",
    "switchgear.runtime.life": ". ask",
    "switchgear.runtime.mailbox": ". ask",
    "switchgear.runtime.envelope": ". ask",
    "switchgear.runtime.expiry": ". timeouts",
    "switchgear.actors.machines.meter": ". record",
    "switchgear.actors.machines.histogram": ". record",
    "switchgear.actors.service.road": "road",
    "switchgear.actors.machines.breaker": ". breaker",
    "switchgear.actors.service.gate": ". limiter",
    "switchgear.actors.machines.limiter": ". limiter",
    "switchgear.actors.machines.bucket": ". limiter",
    "switchgear.actors.service.fleet": ". balancer",
    "switchgear.actors.machines.balancer": ". balancer",
    "switchgear.actors.service.credentials": ". auth",
    "switchgear.actors.machines.tokens": ". auth",
    "switchgear.actors.service.decode": ". decode",
    "switchgear.actors.transport.direct": "door",
    "switchgear.actors.transport.connection": "door",
    "switchgear.actors.transport.head": ". head",
    "switchgear.actors.transport.pool": ". pool",
    "switchgear.actors.transport.parser": ". parse",
    "switchgear.actors.transport.parse_httptools": ". parse",
    "switchgear.actors.transport.parse_h11": ". parse",
    "switchgear.actors.transport.link": "socket",
}
"""Whose time is in which row."""


class InACall:
    """Looks at a running service once a round, and gives each row its share."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._rows: dict[str, float] = {}

    def take(self, row: str) -> float:
        """Microseconds; of a new run if this row has been taken from the last one."""
        if row not in self._rows:
            self._rows = self._look()
        return self._rows.pop(row)

    def _look(self) -> dict[str, float]:
        outcomes: list[Outcome] = []
        with servers.on_core(0), sampled(MODULES) as samples:
            work("guarded", self._job, outcomes.append)
        (outcome,) = outcomes
        rows = dict.fromkeys(ALONE, 0.0)
        stretch = ""
        for name, share in samples.shares().items():
            rows[name or EVENT_LOOP] = share * outcome.cpu / outcome.calls * US
        for name in rows:  # what is part of a stretch is in its sum as well
            if name.startswith("."):
                rows[stretch] += rows[name]
            else:
                stretch = name
        return rows


def alone(measures: Iterable[Measure], job: Job, calls: int) -> float:
    """Microseconds of some, one after the other, each on a service of its own."""

    async def main() -> float:
        total = 0.0
        for how in measures:
            async with open_parts(job) as parts:
                total += await how(parts, calls)
        return total

    with servers.on_core(0):
        return trio.run(main) / calls * US


def scenarios(*, quick: bool) -> Iterator[Scenario]:
    """One caller, whose every wait costs a pass of the scheduler, and 64, who share them."""
    logging.getLogger("switchgear").setLevel(logging.ERROR)  # a loop of thousands of calls does block the event loop
    calls = 640 if quick else 32_000
    with servers.plain() as server:
        for callers in (1, 64):
            job = Job(server.urls, callers, seconds=0.05 if quick else 2.0)
            yield Scenario(
                name=f"the road of a call, {by(callers)}",
                metrics=(Metric("in a call", "us"), Metric("alone", "us")),
                contenders=list(contenders(job, calls)),
                reference=WHOLE,
            )


def contenders(job: Job, calls: int) -> Iterator[Contender]:
    """The rows of a table."""
    in_a_call = InACall(job)

    def both(row: str, how: Measure | None) -> Sample:
        sample = {"in a call": in_a_call.take(row)}
        return sample if how is None else {**sample, "alone": alone([how], job, calls)}

    def whole() -> Sample:
        return {"in a call": measure("guarded", job)["CPU"], "alone": alone(STRETCHES.values(), job, calls)}

    yield Contender(WHOLE, whole)
    for row, how in ALONE.items():
        yield Contender(row, partial(both, row, how))
    yield Contender(LIMIT, lambda: {"in a call": measure("socket", job)["CPU"]})
