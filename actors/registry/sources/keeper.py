"""Starts and stops the source actors, as the services' configurations want them.

They are children of a supervisor of their own, ``/sources``, beside the registry: what one of them does wrong ends
that one, which is started again by itself, with backoff and without a limit to how often.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

from switchgear.runtime import ActorError, Intensity

from .actor import FirstWord, SourceActor
from .advert import AdvertActor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from switchgear.runtime import Ref, System

    from ...config import EtcdAdvert, ServiceConfig, Source
    from ...transport import Door

_PATIENCE = 5.0
"""Seconds that a start waits for the first word of its sources, all of them together."""


class SourceKeeper:
    """All sources of a runtime."""

    def __init__(self, system: System, registry: Ref, open_door: Callable[[ServiceConfig], Door], grace: float) -> None:
        self._system = system
        self._registry = registry
        self._open_door = open_door
        self._grace = grace
        self._above: str | None = None  # the supervisor, once there is something for it
        self._running: dict[str, dict[str, tuple[Source, Ref]]] = {}

    async def retire(self, service: str, wanted: Sequence[Source] = ()) -> None:
        """Stop the sources of a service that are not ``wanted`` any more, or not as they are."""
        running = self._running.get(service, {})
        for name, (source, ref) in list(running.items()):
            if source not in wanted:
                del running[name]  # first: if we are cancelled below, it is stopped all the same
                await self._system.stop(ref.path)
        if not running:
            self._running.pop(service, None)

    async def begin(self, service: str, wanted: Sequence[Source]) -> None:
        """Start those that do not run yet. Raises StartFailed when the runtime ends."""
        for source in wanted:
            running = self._running.setdefault(service, {})
            if source.name not in running:
                actor = partial(SourceActor, service, source, self._registry, self._open_door)
                # The colon is in no name of either, so this one is unique.
                ref = await self._system.start(
                    actor, f"{service}:{source.name}", under=await self._supervisor(), grace=self._grace
                )
                running[source.name] = source, ref

    async def advertise(self, adverts: Sequence[EtcdAdvert]) -> None:
        """Keep these instances of our own where others look for them."""
        if adverts:
            above = await self._system.supervise("adverts", intensity=Intensity(max_restarts=None))
            for number, advert in enumerate(adverts):
                actor = partial(AdvertActor, advert, self._open_door)
                await self._system.start(actor, str(number), under=above, grace=self._grace)

    async def first_words(self, service: str | None = None) -> None:
        """Wait until each source (of a service, or of all) has said something, but not for long.

        So that the first calls find the instances there are.
        """
        those = self._running.values() if service is None else [self._running.get(service, {})]
        refs = [ref for running in those for _, ref in running.values()]
        if refs:
            with trio.move_on_after(_PATIENCE):
                async with trio.open_nursery() as nursery:
                    for ref in refs:
                        nursery.start_soon(_first_word, ref)

    async def _supervisor(self) -> str:
        if self._above is None:
            self._above = await self._system.supervise("sources", intensity=Intensity(max_restarts=None))
        return self._above


async def _first_word(ref: Ref) -> None:
    with suppress(ActorError):  # a crash is a word, too
        await ref.ask(FirstWord())
