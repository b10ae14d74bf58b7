"""The registry and the health checks as a program sees them."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, final

import trio

from switchgear.runtime import Watch

from ..ask import ask
from ..config.check import url as check_url
from ..errors import InvalidRequest, UnknownService
from ..instance import HealthStatus, ServiceInstance
from .actor import RegistryActor
from .probe import probe_all
from .records import Configure, Deregister, Forget, Found, HealthCheckResult, InstanceSet, Look, Observed, Register

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable

    from switchgear.runtime import Ref, System

    from ..config import RegistryConfig, ServiceConfig
    from ..transport import Door


@final
class Registry:
    """Instances of services: register, deregister, discover, watch, and check them. Got from ``runtime.registry``."""

    def __init__(self, ref: Ref, door: Door) -> None:
        self._ref = ref
        self._door = door
        self._services: dict[str, ServiceConfig] = {}

    @classmethod
    async def start(
        cls, system: System, config: RegistryConfig, door: Callable[[ServiceConfig | None], Door], *, grace: float
    ) -> Registry:
        """Start the registry actor in a tree."""
        actor = partial(RegistryActor, door, check_health=config.check_health)
        return cls(await system.start(actor, "registry", grace=grace), door(None))

    async def configure(self, config: ServiceConfig) -> Watch[InstanceSet]:
        """Take over what a service's configuration says of instances and health checks; returns the service's watch."""
        found: Found = await ask(self._ref, Configure(config))
        self._services[config.name] = config
        assert isinstance(found.watch, Watch)
        return found.watch

    async def forget(self, service: str) -> None:
        """The service is gone."""
        self._services.pop(service, None)
        await ask(self._ref, Forget(service))

    async def register(self, instance: ServiceInstance) -> ServiceInstance:
        """Make an instance known; it may get calls from now on. Registering a known id again updates it.

        Returns the instance as the registry holds it. Raises UnknownService, or ConfigError for a bad endpoint.
        """
        self._known(instance.name)
        check_url("endpoint", instance.endpoint)
        if not instance.id:
            raise InvalidRequest("an instance needs an id that is unique in its service", service=instance.name)
        registered: ServiceInstance = await ask(self._ref, Register(instance))
        return registered

    async def deregister(self, service: str, id: str) -> bool:
        """Forget an instance: it gets no more calls; those under way end normally. False if it was not known."""
        self._known(service)
        known: bool = await ask(self._ref, Deregister(service, id))
        return known

    async def discover(self, service: str) -> tuple[ServiceInstance, ...]:
        """All instances of a service, with their health. Raises UnknownService."""
        return (await self._look(service))[0].value.instances

    async def health_check(self, service: str) -> HealthCheckResult:
        """Check all instances of a service now, at once; the registry learns the outcome. Raises UnknownService.

        A service without a configured check has status UNKNOWN: there is no path to ask at.
        """
        watch, found = await self._look(service)
        if found.check is None or not watch.value.instances:
            return HealthCheckResult(service, HealthStatus.UNKNOWN, detail="nothing to check", at=trio.current_time())
        results = await probe_all(self._door, watch.value.instances, found.check)
        for one in results:
            healthy = one.status is HealthStatus.HEALTHY
            await ask(self._ref, Observed(service, one.instance or "", healthy, one.detail))
        return _summary(service, results)

    @asynccontextmanager
    async def watch(self, service: str) -> AsyncIterator[AsyncIterator[InstanceSet]]:
        """Every change of a service's instances, beginning with how they are now.

            async with runtime.registry.watch("search") as changes:
                async for instances in changes: ...

        In order; a reader that is slower than the changes gets the latest. Raises UnknownService.
        """
        watch, _ = await self._look(service)
        async with aclosing(_changes(watch)) as changes:
            yield changes

    @property
    def names(self) -> tuple[str, ...]:
        """The services it knows."""
        return tuple(self._services)

    def _known(self, service: str) -> None:
        if service not in self._services:
            known = ", ".join(self._services) or "none"
            raise UnknownService(f"there is no service {service!r}; known: {known}", service=service)

    async def _look(self, service: str) -> tuple[Watch[InstanceSet], Found]:
        self._known(service)
        found: Found = await ask(self._ref, Look(service))
        assert isinstance(found.watch, Watch)
        return found.watch, found


async def _changes(watch: Watch[InstanceSet]) -> AsyncGenerator[InstanceSet, None]:
    version = watch.version
    yield watch.value
    while True:
        version = await watch.changed(version)
        yield watch.value


@final
class Health:
    """Health of services, asked now. Got from ``runtime.health``."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def check(self, service: str) -> HealthCheckResult:
        """Check one service now. Raises UnknownService."""
        return await self._registry.health_check(service)

    async def check_all(self) -> dict[str, HealthCheckResult]:
        """Check all services now, at once."""
        results: dict[str, HealthCheckResult] = {}

        async def one(name: str) -> None:
            results[name] = await self.check(name)

        async with trio.open_nursery() as nursery:
            for name in self._registry.names:
                nursery.start_soon(one, name)
        return {name: results[name] for name in self._registry.names if name in results}


def _summary(service: str, results: Iterable[HealthCheckResult]) -> HealthCheckResult:
    each = tuple(results)
    healthy = sum(one.status is HealthStatus.HEALTHY for one in each)
    return HealthCheckResult(
        service,
        HealthStatus.HEALTHY if healthy else HealthStatus.UNHEALTHY,
        latency=max(one.latency for one in each),
        detail=f"{healthy} of {len(each)} instances are healthy",
        at=trio.current_time(),
        instances=each,
    )
