"""`transport=`: what is taken by its shape, httpx2's classes included, and what is made of what it does."""

from __future__ import annotations

import gzip
import random
import ssl

import httpx
import httpx2
import pytest
import trio
import trustme
from support.http2 import http2_server, server_context
from support.service import QUIET, outcome_of, running
from support.wire import answers, closes_after_request, half, http_server, json_answer, serve, unused_port

import switchgear as sg

BOTH = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
CA = trustme.CA()
NOISE = random.Random(1).randbytes(1_000_000)


async def settled(condition):
    with trio.fail_after(5):
        while not condition():
            await trio.lowlevel.checkpoint()


# ---- what is taken


class Bare:
    """Derives from nothing."""

    def __init__(self, answer):
        self.answer = answer
        self.closed = False

    async def handle_async_request(self, request):
        return self.answer(request)

    async def aclose(self):
        self.closed = True


@pytest.mark.parametrize(
    ("transport", "words"),
    [
        (httpx.HTTPTransport(), "a HTTPTransport has no handle_async_request and no aclose"),
        (httpx2.HTTPTransport(), "a HTTPTransport has no handle_async_request and no aclose"),
        (httpx.MockTransport, "not the class MockTransport: make one of it"),
        (lambda request: None, "a function has no handle_async_request"),
        (trio.testing.MemorySendStream(), "has no handle_async_request"),
        (0, "a int has no"),
    ],
)
async def test_what_is_no_transport_is_told_what_is_needed(transport, words):
    with pytest.raises(TypeError, match=words) as caught:
        async with sg.open_runtime(sg.RuntimeConfig(metrics=QUIET), transport=transport):
            pytest.fail("it opened")
    assert "class" in words or "async handle_async_request(request)" in str(caught.value)


async def test_an_object_of_the_shape_will_do_and_stays_open():
    bare = Bare(lambda request: httpx.Response(200, json=[type(request).__module__, request.url.path]))
    async with running(transport=bare) as (service, _):
        assert (await service.get("/x")).data == ["httpx", "/x"]
    assert not bare.closed


async def test_an_object_of_the_shape_that_lies_is_a_failure_and_no_crash():
    async with running(transport=Bare(lambda request: None)) as (service, upstream):
        assert isinstance(await outcome_of(service.get("/x")), sg.TransportError)
        assert upstream.runtime.tree().find("/services/svc").restarts == 0


@BOTH
async def test_requests_are_of_the_library_that_the_transport_is_of(library):
    def handler(request):
        assert isinstance(request, library.Request)
        seen.append((request.method, str(request.url), request.headers["content-type"], request.content))
        return library.Response(201, json={"ok": True}, headers={"X-A": "b"})

    seen = []
    async with running(transport=library.MockTransport(handler)) as (service, _):
        response = await service.post("/x", params={"a": "ä"}, json=[1])
        assert (response.status, response.data, response.header("x-a")) == (201, {"ok": True}, "b")
    assert seen == [("POST", "http://svc.test/x?a=%C3%A4", "application/json", b"[1]")]


async def test_a_class_of_ones_own_is_of_the_library_that_it_derives_from():
    class Mine(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request):
            return httpx2.Response(200, json=isinstance(request, httpx2.Request))

    async with running(transport=Mine()) as (service, _):
        assert (await service.get("/x")).data is True


@BOTH
async def test_bodies_stream_both_ways(library):
    async def handler(request):
        body = await request.aread()
        assert request.headers["transfer-encoding"] == "chunked"
        return library.Response(200, stream=Pieces(body))

    class Pieces(library.AsyncByteStream):
        def __init__(self, body):
            self.body = body

        async def __aiter__(self):
            for start in range(0, len(self.body), 7):
                yield self.body[start : start + 7]

    async def pieces():
        for n in range(50):
            yield b"%d\n" % n

    async with (
        running(transport=library.MockTransport(handler)) as (service, _),
        service.stream("POST", "/x", content=pieces()) as response,
    ):
        assert b"".join([piece async for piece in response]) == b"".join([piece async for piece in pieces()])


@BOTH
async def test_a_body_in_memory_is_not_decoded_twice(library):
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    transport = library.MockTransport(lambda _: library.Response(200, headers=headers, content=gzip.compress(b"[1]")))
    async with running(transport=transport) as (service, _):
        assert (await service.get("/x")).data == [1]


# ---- over the network


@BOTH
async def test_a_real_transport_of_the_users(library):
    async with http_server(lambda received: json_answer(received.target)) as server:
        transport = library.AsyncHTTPTransport(trust_env=False)
        async with running(transport=transport, base_url=server.url) as (service, _):
            assert [(await service.get(f"/{n}")).data for n in range(3)] == ["/0", "/1", "/2"]
            async with service.stream("GET", "/s") as response:
                assert b"".join([piece async for piece in response]) == b'"/s"'
        assert (server.accepted, server.open) == (1, 1)  # it is the user's
        await transport.aclose()


@BOTH
async def test_what_its_errors_mean(library):
    async with serve(closes_after_request()) as silent, serve(half()) as broken:
        for url, processed in (
            (f"http://127.0.0.1:{unused_port()}", "no"),
            (silent.url, "maybe"),
            (broken.url, "maybe"),
        ):
            async with (
                library.AsyncHTTPTransport(trust_env=False) as transport,
                running(transport=transport, base_url=url) as (service, _),
            ):
                error = await outcome_of(service.post("/x"))
                assert (type(error), error.processed) == (sg.TransportError, processed)


@BOTH
async def test_http_2_of_the_users_tells_what_a_goaway_means(library):
    async def route(request):
        await request.connection.goaway(0)

    context = ssl.create_default_context()
    CA.configure_trust(context)
    async with (
        http2_server(route, server_context(CA, "localhost")) as server,
        library.AsyncHTTPTransport(verify=context, http2=True, trust_env=False) as transport,
        running(transport=transport, base_url=server.url) as (service, _),
    ):
        error = await outcome_of(service.post("/x"))
        assert (error.processed, "GOAWAY" in str(error)) == ("no", True)


@BOTH
@pytest.mark.parametrize(
    ("fields", "headers", "body", "error"),
    [
        ({"max_response_bytes": 1000}, b"", b"x" * 1_000_000, sg.ResponseTooLarge),
        ({"max_response_bytes": 1000}, b"Content-Encoding: gzip\r\n", gzip.compress(NOISE), sg.ResponseTooLarge),
        ({}, b"Content-Encoding: rot13\r\n", b"x" * 1_000_000, sg.TransportError),
        ({}, b"Content-Encoding: gzip\r\n", b"x" * 1_000_000, sg.TransportError),
    ],
    ids=["too large", "too large when it is decoded", "an encoding that is not known", "not what it says"],
)
async def test_a_body_that_is_refused_closes_its_connection(library, fields, headers, body, error):
    data = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (headers, len(body), body)
    async with (
        serve(answers(data, keep_alive=True)) as peer,
        library.AsyncHTTPTransport(trust_env=False) as transport,
        running(transport=transport, base_url=peer.url, **fields) as (service, _),
    ):
        assert type(await outcome_of(service.get("/x"))) is error
        await settled(lambda: peer.open == 0)


@BOTH
async def test_a_stream_that_is_left_half_read_closes_its_connection(library):
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 10_000_000
    async with (
        serve(answers(data)) as peer,
        library.AsyncHTTPTransport(trust_env=False) as transport,
        running(transport=transport, base_url=peer.url) as (service, _),
    ):
        async with service.stream("GET", "/x") as response:
            assert await anext(response)
        await settled(lambda: peer.open == 0)


async def test_a_gzip_stream_is_decoded_in_bounded_pieces():
    plain = b"".join(b"%d\n" % n for n in range(1_000_000))
    packed = gzip.compress(plain)
    data = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed)
    async with (
        serve(answers(data, keep_alive=True)) as peer,
        httpx.AsyncHTTPTransport(trust_env=False) as transport,
        running(transport=transport, base_url=peer.url) as (service, _),
        service.stream("GET", "/x") as response,
    ):
        pieces = [piece async for piece in response]
        assert b"".join(pieces) == plain
        assert max(map(len, pieces)) <= 65_536


# ---- time


class Stalled(httpx.AsyncByteStream):
    """A body that stops after its first piece."""

    async def __aiter__(self):
        yield b"first"
        await trio.sleep_forever()


async def test_a_stream_that_stalls_ends_at_its_deadline(autojump_clock):
    async with running(httpx.Response(200, stream=Stalled())) as (service, _):
        begun = trio.current_time()
        async with service.stream("GET", "/x", timeout=5) as response:
            assert await anext(response) == b"first"
            with pytest.raises(sg.CallTimeout):
                await anext(response)
        assert trio.current_time() - begun == 5


async def test_a_stream_that_stalls_ends_with_its_service(autojump_clock):
    begun = trio.current_time()
    async with (
        running(httpx.Response(200, stream=Stalled())) as (service, upstream),
        trio.open_nursery() as nursery,
        service.stream("GET", "/x") as response,
    ):
        assert await anext(response) == b"first"
        nursery.start_soon(upstream.runtime.remove_service, "svc")
        with pytest.raises(sg.ShuttingDown):
            await anext(response)
        assert trio.current_time() - begun <= 5  # the grace of an actor


async def test_a_whole_answer_that_stalls_ends_at_its_deadline(autojump_clock):
    async with running(httpx.Response(200, stream=Stalled())) as (service, _):
        begun = trio.current_time()
        assert isinstance(await outcome_of(service.get("/x", timeout=5)), sg.CallTimeout)
        assert trio.current_time() - begun == 5


# ---- the caller's own errors


async def test_an_iterator_that_raises_is_the_callers_error_and_not_the_services():
    async def pieces():
        yield b"one"
        raise KeyError("mine")

    async with (
        http_server(lambda _: json_answer(1)) as server,
        httpx.AsyncHTTPTransport(trust_env=False) as transport,
        running(transport=transport, base_url=server.url) as (service, _),
    ):
        error = await outcome_of(service.post("/x", content=pieces()))
        assert isinstance(error, sg.InvalidRequest)
        assert isinstance(error.__cause__, KeyError)
        await settled(lambda: server.open == 0)  # half a request
