"""What a source says to the registry, and what it is given to work with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ..records import Sourced, SourceFailed

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from switchgear.runtime import Ref

    from ...config import InstanceConfig, TLSConfig
    from ...transport import Door


class Publish:
    """The pen of one source: ``await publish(instances)`` whenever it knows which there are, all of them each time.

    A source is a function that loops for ever. It calls one of the three below after each look, the first as soon as
    it can: a program that starts waits for it (but not for long). An outage that it expects it tells by `failed`, and
    tries again by its own rules; what it does not expect it lets fly: the actor crashes, the registry keeps what it was
    told last, and the supervisor starts the function anew, with backoff. What has to outlive that goes into ``memory``.
    """

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        registry: Ref,
        service: str,
        source: str,
        rng: random.Random,
        memory: Any,
        door: Callable[[TLSConfig], Door],
    ) -> None:
        self._registry = registry
        self.service = service
        """The name of the service."""
        self.rng = rng
        """For jitter."""
        self.door = door
        """Opens a way to a server that speaks HTTP; whoever opens it closes it."""
        self.memory = memory
        """The source's own, kept over its crashes. None at first."""
        self.heard = trio.Event()
        """It has said something."""
        self._source = source

    async def __call__(self, instances: Iterable[InstanceConfig], problem: str | None = None) -> None:
        """These are the instances, all of them. Of two with one id, the first counts; none is a set like any other.

        A ``problem`` is what is wrong with the set, some of which had to be left out perhaps: it is said until there is
        another set.
        """
        await self._say(Sourced(self.service, self._source, tuple(instances), problem))

    async def same(self) -> None:
        """They are still those that were said last, as a look has just shown."""
        await self._say(Sourced(self.service, self._source, None))

    async def failed(self, reason: str) -> None:
        """It cannot be said at present which they are: those that were said last stay. No secrets in the reason."""
        await self._say(SourceFailed(self.service, self._source, reason))

    async def _say(self, message: Sourced | SourceFailed) -> None:
        # And not tell: when `heard` is set, the services know of it. A crash of the registry meanwhile is none of ours,
        # for what it has not taken in hand waits for its next life; if it is this that it crashes of, once is enough.
        await self._registry.ask(message)
        self.heard.set()
