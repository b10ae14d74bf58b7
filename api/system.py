"""A running Switchgear: the tree of actors behind `open_runtime`, and the handle that a program holds.

The tree: ``/metrics`` and ``/stream`` first, then ``/registry``, then ``/queue`` where one is configured, then
``/services`` with one actor for each service, so that at the end services stop before what they report to.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import trio

from switchgear.actors import errors
from switchgear.actors.config import AlternativeFallback, RuntimeConfig, ServiceConfig, load_config
from switchgear.actors.config.runtime import alternatives, queue_problem
from switchgear.actors.metrics import Metrics
from switchgear.actors.queue import Queue
from switchgear.actors.registry import Health, Registry
from switchgear.actors.secrecy.found import found
from switchgear.actors.secrecy.known import Known
from switchgear.actors.secrecy.logs import discreet_logs
from switchgear.actors.secrecy.named import without_named
from switchgear.actors.service.actor import ServiceActor
from switchgear.actors.service.state import ServiceState
from switchgear.actors.transport import DirectDoor, HttpxDoor, Pool, PoolCounts, TLSContexts
from switchgear.actors.transport.httpx_library import check_transport
from switchgear.actors.transport.httpx_made import new_transport
from switchgear.actors.transport.link import connect
from switchgear.actors.transport.public import connect_public
from switchgear.runtime import ActorError, Intensity, WhenFull, open_system

from .service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from os import PathLike

    from switchgear.actors.service.messages import Request, ServiceResponse
    from switchgear.actors.transport import AsyncTransport, Door
    from switchgear.runtime import ActorInfo, Event, Expiries, Ref, System

_SERVICES = "/services"
_IDLE = 30.0  # seconds that a connection may be idle: less than most servers allow (nginx 75, node 5, others between)
_VERSION = version("switchgear")  # once: looking it up reads files


class Runtime:
    """A running system. Made by `open_runtime`."""

    def __init__(
        self, system: System, config: RuntimeConfig, registry: Registry, metrics: Metrics, door: _Doors
    ) -> None:
        self._system = system
        self._config = config
        self._doors = door
        self._changing = trio.Lock()  # of the set of services: two changes at once would meet each other half done
        self._services: dict[str, Service] = {}
        self._states: dict[str, ServiceState] = {}
        self.registry = registry
        """Instances: register, deregister, discover, watch, health_check."""
        self.metrics = metrics
        """Figures of each service; ``websocket_url`` streams them."""
        self.health = Health(registry)
        """Health checks now: check(name), check_all()."""
        self.queue = Queue(None, system.rng)
        """Calls that wait to be made again: list, retry, drop, stats."""
        self.services: Mapping[str, Service] = MappingProxyType(self._services)
        """All services by name, as they are now."""

    def service(self, name: str) -> Service:
        """The service of that name. Raises UnknownService (a KeyError)."""
        try:
            return self._services[name]
        except KeyError:
            known = ", ".join(self._services) or "none"
            raise errors.UnknownService(f"there is no service {name!r}; known: {known}", service=name) from None

    async def add_service(self, config: ServiceConfig) -> Service:
        """Start a service at run time; ready when it returns.

        Raises:
            ConfigError: the name is taken; an alternative names no known service, or leads back to this one.
            TypeError: it is no ServiceConfig.
            ShuttingDown: the runtime has ended.
        """
        _check_type(config)
        async with self._changing:
            if config.name in self._services:
                raise errors.ConfigError(f"there is a service {config.name!r} already: remove it first")
            self._check_fallbacks(config)
            service = await self._start(config)
            await self.registry.settle(config.name)
            return service

    async def _start_all(self) -> None:
        """Those of the configuration, which has been checked as a whole: an alternative may come after who names it."""
        settings, system = self._config, self._system
        self.queue = await Queue.start(system, settings.queue, self._states, self._again, grace=settings.grace)
        # No intensity: one service that cannot live must not take the others along. Backoff bounds its restarts.
        await system.supervise("services", intensity=Intensity(max_restarts=None))
        for config in self._config.services:
            await self._start(config)
        await self.registry.settle()

    async def _start(self, config: ServiceConfig) -> Service:
        state = ServiceState(
            config,
            f"{_SERVICES}/{config.name}",
            self._system.events.publish,
            self._system.rng,
            Known(above=self._doors.known),
        )
        state.queue = self.queue.put
        try:
            ref = await self._launch(config, state)
            self.metrics.join(state)
        except BaseException as error:  # also when cancelled: a service is added or it is not
            await self._end(state)
            if isinstance(error, ActorError):
                raise errors.ShuttingDown(f"the service did not start: {error}", service=config.name) from error
            raise
        service = Service(ref, state, self._elsewhere, self._system.rng)
        self._services[config.name], self._states[config.name] = service, state
        await self.queue.changed(config.name)
        return service

    async def _launch(self, config: ServiceConfig, state: ServiceState) -> Ref:
        state.instances = await self.registry.configure(config)
        actor = partial(
            ServiceActor,
            state,
            state.instances,
            door=self._doors,
            metrics=self.metrics.ref,
            tick=self._config.metrics.interval,
            user_agent=f"{self._config.app_name}/{self._config.app_version} switchgear/{_VERSION}",
        )
        return await self._system.start(
            actor,
            config.name,
            under=_SERVICES,
            capacity=config.bulkhead.max_queue,
            when_full=WhenFull(config.bulkhead.when_full),
            grace=self._config.grace,
        )

    async def _end(self, state: ServiceState) -> None:
        """Stop a service, whole or half started, and forget it. Shielded: half a removal is worse than a late one."""
        with trio.CancelScope(deadline=trio.current_time() + 2 * self._config.grace + 1, shield=True):
            with suppress(KeyError):
                await self._system.stop(state.path)
            with suppress(errors.ShuttingDown):
                await self.registry.forget(state.name)
            self.metrics.leave(state)

    async def remove_service(self, name: str) -> None:
        """Stop a service and forget it; its open calls end at once with ShuttingDown. Raises UnknownService."""
        async with self._changing:
            self.service(name)
            del self._services[name]
            await self._end(self._states.pop(name))
            await self.queue.changed(name)

    async def reconfigure(self, name: str, config: ServiceConfig) -> None:
        """Put a new configuration in force. Calls under way end under the old one; what was learned is kept.

        Where it has new sources of instances, their first word is waited for, a few seconds at the most: until then it
        is the old ones that count.

        Raises:
            UnknownService: there is no such service.
            ConfigError: the configuration is for a service of another name; an alternative names no known service, or
                leads back to this one.
            TypeError: it is no ServiceConfig.
        """
        _check_type(config)
        async with self._changing:
            self.service(name)
            if config.name != name:
                raise errors.ConfigError(
                    f"the configuration is for {config.name!r}: remove {name!r} and add that instead"
                )
            self._check_fallbacks(config)
            await self.registry.prepare(config)
            await self.registry.configure(config)
            self._states[name].reconfigure(config)
            await self.queue.changed(name)

    def _check_fallbacks(self, config: ServiceConfig) -> None:
        """As it is done for a whole configuration: a queue, no alternative that is not there, and no loop of them."""
        if self._config.queue is None and (unkept := queue_problem(config)) is not None:
            raise errors.ConfigError(unkept, service=config.name)
        if not any(isinstance(one, AlternativeFallback) for one in config.fallbacks):
            return  # it leads nowhere, so it closes no loop: adding n services stays O(n)
        others = tuple(state.config.value for name, state in self._states.items() if name != config.name)
        for problem in alternatives((config, *others)):
            index, _, text = problem.partition(".")
            if index == "services[0]":  # what is wrong with another one since it was added is not this one's fault
                raise errors.ConfigError(text, service=config.name)

    def events(self, capacity: int = 1000) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[Event]]:
        """Everything that happens from now on, as typed events.

        A subscriber that lets more than ``capacity`` of them wait loses the oldest and is told how many (EventsLost).
        """
        return self._system.events.subscribe(capacity)

    def tree(self) -> ActorInfo:
        """Every actor with its state, mailbox, work in hand, restarts and uptime."""
        return self._system.tree()

    async def _elsewhere(self, name: str, request: Request) -> ServiceResponse[Any]:
        return await self.service(name).send(request)

    async def _again(self, name: str, request: Request) -> ServiceResponse[Any]:
        """As it was, but without fallbacks: what comes from the queue would go there again."""
        return await self.service(name)._ask(request)  # noqa: SLF001 - its other half


def _check_type(config: object) -> None:
    """`open_runtime` takes a dict, so somebody tries it here; only a whole configuration says where its faults are."""
    if not isinstance(config, ServiceConfig):
        raise TypeError(f"the configuration of a service is a ServiceConfig, not a {type(config).__name__}")


class _Doors:
    """Makes the door of each service: all share their TLS contexts, or the transport that the user passed in."""

    def __init__(self, transport: AsyncTransport | None, expiries: Expiries, known: Known) -> None:
        self._transport = transport
        self.known = known
        """The secrets of all services."""
        self._tls = TLSContexts()
        self._watch_over = expiries.add

    def __call__(
        self, config: ServiceConfig | None, state: ServiceState | None = None, *, abroad: bool = False
    ) -> Door:
        """The door of a service; of the registry, for health checks, without a ``state``.

        ``abroad``: to hosts that a service has named, and only to public addresses.
        """
        scrub = (self.known if state is None else state.known).scrub
        if self._transport is not None:
            given = self._transport
            return HttpxDoor(lambda: given, owned=False, scrub=scrub)
        if config is not None and (config.proxy is not None or config.http2):
            make = partial(new_transport, config, self._tls, expiry=_IDLE)
            return HttpxDoor(make, owned=True, scrub=scrub, http2=config.http2, dials=config.proxy is None)
        # As many idle ones as there can be calls at once: with fewer, each lull costs the next burst its handshakes.
        most = 100 if config is None else config.bulkhead.max_concurrent
        counts = PoolCounts() if state is None else state.pool_counts()
        pool = Pool(counts, expiry=_IDLE, per_instance=most, total=2 * most)
        tls = partial(self._tls.get, None if config is None else config.tls)
        return DirectDoor(pool, tls, self._watch_over, connect_public if abroad else connect)


@asynccontextmanager
async def open_runtime(
    config: RuntimeConfig | Mapping[str, Any] | str | PathLike[str],
    *,
    transport: AsyncTransport | None = None,
    seed: int | None = None,
) -> AsyncIterator[Runtime]:
    """Run Switchgear for the length of a block.

    Args:
        config: a `RuntimeConfig`, a dict of the same shape, or the path of a ``.toml`` or ``.json`` file.
        transport: used instead of the network, for all services: an `httpx.MockTransport` in tests, say, any other
            async transport of httpx or httpx2, or an object of their shape (``async handle_async_request(request)``
            and ``async aclose()``), which is given requests of the library that its class derives from, or else of
            httpx. It is not closed at the end.
        seed: of all randomness (jitter, load balancing, request ids), so that a run can be repeated.

    Raises:
        ConfigError: the configuration is not valid.
        TypeError: ``transport`` is no such transport.
        RuntimeError: trio is not running here.
        SupervisorGaveUp: the registry or the metrics actor crashes again and again; the block is cancelled first.
    """
    if transport is not None:
        check_transport(transport)
    try:
        settings = load_config(config)
    finally:
        del config  # may have secrets as they are, and every error of the block comes through here
    known = Known()
    known.keep(*found(settings))
    with discreet_logs(known):
        async with open_system(seed=seed, scrub=lambda text: known.scrub(without_named(text))) as system:
            doors = _Doors(transport, system.expiries, known)
            metrics = await Metrics.start(system, settings.metrics, grace=settings.grace)
            registry = await Registry.start(system, settings.registry, doors, grace=settings.grace)
            runtime = Runtime(system, settings, registry, metrics, doors)
            await runtime._start_all()  # noqa: SLF001 - the two halves of one thing
            yield runtime
