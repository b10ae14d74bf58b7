"""The metrics stream on real sockets: what subscribers get, and what hostile or stuck ones cannot do."""

from __future__ import annotations

import json
import socket
import struct
import tracemalloc
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
from support.service import BASE, ONCE, Upstream
from trio_websocket import ConnectionClosed, ConnectionRejected, wrap_client_stream

import switchgear as sg
from switchgear.actors.metrics import stream as stream_module

FAST = 0.02  # seconds between two snapshots: real ones, for sockets know no virtual time


@asynccontextmanager
async def streaming(*services, transport=None, grace=5.0, **fields):
    """A runtime that streams; yields it and where."""
    config = sg.RuntimeConfig(services, metrics=sg.MetricsConfig(**{"interval": FAST, **fields}), grace=grace)
    with trio.fail_after(30):
        async with sg.open_runtime(config, transport=transport or Upstream(200), seed=1) as runtime:
            yield runtime, runtime.metrics.websocket_url


@asynccontextmanager
async def subscribed(url, path="/metrics", *, host="localhost", subprotocols=(), headers=()):
    """A subscriber, as trio-websocket has it. (Its own way to connect leaves the socket of a refusal open.)"""
    stream = await connect(url)
    refused = []
    try:
        async with trio.open_nursery() as nursery:
            connection = await wrap_client_stream(
                nursery, stream, host, path, subprotocols=subprotocols, extra_headers=list(headers)
            )
            yield connection
            with trio.move_on_after(2):
                await connection.aclose()
            nursery.cancel_scope.cancel()
    except* ConnectionRejected as errors:
        refused.extend(errors.exceptions)
    finally:
        await trio.aclose_forcefully(stream)
    if refused:
        raise refused[0]


async def receive(connection):
    return json.loads(await connection.get_message())


async def up_to_the_end(connection):
    """All messages that come, to the close of the connection, and its reason."""
    messages = []
    while True:
        try:
            messages.append(await receive(connection))
        except ConnectionClosed as error:
            return messages, error.reason


def address(url):
    host, _, port = url.removeprefix("ws://").partition("/")[0].rpartition(":")
    return host.strip("[]"), int(port)


HANDSHAKE = (
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
)


async def connect(url, *, buffer=None):
    """A plain socket to the stream, with a receive buffer of that size."""
    raw = trio.socket.socket()
    if buffer is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    await raw.connect(address(url))
    return trio.SocketStream(raw)


async def upgrade(url, *, headers=b"", buffer=None):
    """A subscriber by hand, which has read nothing but the answer to its handshake."""
    stream = await connect(url, buffer=buffer)
    await stream.send_all(HANDSHAKE % headers)
    assert (await stream.receive_some(34)).startswith(b"HTTP/1.1 101")
    return stream


async def works(url):
    """The stream serves as it should."""
    async with subscribed(url) as connection:
        kinds = [(await receive(connection))["type"] for _ in range(3)]
    assert kinds == ["hello", "snapshot", "snapshot"]


# ---- the protocol


async def test_hello_then_snapshots_then_bye_and_a_clean_close() -> None:
    service = sg.ServiceConfig("svc", BASE, retry=ONCE)
    async with trio.open_nursery() as nursery:
        ends = []
        async with streaming(service) as (runtime, url):
            ready = trio.Event()

            async def subscribe():
                async with subscribed(url, subprotocols=["metrics.v1"]) as connection:
                    assert connection.subprotocol == "metrics.v1"
                    ends.append(await receive(connection))
                    ends.append(await receive(connection))
                    ready.set()
                    ends.append(await up_to_the_end(connection))

            nursery.start_soon(subscribe)
            await runtime.service("svc").get("/")
            await ready.wait()
            await trio.sleep(3 * FAST)
    hello, first, (rest, reason) = ends
    assert hello == {"type": "hello", "v": 1, "server": "switchgear", "boot_id": hello["boot_id"], "interval": FAST}
    assert len(hello["boot_id"]) == 16
    assert rest.pop() == {"type": "bye", "reason": "the stream has ended"}
    assert reason.code == 1000
    snapshots = [first, *rest]
    assert {one["type"] for one in snapshots} == {"snapshot"}
    seqs = [one["seq"] for one in snapshots]
    assert seqs == sorted(set(seqs))
    figures = snapshots[-1]["services"]["svc"]
    assert (figures["count"], figures["errors"], figures["breaker"], figures["last_error"]) == (1, 0, "closed", None)
    assert set(figures) == set(sg.ServiceMetrics.__struct_fields__)
    assert snapshots[-1]["at"] > 1e9


async def test_the_first_snapshot_comes_at_once_and_is_of_now() -> None:
    service = sg.ServiceConfig("svc", BASE)
    async with streaming(service, interval=1000.0) as (_, url), subscribed(url) as connection:
        assert connection.subprotocol is None
        assert (await receive(connection))["type"] == "hello"
        first = await receive(connection)
        assert list(first["services"]) == ["svc"]
        assert first["at"] > 1e9


async def test_a_hundred_subscribers_get_the_same() -> None:
    async with streaming(sg.ServiceConfig("svc", BASE)) as (_, url):
        got = []

        async def subscribe():
            async with subscribed(url) as connection:
                got.append([await receive(connection) for _ in range(4)])

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(subscribe)
        assert len(got) == 100
        by_seq = {}
        for _, *snapshots in got:
            for one in snapshots:
                assert by_seq.setdefault(one["seq"], one) == one


async def test_pings_are_answered_and_closes_too() -> None:
    async with streaming() as (_, url), subscribed(url) as connection, trio.open_nursery() as nursery:
        nursery.start_soon(up_to_the_end, connection)
        with trio.fail_after(5):
            await connection.ping()
            for _ in range(5):
                await connection.send_message("nobody listens")
            await connection.ping()
            await connection.aclose()


# ---- who is refused


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", [], 404),
        ("/metrics/", [], 404),
        ("/metrics?services=a", [], None),
        ("/metrics", [(b"Origin", b"http://localhost:3000")], None),
        ("/metrics", [(b"Origin", b"http://[::1]:3000")], None),
        ("/metrics", [(b"Origin", b"https://evil.example")], 403),
        ("/metrics", [(b"Origin", b"https://127.0.0.1.evil.example")], 403),
        ("/metrics", [(b"Origin", b"null")], 403),
        ("/metrics", [(b"origin", b"http://[")], 403),
        ("/metrics", [(b"Origin", b"\xff\xfe")], 403),
    ],
)
async def test_other_paths_and_pages_of_other_sites_are_refused(path, headers, status) -> None:
    async with streaming() as (_, url):

        async def attempt():
            async with subscribed(url, path, headers=headers) as connection:
                return (await receive(connection))["type"]

        if status is None:
            assert await attempt() == "hello"
        else:
            with pytest.raises(ConnectionRejected) as caught:
                await attempt()
            assert caught.value.status_code == status
            assert not caught.value.body
        await works(url)


async def test_a_plain_get_is_a_bad_request() -> None:
    async with streaming() as (_, url):
        stream = await connect(url)
        async with stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 400")
        await works(url)


async def test_no_more_than_max_subscribers_and_a_place_that_is_left_is_free() -> None:
    async with streaming(max_subscribers=3) as (_, url):
        async with trio.open_nursery() as nursery:
            ended, outcomes = trio.open_memory_channel(10)

            async def subscribe():
                try:
                    async with subscribed(url) as connection:
                        await ended.send((await receive(connection))["type"])
                        await trio.sleep_forever()
                except ConnectionRejected as error:
                    await ended.send(str(error.status_code))

            for _ in range(10):
                nursery.start_soon(subscribe)
            assert sorted([await outcomes.receive() for _ in range(10)]) == ["503"] * 7 + ["hello"] * 3
            nursery.cancel_scope.cancel()
        await freed(url)


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
async def test_who_has_gone_leaves_his_place_at_once_and_not_with_the_next_tick(reset) -> None:
    async with streaming(max_subscribers=1, interval=1000.0) as (_, url):
        stream = await upgrade(url)
        data = b""
        while not data.endswith(b'"services":{}}'):  # all there is: no send that is under way finds him gone
            data += await stream.receive_some(65536)
        await hostile(stream, b"" if reset else masked(8, struct.pack("!H", 1000)), reset=reset)
        kind = None
        with trio.move_on_after(5):
            while kind is None:
                try:
                    async with subscribed(url) as connection:
                        kind = (await receive(connection))["type"]
                except ConnectionRejected:
                    await trio.sleep(FAST)
        assert kind == "hello"


async def freed(url):
    """Until there is a place."""
    while True:
        try:
            return await works(url)
        except ConnectionRejected:
            await trio.sleep(FAST)


# ---- who does not read


BIG = tuple(sg.ServiceConfig(f"service-{number:03d}", BASE) for number in range(300))


async def test_a_stuck_subscriber_delays_nobody_and_is_put_out(monkeypatch) -> None:
    monkeypatch.setattr(stream_module, "_STALLED", 0.5)
    async with streaming(*BIG, interval=0.05, max_subscribers=4) as (runtime, url):
        stuck = [await upgrade(url, buffer=4096) for _ in range(3)]
        async with subscribed(url) as good, runtime.metrics.subscribe() as ticks:
            await receive(good)
            seqs = [(await receive(good))["seq"] for _ in range(20)]
            assert seqs == list(range(seqs[0], seqs[0] + 20))  # every single one
            await ticks.receive()
        await freed(url)  # of four places three were stuck, and this takes the last
        while True:
            try:
                async with trio.open_nursery() as nursery:
                    for _ in range(4):
                        nursery.start_soon(works, url)
                break
            except* ConnectionRejected:
                await trio.sleep(0.05)
        for one in stuck:
            await trio.aclose_forcefully(one)


async def test_a_stuck_subscriber_costs_one_frame(monkeypatch) -> None:
    monkeypatch.setattr(stream_module, "_STALLED", 60.0)
    async with streaming(*BIG) as (runtime, url), runtime.metrics.subscribe() as ticks:
        stuck = [await upgrade(url, buffer=4096) for _ in range(3)]
        for _ in range(10):
            await ticks.receive()
        tracemalloc.start()
        try:
            first, _ = tracemalloc.get_traced_memory()
            for _ in range(50):
                await ticks.receive()
            later, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        frame = len(msgspec.json.encode((await ticks.receive()).services))
        assert later - first < 10 * frame  # and not 3 times 50
        for one in stuck:
            await trio.aclose_forcefully(one)


async def test_a_slow_subscriber_skips_and_comes_out_at_the_latest() -> None:
    async with streaming(*BIG) as (runtime, url), subscribed(url) as slow, runtime.metrics.subscribe() as ticks:
        await receive(slow)
        first = await receive(slow)
        while (latest := (await ticks.receive()).seq) < first["seq"] + 50:
            pass
        seqs = [first["seq"]]
        while seqs[-1] <= latest:
            snapshot = await receive(slow)
            assert snapshot["services"].keys() == runtime.services.keys()
            seqs.append(snapshot["seq"])
        assert seqs == sorted(set(seqs))
        assert len(seqs) < 40  # of fifty or more


async def test_the_end_of_the_runtime_does_not_wait_for_a_stuck_subscriber_to_stall(monkeypatch) -> None:
    monkeypatch.setattr(stream_module, "_STALLED", 1000.0)  # longer than `streaming` waits
    monkeypatch.setattr(stream_module, "_HANDSHAKE", 1000.0)
    async with streaming(*BIG) as (runtime, url), runtime.metrics.subscribe() as ticks:
        stuck = [await upgrade(url, buffer=4096) for _ in range(5)]
        half = await connect(url)  # has not even begun its handshake
        for _ in range(10):
            await ticks.receive()
    for one in (*stuck, half):
        await trio.aclose_forcefully(one)


async def test_nobody_gets_half_a_frame_and_then_a_goodbye() -> None:
    """The end comes while a frame is on its way: what a slow reader finds is whole frames and a clean end, or a cut."""
    async with trio.open_nursery() as nursery:
        ends = []

        async def slow(url, ready):
            stream = await upgrade(url, buffer=4096)
            async with stream:
                await ready.wait()
                await trio.sleep(0.1)
                data = b""
                try:
                    while chunk := await stream.receive_some(65536):
                        data += chunk
                except trio.BrokenResourceError:
                    pass
                ends.append(data)

        async with streaming(*BIG) as (runtime, url), runtime.metrics.subscribe() as ticks:
            ready = trio.Event()
            for _ in range(3):
                nursery.start_soon(slow, url, ready)
            for _ in range(10):
                await ticks.receive()
            ready.set()
    for data in ends:
        frames = list(whole_frames(data[data.index(b"\x81") :]))
        kinds = [json.loads(payload)["type"] for opcode, payload in frames if opcode == 1]
        assert kinds == ["hello"] + ["snapshot"] * (len(kinds) - 2) + ["bye"]
        assert frames[-1][0] == 8


def whole_frames(data):
    """Server frames: opcode and payload."""
    while len(data) >= 2:
        size, start = data[1], 2
        if size == 126:
            (size,), start = struct.unpack("!H", data[2:4]), 4
        elif size == 127:
            (size,), start = struct.unpack("!Q", data[2:10]), 10
        if len(data) < start + size:
            return
        yield data[0] & 15, data[start : start + size]
        data = data[start + size :]


# ---- who is hostile


def masked(opcode, payload, *, fin=True):
    mask = b"\x01\x02\x03\x04"
    body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([(0x80 if fin else 0) | opcode, 0x80 | len(payload)]) + mask + body


BEFORE = {
    "nothing": b"",
    "garbage": b"\x16\x03\x01\x00\xa5\x00\xff\r\n\r\n",
    "a long head": b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 200_000,
    "half a head": b"GET /metrics HTTP/1.1\r\nHost",
    "a post": b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    "a bad version": HANDSHAKE.replace(b"13", b"99") % b"",
    "no key": HANDSHAKE.replace(b"Sec-WebSocket-Key", b"X-Key") % b"",
    "bytes in the path": HANDSHAKE.replace(b"/metrics", b"/\xff\xfe") % b"",
    "a bad url": HANDSHAKE.replace(b"/metrics", b"//[") % b"",
    "trailing bytes": (HANDSHAKE % b"") + b"\x00",
}
AFTER = {
    "garbage": b"\x00\xff" * 100,
    "an unmasked frame": b"\x81\x05hello",
    "a huge length": b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff",
    "bad utf-8": masked(1, b"\xff\xfe"),
    "a reserved opcode": masked(3, b"x"),
    "a pong nobody asked for": masked(10, b"x"),
    "an endless message": masked(1, b"x" * 100, fin=False) + masked(0, b"x" * 100, fin=False) * 100,
    "a ping flood": masked(9, b"x" * 100) * 5000,
    "a message flood": masked(1, b"x" * 100) * 5000,
    "a close with a bad code": masked(8, struct.pack("!H", 5)),
    "two closes": masked(8, struct.pack("!H", 1000)) * 2,
}


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("said", BEFORE.values(), ids=BEFORE.keys())
async def test_whatever_comes_before_the_upgrade_harms_nobody(said, reset, caplog) -> None:
    async with streaming() as (runtime, url):
        async with subscribed(url) as witness:
            await receive(witness)
            await hostile(await connect(url), said, reset=reset)
            for _ in range(3):
                assert (await receive(witness))["type"] == "snapshot"
        await works(url)
        assert restarts(runtime) == 0
    assert not complaints(caplog)


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("said", [b"", *AFTER.values()], ids=["nothing", *AFTER.keys()])
async def test_whatever_comes_after_the_upgrade_harms_nobody(said, reset, caplog) -> None:
    async with streaming(max_subscribers=2) as (runtime, url):
        async with subscribed(url) as witness:
            await receive(witness)
            await hostile(await upgrade(url), said, reset=reset)
            for _ in range(3):
                assert (await receive(witness))["type"] == "snapshot"
            await freed(url)
        assert restarts(runtime) == 0
    assert not complaints(caplog)


async def hostile(stream, said, *, reset):
    """Say it, and end the connection one way or the other without reading."""
    try:
        with trio.move_on_after(0.2):
            await stream.send_all(said)
    except trio.BrokenResourceError:
        pass  # it has been put out already
    if reset:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)


async def test_resets_right_after_the_upgrade_leave_no_one_behind() -> None:
    async with streaming(max_subscribers=5) as (runtime, url):
        for _ in range(30):
            stream = await connect(url)
            await stream.send_all(HANDSHAKE % b"")
            await hostile(stream, b"", reset=True)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(freed, url)
        assert restarts(runtime) == 0


async def test_a_handshake_that_does_not_come_is_given_up(monkeypatch, caplog) -> None:
    monkeypatch.setattr(stream_module, "_HANDSHAKE", 0.1)
    async with streaming() as (_, url):
        stream = await connect(url)
        async with stream:
            with trio.fail_after(5):
                assert await stream.receive_some(10) == b""
        await works(url)
    assert not complaints(caplog)


async def test_handshakes_that_do_not_come_are_not_waited_for_without_end(monkeypatch) -> None:
    monkeypatch.setattr(stream_module, "_HANDSHAKES", 5)
    async with streaming() as (_, url):
        silent = [await connect(url) for _ in range(5)]
        await trio.sleep(2 * FAST)
        async with await connect(url) as one_more:
            assert await one_more.receive_some(10) == b""
        for one in silent:
            await trio.aclose_forcefully(one)


async def test_a_bug_on_one_connection_ends_that_one_only(monkeypatch, caplog) -> None:
    async with streaming() as (runtime, url):
        async with subscribed(url) as witness:
            await receive(witness)
            with monkeypatch.context() as patch:
                patch.setattr(stream_module.StreamActor, "refusal", lambda self, request: 1 / 0)
                stream = await connect(url)
                async with stream:
                    await stream.send_all(HANDSHAKE % b"")
                    assert await stream.receive_some(10) == b""
            assert (await receive(witness))["type"] == "snapshot"
        await works(url)
        assert restarts(runtime) == 0
    assert "ZeroDivisionError" in caplog.text


def restarts(runtime):
    (actor,) = (one for one in runtime.tree().children if one.path == "/stream")
    return actor.restarts


def complaints(caplog):
    return [one for one in caplog.records if one.name.startswith("switchgear") and one.levelname != "DEBUG"]
