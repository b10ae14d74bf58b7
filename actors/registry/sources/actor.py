"""The actor around a source: it runs the source's function, and says to the registry when that has crashed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from switchgear.runtime import Actor

from ...config import ServiceConfig
from .kinds import follow
from .publish import Publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear.runtime import Context, Ref

    from ...config import Source, TLSConfig
    from ...transport import Door


class FirstWord(msgspec.Struct, frozen=True):
    """Answered when the source has said something, be it that it cannot."""


class SourceActor(Actor):
    """One source of one service."""

    concurrency = 100  # who waits for its first word

    def __init__(self, service: str, source: Source, registry: Ref, open_door: Callable[[ServiceConfig], Door]) -> None:
        self._service = service
        self._source = source
        self._registry = registry
        self._open_door = open_door

    async def setup(self, ctx: Context) -> None:
        """Begin to follow it. Nothing is waited for: a name server that is down must not hold up the start."""
        self._publish = Publish(self._registry, self._service, self._source.name, ctx.rng, ctx.previous, self._door)
        ctx.start_soon(self._follow)

    def _door(self, tls: TLSConfig) -> Door:
        return self._open_door(ServiceConfig(self._service, tls=tls))

    async def handle(self, message: FirstWord) -> None:
        """The only one there is."""
        await self._publish.heard.wait()

    def snapshot(self) -> object:
        """What the source wants to know in its next life."""
        return self._publish.memory

    async def _follow(self) -> None:
        try:
            await follow(self._source, self._publish)
        except Exception as error:
            await self._publish.failed(f"it has crashed ({type(error).__name__}), and is being started again")
            raise
