"""The metrics stream: snapshots as JSON over websocket, to any number of subscribers.

Protocol ``metrics.v1``: a ``hello``, then a ``snapshot`` each tick, then a ``bye``; one JSON object a text frame. The
figures are totals, so a subscriber that misses some has missed nothing. Each one is a task that takes the latest
snapshot when it has sent the one before: who does not read holds up himself, and is put out after a while.

What trio-websocket needs of us (METRICS.md, section 2): `ConnectionClosed` and everything else stays inside the
connection it happened on; somebody must read, or pings go unanswered; and a send that was given up has left half a
frame behind, after which the socket can only be dropped.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, WebSocketRequest, wrap_server_stream
from wsproto.utilities import ProtocolError

from switchgear.runtime import Actor

from .entrance import Entrance

if TYPE_CHECKING:
    from switchgear.runtime import Context

    from ..config import MetricsConfig
    from .actor import Board
    from .ears import Ears

PROTOCOL = "metrics.v1"
PATH = "/metrics"
_HANDSHAKE = 5.0  # seconds that it may take
_HANDSHAKES = 100  # at once; of them, too, there must be an end
_STALLED = 5.0  # seconds that one frame may take before its subscriber is put out
_GOODBYE = 1.0  # seconds that saying goodbye may take
_MAX_MESSAGE = 4096  # bytes that a subscriber may send at once: it has nothing to say

_CHALLENGE = [(b"WWW-Authenticate", b"Bearer")]  # RFC 9110, section 15.5.2: a 401 has one

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

    def __init__(self, config: MetricsConfig, frames: Frames, ears: Ears) -> None:
        self._config = config
        self._entrance = Entrance(config)
        self._ears = ears
        self.frames = frames
        """What to send."""
        self.shaking = 0
        """Connections that have not said yet what they want."""
        self.subscribers = 0

    async def setup(self, ctx: Context) -> None:
        """Begin to serve."""
        self.hello = frame(
            "hello", v=1, server="switchgear", boot_id=f"{ctx.rng.getrandbits(64):016x}", interval=self._config.interval
        )
        ctx.start_soon(self._serve)

    async def _serve(self) -> None:
        await trio.serve_listeners(self._connection, await self._ears.take())

    async def _connection(self, stream: trio.SocketStream) -> None:
        """One connection, from handshake to goodbye. Nothing that happens on it leaves it."""
        try:
            if self.shaking < _HANDSHAKES:
                await _Subscriber(stream, self).run()
        except* (ConnectionClosed, HandshakeError, trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # they come and go as they like
        except* ProtocolError:
            pass  # of a peer that breaks the protocol; trio-websocket may then want to close what is closing already
        except* Exception as errors:  # noqa: BLE001 - a bug, ours or a library's: of it ends its connection, no other
            _logger.warning("a metrics connection failed: %r", errors.exceptions)
        finally:
            await trio.aclose_forcefully(stream)

    def refusal(self, request: WebSocketRequest) -> int | None:
        """The status to refuse a handshake with, or None."""
        host = request._event.host  # noqa: SLF001 - taken out of its headers, and nowhere else to be had
        status = self._entrance.refusal(host, request.headers, request.proposed_subprotocols)
        if status is not None:
            return status
        if request.path.partition("?")[0] != PATH:
            return 404
        return 503 if self.subscribers >= self._config.max_subscribers else None


class _Subscriber:
    """One connection.

    It runs shielded, so that it can still say goodbye when the actor stops; the shield has a deadline from that moment.
    """

    def __init__(self, stream: trio.SocketStream, server: StreamActor) -> None:
        self._stream = stream
        self._server = server
        self._joined = False
        self._serving = trio.CancelScope()
        self._sending = trio.CancelScope()
        self._until = math.inf  # the end of the goodbye
        self._shield = trio.CancelScope(shield=True)

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._await_the_end)
                with self._shield:
                    await self._converse()
                nursery.cancel_scope.cancel(reason="the subscriber has gone")
        finally:
            self._server.subscribers -= self._joined

    async def _await_the_end(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._serving.cancel(reason="the stream has ended")
            self._shield.deadline = self._until = trio.current_time() + _GOODBYE
            self._sending.deadline = min(self._sending.deadline, self._until)

    async def _converse(self) -> None:
        async with trio.open_nursery() as nursery:
            connection = None
            with self._serving:
                connection = await self._shake_hands(nursery)
                if connection is not None:
                    here = trio.CancelScope()
                    nursery.start_soon(_read_nothing, connection, here)
                    with here:
                        await self._feed(connection)
            if connection is not None and self._serving.cancelled_caught:
                await self._say_goodbye(connection)
            nursery.cancel_scope.cancel(reason="the connection has ended")

    async def _shake_hands(self, nursery: trio.Nursery) -> WebSocketConnection | None:
        self._server.shaking += 1
        try:
            with trio.move_on_after(_HANDSHAKE):
                request = await wrap_server_stream(
                    nursery, self._stream, message_queue_size=1, max_message_size=_MAX_MESSAGE
                )
                return await self._answer(request)
        finally:
            self._server.shaking -= 1
        return None

    async def _answer(self, request: WebSocketRequest) -> WebSocketConnection | None:
        status = self._server.refusal(request)
        if status is not None:
            _logger.debug("a metrics connection was refused with %d", status)
            await request.reject(status, extra_headers=_CHALLENGE if status == 401 else None)
            return None
        self._server.subscribers += 1  # before anybody else gets to ask whether there is room
        self._joined = True
        chosen = PROTOCOL if PROTOCOL in request.proposed_subprotocols else None
        return await request.accept(subprotocol=chosen)

    async def _feed(self, connection: WebSocketConnection) -> None:
        frames = self._server.frames
        alive = await self._send(connection, self._server.hello)
        version = -1
        while alive:
            version = await frames.ticks.changed(version)
            alive = await self._send(connection, frames.latest())

    async def _say_goodbye(self, connection: WebSocketConnection) -> None:
        if await self._send(connection, frame("bye", reason="the stream has ended")):
            await connection.aclose()

    async def _send(self, connection: WebSocketConnection, text: str) -> bool:
        """False: it has stalled, and half a frame is on the way; the socket can only be dropped.

        Shielded, so that the end of the actor finds a whole frame sent, or none.
        """
        self._sending = trio.CancelScope(shield=True, deadline=min(trio.current_time() + _STALLED, self._until))
        with self._sending:
            await connection.send_message(text)
            return True
        return False


async def _read_nothing(connection: WebSocketConnection, here: trio.CancelScope) -> None:
    """Take in what comes and drop it: pings and closes are answered only while somebody reads.

    Ends ``here`` when the subscriber has gone: the next frame would find out too, but ticks may be hours apart, and
    until then he would keep his place from another.
    """
    try:
        while True:
            await connection.get_message()
    except ConnectionClosed:
        here.cancel(reason="the subscriber has gone")
