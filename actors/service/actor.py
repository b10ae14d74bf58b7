"""The service actor: one external service, its guards, and the pool of workers that is its bulkhead.

It holds no policy: the machines in its state decide, `road.py` walks a call past them, and what the actor does is to
keep the road up to date with the configuration and to tell the metrics actor, once a tick, what has happened.
"""

from __future__ import annotations

import math
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from switchgear.runtime import Actor, ActorStopped, WhenFull

from ..auth import Authenticator, Surroundings, make_means
from ..errors import ServiceError
from ..secrecy import sealed
from ..transport.codings import ACCEPTED
from .abroad import Abroad
from .drain import Drain
from .fleet import Fleet
from .gate import Gate
from .road import Road
from .target import Target
from .upload import Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear.runtime import Context, Ref, Watch

    from ..config import ServiceConfig
    from ..registry import InstanceSet
    from ..transport import Door
    from .messages import Request, ServiceResponse
    from .state import ServiceState


class ServiceActor(Actor):
    """Answers `Request` with `ServiceResponse`, or with a `ServiceError`."""

    errors: ClassVar = (ServiceError,)

    def __init__(
        self,
        state: ServiceState,
        instances: Watch[InstanceSet],
        *,
        door: Callable[..., Door],
        metrics: Ref,
        tick: float,
        user_agent: str,
    ) -> None:
        self._state = state
        self._instances = instances
        self._open_door = door
        self._metrics = metrics
        self._tick = tick
        self._user_agent = user_agent
        self._shipping = False
        self._gate: Gate | None = None
        self.concurrency = state.concurrency.limit

    async def setup(self, ctx: Context) -> None:
        """Be there. The road is built for the first call: an idle service costs no socket and little memory."""
        self._ctx = ctx
        self._door: Door | None = None
        self._drain: Drain | None = None
        self._door_abroad: Door | None = None
        self._way: tuple[object, ...] = ()  # of the door
        self._fleet: Fleet | None = None
        self._road: Road | None = None
        self._auth: Authenticator | None = None
        self._state.applied, self._state.concurrency.changed = self._apply, ctx.resize
        self._apply()  # there may have been another configuration since the last life, which left its mailbox to us

    async def handle(self, message: Request) -> ServiceResponse[Any]:
        """One call, under the configuration of its beginning."""
        if self._road is None:
            self._road = self._build(self._state.config.value)
        if isinstance(message.body, Upload):
            async with aclosing(message.body):
                return await self._metered(self._road, message)
        return await self._metered(self._road, message)

    def _apply(self) -> None:
        """A new configuration is in force: now and not with the next call, for calls may be waiting for its room."""
        config = self._state.config.value
        if self._road is not None:
            with suppress(ActorStopped):  # it is crashing at this moment: the next life begins with this configuration
                self._road = self._build(config)
        bulkhead, concurrency = config.bulkhead, self._state.concurrency
        self._ctx.resize(concurrency.limit, capacity=bulkhead.max_queue, when_full=WhenFull(bulkhead.when_full))
        self._ctx.limit_waiting(math.inf if bulkhead.max_wait is None else bulkhead.max_wait, concurrency.rule)

    async def _metered(self, road: Road, request: Request) -> ServiceResponse[Any]:
        started = trio.current_time()
        try:
            response = await road.call(request, started, self._ctx.deadline)
        except ServiceError as error:
            now = trio.current_time()
            self._record(error.code.value, now - started, now, request)
            raise
        except Exception as error:  # noqa: BLE001 - a crash; what it was found in was near to credentials
            raise sealed(error)  # noqa: B904 - it is the same error
        ended = request.started + response.elapsed
        self._record(None, ended - started, ended, request)
        return response

    def _record(self, code: str | None, latency: float, now: float, request: Request) -> None:
        stream = request.stream
        if stream is not None and stream.handed:  # how long it was read is no latency of the service's
            latency = stream.elapsed
        meter = self._state.meter
        meter.record(code, latency, attempts=request.progress.attempts, now=now)
        if request.template is not None:
            meter.operated((request.method, request.template), code, latency)
        if not self._shipping:
            self._shipping = True
            self._ctx.start_soon(self._ship)

    async def _ship(self) -> None:
        """Tell the metrics actor what has happened, one tick after the first thing did. Idle, it costs nothing."""
        await trio.sleep(self._tick)
        self._shipping = False
        self._state.ship(self._metrics)

    async def teardown(self) -> None:
        """Close the connections; what has not been shipped yet stays in the state for the next life."""
        self._state.applied = self._state.limits.changed = self._state.concurrency.changed = None
        if self._auth is not None:
            await self._auth.aclose()
        if self._door is not None:
            await self._door.aclose()
        if self._door_abroad is not None:
            await self._door_abroad.aclose()

    def _build(self, config: ServiceConfig) -> Road:
        state = self._state
        limits = state.limits
        if self._gate is None and not limits.idle:
            self._gate = Gate(limits.limiter, self._ctx.start_soon)
            limits.changed = self._gate.changed
        door = self._door_for(config)
        if self._fleet is None or self._fleet.config != config.balancing:  # else it goes on with what is outstanding
            self._fleet = Fleet(
                self._instances, config, state.memory, rng=self._ctx.rng, roster=state.roster, changed=self._moved
            )
        return Road(
            config,
            state,
            fleet=self._fleet,
            gate=None if limits.idle else self._gate,
            auth=self._authenticator(config),
            door=door,
            abroad=self._abroad(config),
            headers=self._constant_headers(config),
            rng=self._ctx.rng,
        )

    def _authenticator(self, config: ServiceConfig) -> Authenticator:
        """As long as we are the same to the service it is the same, with the flight that may be under way."""
        ctx, state = self._ctx, self._state
        if self._auth is None or self._auth.identity is not state.identity:
            if self._auth is not None:
                ctx.start_soon(self._auth.aclose)
            around = Surroundings(config, self._open_door, ctx.rng, state.oauth2)
            self._auth = Authenticator(
                state.identity,
                make_means(state.identity, around),
                start_soon=ctx.start_soon,
                emit=ctx.emit,
                path=ctx.path,
                service=config.name,
            )
        return self._auth

    def _door_for(self, config: ServiceConfig) -> Door:
        """Another way to the service needs other connections; the old ones go when their calls have ended."""
        if self._door is None:
            self._ctx.start_soon(self._follow)
        if self._door is None or config.way != self._way:
            if self._door is not None:
                self._ctx.start_soon(self._door.aclose)
            self._door, self._way = self._open_door(config, self._state), config.way
            self._drain = Drain(self._door, lambda: self._state.config.value.timeout.drain, self._ctx.start_soon)
            self._drain.moved({Target.of(one) for one in self._instances.value.instances})
        return self._door

    async def _follow(self) -> None:
        """What has gone is noticed by the next call, but there may be none for long."""
        version = self._instances.version
        while True:
            version = await self._instances.changed(version)
            if self._fleet is not None:
                self._fleet.follow(trio.current_time())

    def _abroad(self, config: ServiceConfig) -> Abroad | None:
        """Its connections know nothing of the service's: not its certificates, nor how it is reached."""
        if not config.allowed_hosts:
            return None
        if self._door_abroad is None:
            self._door_abroad = self._open_door(None, self._state, abroad=True)
        return Abroad(config.allowed_hosts, self._constant, self._door_abroad)

    def _moved(self, instances: InstanceSet, in_use: set[str]) -> None:
        """Connections and breakers are kept of instances that there still are."""
        if self._drain is not None:
            self._drain.moved({Target.of(one) for one in instances.instances})
        self._state.breakers.keep_only({one.id for one in instances.instances}, routable=in_use)

    @property
    def _constant(self) -> tuple[tuple[str, str], ...]:
        return (
            ("User-Agent", self._user_agent),
            ("Accept", "application/json, */*;q=0.5"),
            ("Accept-Encoding", ACCEPTED),
        )

    def _constant_headers(self, config: ServiceConfig) -> tuple[tuple[str, str], ...]:
        """Of every request: the configuration's replace ours."""
        names = {name.lower() for name in config.headers}
        ours = (pair for pair in self._constant if pair[0].lower() not in names)
        texts = ((name, one if isinstance(one, str) else one.reveal()) for name, one in config.headers.items())
        return (*ours, *((name, text.strip(" \t")) for name, text in texts))
