"""What services send packed: offered, undone for calls and streams, and refused where it would not end."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from contextlib import asynccontextmanager
from functools import partial

import brotli
import pytest
import trio
from support.service import ONCE, QUIET, running
from support.wire import answers, http_server, in_turn, read_request, serve

import switchgear as sg

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": partial(brotli.compress, quality=5),
    "zstd": zstd.compress,
}
coding = pytest.mark.parametrize("encoding", PACK)
OK = b"HTTP/1.1 200 OK\r\n"


def packed(encoding, body, *, chunked=False, status=b"200 OK"):
    head = b"HTTP/1.1 %b\r\nContent-Encoding: %b\r\n" % (status, encoding.encode())
    for name in encoding.split(", "):
        body = PACK[name](body)
    if chunked:
        parts = b"".join(b"%x\r\n%b\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7))
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


@asynccontextmanager
async def service_at(url, **fields):
    config = sg.RuntimeConfig((sg.ServiceConfig("svc", url, retry=ONCE, **fields),), metrics=QUIET)
    async with sg.open_runtime(config) as runtime:
        yield runtime.service("svc")


# ---- what is asked for


@pytest.mark.parametrize(
    ("fields", "headers", "sent"),
    [
        ({}, None, "gzip, deflate, br, zstd"),
        ({"headers": {"accept-encoding": "gzip;q=0.5"}}, None, "gzip;q=0.5"),
        ({"headers": {"Accept-Encoding": "br"}}, {"ACCEPT-ENCODING": "identity"}, "identity"),
        ({}, {"Range": "bytes=0-9"}, "identity"),
        ({"headers": {"Accept-Encoding": "br"}}, {"range": "bytes=0-9"}, "identity"),
        ({}, {"range": "bytes=0-9", "accept-encoding": "gzip"}, "gzip"),
    ],
)
async def test_it_asks_for_what_can_be_undone_and_for_parts_as_they_are(fields, headers, sent) -> None:
    async with running(**fields) as (service, upstream):
        await service.get("/", headers=headers)
    assert upstream.requests[0].headers.get_list("accept-encoding") == [sent]


async def test_the_direct_road_asks_for_the_same() -> None:
    async with http_server(lambda _: (200, {}, b"")) as server, service_at(server.url) as service:
        await service.get("/")
    assert ("accept-encoding", "gzip, deflate, br, zstd") in server.log[0].headers


# ---- what comes back


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("encoding", [*PACK, "gzip, br", "zstd, deflate"])
async def test_calls_and_streams_have_it_unpacked(encoding, chunked) -> None:
    body = b"[%b0]" % b"".join(b"%d," % n for n in range(30_000))
    wire = packed(encoding, body, chunked=chunked)
    async with serve(answers(wire, keep_alive=True)) as peer, service_at(peer.url) as service:
        assert len((await service.get("/", type=list)).data) == 30_001
        async with service.stream("GET", "/") as response:
            assert b"".join([piece async for piece in response]) == body
        assert (await service.get("/", type=bytes)).data == body
        assert peer.accepted == 1


@pytest.mark.parametrize("encoding", [*PACK, "gzip, br", "compress", "gzip, gzip, gzip"])
@pytest.mark.parametrize("status", [b"200 OK", b"204 No", b"304 No", b"502 No"])
async def test_no_body_is_none_whatever_its_encoding(encoding, status) -> None:
    length = b"" if status[0:3] in {b"204", b"304"} else b"Content-Length: 0\r\n"
    wire = b"HTTP/1.1 %b\r\n%bContent-Encoding: %b\r\n\r\n" % (status, length, encoding.encode())
    async with serve(answers(wire, keep_alive=True)) as peer, service_at(peer.url) as service:
        for _ in range(2):
            response = await service.try_request("GET", "/")
            assert response.status == int(status[:3])
        if status < b"3":
            async with service.stream("GET", "/") as response:
                assert [piece async for piece in response] == []
        assert peer.accepted == 1


async def test_an_answer_to_head_may_name_any_encoding() -> None:
    wire = OK + b"Content-Length: 100\r\nContent-Encoding: compress\r\n\r\n"
    async with serve(answers(wire, keep_alive=True)) as peer, service_at(peer.url) as service:
        for _ in range(2):
            assert (await service.head("/")).header("content-encoding") == "compress"
        assert peer.accepted == 1


async def test_a_part_of_what_is_packed_is_handed_over_as_it_is() -> None:
    whole = gzip.compress(b"hello" * 100)
    head = b"HTTP/1.1 206 Part\r\nContent-Encoding: gzip\r\nContent-Range: bytes 3-7/%d\r\nContent-Length: 5\r\n\r\n"
    async with serve(answers(head % len(whole) + whole[3:8], keep_alive=True)) as peer, service_at(peer.url) as service:
        headers = {"Range": "bytes=3-7", "Accept-Encoding": "gzip"}
        assert (await service.get("/", headers=headers, type=bytes)).data == whole[3:8]
        async with service.stream("GET", "/", headers=headers) as response:
            assert b"".join([piece async for piece in response]) == whole[3:8]


async def test_the_body_of_an_error_is_unpacked_too() -> None:
    wire = packed("br", b'{"why": "no"}', status=b"422 No")
    async with serve(answers(wire)) as peer, service_at(peer.url) as service:
        with pytest.raises(sg.HTTPStatusError) as caught:
            await service.get("/")
    assert caught.value.body == b'{"why": "no"}'


# ---- what is hostile


async def read_all(service, sizes):
    async with service.stream("GET", "/") as response:
        async for piece in response:
            sizes.append(len(piece))


async def closed(peer):
    """Wait until the peer has seen the end of all its connections."""
    with trio.fail_after(5):
        while peer.open:
            await trio.testing.wait_all_tasks_blocked(0.01)


@coding
async def test_a_breach_closes_the_connection_of_a_call(encoding) -> None:
    bomb = packed(encoding, bytes(2_000_000))
    handler = in_turn(answers(bomb, keep_alive=True), answers(packed(encoding, b"7"), keep_alive=True))
    async with serve(handler) as peer, service_at(peer.url, max_response_bytes=1_000_000) as service:
        with pytest.raises(sg.ResponseTooLarge, match="1000000"):
            await service.get("/")
        await closed(peer)
        assert (await service.get("/", type=int)).data == 7
        assert (peer.accepted, service.breaker) == (2, "closed")


@coding
async def test_a_stream_is_read_up_to_the_ratio_and_its_connection_closed(encoding) -> None:
    bomb, sizes = packed(encoding, bytes(50_000_000)), []
    async with serve(answers(bomb, keep_alive=True)) as peer, service_at(peer.url) as service:
        with pytest.raises(sg.ResponseTooLarge, match="identity"):
            await read_all(service, sizes)
        assert max(sizes) <= 65_536
        assert 9_900_000 < sum(sizes) <= 10_000_000
        await closed(peer)


async def test_what_wraps_the_chunks_has_a_bound_as_well() -> None:
    async def handler(stream, peer):
        await read_request(stream, peer)
        await stream.send_all(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"1;%b\r\nx\r\n" % (b"x" * 60_000))

    async with serve(handler) as peer, service_at(peer.url) as service:
        with pytest.raises(sg.ResponseTooLarge, match="neither its head nor its body"):
            await service.get("/")
        with pytest.raises(sg.ResponseTooLarge, match="neither its head nor its body"):
            await read_all(service, [])
        await closed(peer)


# In a process of its own, whose memory is its own. (VmHWM: the peak of this program. That of getrusage is, after a
# fork, at least what the parent had.)
VICTIM = """
import gc, sys, trio, switchgear as sg

def megabytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) / 1024

async def main(url):
    service = sg.ServiceConfig("svc", url, retry=sg.RetryPolicy(max_attempts=1))
    async with sg.open_runtime(sg.RuntimeConfig((service,), metrics=sg.MetricsConfig(websocket=False))) as runtime:
        service = runtime.service("svc")
        await service.get("/")
        gc.disable()  # nothing is left to it
        before = megabytes("VmRSS")
        open("/proc/self/clear_refs", "w").write("5")  # VmHWM is VmRSS again
        for _ in range(5):
            try:
                await service.get("/")
            except sg.ResponseTooLarge:
                print(megabytes("VmHWM") - before)

trio.run(main, sys.argv[1])
"""


@asynccontextmanager
async def growth(head, body):
    """How much a process grows (MB) that gets such an answer: after the first, the second, ... the fifth time."""
    first, then = answers(OK + b"Content-Length: 0\r\n\r\n"), answers(OK + head + b"\r\n" + body, keep_alive=True)
    async with serve(in_turn(first, then)) as peer:
        with trio.fail_after(60):
            child = await trio.run_process([sys.executable, "-c", VICTIM, peer.url], capture_stdout=True)
        grown = [float(line) for line in child.stdout.splitlines()]
        assert len(grown) == 5
        assert peer.accepted == 6  # each breach has cost its connection
        yield grown


@coding
async def test_a_bomb_of_200_mb_takes_less_than_20_in_a_call_and_in_any_number_of_them(encoding) -> None:
    body = await trio.to_thread.run_sync(PACK[encoding], bytes(200_000_000))
    head = b"Content-Encoding: %b\r\nContent-Length: %d\r\n" % (encoding.encode(), len(body))
    async with growth(head, body) as grown:
        assert max(grown) < 20


async def test_the_widest_window_of_brotli_takes_16_more() -> None:
    """Which every decoder of brotli has to provide: RFC 7932, section 9.1. What comes out is bounded all the same."""
    body = await trio.to_thread.run_sync(lambda: brotli.compress(bytes(50_000_000), quality=5, lgwin=24))
    async with growth(b"Content-Encoding: br\r\nContent-Length: %d\r\n" % len(body), body) as grown:
        assert max(grown) < 36


async def test_what_is_too_large_and_not_packed_takes_no_more() -> None:
    async with growth(b"Content-Length: 50000000\r\n", bytes(50_000_000)) as grown:
        assert max(grown) < 20


def test_without_the_libraries_it_says_what_to_install() -> None:
    """The same, by the public names: what is not offered, and sent nevertheless."""
    code = """
import sys
sys.modules.update(dict.fromkeys(("brotli", "brotlicffi", "backports.zstd", "compression.zstd", "compression")))
import httpx, trio, switchgear as sg

async def main():
    def answer(request):
        print(request.headers["accept-encoding"])
        return httpx.Response(200, headers={"Content-Encoding": "br"}, stream=Body())

    class Body(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield b"whatever"

    config = sg.RuntimeConfig((sg.ServiceConfig("svc", "http://svc.test", retry=sg.RetryPolicy(max_attempts=1)),))
    async with sg.open_runtime(config, transport=httpx.MockTransport(answer)) as runtime:
        try:
            await runtime.service("svc").get("/")
        except sg.TransportError as error:
            print(error)

trio.run(main)
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    offered, words = child.stdout.splitlines()
    assert offered == "gzip, deflate"
    assert "pip install switchgear[codings]" in words
