"""`service.stream`: bodies read as they come, under the guards of the call; and bodies sent piece by piece."""

import math
from contextlib import asynccontextmanager

import pytest
import trio
from support import wire
from support.service import ONCE, QUIET, outcome_of

import switchgear as sg

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Kind: csv\r\n\r\n"
FAST = sg.RetryPolicy(base_delay=0.001, jitter="none")


@asynccontextmanager
async def service_at(url, **fields):
    fields.setdefault("retry", ONCE)
    config = sg.RuntimeConfig(services=(sg.ServiceConfig("svc", base_url=url, **fields),), metrics=QUIET)
    async with sg.open_runtime(config, seed=1) as runtime:
        service = runtime.service("svc")
        yield service, runtime


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def streams(script):
    """A peer that sends what the channel ``script`` gives it, after a head; None ends the body."""

    async def handler(stream, peer):
        while await wire.read_request(stream, peer):
            await stream.send_all(HEAD)
            async for data in script:
                if data is None:
                    await stream.send_all(b"0\r\n\r\n")
                    break
                await stream.send_all(chunk(data))

    return handler


def in_flight(runtime):
    def find(info):
        if info.path == "/services/svc":
            return info.in_flight
        return next((n for child in info.children if (n := find(child)) is not None), None)

    return find(runtime.tree())


async def test_the_pieces_come_as_they_are_sent_and_the_head_before_them():
    send, script = trio.open_memory_channel(10)
    async with wire.serve(streams(script)) as peer, service_at(peer.url) as (service, runtime):
        with trio.fail_after(5):
            async with service.stream("GET", "/export") as response:
                assert (response.status, response.header("X-Kind"), response.attempts) == (200, "csv", 1)
                assert len(response.request_id) == 32
                for data in (b"one", b"two", b"three"):
                    await send.send(data)
                    assert await anext(response) == data
                await send.send(None)
                assert [piece async for piece in response] == []
            async with service.stream("GET", "/export") as response:
                await send.send(b"again")
                await send.send(None)
                assert b"".join([piece async for piece in response]) == b"again"
        assert peer.accepted == 1  # a body that was read to its end leaves the connection for the next
        assert in_flight(runtime) == 0


async def test_a_stream_left_half_read_closes_its_connection():
    send, script = trio.open_memory_channel(10)
    async with wire.serve(streams(script)) as peer, service_at(peer.url) as (service, runtime):
        with trio.fail_after(5):
            async with service.stream("GET", "/export") as response:
                await send.send(b"one")
                assert await anext(response) == b"one"
            with pytest.raises(trio.ClosedResourceError):
                await anext(response)
            send.close()
            while peer.open:
                await trio.lowlevel.checkpoint()
        assert in_flight(runtime) == 0


async def test_the_bulkhead_place_is_held_until_the_stream_is_closed():
    send, script = trio.open_memory_channel(10)
    bulkhead = sg.BulkheadConfig(max_concurrent=1, max_queue=0, when_full="fail")
    async with wire.serve(streams(script)) as peer, service_at(peer.url, bulkhead=bulkhead) as (service, runtime):
        with trio.fail_after(5):
            async with service.stream("GET", "/export") as response:
                await send.send(b"all")
                await send.send(None)
                assert [piece async for piece in response] == [b"all"]
                assert in_flight(runtime) == 1  # read to its end, and still open
                assert isinstance(await outcome_of(service.get("/other")), sg.Overloaded)
            await send.send(None)
            assert (await service.get("/other")).success


async def test_the_permit_of_a_half_open_breaker_is_held_until_the_stream_is_closed():
    breaker = sg.BreakerConfig(failure_threshold=1, reset_timeout=0.01)
    _send, script = trio.open_memory_channel(10)
    handler = wire.in_turn(wire.closes_at_once(), streams(script))
    async with wire.serve(handler) as peer, service_at(peer.url, breaker=breaker) as (service, _):
        with trio.fail_after(5):
            assert isinstance(await outcome_of(service.get("/x")), sg.TransportError)
            assert service.breaker == "open"
            await trio.sleep(0.02)
            async with service.stream("GET", "/export"):
                assert service.breaker == "half_open"
                assert isinstance(await outcome_of(service.get("/x")), sg.CircuitOpen)
            assert service.breaker == "closed"


async def test_an_error_status_is_an_error_with_its_body_before_the_block_is_entered():
    data = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"
    async with wire.serve(wire.answers(data, keep_alive=True)) as peer, service_at(peer.url) as (service, _):
        with pytest.raises(sg.HTTPStatusError) as caught:
            async with service.stream("GET", "/x"):
                pytest.fail("it has no stream")
        assert (caught.value.status, caught.value.body, caught.value.service) == (404, b"none", "svc")
        assert caught.value.__context__ is None or not isinstance(caught.value.__context__, BaseExceptionGroup)


async def test_an_error_status_with_too_large_a_body():
    data = b"HTTP/1.1 500 Oh\r\nContent-Length: 4000\r\n\r\n" + b"x" * 4000
    async with wire.serve(wire.answers(data)) as peer, service_at(peer.url, max_response_bytes=1000) as (service, _):
        with pytest.raises(sg.ResponseTooLarge):
            async with service.stream("GET", "/x"):
                pytest.fail("it has no stream")


async def test_it_is_retried_until_a_head_has_come_and_not_after():
    busy = wire.answers(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    broken = wire.answers(HEAD + chunk(b"one"))
    handler = wire.in_turn(busy, busy, broken)
    async with wire.serve(handler) as peer, service_at(peer.url, retry=FAST) as (service, runtime):
        with trio.fail_after(5):
            async with service.stream("GET", "/x") as response:
                assert response.attempts == 3
                assert await anext(response) == b"one"
                with pytest.raises(sg.TransportError, match="closed before the end of its body") as caught:
                    await anext(response)
                assert (caught.value.service, caught.value.attempts) == ("svc", 3)
                with pytest.raises(sg.TransportError):  # said again to whoever asks again
                    await anext(response)
            metrics = runtime.metrics.get("svc")
        assert len(peer.received) == 3
        assert metrics.count == 1
        assert metrics.errors_by_code == {"TRANSPORT": 1}


async def test_a_body_that_breaks_off_counts_for_the_breaker():
    breaker = sg.BreakerConfig(failure_threshold=1)
    broken = wire.answers(HEAD + chunk(b"one"))
    async with wire.serve(broken) as peer, service_at(peer.url, breaker=breaker) as (service, _):
        with pytest.raises(sg.TransportError):
            async with service.stream("GET", "/x") as response:
                assert [piece async for piece in response] == []
        assert service.breaker == "open"


async def test_the_deadline_ends_a_stalled_stream():
    _send, script = trio.open_memory_channel(10)
    async with wire.serve(streams(script)) as peer, service_at(peer.url) as (service, runtime):
        with trio.fail_after(5):
            with pytest.raises(sg.CallTimeout):
                async with service.stream("GET", "/x", timeout=0.05) as response:
                    await anext(response)
            while in_flight(runtime):
                await trio.lowlevel.checkpoint()


async def test_the_deadline_passes_while_nobody_reads(autojump_clock):
    _send, script = trio.open_memory_channel(10)
    async with (
        wire.serve(streams(script)) as peer,
        service_at(peer.url) as (service, _),
        service.stream("GET", "/x", timeout=3) as response,
    ):
        await trio.sleep(10)
        with pytest.raises(sg.CallTimeout) as caught:
            await anext(response)
        assert caught.value.service == "svc"


async def test_the_timeout_of_an_attempt_bounds_the_head_and_not_the_body(autojump_clock):
    send, script = trio.open_memory_channel(10)
    timeout = sg.TimeoutConfig(attempt=1, total=100)
    async with (
        wire.serve(streams(script)) as peer,
        service_at(peer.url, timeout=timeout) as (service, _),
        service.stream("GET", "/x") as response,
    ):
        await trio.sleep(50)
        await send.send(b"late")
        assert await anext(response) == b"late"
    async with wire.serve(wire.never_answers()) as peer, service_at(peer.url, timeout=timeout) as (service, _):
        started = trio.current_time()
        with pytest.raises(sg.CallTimeout, match="attempt"):
            async with service.stream("GET", "/x"):
                pytest.fail("it has no head")
        assert trio.current_time() - started == pytest.approx(1)


@pytest.mark.parametrize("head", [b"503 No", b"302 Found\r\nLocation: /y"])
async def test_it_bounds_what_the_caller_does_not_read_himself(head, autojump_clock):
    answer = b"HTTP/1.1 " + head + b"\r\nContent-Length: 1000\r\n\r\n"
    fields = {"timeout": sg.TimeoutConfig(attempt=1, total=100), "follow_redirects": True}
    async with (
        wire.serve(wire.drips(answer, every=1000, size=200)) as peer,
        service_at(peer.url, **fields) as (service, _),
    ):
        with pytest.raises(sg.CallTimeout, match="attempt"):
            async with service.stream("GET", "/x", timeout=math.inf):
                pytest.fail("it is not his")


async def test_a_stream_without_an_end(autojump_clock):
    send, script = trio.open_memory_channel(10)
    async with (
        wire.serve(streams(script)) as peer,
        service_at(peer.url) as (service, _),
        service.stream("GET", "/x", timeout=math.inf) as response,
    ):
        for _ in range(10):
            await trio.sleep(1000)
            await send.send(b"tick")
            assert await anext(response) == b"tick"


async def test_the_latency_of_a_stream_is_that_of_its_head(autojump_clock):
    send, script = trio.open_memory_channel(10)
    async with wire.serve(streams(script)) as peer, service_at(peer.url) as (service, runtime):
        async with service.stream("GET", "/x", timeout=math.inf) as response:
            await trio.sleep(1000)
            await send.send(None)
            assert [piece async for piece in response] == []
        metrics = runtime.metrics.get("svc")
        assert metrics.max < 1


async def test_the_callers_cancellation_reaches_the_socket():
    _send, script = trio.open_memory_channel(10)
    async with wire.serve(streams(script)) as peer, service_at(peer.url) as (service, runtime):
        with trio.fail_after(5):
            with trio.move_on_after(0.05) as scope:
                async with service.stream("GET", "/x") as response:
                    await anext(response)
            assert scope.cancelled_caught
            while in_flight(runtime):
                await trio.lowlevel.checkpoint()
            assert service.breaker == "closed"


async def test_cancelled_before_the_head():
    async with wire.serve(wire.never_answers()) as peer, service_at(peer.url) as (service, runtime):
        with trio.fail_after(5):
            with trio.move_on_after(0.05) as scope:
                async with service.stream("GET", "/x"):
                    pytest.fail("it has no head")
            assert scope.cancelled_caught
            while in_flight(runtime) or peer.open:
                await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("error", [ValueError("mine"), sg.CircuitOpen("mine"), KeyboardInterrupt()])
async def test_what_the_block_raises_comes_out_as_it_is(error):
    _send, script = trio.open_memory_channel(10)
    async with wire.serve(streams(script)) as peer, service_at(peer.url) as (service, runtime):
        with pytest.raises(type(error)) as caught:
            async with service.stream("GET", "/x"):
                raise error
        assert caught.value is error
        assert service.breaker == "closed"
        assert in_flight(runtime) == 0


async def test_a_service_that_is_removed_takes_its_streams_along():
    _send, script = trio.open_memory_channel(10)
    async with wire.serve(streams(script)) as peer, service_at(peer.url) as (service, runtime):
        with trio.fail_after(5):
            async with service.stream("GET", "/x") as response, trio.open_nursery() as nursery:
                nursery.start_soon(runtime.remove_service, "svc")
                with pytest.raises(sg.ShuttingDown):
                    await anext(response)


async def test_the_crash_of_the_actor_is_told_to_whoever_reads():
    _send, script = trio.open_memory_channel(10)

    async with wire.serve(streams(script)) as peer, service_at(peer.url) as (service, runtime):
        with trio.fail_after(5):
            async with service.stream("GET", "/x") as response:
                await crash(runtime)
                with pytest.raises(sg.ActorCrashed):
                    await anext(response)
            with trio.move_on_after(0.1):
                async with service.stream("GET", "/x") as response:
                    assert response.status == 200


async def crash(runtime):
    """The actor meets a message that it cannot handle, which is a crash by the kernel's rules."""
    await runtime._services["svc"]._ref.tell(object())


async def test_the_deadline_of_the_callers_own_scope_ends_it_as_a_cancellation():
    _send, script = trio.open_memory_channel(10)
    async with wire.serve(streams(script)) as peer, service_at(peer.url) as (service, _):
        with pytest.raises(trio.TooSlowError), trio.fail_after(0.05):
            async with service.stream("GET", "/x") as response:
                await anext(response)


@pytest.mark.parametrize("follow", [True, False])
async def test_redirects(follow):
    moved = b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 5\r\n\r\nmoved"

    async def handler(stream, peer):
        while data := await wire.read_request(stream, peer):
            await stream.send_all(HEAD + chunk(b"here") + b"0\r\n\r\n" if b"/there" in data else moved)

    async with (
        wire.serve(handler) as peer,
        service_at(peer.url, follow_redirects=follow) as (service, _),
        service.stream("GET", "/x") as response,
    ):
        assert response.status == (200 if follow else 302)
        assert b"".join([piece async for piece in response]) == (b"here" if follow else b"moved")


async def test_a_compressed_body_is_decoded_in_bounded_pieces():
    import gzip  # noqa: PLC0415

    body = gzip.compress(b"0123456789" * 100_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with wire.serve(wire.answers(head + body)) as peer, service_at(peer.url) as (service, _):
        async with service.stream("GET", "/x") as response:
            pieces = [piece async for piece in response]
        assert b"".join(pieces) == b"0123456789" * 100_000
        assert max(map(len, pieces)) <= 65_536


# ---- bodies that are sent piece by piece


async def pieces(*data, closed=None):
    try:
        for one in data:
            await trio.lowlevel.checkpoint()
            yield one
    finally:
        if closed is not None:
            closed.append(True)


def echo(received):
    return 200, {"Content-Type": "text/plain"}, received.body


async def test_a_body_is_sent_from_an_async_iterator():
    async with wire.http_server(echo) as server, service_at(server.url) as (service, _):
        response = await service.post("/up", content=pieces(b"one ", b"", bytearray(b"two")))
        assert response.data == "one two"
        headers = dict(server.log[0].headers)
        assert headers["transfer-encoding"] == "chunked"
        assert "content-length" not in headers


async def test_the_deadline_ends_a_body_that_never_ends():
    closed = []

    async def endless():
        try:
            while True:
                yield b"x"
                await trio.sleep_forever()
        finally:
            closed.append(True)

    async with (
        wire.http_server(echo) as server,
        service_at(server.url, timeout=sg.TimeoutConfig(total=0.1)) as (service, _),
    ):
        with trio.fail_after(5):
            assert isinstance(await outcome_of(service.post("/up", content=endless())), sg.CallTimeout)
            while server.open:
                await trio.lowlevel.checkpoint()
    assert closed == [True]


async def test_an_iterator_that_raises_is_an_error_of_the_call_and_not_a_crash():
    async def bad():
        yield b"one"
        raise OSError("the disk is gone")

    async with wire.http_server(echo) as server, service_at(server.url, retry=FAST) as (service, runtime):
        with pytest.raises(sg.InvalidRequest, match="raised OSError: the disk is gone") as caught:
            await service.post("/up", content=bad(), idempotency_key="k")
        assert isinstance(caught.value.__cause__, OSError)
        assert service.breaker == "closed"
        with pytest.raises(sg.InvalidRequest, match="pieces of bytes, and its iterator gave a str"):
            await service.post("/up", content=pieces("text"))
        assert all(child.restarts == 0 for child in runtime.tree().children)
        assert not server.log


async def test_an_iterator_that_cannot_begin():
    class Bad:
        def __aiter__(self):
            raise OSError("no such file")

    async with wire.http_server(echo) as server, service_at(server.url) as (service, _):
        with pytest.raises(sg.InvalidRequest, match="no such file"):
            await service.post("/up", content=Bad())


async def test_pieces_that_have_been_taken_are_not_sent_again():
    async with wire.serve(wire.closes_after_request()) as peer, service_at(peer.url, retry=FAST) as (service, _):
        with pytest.raises(sg.TransportError) as caught:
            await service.put("/up", content=pieces(b"one"))
        assert caught.value.attempts == 1
    refused = f"http://127.0.0.1:{wire.unused_port()}"
    async with service_at(refused, retry=FAST) as (service, _):
        with pytest.raises(sg.TransportError) as caught:
            await service.put("/up", content=pieces(b"one"))
        assert caught.value.attempts == 3  # nothing had been taken yet


async def test_one_iterator_for_two_calls_is_refused():
    async with wire.http_server(echo) as server, service_at(server.url) as (service, _):
        body = pieces(b"one")
        assert (await service.post("/up", content=body)).data == "one"
        assert (await service.post("/up", content=body)).data is None  # a generator that is over gives nothing


async def test_a_redirect_cannot_take_the_pieces_along():
    def moved(received):
        return 307, {"Location": "/there"}, b""

    async with wire.http_server(moved) as server, service_at(server.url, follow_redirects=True) as (service, _):
        with pytest.raises(sg.HTTPStatusError, match="only once"):
            await service.put("/up", content=pieces(b"one"))


async def test_the_generator_is_closed_with_the_call():
    closed = []
    early = wire.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def slow():
        try:
            yield b"one"
            await trio.sleep_forever()
        finally:
            closed.append("slow")

    async with wire.serve(early) as peer, service_at(peer.url) as (service, runtime):
        with trio.move_on_after(0.05):
            await service.post("/up", content=slow())
        with trio.fail_after(5):
            while in_flight(runtime):
                await trio.lowlevel.checkpoint()
        assert closed == ["slow"]


async def test_a_generator_that_fails_to_close_is_logged_and_the_call_has_its_outcome(caplog):
    async def stubborn():
        try:
            yield b"x" * 10_000_000  # more than the sockets hold
            yield b"two"
        finally:
            raise OSError("cannot close")

    async def refuses(stream, peer):
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await trio.sleep_forever()

    async with wire.serve(refuses) as peer, service_at(peer.url) as (service, _):
        with pytest.raises(sg.HTTPStatusError, match="413"):
            await service.post("/up", content=stubborn())
    assert [record.exc_info[0] for record in caplog.records if record.name == "switchgear.service"] == [OSError]


async def test_a_channel_that_was_given_stays_open():
    send, receive = trio.open_memory_channel(10)
    for data in (b"a", b"b"):
        send.send_nowait(data)
    send.close()
    async with wire.http_server(echo) as server, service_at(server.url) as (service, _):
        assert (await service.post("/up", content=receive)).data == "ab"
        with pytest.raises(trio.EndOfChannel):
            await receive.receive()


async def test_an_alternative_cannot_send_what_has_been_sent():
    fallbacks = (sg.AlternativeFallback("other"),)
    f"http://127.0.0.1:{wire.unused_port()}"
    async with wire.serve(wire.closes_after_request()) as peer, wire.http_server(echo) as server:
        services = (
            sg.ServiceConfig("svc", base_url=peer.url, retry=ONCE, fallbacks=fallbacks),
            sg.ServiceConfig(
                "down", base_url=f"http://127.0.0.1:{wire.unused_port()}", retry=ONCE, fallbacks=fallbacks
            ),
            sg.ServiceConfig("other", base_url=server.url),
        )
        async with sg.open_runtime(sg.RuntimeConfig(services=services, metrics=QUIET)) as runtime:
            with pytest.raises(sg.TransportError):
                await runtime.service("svc").post("/up", content=pieces(b"one"))
            response = await runtime.service("down").post("/up", content=pieces(b"one"))
            assert (response.source, response.data) == ("alternative", "one")
