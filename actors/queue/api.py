"""The queue as a program sees it (``runtime.queue``), and as the fallbacks do."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, final

from switchgear.runtime import ActorError, AskTimeout
from switchgear.runtime.wall import wall_time

from ..ask import ask
from ..errors import ConfigError, FallbackFailed, InvalidRequest
from .actor import QueueActor
from .messages import Changed, Drop, Enqueue, List, Retry, Stats
from .pack import pack, refusal
from .store import StoreError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from switchgear.runtime import Ref, System

    from ..config import QueueConfig
    from ..errors import ServiceError
    from ..service.messages import Request
    from ..service.state import ServiceState
    from .records import Handle, QueuedCall
    from .schedule import QueueStats

_PATIENCE = 5.0  # seconds that a caller waits for the disk: his call's own time is mostly over


@final
class Queue:
    """The calls that wait to be made again, and the dead letters among them. Got from ``runtime.queue``.

    An item is named by its ``id``, or by the ``request_id`` that its caller was given with "queued".

    All methods raise `ConfigError` where no queue is configured, `ServiceError` where its file cannot be used.
    """

    def __init__(self, ref: Ref | None, rng: random.Random) -> None:
        self._ref = ref
        self._rng = rng

    @classmethod
    async def start(
        cls,
        system: System,
        config: QueueConfig | None,
        states: Mapping[str, ServiceState],
        send: Callable[[str, Request], Awaitable[object]],
        *,
        grace: float,
    ) -> Queue:
        """Start the actor in a tree, if there is a configuration."""
        if config is None:
            return cls(None, system.rng)
        from .sqlite import SQLiteStore  # noqa: PLC0415 - some Pythons are built without sqlite3, and most need none

        actor = partial(QueueActor, SQLiteStore(config.path), states, send, system.events)
        return cls(await system.start(actor, "queue", grace=grace), system.rng)

    async def list(
        self, service: str | None = None, *, dead: bool | None = None, limit: int = 100
    ) -> Sequence[QueuedCall]:
        """What is in it, the oldest first.

        Args:
            service: only of this service; also of one that there is not now.
            dead: only dead letters (True), or only what still waits (False).
            limit: at most so many.
        """
        if not isinstance(limit, int) or not 0 < limit < 2**31:
            raise InvalidRequest(f"limit is a whole number from 1, not {limit!r:.80}")
        found: Sequence[QueuedCall] = await self._ask(List(service, dead, limit))
        return found

    async def retry(self, id: Handle) -> int:
        """Try an item as soon as its turn and the breaker allow; a dead letter begins anew. How many there were."""
        count: int = await self._ask(Retry(_handle(id)))
        return count

    async def drop(self, id: Handle) -> int:
        """Forget an item, dead or alive. (An attempt that is under way ends as it does.) How many there were."""
        count: int = await self._ask(Drop(_handle(id)))
        return count

    async def stats(self) -> Mapping[str, QueueStats]:
        """For each service that has calls in it: how many, how large, since when."""
        stats: Mapping[str, QueueStats] = await self._ask(Stats())
        return stats

    async def changed(self, service: str) -> None:
        """A service has come, gone, or has another configuration."""
        if self._ref is not None:
            await self._ref.tell(Changed(service))

    async def put(self, service: str, request: Request, error: ServiceError) -> None:
        """Keep a call that failed of ``error``. It is safe when this returns. Raises FallbackFailed."""
        reason = "no queue is configured" if self._ref is None else refusal(request, error)
        if reason is not None or self._ref is None:
            raise FallbackFailed(f"it cannot be queued: {reason}")
        key = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        try:
            await self._ref.ask(Enqueue(pack(request, service, key, wall_time())), _PATIENCE)
        except AskTimeout:
            text = f"the disk has not answered for {_PATIENCE:g} s; the call may be in the queue or not"
            raise FallbackFailed(text) from None
        except (StoreError, ActorError) as failed:
            raise FallbackFailed(f"it could not be queued: {failed}") from failed

    async def _ask(self, message: object) -> Any:
        if self._ref is None:
            raise ConfigError('no queue is configured: RuntimeConfig(queue=QueueConfig(path="queue.db"))')
        try:
            return await ask(self._ref, message)
        except StoreError as error:
            raise FallbackFailed(str(error)) from error


def _handle(id: Handle) -> Handle:
    if isinstance(id, bool) or not isinstance(id, (int, str)) or (isinstance(id, int) and not 0 < id < 2**63):
        raise InvalidRequest(f"an item is named by its id or by the request id of its call, not by {id!r:.80}")
    return id
