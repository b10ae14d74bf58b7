"""The registry and the health checks as a program sees them."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar, final

import msgspec
import trio

from switchgear.runtime import ActorError

from ..ask import ask
from ..config.check import address as check_address
from ..config.check import finite
from ..config.check import url as check_url
from ..config.tls import unverified_problem
from ..errors import ConfigError, InvalidRequest, ServiceError, ShuttingDown, UnknownService
from ..events import VersionsUnreadable
from ..follow import next_version
from ..instance import ServiceInstance
from ..machines.leases import BEAT
from .actor import RegistryActor
from .records import (
    Check,
    Configure,
    CountLeases,
    Deregister,
    Forget,
    Found,
    HealthCheckResult,
    Heartbeat,
    InstanceSet,
    LeaseCounts,
    Look,
    Register,
    SourceStatus,
)
from .select import tagged, versions, within
from .sources import SourceKeeper

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    from switchgear.runtime import Event, Ref, System, Watch

    from ..config import RegistryConfig, ServiceConfig
    from ..transport import Door

T = TypeVar("T")

_UNDOING = 5.0  # seconds that going back to the configuration before may take


@final
class Registry:
    """Instances of services: register, deregister, discover, watch, and check them. Got from ``runtime.registry``."""

    def __init__(self, ref: Ref, ended: trio.Event, sources: SourceKeeper, emit: Callable[[Event], None]) -> None:
        self._ref = ref
        self._ended = ended
        self._sources = sources
        self._emit = emit
        self._unreadable: dict[str, tuple[str, ...]] = {}  # ids by service, as they were told last
        self._services: dict[str, ServiceConfig] = {}  # in the order in which they came

    @classmethod
    async def start(
        cls, system: System, config: RegistryConfig, door: Callable[[ServiceConfig | None], Door], *, grace: float
    ) -> Registry:
        """Start the registry actor in a tree."""
        actor = partial(RegistryActor, door, check_health=config.check_health)
        ref = await system.start(actor, "registry", grace=grace)
        sources = SourceKeeper(system, ref, door, grace)
        await sources.advertise(config.advertise)
        return cls(ref, system.ended, sources, system.events.publish)

    async def configure(self, config: ServiceConfig) -> Watch[InstanceSet]:
        """Take over what a service's configuration says of instances and health checks; returns the service's watch.

        Its sources are followed from now on. `settle` waits for what they have to say.
        """
        await self._sources.retire(config.name, config.sources)
        found: Found = await ask(self._ref, Configure(config))
        self._services[config.name] = config
        try:
            await self._sources.begin(config.name, config.sources)
        except ActorError as error:
            raise ShuttingDown(f"its sources did not start: {error}", service=config.name) from error
        return found.watch

    async def prepare(self, config: ServiceConfig) -> None:
        """Before another configuration of a service: follow its new sources beside the old ones until they have spoken.

        Without it, a service that goes from one source to another would have no instance for a moment, or for long if
        the new one is down. `settle` bounds the wait. Given up meanwhile, all is as it was.
        """
        old = self._services[config.name]
        names = {source.name for source in old.sources}
        new = [source for source in config.sources if source.name not in names]
        if new:
            try:
                await self.configure(msgspec.structs.replace(old, sources=(*old.sources, *new)))
                await self.settle(config.name)
            except BaseException:
                # What comes out is why we were given up, also when the runtime has ended meanwhile.
                with trio.CancelScope(deadline=trio.current_time() + _UNDOING, shield=True), suppress(ServiceError):
                    await self.configure(old)
                raise

    async def settle(self, service: str | None = None) -> None:
        """Wait until each source (of a service, or of all) has said something, a few seconds at the most."""
        await self._sources.first_words(service)

    async def forget(self, service: str) -> None:
        """The service is gone."""
        self._services.pop(service, None)
        self._unreadable.pop(service, None)
        await self._sources.retire(service)
        await ask(self._ref, Forget(service))

    async def register(self, instance: ServiceInstance, *, ttl: float | None = None) -> ServiceInstance:
        """Make an instance known; it may get calls from now on. Registering a known id again updates it.

        Its health, its times and its sources are the registry's to say, whatever ``instance`` has there; an id that is
        known keeps its health. Returns the instance as the registry holds it.

        Args:
            instance: what is said of it, which counts for more than what the configuration and the sources say.
            ttl: a lease. So many seconds (at least 2, and it may be a second more) after it was last heard of, by a
                `heartbeat` or by being registered again, it is taken away, unless most leases fall silent at once: see
                `leases`. Three heartbeats in a ttl are a good number, two are the least. None: it stays until it is
                deregistered.

        Raises:
            UnknownService: there is no service of that name.
            ConfigError: the endpoint is no URL, or one to which credentials would go over plain http; the weight is no
                number of 0 or more, or the ttl none of 2 or more.
            InvalidRequest: it is no `ServiceInstance`, has no id, or a field of another type than it should be.
        """
        if not isinstance(instance, ServiceInstance):
            raise InvalidRequest(f"register takes a ServiceInstance, not a {type(instance).__name__}")
        self._known(instance.name)
        check_url("endpoint", instance.endpoint)
        finite("weight", instance.weight)
        check_address("address", instance.address, instance.endpoint)
        config = self._services[instance.name]
        if (problem := unverified_problem(config.tls, instance.endpoint)) is not None:
            raise ConfigError(f"tls.verify: {problem}", service=instance.name)
        if (problem := config.exposes(instance.endpoint)) is not None:
            raise ConfigError(f"endpoint: {problem}", service=instance.name)
        if not isinstance(instance.id, str) or not instance.id:
            raise InvalidRequest("an instance needs an id that is unique in its service", service=instance.name)
        if ttl is not None:
            finite("ttl", ttl)
            if ttl < 2 * BEAT:  # with less, a blocked loop could let it lapse between two heartbeats
                raise ConfigError(f"ttl: must be at least {2 * BEAT:g} seconds, not {ttl}", service=instance.name)
        own = _checked(instance)
        there: ServiceInstance = self._there(await ask(self._ref, Register(own, ttl)), instance.name)
        return there

    async def heartbeat(self, service: str, id: str) -> bool:
        """An instance that was registered with a ``ttl`` is still there. False: it is not known (any more), or has no
        lease; then register it.

        Raises UnknownService.
        """
        self._known(service)
        known: bool = await ask(self._ref, Heartbeat(service, id))
        return known

    async def leases(self) -> LeaseCounts:
        """How many instances of all services have leases, and how many of those have fallen silent.

        If more than 15 % (and at least three) have not been heard of in the last half of their time, then it may be we
        who do not hear. A lease that lapses meanwhile is doubted, and kept for another four times its ttl
        (`LeaseCounts.preserving`, and the event `SelfPreservation`). Who is heard of by then has never been away.
        """
        counts: LeaseCounts = await ask(self._ref, CountLeases())
        return counts

    async def deregister(self, service: str, id: str) -> bool:
        """Forget an instance. False if it was not known.

        It drains: it gets no more calls, those under way end normally (within `TimeoutConfig.drain`), and its
        connections close.

        If a source names it too it stays, and gets calls: what a source says is not ours to take back. (To take it out,
        register it with a weight of 0.) Raises UnknownService.
        """
        self._known(service)
        known: bool = await ask(self._ref, Deregister(service, str(id)))
        return known

    async def discover(
        self, service: str, *, version: str | None = None, tags: Mapping[str, str] | None = None
    ) -> tuple[ServiceInstance, ...]:
        """The instances of a service, whatever their health.

        Args:
            service: its name.
            version: only those whose version is in this range, as ``">=1.2,<2"`` (PEP 440; pre-releases are only in
                ranges that name one). Those without a version that can be compared are left out, which the event
                `VersionsUnreadable` says when it is news.
            tags: only those whose metadata has all of these.

        Raises:
            UnknownService: there is no service of that name.
            InvalidRequest: the range or the tags are none.
        """
        wanted = None if version is None else versions(version)
        found = (await self._look(service)).instances
        if tags is not None:
            found = tuple(tagged(found, tags))
        if wanted is None:
            return found
        chosen, unreadable = within(found, wanted)
        self._say_unreadable(service, tuple(one.id for one in unreadable))
        return tuple(chosen)

    async def sources(self, service: str) -> tuple[SourceStatus, ...]:
        """How the sources of a service's instances are doing, and how old what they know is. Raises UnknownService.

        A source that is down has its last good set kept: the instances are there, `SourceStatus.age` says since when
        nobody has confirmed them.
        """
        return (await self._look(service)).sources

    async def health_check(self, service: str) -> HealthCheckResult:
        """Check all instances of a service now, at once; the registry learns the outcome. Raises UnknownService.

        A service without a configured check has status UNKNOWN: there is no path to ask at.
        """
        self._known(service)
        result: HealthCheckResult | None = await ask(self._ref, Check(service))
        return self._there(result, service)

    @asynccontextmanager
    async def watch(self, service: str) -> AsyncIterator[AsyncIterator[InstanceSet]]:
        """Every change of a service's instances, beginning with how they are now.

            async with runtime.registry.watch("search") as changes:
                async for instances in changes: ...

        In order; a reader that is slower than the changes gets the latest. It ends with the runtime, and after the
        set that says that the service is ``gone``. Raises UnknownService.
        """
        found = await self._look(service)
        async with aclosing(_changes(found.watch, self._ended)) as changes:
            yield changes

    @property
    def names(self) -> tuple[str, ...]:
        """The services it knows."""
        return tuple(self._services)

    def _say_unreadable(self, service: str, ids: tuple[str, ...]) -> None:
        """Once: who asks each second must not fill the log."""
        if ids and self._unreadable.get(service) != ids:
            self._emit(VersionsUnreadable(path=self._ref.path, service=service, instances=ids))
        self._unreadable[service] = ids

    def _known(self, service: str) -> None:
        if service not in self._services:
            known = ", ".join(self._services) or "none"
            raise UnknownService(f"there is no service {service!r}; known: {known}", service=service)

    def _there(self, reply: T | None, service: str) -> T:
        """The registry's reply; None if the service went while we asked."""
        if reply is None:
            raise UnknownService(f"the service {service!r} has just been removed", service=service)
        return reply

    async def _look(self, service: str) -> Found:
        self._known(service)
        found: Found | None = await ask(self._ref, Look(service))
        return self._there(found, service)


def _checked(instance: ServiceInstance) -> ServiceInstance:
    """A copy with all types as declared, which constructing a Struct does not look at; and with metadata of its own."""
    try:
        return msgspec.convert(msgspec.structs.asdict(instance), ServiceInstance)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the instance cannot be registered: {error}", service=instance.name) from None


async def _changes(watch: Watch[InstanceSet], ended: trio.Event) -> AsyncGenerator[InstanceSet, None]:
    while True:
        # Of one moment: two sets can be published between our being woken and our running, and each is seen once.
        version, instances = watch.version, watch.value
        yield instances
        if instances.gone or await next_version(watch, version, ended) is None:
            return


@final
class Health:
    """Health of services, asked now. Got from ``runtime.health``."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def check(self, service: str) -> HealthCheckResult:
        """Check one service now. Raises UnknownService."""
        return await self._registry.health_check(service)

    async def check_all(self) -> dict[str, HealthCheckResult]:
        """Check all services now, at once. One that is removed meanwhile is left out."""
        names = self._registry.names
        results: dict[str, HealthCheckResult] = {}
        failures: list[ServiceError] = []

        async def one(name: str) -> None:
            try:
                results[name] = await self.check(name)
            except UnknownService:
                pass
            except ServiceError as error:  # of the registry itself; raised below, for here it would come out in a group
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(one, name)
        if failures:
            raise failures[0]
        return {name: results[name] for name in names if name in results}
