"""The metrics as a program sees them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, final

import trio

from switchgear.runtime import WhenFull

from ..errors import UnknownService
from ..follow import next_version
from .actor import Board, MetricsActor
from .ears import listening
from .ledger import Ledger
from .records import ServiceMetrics, Snapshot
from .stream import PATH, Frames, StreamActor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from switchgear.runtime import Ref, System

    from ..config import MetricsConfig
    from ..service.state import ServiceState


@final
class Metrics:
    """Figures of each service. Got from ``runtime.metrics``."""

    def __init__(
        self, ref: Ref, ledger: Ledger, board: Board, ended: trio.Event, address: tuple[str, int] | None
    ) -> None:
        self.ref = ref
        """The actor that services report to."""
        self._ledger = ledger
        self._board = board
        self._ended = ended
        self._address = address

    @classmethod
    async def start(cls, system: System, config: MetricsConfig, *, grace: float) -> Metrics:
        """Start the metrics actor, and the stream if it is configured, in a tree.

        Raises ConfigError if the stream cannot listen where it should.
        """
        ledger = Ledger()
        board = Board(ledger)
        # A report that finds no room is not lost: the service keeps it and adds the next one to it.
        ref = await system.start(
            partial(MetricsActor, ledger, board, config.interval), "metrics", when_full=WhenFull.FAIL, grace=grace
        )
        address = None
        if config.websocket:
            async with listening(config) as ears:
                await system.start(partial(StreamActor, config, Frames(board), ears), "stream", grace=grace)
                address = ears.address
        return cls(ref, ledger, board, system.ended, address)

    def get(self, service: str) -> ServiceMetrics:
        """The figures of a service, up to this moment. Raises UnknownService."""
        try:
            return self._ledger.metrics(service, trio.current_time())
        except KeyError:
            known = ", ".join(self._ledger.accounts) or "none"
            raise UnknownService(f"there is no service {service!r}; known: {known}", service=service) from None

    def all(self) -> dict[str, ServiceMetrics]:
        """The figures of all services, up to this moment."""
        return {name: self.get(name) for name in self._ledger.accounts}

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[trio.MemoryReceiveChannel[Snapshot]]:
        """A channel of snapshots, one a tick. It holds one: a slow reader finds the latest, and delays nobody.

        It ends with the runtime. (The interval of the ticks is ``metrics.interval`` of the configuration.)
        """
        send, receive = trio.open_memory_channel[Snapshot](1)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_forward, self._board, self._ended, send, receive.clone())
            try:
                with receive:
                    yield receive
            except Exception as error:  # noqa: BLE001 - of the block: raised below, as it is and not in a group
                failure = error
            nursery.cancel_scope.cancel(reason="the subscriber has enough")
        if failure is not None:
            raise failure

    @property
    def websocket_url(self) -> str | None:
        """Where the stream is; None if it is not configured."""
        if self._address is None:
            return None
        host, port = self._address
        return f"ws://{f'[{host}]' if ':' in host else host}:{port}{PATH}"

    def join(self, state: ServiceState) -> None:
        """A service has been added."""
        self._ledger.open(state, trio.current_time())

    def leave(self, state: ServiceState) -> None:
        """A service has been removed, and its figures with it."""
        self._ledger.close(state)


async def _forward(
    board: Board, ended: trio.Event, send: trio.MemorySendChannel[Snapshot], taker: trio.MemoryReceiveChannel[Snapshot]
) -> None:
    version = board.ticks.version
    with send, taker:
        while (newer := await next_version(board.ticks, version, ended)) is not None:
            version = newer
            if taker.statistics().current_buffer_used:
                taker.receive_nowait()
            send.send_nowait(board.latest())
