"""A service through the proxy: whatever the network does, a call ends once, in time, and with nobody else's answer."""

from __future__ import annotations

import gc
import hashlib
import math
import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.service import ONCE, QUIET, outcome_of
from support.wire import HOST, http_server, json_answer

import switchgear as sg
from switchgear.testing import (
    Bandwidth,
    BlackHole,
    Corrupt,
    Drip,
    FaultProxy,
    HalfClose,
    Latency,
    Reset,
    Truncate,
)
from switchgear.testing.strategies import Schedule, schedules

SLOW = (Latency(0.3), Latency(0.3, 0.2, "upstream"), Drip(10, 0.001), Drip(7, 0.001, "upstream"), Bandwidth(2000))
BROKEN = {
    Reset(): "no",
    Reset(0): "maybe",
    Reset(60): "maybe",
    Reset(10, "upstream"): "maybe",
    Truncate(): "maybe",
    Truncate(0): "maybe",
    Truncate(60): "maybe",
    Truncate(10, "upstream"): "maybe",
    HalfClose(60): "maybe",
    Corrupt(0): "maybe",
}
SILENT = (BlackHole(), BlackHole(0), BlackHole(60), BlackHole(10, "upstream"))


class Echo(msgspec.Struct):
    """What the server answers: whose call it is, and something that a wrong byte would show in."""

    id: str
    digest: str


def echo(received):
    name = received.header("x-request-id")
    return json_answer({"id": name, "digest": hashlib.sha256(name.encode()).hexdigest(), "pad": "x" * 200})


def assert_right(response):
    assert response.data == Echo(response.request_id, hashlib.sha256(response.request_id.encode()).hexdigest())


@asynccontextmanager
async def behind(*faults, plan=None, **fields):
    """A service behind a proxy; at the end nothing of any call is left."""
    fields = {"retry": ONCE, "timeout": sg.TimeoutConfig(total=5.0), **fields}
    async with http_server(echo) as server, FaultProxy.open(HOST, server.port, faults=faults, plan=plan) as proxy:
        config = sg.ServiceConfig("svc", proxy.url, **fields)
        async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET), seed=1) as runtime:
            yield runtime, proxy
            assert runtime.tree().find("/services/svc").in_flight == 0
            assert runtime.tree().find("/services/svc").restarts == 0
            connections = runtime.metrics.get("svc").connections
            assert connections is None or connections.open == connections.idle
        with trio.fail_after(60):  # all that was open is closed
            while proxy.statistics().open or server.open:  # noqa: ASYNC110 - of the kernel's doing, which has no event
                await trio.sleep(0.05)


@pytest.mark.parametrize("fault", SLOW, ids=repr)
async def test_what_is_slow_is_only_slow(fault, autojump_clock) -> None:
    async with behind(fault) as (runtime, proxy):
        for _ in range(2):
            assert_right(await runtime.service("svc").get("/", type=Echo))
        assert proxy.statistics().connections == 1
        assert runtime.metrics.get("svc").connections.reused == 1


@pytest.mark.parametrize(("fault", "processed"), BROKEN.items(), ids=repr)
async def test_what_breaks_is_said_and_its_connection_is_not_used_again(fault, processed, autojump_clock) -> None:
    async with behind(fault) as (runtime, proxy):
        with pytest.raises(sg.TransportError) as caught:
            await runtime.service("svc").get("/", type=Echo)
        assert processed in ("no", caught.value.processed)
        proxy.heal()
        assert_right(await runtime.service("svc").get("/", type=Echo))
        assert proxy.statistics().connections == 2


@pytest.mark.parametrize("fault", SILENT, ids=repr)
async def test_silence_ends_with_the_calls_time(fault, autojump_clock) -> None:
    async with behind(fault) as (runtime, proxy):
        begun = trio.current_time()
        with pytest.raises(sg.CallTimeout):
            await runtime.service("svc").get("/", type=Echo)
        assert trio.current_time() == pytest.approx(begun + 5.0)
        proxy.heal()
        assert_right(await runtime.service("svc").get("/", type=Echo))


async def test_retries_get_past_a_network_that_mends(autojump_clock) -> None:
    plan = Schedule(((Reset(),), (Truncate(30),), (BlackHole(),)))
    retry = sg.RetryPolicy(max_attempts=4, base_delay=0.1)
    async with behind(plan=plan, retry=retry, timeout=sg.TimeoutConfig(10.0, attempt=1.0)) as (runtime, _):
        response = await runtime.service("svc").get("/", type=Echo)
        assert_right(response)
        assert response.attempts == 4


async def test_a_stream_that_is_cut_says_so(autojump_clock) -> None:
    async with behind(Truncate(300)) as (runtime, _), runtime.service("svc").stream("GET", "/") as response:
        with pytest.raises(sg.TransportError):
            async for _ in response:
                pass


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


async def test_tls_passes_through_and_a_corrupted_record_is_found(authority, tmp_path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = sg.TLSConfig(ca_file=str(tmp_path / "ca.pem"))
    async with http_server(echo, ssl_context=context) as server, FaultProxy.open(HOST, server.port) as proxy:
        config = sg.ServiceConfig("svc", f"https://localhost:{proxy.port}", tls=tls, retry=ONCE)
        async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET)) as runtime:
            service = runtime.service("svc")
            assert_right(await service.get("/", type=Echo))
            proxy.reset_all()
            proxy.faults = (Corrupt(proxy.statistics().downstream_bytes - 20),)
            with pytest.raises(sg.TransportError):
                await service.get("/", type=Echo)
            proxy.heal()
            assert_right(await service.get("/", type=Echo))


# ---- generated

calls = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.01, 0.5]),  # when it begins
        st.sampled_from([None, None, 0.02, 1.0]),  # when it is cancelled
        st.sampled_from(["GET", "POST", "stream"]),
    ),
    min_size=1,
    max_size=8,
)


async def one_call(service, at, cancelled, kind, ends):
    """How it ended, once: an answer, an error of ours, or our own cancellation; never later than its time."""
    await trio.sleep(at)
    begun = trio.current_time()
    with trio.move_on_after(cancelled or math.inf) as scope:
        try:
            if kind == "stream":
                async with service.stream("GET", "/", timeout=2.0) as response:
                    body = b"".join([piece async for piece in response])
                ends.append((response.request_id, body))
            else:
                response = await service.request(kind, "/", type=Echo, timeout=2.0)
                ends.append((response.request_id, response.data))
        except sg.ServiceError as error:
            ends.append(error)
    if scope.cancelled_caught:
        ends.append("cancelled")
    assert trio.current_time() <= begun + min(2.0, cancelled or 2.0) + 0.5


def right(end):
    name, found = end
    if isinstance(found, bytes):
        found = msgspec.json.decode(found, type=Echo)
    return found == Echo(name, hashlib.sha256(name.encode()).hexdigest())


@given(schedules(max_bytes=700), calls)
@settings(max_examples=80)
@example(Schedule(((Latency(0.05, 0.05), Drip(1, 0.0)), (BlackHole(0),), (Reset(300),))), [(0.0, None, "GET")] * 4)
def test_each_call_ends_once_in_time_and_with_its_own_answer(schedule, some) -> None:
    corrupted = any(isinstance(fault, Corrupt) for faults in schedule.connections for fault in faults)

    async def main():
        retry = sg.RetryPolicy(max_attempts=3, base_delay=0.05)
        async with behind(plan=schedule, retry=retry, timeout=sg.TimeoutConfig(2.0, attempt=0.7)) as (runtime, _):
            ends = []
            async with trio.open_nursery() as nursery:
                for at, cancelled, kind in some:
                    nursery.start_soon(one_call, runtime.service("svc"), at, cancelled, kind, ends)
            assert len(ends) == len(some)
            if not corrupted:  # else a turned byte may be one of the body, and JSON has no checksum
                assert all(right(end) for end in ends if isinstance(end, tuple))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.005))


async def test_no_descriptor_is_left() -> None:
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    async def round_trip():
        for fault in (Latency(0.0), Reset(50), Truncate(0), Corrupt(0)):
            async with behind(fault) as (runtime, _):
                await outcome_of(runtime.service("svc").get("/"))

    await round_trip()
    gc.collect()
    before = descriptors()
    await round_trip()
    gc.collect()
    assert descriptors() <= before
