"""The metrics as a program sees them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, final

import msgspec
import trio

from switchgear.runtime import Watch, WhenFull

from ..errors import UnknownService
from .actor import Board, MetricsActor
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
        self, ref: Ref, ledger: Ledger, board: Board, address: Watch[tuple[str, int] | None]
    ) -> None:
        self.ref = ref
        """The actor that services report to."""
        self._ledger = ledger
        self._board = board
        self._address = address
        self._states: dict[str, ServiceState] = {}

    @classmethod
    async def start(cls, system: System, config: MetricsConfig, *, grace: float) -> Metrics:
        """Start the metrics actor, and the stream if it is configured, in a tree."""
        ledger = Ledger()
        board = Board(ledger)
        address: Watch[tuple[str, int] | None] = Watch(None)
        # A report that finds no room is not lost: the service keeps it and adds the next one to it.
        ref = await system.start(
            partial(MetricsActor, ledger, board, config.interval), "metrics", when_full=WhenFull.FAIL, grace=grace
        )
        if config.websocket:
            await system.start(partial(StreamActor, config, Frames(board), address), "stream", grace=grace)
        return cls(ref, ledger, board, address)

    def get(self, service: str) -> ServiceMetrics:
        """The figures of a service, up to this moment. Raises UnknownService."""
        state = self._states.get(service)
        if state is None:
            known = ", ".join(self._states) or "none"
            raise UnknownService(f"there is no service {service!r}; known: {known}", service=service)
        metrics = self._ledger.metrics(service, trio.current_time(), state.meter.unbooked())
        return msgspec.structs.replace(metrics, breaker=state.breaker.state.value)

    def all(self) -> dict[str, ServiceMetrics]:
        """The figures of all services, up to this moment."""
        return {name: self.get(name) for name in self._states}

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[trio.MemoryReceiveChannel[Snapshot]]:
        """A channel of snapshots, one a tick. It holds one: a slow reader finds the latest, and delays nobody."""
        send, receive = trio.open_memory_channel[Snapshot](1)
        taker = receive.clone()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_forward, self._board, send, taker)
            with receive:
                yield receive
            nursery.cancel_scope.cancel()

    @property
    def websocket_url(self) -> str | None:
        """Where the stream is; None if it is not configured."""
        if self._address.value is None:
            return None
        host, port = self._address.value
        return f"ws://{f'[{host}]' if ':' in host else host}:{port}{PATH}"

    def join(self, state: ServiceState) -> None:
        """A service has been added."""
        self._ledger.open(state.name, trio.current_time())
        self._states[state.name] = state

    def leave(self, state: ServiceState) -> None:
        """A service has been removed, and its figures with it."""
        self._states.pop(state.name, None)
        self._ledger.close(state.name)


async def _forward(
    board: Board,
    send: trio.MemorySendChannel[Snapshot],
    taker: trio.MemoryReceiveChannel[Snapshot],
) -> None:
    version = board.ticks.version
    with send, taker:
        while True:
            version = await board.ticks.changed(version)
            try:
                send.send_nowait(board.latest())
            except trio.WouldBlock:
                taker.receive_nowait()
                send.send_nowait(board.latest())

