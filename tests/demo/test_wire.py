"""The peers of the tests do what they say (support/wire.py): other tests stand on them."""

import httpx
import pytest
import trio
from support import wire


def http():
    return httpx.AsyncClient(timeout=None, trust_env=False)


async def test_http_server_answers_logs_and_keeps_the_connection():
    def route(received):
        assert received.header("X-A") == "1"
        return 201, {"X-Path": received.path}, received.body + received.query["q"].encode()

    async with wire.http_server(route) as server, http() as client:
        for number in range(3):
            answer = await client.post(server.url + f"/a/b?q={number}", content=b"body", headers={"X-A": "1"})
            assert (answer.status_code, answer.headers["x-path"], answer.text) == (201, "/a/b", f"body{number}")
        assert [seen.method for seen in server.log] == ["POST"] * 3
        assert server.accepted == 1


async def test_http_server_routes_may_be_async_and_may_hang_up():
    async def route(received):
        await trio.lowlevel.checkpoint()
        return None if received.path == "/gone" else wire.json_answer({"ok": True}, retry_after="1")

    async with wire.http_server(route) as server, http() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(server.url + "/gone")
        answer = await client.get(server.url + "/")
        assert (answer.json(), answer.headers["retry-after"]) == ({"ok": True}, "1")


async def test_http_server_cuts_a_body_short():
    async with wire.http_server(lambda received: wire.Answer(body=b"0123456789", cut=4)) as server, http() as client:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            await client.get(server.url + "/")


async def test_http_server_refuses_what_is_no_http():
    async with wire.http_server(lambda received: (200, {}, b"")) as server:
        async with await trio.open_tcp_stream(server.host, server.port) as stream:
            await stream.send_all(b"\x00\x01 nonsense\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400")
        assert server.log == []


async def test_http_server_answers_a_head_request_without_a_body():
    async with wire.http_server(lambda received: (200, {}, b"body")) as server, http() as client:
        answer = await client.head(server.url)
        assert (answer.headers["content-length"], answer.content) == ("4", b"")


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (wire.half(), httpx.RemoteProtocolError),
        (wire.garbage(), httpx.RemoteProtocolError),
        (wire.closes_after_request(), httpx.RemoteProtocolError),
        (wire.closes_at_once(), (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)),
        (wire.resets(), httpx.ReadError),
    ],
    ids=["half", "garbage", "closes_after_request", "closes_at_once", "resets"],
)
async def test_peers_that_misbehave_and_then_behave(handler, error):
    async with wire.serve(wire.in_turn(handler, wire.answers_ok(b"[1]"))) as peer, http() as client:
        with pytest.raises(error):
            await client.get(peer.url)
        assert (await client.get(peer.url)).json() == [1]
        assert peer.accepted == 2
        assert peer.received[-1].startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("handler", [wire.never_answers(), wire.never_reads()])
async def test_silent_peers(handler, autojump_clock):
    async with wire.serve(handler) as peer, http() as client:
        with trio.move_on_after(100) as scope:
            await client.get(peer.url)
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()


async def test_drips_in_the_clock_of_the_test(autojump_clock):
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with wire.serve(wire.drips(body, every=10)) as peer, http() as client:
        begun = trio.current_time()
        assert (await client.get(peer.url)).text == "ok"
        assert trio.current_time() - begun >= 10 * (len(body) - 1)


async def test_nobody_listens_on_an_unused_port():
    with pytest.raises(OSError, match="connect"):
        await trio.open_tcp_stream(wire.HOST, wire.unused_port())
