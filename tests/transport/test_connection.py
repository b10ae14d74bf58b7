"""One connection: requests in pieces, answers in pieces, and what closes it."""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager

import pytest
import trio
from support.wire import read_request, serve

from switchgear.actors.errors import TransportError
from switchgear.actors.service.target import Target
from switchgear.actors.transport.connection import Connection
from switchgear.actors.transport.link import connect

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Pieces:
    """An async iterable of these pieces; an exception among them is raised."""

    def __init__(self, *pieces):
        self.left = list(pieces)

    def __aiter__(self):
        return self

    async def __anext__(self):
        await trio.lowlevel.checkpoint()
        if not self.left:
            raise StopAsyncIteration
        piece = self.left.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece


@asynccontextmanager
async def connected(handler):
    async with serve(handler) as peer:
        connection = Connection(await connect(Target.parse(peer.url), None))
        try:
            yield connection, peer
        finally:
            connection.close()


def hears(until, answer=HELLO):
    """Reads until it has heard this, answers, and waits for the end."""

    async def handler(stream, peer):
        heard = b""
        while not heard.endswith(until):
            data = await stream.receive_some()
            if not data:
                break
            heard += data
        peer.received.append(heard)
        await stream.send_all(answer)
        while await stream.receive_some():
            pass

    return handler


async def test_a_body_in_pieces_goes_out_in_chunks() -> None:
    async with connected(hears(b"0\r\n\r\n")) as (connection, peer):
        await connection.request(HEAD, Pieces(b"hello", b"", b"x" * 20), is_head=False)
        assert await connection.body(100) == b"hello"
        assert peer.received == [HEAD + b"5\r\nhello\r\n14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"]
        assert connection.usable


async def test_or_as_it_is_where_its_length_is_known() -> None:
    async with connected(hears(b"world")) as (connection, peer):
        await connection.request(GET, Pieces(b"hello", b"world"), is_head=False, chunked=False)
        assert peer.received == [GET + b"helloworld"]
        assert await connection.body(100) == b"hello"
        assert connection.usable


@pytest.mark.parametrize(
    "error", [ValueError("mine"), trio.BrokenResourceError("mine"), trio.ClosedResourceError("mine")]
)
async def test_an_error_of_the_callers_own_pieces_is_his(error) -> None:
    async with connected(hears(b"0\r\n\r\n")) as (connection, _):
        with pytest.raises(type(error), match="mine"):
            await connection.request(HEAD, Pieces(b"hello", error), is_head=False)
        assert not connection.usable


async def test_an_early_answer_to_a_body_in_pieces() -> None:
    async def refuses(stream, peer):
        await stream.receive_some(10)
        await stream.send_all(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        await trio.sleep_forever()

    async with connected(refuses) as (connection, _):
        with trio.fail_after(5):
            await connection.request(HEAD, Pieces(*[b"x" * 100_000] * 500), is_head=False)
        assert connection.parser.status == 413
        await connection.body(100)
        assert not connection.usable


async def test_an_early_answer_from_a_peer_that_hangs_up() -> None:
    async def refuses(stream, peer):
        await stream.receive_some(10)
        await stream.send_all(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")

    async with connected(refuses) as (connection, _):
        await connection.request(HEAD, Pieces(*[b"x" * 100_000] * 500), is_head=False)
        assert connection.parser.status == 413
        await connection.body(100)
        assert not connection.usable


async def test_an_answer_in_pieces() -> None:
    async def handler(stream, peer):
        for answer in (OK + b"Transfer-Encoding: chunked\r\n\r\n", HELLO):
            await read_request(stream, peer)
            await stream.send_all(answer)
            if answer is HELLO:
                return
            for piece in (b"2\r\nhe\r\n", b"3\r\nllo\r\n", b"0\r\n", b"\r\n"):
                await trio.testing.wait_all_tasks_blocked(0.01)
                await stream.send_all(piece)

    async with connected(handler) as (connection, _):
        await connection.request(GET, b"", is_head=False)
        assert [await connection.chunk() for _ in range(3)] == [b"he", b"llo", None]
        assert connection.usable
        await connection.request(GET, b"", is_head=False)
        assert [await connection.chunk() for _ in range(2)] == [b"hello", None]


@pytest.mark.parametrize("when", ["before it is read", "while it is read"])
async def test_a_timeout_between_two_pieces(when) -> None:
    async with connected(hears(b"\r\n\r\n", OK + b"Content-Length: 5\r\n\r\nhe")) as (connection, _):
        await connection.request(GET, b"", is_head=False)
        if connection.parser.body_size == 0:
            await connection._read()
        assert await connection.chunk() == b"he"
        async with trio.open_nursery() as nursery:
            if when == "while it is read":

                async def later():
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    connection.expire()

                nursery.start_soon(later)
            else:
                connection.expire()
            with pytest.raises(trio.TooSlowError):
                await connection.chunk()
        assert not connection.usable


async def test_a_timeout_between_two_pieces_that_are_sent() -> None:
    async with connected(hears(b"never")) as (connection, _):

        class Late(Pieces):
            async def __anext__(self):
                connection.expire()
                return b"x"

        with pytest.raises(trio.TooSlowError):
            await connection.request(HEAD, Late(), is_head=False)


async def test_a_connection_that_is_closed_by_somebody_is_no_timeout() -> None:
    async with connected(hears(b"never")) as (connection, _):
        connection.close()
        connection.close()
        with pytest.raises(TransportError):
            await connection.request(GET, b"", is_head=False)
        assert connection.link.is_stale()


async def test_a_reset() -> None:
    async def resets(stream, peer):
        await read_request(stream, peer)
        await stream.send_all(OK + b"Content-Length: 5\r\n\r\nhe")
        await trio.testing.wait_all_tasks_blocked(0.01)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with connected(resets) as (connection, _):
        await connection.request(GET, b"", is_head=False)
        with pytest.raises(TransportError, match="broke"):
            await connection.body(100)
        assert connection.link.is_stale()


async def test_a_whole_answer_that_was_not_read_does_not_look_like_an_empty_one() -> None:
    """Found by the soak: whoever read on after the actor had closed the connection was told that there was no body."""
    async with connected(hears(b"\r\n\r\n")) as (connection, _):
        await connection.request(GET, b"", is_head=False)
        while not connection.parser.complete:
            await connection._read()
        connection.close()
        with pytest.raises(TransportError):
            await connection.chunk()
