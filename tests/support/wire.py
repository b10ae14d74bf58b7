"""Peers on real loopback sockets for tests: honest HTTP servers, and ones that misbehave to order.

    async with http_server(route) as server:           # route: Received -> Answer, or (status, headers, body), or None
        ... server.url ... server.log ... server.accepted

    async with serve(half(b"HTTP/1.1 200 OK\\r\\n...")) as peer:   # one handler for each connection
        ... peer.url ... peer.received ...

They run in the test's own trio loop, so they share its clock: with `autojump_clock`, `drips` costs no real time and
`never_answers` lets a timeout pass at once.
"""

from __future__ import annotations

import inspect
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from switchgear.demo import http
from switchgear.demo.http import Answer, Received, converse

json_answer = http.json_answer
HOST = "127.0.0.1"


@dataclass
class Peer:
    """A listening peer, as `serve` yields it."""

    port: int
    host: str = HOST
    accepted: int = 0
    """Connections so far."""
    open: int = 0
    """Connections that a handler has in hand now."""
    received: list[bytes] = field(default_factory=list)
    """What `read_request` has read, one item a request."""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@dataclass
class HTTPServer(Peer):
    """A peer that speaks HTTP, as `http_server` yields it."""

    log: list[Received] = field(default_factory=list)
    """All requests so far, in the order in which they were complete."""


@asynccontextmanager
async def serve(handler, *, port=0):
    """Listen on loopback; ``handler(stream, peer)`` gets each connection, which is closed when it returns.

    A handler whose peer has gone ends quietly; any other exception of a handler fails the test.
    """
    async with _listening(Peer, handler, port) as peer:
        yield peer


@asynccontextmanager
async def http_server(route, *, port=0, ssl_context=None):
    """A real HTTP/1.1 server with keep-alive.

    ``route(received)``, async or not, gives an `Answer`, a tuple ``(status, headers, body)`` with headers as dict or
    pairs and body as bytes, or None to hang up without an answer.
    """

    async def answer(server, received):
        server.log.append(received)
        outcome = route(received)
        if inspect.isawaitable(outcome):
            outcome = await outcome
        if outcome is None or isinstance(outcome, Answer):
            return outcome
        status, headers, body = outcome
        return Answer(status, tuple(dict(headers).items() if isinstance(headers, dict) else headers), body)

    async def handler(stream, server):
        if ssl_context is not None:
            stream = trio.SSLStream(stream, ssl_context, server_side=True, https_compatible=True)
        await converse(stream, lambda received: answer(server, received))

    async with _listening(HTTPServer, handler, port) as server:
        yield server


@asynccontextmanager
async def _listening(kind, handler, port):
    async def one(stream):
        peer.accepted += 1
        peer.open += 1
        try:
            async with stream:
                await handler(stream, peer)
        except (trio.BrokenResourceError, ConnectionError):
            pass  # the other side has gone, which is its right
        finally:
            peer.open -= 1

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(port, host=HOST)
        peer = kind(listener.socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, one, [listener])
        yield peer
        nursery.cancel_scope.cancel()


def unused_port() -> int:
    """A port on which nobody listens: connecting to it is refused."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        return free.getsockname()[1]


async def read_request(stream, peer) -> bytes:
    """One request as raw bytes (head, and body by Content-Length), also kept in ``peer.received``; b"" at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = await stream.receive_some(65536)
        if not chunk:
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    missing = _content_length(head) - len(body)
    while missing > 0 and (chunk := await stream.receive_some(65536)):
        data += chunk
        missing -= len(chunk)
    peer.received.append(data)
    return data


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


# Handlers for `serve`.


def answers(data: bytes, *, keep_alive: bool = False):
    """Reads a request, sends these bytes, whatever they are, and closes (or waits for the next request)."""

    async def handler(stream, peer):
        while await read_request(stream, peer):
            await stream.send_all(data)
            if not keep_alive:
                return

    return handler


def answers_ok(body: bytes = b"{}"):
    """A plain 200 with a JSON body, connection kept."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    return answers(head + body, keep_alive=True)


def half(data: bytes = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"half": '):
    """Half a response: the default announces 100 bytes of body and closes after 9."""
    return answers(data)


def garbage(data: bytes = b"\x16\x03\x01\x00\xa5 this is no HTTP \x00\xff\r\n\r\n"):
    """Something that is no HTTP."""
    return answers(data)


def closes_at_once():
    """Closes the connection as soon as it is there."""

    async def handler(stream, peer):
        pass

    return handler


def closes_after_request():
    """Reads a request and closes without a word."""
    return answers(b"")


def resets(*, after_request: bool = True):
    """Ends the connection with a TCP reset."""

    async def handler(stream, peer):
        if after_request:
            await read_request(stream, peer)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return handler


def never_answers():
    """Reads a request and keeps silent until the other side gives up."""

    async def handler(stream, peer):
        while await read_request(stream, peer):
            pass

    return handler


def never_reads():
    """Takes the connection and neither reads nor writes."""

    async def handler(stream, peer):
        await trio.sleep_forever()

    return handler


def drips(data: bytes, *, every: float = 1.0, size: int = 1):
    """Sends these bytes ``size`` at a time with ``every`` seconds between, then closes."""

    async def handler(stream, peer):
        await read_request(stream, peer)
        for start in range(0, len(data), size):
            await stream.send_all(data[start : start + size])
            await trio.sleep(every)

    return handler


def in_turn(*handlers):
    """The first connection gets the first handler, and so on; the last one serves all that come after."""

    async def handler(stream, peer):
        await handlers[min(peer.accepted, len(handlers)) - 1](stream, peer)

    return handler
