"""A small HTTP/1.1 server for one connection, on h11: what the demo's services and the tests' servers speak.

It answers what a function tells it to, and can misbehave on purpose: hang up without an answer, or in the middle of
one. It is no server for production: it has no limits and no timeouts of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import h11
import msgspec
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Received:
    """One request, read to its end. Names of headers are in lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query; of a name given twice, the last value."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return next((value for known, value in self.headers if known == name.lower()), None)

    def values(self, name: str) -> list[str]:
        """All values of a header: more than one is a fault of most senders."""
        return [value for known, value in self.headers if known == name.lower()]


@dataclass(frozen=True, slots=True)
class Answer:
    """One response. ``cut``: hang up after so many bytes of the body, though all were announced."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    cut: int | None = None


if TYPE_CHECKING:
    Route = Callable[[Received], Awaitable[Answer | None]]


def json_answer(value: Any, status: int = 200, **headers: str) -> Answer:
    """A JSON response. Headers are given as keywords: ``retry_after="1"`` is ``retry-after: 1``."""
    named = [(name.replace("_", "-"), text) for name, text in headers.items()]
    return Answer(status, (("content-type", "application/json"), *named), msgspec.json.encode(value))


async def converse(stream: trio.abc.Stream, route: Route) -> None:
    """Serve one connection until either side has had enough of it.

    Args:
        stream: the connection; it is closed at the end.
        route: makes the answer to a request; None hangs up without one.
    """
    connection = h11.Connection(h11.SERVER)
    async with stream:
        try:
            while (request := await _read(connection, stream)) is not None:
                answer = await route(request)
                if answer is None or not await _write(connection, stream, answer, head=request.method == "HEAD"):
                    return
                if connection.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                    return
                connection.start_next_cycle()
        except h11.RemoteProtocolError:
            await _refuse(connection, stream)
        except (trio.BrokenResourceError, ConnectionError):
            return  # the peer has gone, as it may


async def _read(connection: h11.Connection, stream: trio.abc.Stream) -> Received | None:
    """The next request; None if there is none to come."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await stream.send_all(connection.send(go_on))
            connection.receive_data(bytes(await stream.receive_some(_CHUNK)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
            return Received(head.method.decode("ascii"), head.target.decode("ascii"), headers, bytes(body))
        else:  # ConnectionClosed, or PAUSED after a request that wants the connection closed
            return None


async def _write(connection: h11.Connection, stream: trio.abc.Stream, answer: Answer, *, head: bool = False) -> bool:
    """Send an answer, without its body if ``head``; False if it was cut short."""
    headers = list(answer.headers)
    if not any(name.lower() in {"content-length", "transfer-encoding"} for name, _ in headers):
        headers.append(("content-length", str(len(answer.body))))
    # All in one piece: one packet, and no wait for an acknowledgement between head and body.
    data = connection.send(h11.Response(status_code=answer.status, headers=headers)) or b""
    if not head:
        data += connection.send(h11.Data(data=answer.body[: answer.cut])) or b""
    if answer.cut is None:
        data += connection.send(h11.EndOfMessage()) or b""
    await stream.send_all(data)
    return answer.cut is None


async def _refuse(connection: h11.Connection, stream: trio.abc.Stream) -> None:
    """Tell a peer that speaks no HTTP so, if it is our turn to speak."""
    if connection.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
        return
    try:
        await _write(connection, stream, Answer(400, (("connection", "close"),)))
    except (trio.BrokenResourceError, ConnectionError):
        return
