"""Our own connections against a real server: nginx, started here with a configuration of its own.

`.ci/run` installs it; where it is not, these tests are skipped, but not in CI.
"""

from __future__ import annotations

import ssl
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from types import SimpleNamespace

import pytest
import trio
import trustme
from support.programs import child, listens, program, until
from support.wire import HOST, unused_port

import switchgear as sg
from switchgear.actors.errors import ResponseTooLarge, TransportError
from switchgear.actors.service.target import Target
from switchgear.actors.transport import DirectDoor, Pool, PoolCounts, Wire
from switchgear.runtime.expiry import Expiries

CA = trustme.CA()
GET = Wire("GET", "/file", (("Accept-Encoding", "gzip"),), replayable=True)

CONFIG = """
daemon off;
master_process off;
pid {here}/pid;
error_log {here}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {here}/access.log;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    default_type text/plain;
    root {here}/www;
    ssl_certificate {here}/cert.pem;
    ssl_certificate_key {here}/key.pem;
    gzip on;
    gzip_types text/plain;
    gzip_min_length 100;
    client_max_body_size 100k;
    {extra}
    server {{
        listen {host}:{plain};
        listen {host}:{tls} ssl{http2};
        location = /hello {{ return 200 "hello"; }}
        location = /empty {{ return 204; }}
        location = /gone {{ return 444; }}
        location = /late {{ return 404; }}
    }}
}}
"""


@pytest.fixture
def start(tmp_path):
    """Starts nginx with more lines for its http section, and gives its two ports; stops it after the test."""
    nginx = program("nginx", "nginx-light")
    children = ExitStack()

    async def begin(extra="", http2=""):
        ports = SimpleNamespace(plain=unused_port(), tls=unused_port())
        (tmp_path / "www").mkdir()
        (tmp_path / "www" / "file").write_bytes(b"0123456789" * 10_000)
        (tmp_path / "www" / "bomb").write_bytes(b"\0" * 5_000_000)
        cert = CA.issue_cert(HOST)
        cert.private_key_pem.write_to_path(tmp_path / "key.pem")
        cert.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        text = CONFIG.format(here=tmp_path, host=HOST, plain=ports.plain, tls=ports.tls, extra=extra, http2=http2)
        (tmp_path / "nginx.conf").write_text(text)
        command = [nginx, "-c", tmp_path / "nginx.conf", "-p", tmp_path, "-e", tmp_path / "error.log"]
        await until(partial(listens, ports.tls), children.enter_context(child(command)))
        return ports

    with children:
        yield begin


@asynccontextmanager
async def a_door():
    context = ssl.create_default_context()
    CA.configure_trust(context)
    context.set_alpn_protocols(["http/1.1"])
    expiries = Expiries()
    door = DirectDoor(Pool(PoolCounts(), expiry=30.0, per_instance=10, total=20), lambda: context, expiries.add)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expiries.keep)
        try:
            yield door
        finally:
            await door.aclose()
        nursery.cancel_scope.cancel()


async def ask(door, ports, scheme="http", wire=GET, path=None, **options):
    if path is not None:
        wire = Wire(wire.method, path, wire.headers, wire.body, replayable=wire.replayable)
    to = Target(scheme, HOST, getattr(ports, {"http": "plain", "https": "tls"}[scheme]), "")
    with trio.fail_after(10):
        return await door.exchange(to, wire, **{"connect": 5.0, "max_bytes": 1_000_000, **options})


both = pytest.mark.parametrize("scheme", ["http", "https"])


@both
async def test_connections_are_kept_and_bodies_unpacked(start, scheme) -> None:
    ports = await start()
    async with a_door() as door:
        for path, status, body in [
            ("/file", 200, b"0123456789" * 10_000),
            ("/hello", 200, b"hello"),
            ("/empty", 204, b""),
            ("/late", 404, None),
            ("/file", 200, b"0123456789" * 10_000),
        ]:
            reply = await ask(door, ports, scheme, path=path)
            assert reply.status == status
            assert body is None or reply.body == body
            assert (reply.header("content-encoding") == "gzip") == (path in {"/file", "/late"})
        figures = door.pool.counts.statistics()
        assert (figures.connected, figures.reused, figures.stale) == (1, 4, 0)


@both
async def test_head_and_not_modified_keep_the_connection_too(start, scheme) -> None:
    ports = await start()
    async with a_door() as door:
        head = await ask(door, ports, scheme, Wire("HEAD", "/file", ()))
        assert (head.status, head.body, head.header("content-length")) == (200, b"", "100000")
        tag = head.header("etag")
        reply = await ask(door, ports, scheme, Wire("GET", "/file", (("If-None-Match", tag),)))
        assert (reply.status, reply.body) == (304, b"")
        assert (await ask(door, ports, scheme, path="/hello")).body == b"hello"
        assert door.pool.counts.statistics().connected == 1


@both
async def test_a_limit_of_requests_for_each_connection(start, scheme) -> None:
    ports = await start("keepalive_requests 2;")
    async with a_door() as door:
        for _ in range(6):  # nginx says `Connection: close` with the second, so that none is found stale
            assert (await ask(door, ports, scheme, path="/hello")).body == b"hello"
        figures = door.pool.counts.statistics()
        assert (figures.connected, figures.reused, figures.stale, figures.open) == (3, 3, 0, 0)


@both
async def test_connections_that_it_closes_when_idle_are_found(start, scheme) -> None:
    ports = await start("keepalive_timeout 50ms;")
    async with a_door() as door:
        await ask(door, ports, scheme, path="/hello")
        await trio.sleep(0.5)
        assert (await ask(door, ports, scheme, Wire("POST", "/hello", (), b"x"))).status in (200, 405)
        assert door.pool.counts.statistics().stale == 1


@both
async def test_it_hangs_up_without_an_answer(start, scheme) -> None:
    ports = await start()
    async with a_door() as door:
        await ask(door, ports, scheme, path="/hello")
        with pytest.raises(TransportError) as caught:
            await ask(door, ports, scheme, path="/gone")
        assert caught.value.processed == "maybe"
        assert door.pool.counts.statistics().connected == 2  # the first was not new: it was sent once more
        assert (await ask(door, ports, scheme, path="/hello")).body == b"hello"


@both
async def test_it_refuses_a_large_body_early(start, scheme) -> None:
    ports = await start()
    async with a_door() as door:
        for _ in range(3):
            assert (await ask(door, ports, scheme, Wire("POST", "/hello", (), b"x" * 10_000_000))).status == 413
        assert door.pool.counts.statistics().open == 0


@both
async def test_a_bomb_is_not_unpacked(start, scheme) -> None:
    ports = await start()
    async with a_door() as door:
        with pytest.raises(ResponseTooLarge):
            await ask(door, ports, scheme, path="/bomb")
        assert (await ask(door, ports, scheme, path="/hello")).body == b"hello"


@both
async def test_many_at_once(start, scheme) -> None:
    ports = await start("keepalive_requests 7;")

    async def some():
        for _ in range(20):
            assert len((await ask(door, ports, scheme)).body) == 100_000

    async with a_door() as door:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(some)
        figures = door.pool.counts.statistics()
        assert figures.connected + figures.reused == 160
        assert figures.stale == 0


async def test_tls_of_the_wrong_authority(start) -> None:
    ports = await start()
    async with a_door() as door:
        door._tls = ssl.create_default_context
        with pytest.raises(TransportError) as caught:
            await ask(door, ports, "https")
        assert caught.value.processed == "no"


async def test_http_2_loses_no_call_to_the_limit_of_requests(start, tmp_path) -> None:
    """nginx says GOAWAY to the thousandth; httpx by itself loses 501 of 1,500 then."""
    ports = await start(http2=" http2")
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    config = sg.ServiceConfig(
        "svc",
        f"https://{HOST}:{ports.tls}",
        tls=sg.TLSConfig(ca_file=str(tmp_path / "ca.pem")),
        http2=True,
        retry=sg.RetryPolicy(max_attempts=1),
    )
    done = []
    async with sg.open_runtime(sg.RuntimeConfig([config], metrics=sg.MetricsConfig(websocket=False))) as runtime:

        async def call():
            done.append((await runtime.service("svc").get("/hello")).data)

        async with trio.open_nursery() as nursery:
            for _ in range(1200):
                nursery.start_soon(call)
    assert done == ["hello"] * 1200
    log = (tmp_path / "access.log").read_text().splitlines()
    assert len(log) > 1000  # the last may not be written yet
    assert all("HTTP/2.0" in line for line in log)
