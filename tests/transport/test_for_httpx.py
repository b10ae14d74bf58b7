"""Our connections behind an httpx client."""

from __future__ import annotations

import httpx
import pytest
from support.wire import (
    Answer,
    answers,
    closes_at_once,
    half,
    http_server,
    in_turn,
    json_answer,
    never_answers,
    serve,
    unused_port,
)

import switchgear as sg


async def pieces():
    for _ in range(5):
        yield b"abc" * 1000


def client(url, **options):
    return httpx.AsyncClient(transport=sg.PooledTransport(), base_url=url, **options)


async def test_a_client_works_as_with_any_transport():
    def route(received):
        if received.path == "/large":
            return Answer(200, [("Content-Type", "text/plain")], b"x" * 300_000)
        return Answer(200, [], received.body) if received.body else json_answer({"path": received.target})

    async with http_server(route) as server, client(server.url) as http:
        assert (await http.get("/a", params={"q": "1 2"})).json() == {"path": "/a?q=1+2"}
        assert len((await http.get("/large")).text) == 300_000
        assert (await http.post("/echo", content=b"body")).content == b"body"
        assert (await http.post("/echo", content=pieces())).content == b"abc" * 5000
        length = {"Content-Length": "15000"}
        assert (await http.post("/echo", content=pieces(), headers=length)).content == b"abc" * 5000
        assert (await http.head("/a")).status_code == 200
        assert (await http.get("/a")).http_version == "HTTP/1.1"
        assert server.accepted == 1


async def test_a_response_that_is_not_read_to_its_end_closes_its_connection():
    async with http_server(lambda _: Answer(200, [], b"x" * 1_000_000)) as server:
        transport = sg.PooledTransport()  # bare: a client's own generators complain when they are left half-way
        for accepted in (1, 2):
            response = await transport.handle_async_request(httpx.Request("GET", server.url))
            assert len(await anext(aiter(response.stream))) > 0
            await response.aclose()
            assert server.accepted == accepted
        await transport.aclose()


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (closes_at_once(), httpx.RemoteProtocolError),
        (half(), httpx.RemoteProtocolError),
        (answers(b"SMTP\r\n\r\n"), httpx.RemoteProtocolError),
        (never_answers(), httpx.ReadTimeout),
    ],
    ids=["closes", "half", "garbage", "silent"],
)
async def test_failures_are_httpx_errors_and_the_next_request_works(handler, error, autojump_clock):
    async with serve(in_turn(handler, answers(b"HTTP/1.1 204 No\r\n\r\n"))) as peer, client(peer.url) as http:
        with pytest.raises(error):
            await http.get("/", timeout=2)
        assert (await http.get("/")).status_code == 204


async def test_nobody_there():
    async with client(f"http://127.0.0.1:{unused_port()}") as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("/")
        with pytest.raises(httpx.UnsupportedProtocol):
            await http.get("ftp://127.0.0.1/")


async def test_a_header_cannot_split_a_request():
    async with http_server(lambda _: json_answer(1)) as server, client(server.url) as http:
        with pytest.raises(httpx.LocalProtocolError):
            await http.get("/", headers={"X-Test": "a\r\nX-Evil: b"})
        assert (await http.get("/")).json() == 1
        assert len(server.log) == 1
