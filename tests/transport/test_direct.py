"""Our own door on real sockets: which connection an exchange gets, what becomes of it, what is sent twice."""

from __future__ import annotations

import gzip
import re
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import trio
import trustme
from support.wire import (
    HOST,
    answers,
    answers_ok,
    closes_after_request,
    closes_at_once,
    half,
    http_server,
    in_turn,
    never_answers,
    read_request,
    resets,
    serve,
    unused_port,
)

from switchgear.actors.errors import ResponseTooLarge, TransportError
from switchgear.actors.service.target import Target
from switchgear.actors.transport import DirectDoor, Pool, PoolCounts, Wire
from switchgear.runtime.expiry import Expiries

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"
GET = Wire("GET", "/", (), replayable=True)
POST = Wire("POST", "/", (), b"once")


def at(peer, scheme="http", host=HOST):
    return Target(scheme, host, peer.port, "")


@asynccontextmanager
async def a_door(tls=None, **options):
    pool = Pool(PoolCounts(), **{"expiry": 30.0, "per_instance": 10, "total": 20, **options})
    expiries = Expiries()
    door = DirectDoor(pool, lambda: tls, expiries.add)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expiries.keep)
        try:
            yield door
        finally:
            await door.aclose()
            nursery.cancel_scope.cancel()


async def ask(door, peer, wire=GET, **options):
    to = options.pop("to", None) or at(peer)
    return await door.exchange(to, wire, **{"connect": 5.0, "max_bytes": 20_000_000, **options})


async def fails(door, peer, wire=GET, error=TransportError, **options):
    with pytest.raises(error) as caught:
        await ask(door, peer, wire, **options)
    return caught.value


def says(*answers, then=None):
    """Answers one request after the other with these bytes; then waits for the peer's end, or does ``then``."""

    async def handler(stream, peer):
        for data in answers:
            if not await read_request(stream, peer):
                return
            await stream.send_all(data)
        if then is None:
            await read_request(stream, peer)
        else:
            await then(stream, peer)

    return handler


async def settled():
    """Everybody has done what he can: closed sockets have been seen."""
    await trio.testing.wait_all_tasks_blocked(0.01)


# ---- reuse


async def test_one_connection_carries_one_exchange_after_the_other() -> None:
    async with serve(answers_ok(b"hello")) as peer, a_door() as door:
        for _ in range(5):
            assert (await ask(door, peer)).body == b"hello"
        assert peer.accepted == 1
        figures = door.pool.counts.statistics()
        assert (figures.connected, figures.reused, figures.idle, figures.open) == (1, 4, 1, 1)
    assert peer.open == 0


@pytest.mark.parametrize(
    "first",
    [
        OK + b"Content-Length: 5\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: trailer\r\n\r\n",
        OK + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No\r\n\r\n",
        b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_what_is_whole_leaves_a_connection_for_the_next(first) -> None:
    async with serve(says(first, HELLO)) as peer, a_door() as door:
        await ask(door, peer)
        assert (await ask(door, peer)).body == b"hello"
        assert peer.accepted == 1


async def test_an_answer_to_head_leaves_a_connection_for_the_next() -> None:
    async with serve(says(OK + b"Content-Length: 5\r\n\r\n", HELLO)) as peer, a_door() as door:
        reply = await ask(door, peer, Wire("HEAD", "/", (), replayable=True))
        assert (reply.body, reply.header("content-length")) == (b"", "5")
        assert (await ask(door, peer)).body == b"hello"
        assert peer.accepted == 1


@pytest.mark.parametrize(
    "first",
    [
        OK + b"\r\nhello",
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        HELLO + HELLO,
        HELLO + b"HTTP/1.1 500 Not yours\r\nContent-Length: 0\r\n\r\n",
        HELLO + b"x",
    ],
)
async def test_what_is_not_to_be_used_again_is_closed(first) -> None:
    async def closes(stream, peer):
        pass

    async with serve(says(first, then=closes)) as peer, a_door() as door:
        reply = await ask(door, peer)
        assert (reply.status, reply.body) == (200, b"hello")
        assert (await ask(door, peer)).body == b"hello"
        assert peer.accepted == 2
        assert door.pool.counts.statistics().open == 0


async def test_a_second_answer_that_comes_later_reaches_nobody() -> None:
    async def more(stream, peer):
        await stream.send_all(b"HTTP/1.1 500 Not yours\r\nContent-Length: 0\r\n\r\n")
        assert await stream.receive_some() == b""

    async with serve(in_turn(says(HELLO, then=more), answers_ok(b"mine"))) as peer, a_door() as door:
        assert (await ask(door, peer)).body == b"hello"
        await settled()
        assert (await ask(door, peer)).body == b"mine"
        assert peer.accepted == 2


async def test_a_connection_that_the_server_has_closed_is_found_before_it_is_used() -> None:
    async with serve(answers(HELLO)) as peer, a_door() as door:
        for wire in (GET, POST, POST):
            assert (await ask(door, peer, wire)).body == b"hello"
            await settled()
        assert peer.accepted == 3
        assert len(peer.received) == 3
        assert door.pool.counts.statistics().stale == 2


# ---- the race that no look can win


@asynccontextmanager
async def closing_on_reuse(*later):
    """A peer that answers one request, and hangs up when the second has come."""

    async def hangs_up(stream, peer):
        await read_request(stream, peer)

    async with serve(in_turn(says(HELLO, then=hangs_up), *later)) as peer, a_door() as door:
        assert (await ask(door, peer)).body == b"hello"
        yield peer, door


async def test_a_stale_connection_costs_a_request_that_may_be_repeated_nothing() -> None:
    async with closing_on_reuse(answers_ok(b"new")) as (peer, door):
        assert (await ask(door, peer)).body == b"new"
        assert len(peer.received) == 3
        assert peer.accepted == 2


async def test_another_request_is_not_sent_again_and_nobody_knows_what_became_of_it() -> None:
    async with closing_on_reuse(answers_ok(b"new")) as (peer, door):
        error = await fails(door, peer, POST)
        assert error.processed == "maybe"
        assert "kept-alive" in str(error)
        assert "unknown" in str(error)
        assert len(peer.received) == 2
        assert peer.accepted == 1


async def test_a_request_is_sent_again_once_and_not_twice() -> None:
    async with closing_on_reuse(closes_after_request()) as (peer, door):
        error = await fails(door, peer)
        assert error.processed == "maybe"
        assert len(peer.received) == 3


@pytest.mark.parametrize("byte", [b"H", OK, OK + b"Content-Length: 5\r\n\r\nhe"])
async def test_a_request_of_which_a_byte_of_an_answer_came_is_never_sent_again(byte) -> None:
    async def half_an_answer(stream, peer):
        await read_request(stream, peer)
        await stream.send_all(byte)

    async with serve(in_turn(says(HELLO, then=half_an_answer), answers_ok())) as peer, a_door() as door:
        await ask(door, peer)
        assert (await fails(door, peer)).processed == "maybe"
        assert len(peer.received) == 2


@pytest.mark.parametrize("handler", [closes_after_request, closes_at_once, resets], ids=lambda made: made.__name__)
async def test_nothing_is_sent_again_on_a_connection_that_was_new(handler) -> None:
    async with serve(handler()) as peer, a_door() as door:
        assert (await fails(door, peer)).processed == "maybe"
        assert peer.accepted == 1
        assert door.pool.counts.statistics().open == 0


# ---- large bodies


async def test_an_early_answer_to_a_large_body_from_a_peer_that_hangs_up() -> None:
    async def refuses(stream, peer):
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    async with serve(refuses) as peer, a_door() as door:
        assert (await ask(door, peer, Wire("POST", "/", (), b"x" * 10_000_000))).status == 413
        assert door.pool.counts.statistics().open == 0


async def test_an_early_answer_to_a_large_body_from_a_peer_that_reads_no_more() -> None:
    async def refuses(stream, peer):
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        await trio.sleep_forever()

    async with serve(refuses) as peer, a_door() as door:
        with trio.fail_after(5):
            assert (await ask(door, peer, Wire("POST", "/", (), b"x" * 10_000_000))).status == 413
        assert door.pool.counts.statistics().open == 0


async def test_large_bodies_both_ways_through_small_buffers() -> None:
    body = bytes(range(256)) * 40_000

    async def echo(stream, peer):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
        for _ in range(2):
            got = bytearray()
            while len(got) < got.find(b"\r\n\r\n") + 4 + len(body) or len(got) < len(body):
                got += await stream.receive_some(16_384)
            await stream.send_all(OK + b"Content-Length: %d\r\n\r\n" % len(body) + got[-len(body) :])

    async with serve(echo) as peer, a_door() as door:
        for _ in range(2):
            assert (await ask(door, peer, Wire("POST", "/", (), body))).body == body
        assert peer.accepted == 1


# ---- whatever does not end whole is closed, and nobody else sees it


async def reads_for_ever(stream, peer):
    """Reads until the other side has closed."""
    while await stream.receive_some():
        pass


def begins(data):
    """Begins an answer; after that it only waits for the other side to close."""

    async def handler(stream, peer):
        await read_request(stream, peer)
        await stream.send_all(data)
        await reads_for_ever(stream, peer)

    return handler


STUCK = {
    "no byte": begins(b""),
    "half a head": begins(OK + b"X: "),
    "half a body": begins(OK + b"Content-Length: 5\r\n\r\nhe"),
    "half a chunk": begins(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe"),
    "until close": begins(OK + b"\r\nhe"),
}


async def nobody_sees_it(door, peer):
    """The peer has seen the end, and the next exchange is on another connection."""
    with trio.fail_after(5):
        while peer.open:  # noqa: ASYNC110 - a peer has no event for it
            await trio.sleep(0.001)
    assert door.pool.counts.statistics().open == 0
    assert (await ask(door, peer)).body == b"next"
    assert peer.accepted == 2


@pytest.mark.parametrize("case", STUCK)
async def test_a_cancelled_exchange_closes_its_connection(case) -> None:
    async with serve(in_turn(STUCK[case], answers_ok(b"next"))) as peer, a_door() as door:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, door, peer)
            await settled()
            nursery.cancel_scope.cancel()
        await nobody_sees_it(door, peer)


@pytest.mark.parametrize("case", STUCK)
async def test_so_does_one_whose_time_is_up(case) -> None:
    async with serve(in_turn(STUCK[case], answers_ok(b"next"))) as peer, a_door() as door:
        await fails(door, peer, error=trio.TooSlowError, deadline=trio.current_time() + 0.05)
        await nobody_sees_it(door, peer)


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_so_does_one_that_cannot_send(how) -> None:
    async def never_reads(stream, peer):
        with trio.move_on_after(0.3):
            await trio.sleep_forever()
        with pytest.raises((trio.BrokenResourceError, OSError)):  # noqa: PT012 - it may take more than one
            while await stream.receive_some():
                pass
            raise trio.BrokenResourceError

    wire = Wire("POST", "/", (), b"x" * 10_000_000)
    async with serve(in_turn(never_reads, answers_ok(b"next"))) as peer, a_door() as door:
        if how == "late":
            await fails(door, peer, wire, error=trio.TooSlowError, deadline=trio.current_time() + 0.05)
        else:
            with trio.move_on_after(0.05):
                await ask(door, peer, wire)
        await nobody_sees_it(door, peer)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\x00 no HTTP\r\n\r\n", TransportError),
        (OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", TransportError),
        (OK + b"X: " + b"x" * 200_000, ResponseTooLarge),
        (OK + b"Content-Length: 101\r\n\r\n" + b"x" * 101, ResponseTooLarge),
        (OK + b"\r\n" + b"x" * 200, ResponseTooLarge),
        (b"HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", TransportError),
    ],
)
async def test_so_does_one_that_fails(data, error) -> None:
    async with serve(in_turn(begins(data), answers_ok(b"next"))) as peer, a_door() as door:
        await fails(door, peer, error=error, max_bytes=100)
        await nobody_sees_it(door, peer)


async def test_one_that_cannot_be_unpacked_does_too() -> None:
    bad = OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"
    good = gzip.compress(b"hello")
    good = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(good) + good
    async with serve(in_turn(says(good, bad), says(good))) as peer, a_door() as door:
        assert (await ask(door, peer)).body == b"hello"
        await fails(door, peer)
        assert (await ask(door, peer)).body == b"hello"
        assert peer.accepted == 2


async def test_a_body_that_ends_too_soon() -> None:
    async with serve(half()) as peer, a_door() as door:
        assert "before the end of its body" in str(await fails(door, peer))


async def test_idle_connections_are_closed_when_their_time_comes(autojump_clock) -> None:
    async with serve(answers_ok()) as peer, a_door(expiry=7.0) as door:
        await ask(door, peer)
        await trio.sleep(6.9)
        assert (door.pool.counts.statistics().open, peer.open) == (1, 1)
        await trio.sleep(0.2)
        assert (door.pool.counts.statistics().open, peer.open) == (0, 0)
        assert door.pool.counts.statistics().expired == 1


async def test_closing_the_door_closes_what_is_idle_now_and_what_is_in_use_later() -> None:
    release = trio.Event()

    async def slow(stream, peer):
        await read_request(stream, peer)
        await release.wait()
        await stream.send_all(HELLO)
        await reads_for_ever(stream, peer)

    async with serve(in_turn(slow, answers_ok())) as peer, a_door() as door, trio.open_nursery() as nursery:
        nursery.start_soon(ask, door, peer)
        await settled()
        await ask(door, peer)
        await door.aclose()
        assert door.pool.counts.statistics().open == 1
        release.set()
        await settled()
        assert door.pool.counts.statistics().open == 0
        assert peer.open == 0


# ---- no connection


async def test_nobody_listens() -> None:
    async with a_door() as door:
        error = await fails(door, None, POST, to=Target("http", HOST, unused_port(), ""))
        assert error.processed == "no"


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "a" * 64 + ".test", "ü..a"])
async def test_no_such_host(host) -> None:
    async with a_door() as door:
        error = await fails(door, None, POST, to=Target("http", host, 80, ""))
        assert error.processed == "no"


@asynccontextmanager
async def black_hole():
    """A port whose backlog is full: the kernel answers no more, and a connection hangs."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(0)
        with socket.socket() as first, socket.socket() as second:
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            await trio.sleep(0.01)
            yield listener.getsockname()[1]


async def test_a_black_hole_costs_no_more_than_the_connect_timeout() -> None:
    async with black_hole() as port, a_door() as door:
        with trio.fail_after(5):
            error = await fails(door, None, POST, to=Target("http", HOST, port, ""), connect=0.05)
        assert error.processed == "no"
        assert "within 0.05 s" in str(error)
        with trio.fail_after(5):
            deadline = trio.current_time() + 0.05
            await fails(
                door, None, error=trio.TooSlowError, to=Target("http", HOST, port, ""), connect=4.0, deadline=deadline
            )
        assert door.pool.counts.statistics().open == 0


# ---- TLS

CA = trustme.CA()


def server_tls(*names, authority=CA, **options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or (HOST,)), **options).configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def client_tls():
    context = ssl.create_default_context()
    CA.configure_trust(context)
    context.set_alpn_protocols(["http/1.1"])
    return context


def secured(handler, **options):
    """The handler behind TLS."""
    context = options.pop("context", None) or server_tls(**options)

    async def wrapped(stream, peer):
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await handler(secure, peer)

    return wrapped


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_one_tls_connection_carries_one_exchange_after_the_other(version) -> None:
    context = server_tls()
    context.minimum_version = context.maximum_version = version
    echo = http_server(lambda received: (200, {}, received.body), ssl_context=context)
    async with echo as peer, a_door(client_tls()) as door:
        for size in (0, 1, 100, 100_000, 3_000_000, 7):
            wire = Wire("POST", "/", (), b"x" * size)
            assert (await ask(door, peer, wire, to=at(peer, "https"))).body == b"x" * size
            await settled()
        assert peer.accepted == 1
        figures = door.pool.counts.statistics()
        assert (figures.reused, figures.stale) == (5, 0)


async def test_alpn_says_http_1_1() -> None:
    said = []

    async def handler(stream, peer):
        await stream.do_handshake()
        said.append(stream.selected_alpn_protocol())
        await answers_ok()(stream, peer)

    async with serve(secured(handler)) as peer, a_door(client_tls()) as door:
        await ask(door, peer, to=at(peer, "https"))
    assert said == ["http/1.1"]


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (lambda: server_tls("other.test"), "IP address mismatch"),
        (lambda: server_tls(authority=trustme.CA()), "unable to get local issuer|self-signed"),
        (lambda: server_tls(not_after=datetime(2020, 1, 1, tzinfo=UTC)), "expired"),
    ],
    ids=["other name", "other authority", "expired"],
)
async def test_a_certificate_that_is_not_good(context, words) -> None:
    async def handler(stream, peer):
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()

    async with serve(secured(handler, context=context())) as peer, a_door(client_tls()) as door:
        error = await fails(door, peer, POST, to=at(peer, "https"))
        assert error.processed == "no"
        assert "its certificate is not accepted" in str(error)
        assert re.search(words, str(error))
        assert door.pool.counts.statistics().open == 0


@pytest.mark.parametrize("handler", [answers_ok, closes_at_once, never_answers], ids=lambda made: made.__name__)
async def test_a_peer_that_speaks_no_tls(handler) -> None:
    async with serve(handler()) as peer, a_door(client_tls()) as door:
        with trio.fail_after(5):
            error = await fails(door, peer, POST, to=at(peer, "https"), connect=0.2)
        assert error.processed == "no"
        assert door.pool.counts.statistics().open == 0


async def test_a_body_until_close_ends_with_a_close_notify() -> None:
    async def handler(stream, peer):
        await read_request(stream, peer)
        await stream.send_all(OK + b"\r\nhello")
        await stream.unwrap()

    async with serve(secured(handler)) as peer, a_door(client_tls()) as door:
        assert (await ask(door, peer, to=at(peer, "https"))).body == b"hello"


async def test_without_a_close_notify_anybody_can_have_cut_it_short() -> None:
    async def handler(stream, peer):
        await read_request(stream, peer)
        await stream.send_all(OK + b"\r\nhello")
        await stream.transport_stream.aclose()

    async with serve(secured(handler)) as peer, a_door(client_tls()) as door:
        await fails(door, peer, to=at(peer, "https"))


async def test_a_body_whose_length_is_known_needs_no_close_notify() -> None:
    async def handler(stream, peer):
        await read_request(stream, peer)
        await stream.send_all(HELLO)
        await stream.transport_stream.aclose()

    async with serve(secured(handler)) as peer, a_door(client_tls()) as door:
        for _ in range(3):
            assert (await ask(door, peer, POST, to=at(peer, "https"))).body == b"hello"
            await settled()


async def test_a_second_answer_behind_the_first_reaches_nobody_over_tls_either() -> None:
    async def handler(stream, peer):
        await read_request(stream, peer)
        outgoing, transport = [], stream.transport_stream
        send = transport.send_all

        async def keep(data):
            outgoing.append(bytes(data))

        transport.send_all = keep
        await stream.send_all(HELLO)
        await stream.send_all(OK + b"Content-Length: 8\r\n\r\nnot mine")
        transport.send_all = send
        await send(b"".join(outgoing))
        await reads_for_ever(stream, peer)

    async with serve(in_turn(secured(handler), secured(answers_ok(b"mine")))) as peer, a_door(client_tls()) as door:
        assert (await ask(door, peer, to=at(peer, "https"))).body == b"hello"
        assert (await ask(door, peer, to=at(peer, "https"))).body == b"mine"
