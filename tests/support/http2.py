"""An HTTP/2 server on trio over TLS, which does what a test tells it to, GOAWAY included.

    async with http2_server(route, context) as server:      # context: from `server_context`
        ... server.url ... server.streams ... server.accepted

``route(request)``, async or not, gives ``(status, headers, body)``. It runs beside the others of its connection, and
can act on that: ``await request.connection.goaway(last)``, ``await request.connection.reset(stream, code)``.
"""

from __future__ import annotations

import inspect
import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import trio
from hyperframe.frame import GoAwayFrame

from .wire import HOST


@dataclass
class Request:
    """One request, whole."""

    connection: Connection
    stream: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Server:
    """What has happened so far."""

    port: int
    accepted: int = 0
    open: int = 0
    requests: list[Request] = field(default_factory=list)
    """Whole ones, in their order."""
    resets: list[int] = field(default_factory=list)
    """Streams that the client has reset."""
    violations: list[Exception] = field(default_factory=list)
    """What clients did that is not HTTP/2; they are told so by a GOAWAY."""

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


class Connection:
    """One client."""

    def __init__(self, stream, server, route, max_streams):
        self._stream = stream
        self._server = server
        self._route = route
        self._max_streams = max_streams
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._sending = trio.Lock()
        self._window = trio.Event()
        self._requests = {}

    async def run(self):
        codes = h2.settings.SettingCodes  # to set an attribute would be a change, for after the first settings
        said = {codes.MAX_CONCURRENT_STREAMS: self._max_streams}
        self._h2.local_settings = h2.settings.Settings(client=False, initial_values=said)
        self._h2.initiate_connection()
        async with trio.open_nursery() as nursery:
            await self.flush()
            while data := await self._stream.receive_some(65536):
                try:
                    events = self._h2.receive_data(data)
                except h2.exceptions.ProtocolError as error:
                    self._server.violations.append(error)
                    events = ()
                for event in events:
                    self._happened(event, nursery)
                await self.flush()
            nursery.cancel_scope.cancel()

    async def flush(self):
        async with self._sending:
            await self._stream.send_all(self._h2.data_to_send())

    async def goaway(self, last, code=0):
        """Say it as a server does that goes on with what it has begun. (h2 itself would think all of it over.)"""
        async with self._sending:
            await self._stream.send_all(GoAwayFrame(0, last_stream_id=last, error_code=code).serialize())

    async def reset(self, stream, code):
        self._h2.reset_stream(stream, error_code=code)
        await self.flush()

    async def hang_up(self):
        await trio.aclose_forcefully(self._stream)

    async def data(self, stream, body, *, end=True):
        """A piece of a body, as far as the windows of the client allow."""
        while body:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size, len(body))
            if room == 0:
                await self._window.wait()
                continue
            self._h2.send_data(stream, body[:room])
            body = body[room:]
            await self.flush()
        if end:
            self._h2.end_stream(stream)
            await self.flush()

    async def head(self, stream, status, headers=(), *, end=False):
        pairs = [(":status", str(status)), *dict(headers).items()]
        self._h2.send_headers(stream, pairs, end_stream=end)
        await self.flush()

    def _happened(self, event, nursery):
        match event:
            case h2.events.RequestReceived():
                headers = dict(event.headers)
                self._requests[event.stream_id] = Request(
                    self, event.stream_id, headers[":method"], headers[":path"], headers
                )
            case h2.events.DataReceived():
                self._requests[event.stream_id].body += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                request = self._requests.pop(event.stream_id)
                self._server.requests.append(request)
                nursery.start_soon(self._answer, request)
            case h2.events.StreamReset():
                self._server.resets.append(event.stream_id)
            case h2.events.WindowUpdated():
                self._window.set()
                self._window = trio.Event()

    async def _answer(self, request):
        answer = self._route(request)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is None:
            return
        status, headers, body = answer
        with suppress(h2.exceptions.StreamClosedError):
            await self.head(request.stream, status, headers)
            await self.data(request.stream, body)


@asynccontextmanager
async def http2_server(route, context, *, max_streams=100, begin=None):
    """Listen on loopback with ``context``, which offers h2. ``begin``: an event that TLS waits for."""
    context.set_alpn_protocols(["h2"])

    async def one(stream):
        server.accepted += 1
        server.open += 1
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            async with stream:
                if begin is not None:
                    await begin.wait()
                await Connection(secure, server, route, max_streams).run()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError):
            pass  # the other side has gone, which is its right
        finally:
            server.open -= 1

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        server = Server(listener.socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, one, [listener])
        yield server
        nursery.cancel_scope.cancel()


def server_context(authority, *names):
    """TLS of a server whose certificate a `trustme.CA` has issued."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context
