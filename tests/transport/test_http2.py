"""HTTP/2 where it is configured, against a server made with h2: GOAWAY at every moment, streams that are abandoned."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.settings
import pytest
import trio
import trustme
from support.http2 import http2_server, server_context
from support.service import ONCE, QUIET, in_background, outcome_of
from support.wire import http_server, json_answer, serve

import switchgear as sg

CA = trustme.CA()


@pytest.fixture
def tls(tmp_path):
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return sg.TLSConfig(ca_file=str(tmp_path / "ca.pem"))


@pytest.fixture
def served(tls):
    """A server with this route, and a service that calls it."""

    @asynccontextmanager
    async def start(route, *, max_streams=100, begin=None, **fields):
        fields.setdefault("retry", ONCE)
        context = server_context(CA, "localhost")
        async with http2_server(route, context, max_streams=max_streams, begin=begin) as server:
            config = sg.ServiceConfig("svc", server.url, tls=tls, http2=True, **fields)
            async with sg.open_runtime(sg.RuntimeConfig([config], metrics=QUIET), seed=1) as runtime:
                server.runtime = runtime
                yield server, runtime.service("svc")
                await settled(lambda: not server.violations)
            await settled(lambda: server.open == 0)  # at the end of the runtime nothing of it is connected

    return start


async def settled(condition):
    with trio.fail_after(5):
        while not condition():
            await trio.lowlevel.checkpoint()


def hello(request):
    return 200, {"content-type": "application/json"}, b'"hello"'


async def test_many_calls_share_one_connection(served):
    async with served(hello) as (server, service):
        async with in_background(service, *(f"/{n}" for n in range(50))) as ends:
            pass
        assert [end.data for end in ends] == ["hello"] * 50
        assert server.accepted == 1
        assert {request.path for request in server.requests} == {f"/{n}" for n in range(50)}
        assert server.requests[0].headers[":authority"] == f"localhost:{server.port}"


async def test_bodies_both_ways(served):
    async with served(lambda request: (200, {"content-type": "application/octet-stream"}, request.body)) as (
        _,
        service,
    ):
        data = bytes(range(256)) * 4096
        assert (await service.post("/echo", content=data, type=bytes)).data == data

        async def pieces():
            for start in range(0, len(data), 100_000):
                yield data[start : start + 100_000]

        async with service.stream("POST", "/echo", content=pieces()) as response:
            assert b"".join([piece async for piece in response]) == data


async def test_a_server_that_declines_it_is_spoken_to_in_http_1(tls):
    async with http_server(lambda _: json_answer(1), ssl_context=server_context(CA, "localhost")) as server:
        config = sg.ServiceConfig("svc", f"https://localhost:{server.port}", tls=tls, http2=True)
        async with sg.open_runtime(sg.RuntimeConfig([config], metrics=QUIET)) as runtime:
            assert [(await runtime.service("svc").get("/")).data for _ in range(3)] == [1, 1, 1]
        assert server.accepted == 1


async def test_who_has_not_asked_for_it_does_not_offer_it(tls):
    """httpcore sets the protocols on the TLS context that it is given: nobody else may have that one."""

    async def handler(stream, peer):
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await secure.do_handshake()
        chosen.append(secure.selected_alpn_protocol())

    context, chosen = server_context(CA, "localhost"), []
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with serve(handler) as peer:
        url = f"https://localhost:{peer.port}"
        config = sg.RuntimeConfig(
            [
                sg.ServiceConfig("new", url, tls=tls, http2=True, retry=ONCE),
                sg.ServiceConfig("old", url, tls=tls, retry=ONCE),
            ],
            metrics=QUIET,
        )
        async with sg.open_runtime(config) as runtime:
            for name in ("new", "old"):
                assert isinstance(await outcome_of(runtime.service(name).get("/")), sg.TransportError)
    assert chosen == ["h2", "http/1.1"]


# ---- GOAWAY


def goes_away(last, *, after=2):
    """The first ``after`` requests hang; with the last of them comes a GOAWAY. Later ones are answered."""
    seen = []

    async def route(request):
        seen.append(request)
        if len(seen) <= after:
            if len(seen) == after:
                await request.connection.goaway(last(request))
            await trio.sleep_forever()
        return hello(request)

    return route


async def test_requests_that_the_server_has_not_looked_at_are_sent_again_by_themselves(served):
    """The library does that much: those above the last stream go to a new connection."""
    async with served(goes_away(lambda request: request.stream - 2)) as (server, service):
        async with in_background(service, "/1", "/2") as ends:
            pass
        lost, again = sorted(ends, key=lambda end: isinstance(end, sg.ServiceResponse))
        assert again.data == "hello"
        assert isinstance(lost, sg.TransportError)
        assert (lost.processed, server.accepted) == ("maybe", 2)
        assert "GOAWAY" in str(lost)


async def test_what_is_under_way_is_lost_although_the_server_would_have_answered(served):
    """The trap. The server says that it goes on with both; the library takes the connection for closed."""
    async with served(goes_away(lambda _: 2**31 - 1)) as (server, service):
        async with in_background(service, "/1", "/2") as ends:
            pass
        assert [(type(end), end.processed) for end in ends] == [(sg.TransportError, "maybe")] * 2
        assert (await service.get("/3")).data == "hello"
        assert server.accepted == 2


async def test_what_is_idempotent_or_keyed_is_tried_again_after_a_goaway_and_the_rest_is_not(served):
    retry = sg.RetryPolicy(max_attempts=2, base_delay=0.001)
    async with served(goes_away(lambda _: 2**31 - 1, after=3), retry=retry) as (_server, service):
        ends = {}

        async def call(name, method, **options):
            ends[name] = await outcome_of(service.request(method, "/x", **options))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "get", "GET")
            nursery.start_soon(call, "post", "POST")
            nursery.start_soon(lambda: call("keyed", "POST", idempotency_key="k"))
        assert (ends["get"].attempts, ends["keyed"].attempts) == (2, 2)
        assert (ends["post"].processed, ends["post"].attempts) == ("maybe", 1)


async def test_a_server_that_has_looked_at_nothing_says_so_with_zero(served):
    """There the library does not send again; but it is known that a second try is safe, also for a POST."""
    retry = sg.RetryPolicy(max_attempts=2, base_delay=0.001)
    async with served(goes_away(lambda _: 0, after=1), retry=retry) as (server, service):
        response = await service.post("/x", json={"amount": 1})
        assert (response.data, response.attempts) == ("hello", 2)
        assert [request.body for request in server.requests] == [b'{"amount":1}'] * 2
    async with served(goes_away(lambda _: 0, after=1)) as (_, service):
        error = await outcome_of(service.post("/x"))
        assert (error.processed, "before it looked at" in str(error)) == ("no", True)


async def test_a_refused_stream_is_safe_to_repeat_and_another_reset_is_not(served):
    codes = iter([7, 8])

    async def route(request):
        await request.connection.reset(request.stream, next(codes))

    async with served(route) as (_, service):
        assert [(await outcome_of(service.post("/x"))).processed for _ in range(2)] == ["no", "maybe"]


async def test_a_body_that_can_be_sent_only_once_is_not_sent_again_after_a_goaway(served):
    async with served(goes_away(lambda _: 1)) as (server, service):

        async def pieces():
            yield b"one"

        async def first():
            firsts.append(await outcome_of(service.get("/1")))

        firsts = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await settled(lambda: server.requests)
            error = await outcome_of(service.post("/2", content=pieces()))
        assert isinstance(error, sg.TransportError)
        assert (error.processed, "only once" in str(error)) == ("no", True)
        assert len(server.requests) == 2


async def test_a_hang_up_without_a_word_leaves_the_outcome_open(served):
    async def route(request):
        await request.connection.hang_up()

    async with served(route) as (server, service):
        error = await outcome_of(service.post("/x"))
        assert error.processed == "maybe"
        error = await outcome_of(service.post("/x"))  # on a connection of its own: that one is not used again
        assert (error.processed, server.accepted) == ("maybe", 2)


async def test_a_body_that_is_cut_off_by_a_goaway_is_no_body(served):
    async def route(request):
        await request.connection.head(request.stream, 200, {"content-type": "text/plain"})
        await request.connection.data(request.stream, b"half", end=False)
        await request.connection.goaway(request.stream)

    async with served(route) as (_, service):
        error = await outcome_of(service.get("/x"))
        assert isinstance(error, sg.TransportError)
        assert error.processed == "maybe"


async def test_a_connection_is_replaced_before_servers_like_to_say_goaway(served):
    """nginx says it to the thousandth request by default: by then nobody is on it any more."""
    async with served(hello) as (server, service):
        for _ in range(24):
            async with in_background(service, *["/x"] * 50) as ends:
                pass
            assert all(isinstance(end, sg.ServiceResponse) for end in ends)
        assert server.accepted == 3
        await settled(lambda: server.open == 1)


async def test_more_calls_than_a_connection_has_streams_take_another(served):
    async def route(request):
        seen.append(request)
        if len(seen) == 150:
            all_there.set()
        await all_there.wait()
        return hello(request)

    seen, all_there = [], trio.Event()
    bulkhead = sg.BulkheadConfig(max_concurrent=200)
    async with served(route, bulkhead=bulkhead) as (server, service):
        async with in_background(service, *["/x"] * 150) as ends:
            pass
        assert len(ends) == 150
        assert all(isinstance(end, sg.ServiceResponse) for end in ends)
        assert server.accepted == 2


# ---- what is abandoned


async def abandoned(service, server):
    """A call that is cancelled when the server has it."""
    before = len(server.requests)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.get, "/hang")
        await settled(lambda: len(server.requests) > before)
        nursery.cancel_scope.cancel()


async def test_abandoned_streams_never_use_up_a_connection(served):
    """The library resets no stream that was cancelled, and opens new ones until the server calls it a violation."""

    async def route(request):
        return hello(request) if request.path == "/x" else await trio.sleep_forever()

    async with served(route, max_streams=5) as (server, service):
        for _ in range(20):
            await abandoned(service, server)
            assert (await service.get("/x")).data == "hello"
        await settled(lambda: server.open == 1)
        assert server.violations == []


async def test_a_deadline_ends_a_call_and_its_connection(served):
    async def route(request):
        await trio.sleep_forever()

    async with served(route) as (server, service):
        with trio.fail_after(5):
            assert isinstance(await outcome_of(service.get("/hang", timeout=0.05)), sg.CallTimeout)
        await settled(lambda: server.open == 0)


async def test_who_shares_a_connection_with_an_abandoned_call_loses_nothing(served):
    async def route(request):
        await (release if request.path == "/slow" else trio.Event()).wait()
        return hello(request)

    release = trio.Event()
    async with served(route) as (server, service):
        async with in_background(service, "/slow") as ends:
            await settled(lambda: server.requests)
            await abandoned(service, server)
            release.set()
        assert (ends[0].data, server.accepted) == ("hello", 1)
        await settled(lambda: server.open == 0)  # closed when the last of its calls had ended


async def test_calls_that_wait_for_a_handshake_whose_caller_has_gone_make_their_own(served):
    """httpcore loses sight of such a connection, with calls on it, and never closes it."""
    begin, ends = trio.Event(), []
    async with served(hello, begin=begin) as (server, service):

        async def call():
            ends.append((await service.get("/")).data)

        async with trio.open_nursery() as others, trio.open_nursery() as first:
            first.start_soon(service.get, "/first")
            await settled(lambda: server.accepted)
            for _ in range(5):
                others.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            first.cancel_scope.cancel()
            begin.set()
        assert ends == ["hello"] * 5
        await settled(lambda: server.open == 0)


async def test_a_stream_that_is_left_half_read_costs_its_connection_and_no_more(served):
    def route(request):
        return hello(request) if request.path == "/x" else (200, {}, b"x" * 1_000_000)

    async with served(route) as (server, service):
        for _ in range(5):
            with trio.fail_after(5):
                async with service.stream("GET", "/large") as response:
                    assert await anext(response)
            assert (await service.get("/x")).data == "hello"
        await settled(lambda: server.open == 1)


async def test_a_stream_without_end_ends_when_its_block_does(served):
    async def route(request):
        await request.connection.head(request.stream, 200)
        n = 0
        while True:
            await request.connection.data(request.stream, b"%d\n" % n, end=False)
            n += 1

    async with served(route) as (server, service):
        async with service.stream("GET", "/events", timeout=math.inf) as response:
            data = b""
            while len(data) < 100_000:
                data += await anext(response)
        assert data.startswith(b"0\n1\n2\n")
        await settled(lambda: server.open == 0)


async def test_a_peer_that_stops_to_read_does_not_hold_a_call_that_is_cancelled(tls):
    """A write is not cut short for a cancellation, as others share the connection; but it does not wait for ever."""

    async def handler(stream, peer):
        async with trio.SSLStream(stream, context, server_side=True, https_compatible=True) as secure:
            server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
            said = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**30}
            server.local_settings = h2.settings.Settings(client=False, initial_values=said)
            server.initiate_connection()
            server.increment_flow_control_window(2**30)
            await secure.send_all(server.data_to_send())
            await given_up.wait()
            while await stream.receive_some(65536):
                pass

    context, given_up = server_context(CA, "localhost"), trio.Event()
    context.set_alpn_protocols(["h2"])
    async with serve(handler) as peer:
        config = sg.ServiceConfig("svc", f"https://localhost:{peer.port}", tls=tls, http2=True, retry=ONCE)
        async with sg.open_runtime(sg.RuntimeConfig([config], metrics=QUIET)) as runtime:
            service = runtime.service("svc")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: service.post("/", content=bytes(50_000_000)))
                await trio.testing.wait_all_tasks_blocked(0.1)
                assert runtime.tree().find("/services/svc").in_flight == 1
                nursery.cancel_scope.cancel()
            await settled(lambda: runtime.tree().find("/services/svc").in_flight == 0)
            given_up.set()
            await settled(lambda: peer.open == 0)


async def test_nothing_splits_a_request(served):
    """h2 sends line breaks in headers if it is given any: they are refused before it."""
    async with served(hello) as (server, service):
        for headers in ({"X-A": "1\r\nX-B: 2"}, {"X-A": "1\0"}, {"X-A\n": "1"}):
            with pytest.raises(sg.InvalidRequest):
                await service.get("/x", headers=headers)
        assert server.requests == []
