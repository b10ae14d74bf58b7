"""The metrics stream: snapshots as JSON over websocket, to any number of subscribers.

Protocol ``metrics.v1``: a ``hello``, then a ``snapshot`` each tick, then a ``bye``; one JSON object a text frame. Values
are totals, not increments, so a subscriber that misses some has missed nothing. Each subscriber is a task that takes the
latest snapshot when it has sent the one before: one that does not read holds up itself, and is put out after a while.

What trio-websocket needs of us (METRICS.md, section 2): `ConnectionClosed` and everything else stays inside the
connection it happened on; somebody must read, or pings go unanswered; and a send that was given up has left half a
frame behind, after which the socket can only be dropped.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, WebSocketRequest, wrap_server_stream

from switchgear.runtime import Actor

if TYPE_CHECKING:
    from switchgear.runtime import Context, Watch

    from ..config import MetricsConfig
    from .actor import Board

PROTOCOL = "metrics.v1"
PATH = "/metrics"
_HANDSHAKE = 5.0  # seconds
_STALLED = 5.0  # seconds without progress after which a subscriber is put out
_GOODBYE = 1.0  # seconds that saying goodbye may take
_MAX_MESSAGE = 4096  # bytes that a subscriber may send at once: it has nothing to say
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}

_logger = logging.getLogger("switchgear.metrics")
_encoder = msgspec.json.Encoder()


class Frames:
    """The frames that all subscribers share: each snapshot is encoded once."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.ticks = board.ticks
        self._encoded: tuple[int, str] = (-1, "")

    def latest(self) -> str:
        """The snapshot of now, as a frame."""
        snapshot = self._board.latest()
        if self._encoded[0] != snapshot.seq:
            self._encoded = (snapshot.seq, frame("snapshot", **msgspec.structs.asdict(snapshot)))
        return self._encoded[1]


def frame(kind: str, **fields: Any) -> str:
    """One message of the protocol."""
    return _encoder.encode({"type": kind, **fields}).decode()


class StreamActor(Actor):
    """Listens, and feeds subscribers. A crash of it restarts on the same port; it takes no messages."""

    def __init__(self, config: MetricsConfig, frames: Frames, address: Watch[tuple[str, int] | None]) -> None:
        self._config = config
        self._frames = frames
        self._address = address
        self._subscribers = 0

    async def setup(self, ctx: Context) -> None:
        """Listen: on the configured port, or on the one of the last life."""
        known = self._address.value
        port = known[1] if known is not None else self._config.port
        listeners = await trio.open_tcp_listeners(port, host=self._config.host)
        self._address.set((self._config.host, listeners[0].socket.getsockname()[1]))
        ctx.start_soon(partial(trio.serve_listeners, self._connection, listeners))
        self._boot_id = f"{ctx.rng.getrandbits(64):016x}"

    async def _connection(self, stream: trio.SocketStream) -> None:
        """One connection, from handshake to goodbye. Nothing that happens on it leaves it."""
        try:
            await _Subscriber(stream, self).run()
        except* (ConnectionClosed, HandshakeError, trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # they come and go as they like
        except* Exception as errors:  # a bug of ours or of a library: its own connection, and no other, ends of it
            _logger.warning("a metrics connection failed: %r", errors.exceptions)
        finally:
            await trio.aclose_forcefully(stream)

    def refusal(self, request: WebSocketRequest) -> int | None:
        """The status to refuse a handshake with, or None."""
        if urlsplit(request.path).path != PATH:
            return 404
        # A page of another site must not read along. Browsers always send its origin, also when the site has rebound
        # its own name to our address.
        origin = next((value for name, value in request.headers if name.lower() == b"origin"), None)
        if origin is not None and urlsplit(origin.decode("latin-1")).hostname not in _LOOPBACK | {self._config.host}:
            return 403
        return 503 if self._subscribers >= self._config.max_subscribers else None

    def joined(self) -> None:
        """A subscriber has come."""
        self._subscribers += 1

    def left(self) -> None:
        """A subscriber has gone."""
        self._subscribers -= 1

    @property
    def hello(self) -> str:
        """The first frame."""
        return frame("hello", v=1, server="switchgear", boot_id=self._boot_id, interval=self._config.interval)

    @property
    def frames(self) -> Frames:
        """What to send."""
        return self._frames


class _Subscriber:
    """One connection.

    It runs shielded, so that it can still say goodbye when the actor stops; the shield has a deadline from that moment.
    """

    def __init__(self, stream: trio.SocketStream, server: StreamActor) -> None:
        self._stream = stream
        self._server = server
        self._feeding = trio.CancelScope()
        self._shield = trio.CancelScope(shield=True)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._await_the_end)
            with self._shield:
                await self._converse()
            nursery.cancel_scope.cancel()

    async def _await_the_end(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._feeding.cancel()
            self._shield.deadline = trio.current_time() + _GOODBYE

    async def _converse(self) -> None:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(_HANDSHAKE):
                request = await wrap_server_stream(
                    nursery, self._stream, message_queue_size=1, max_message_size=_MAX_MESSAGE
                )
                connection = await self._accept(request)
            if connection is not None:
                self._server.joined()
                try:
                    nursery.start_soon(_read_nothing, connection)
                    await self._feed(connection)
                finally:
                    self._server.left()
            nursery.cancel_scope.cancel()

    async def _accept(self, request: WebSocketRequest) -> WebSocketConnection | None:
        status = self._server.refusal(request)
        if status is not None:
            await request.reject(status, body=b"")
            return None
        chosen = PROTOCOL if PROTOCOL in request.proposed_subprotocols else None
        return await request.accept(subprotocol=chosen)

    async def _feed(self, connection: WebSocketConnection) -> None:
        frames = self._server.frames
        with self._feeding:
            if not await self._send(connection, self._server.hello):
                return
            version = -1
            while True:
                version = await frames.ticks.changed(version)
                if not await self._send(connection, frames.latest()):
                    return
        if await self._send(connection, frame("bye", reason="the runtime has ended")):
            with trio.move_on_after(_GOODBYE):
                await connection.aclose()

    async def _send(self, connection: WebSocketConnection, text: str) -> bool:
        """False: it has stalled, and half a frame is on the way; the socket can only be dropped."""
        with trio.move_on_after(_STALLED):
            await connection.send_message(text)
            return True
        return False


async def _read_nothing(connection: WebSocketConnection) -> None:
    """Take in what comes and drop it: pings and closes are answered only while somebody reads."""
    try:
        while True:
            await connection.get_message()
    except ConnectionClosed:
        return
