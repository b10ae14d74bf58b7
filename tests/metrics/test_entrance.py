"""Who may subscribe, on real sockets: by token, page and name; and what he gets to know who may not."""

from __future__ import annotations

import logging
import socket

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from metrics.test_stream import connect, receive, streaming, subscribed, works
from trio_websocket import ConnectionRejected

import switchgear as sg
from switchgear.actors.metrics.entrance import TOKEN, Entrance

CANARY = "Canary.4711-of_the~stream"
SECRET = sg.Secret(CANARY)
BEARER = (b"Authorization", b"Bearer " + CANARY.encode())
PAGE = "https://board.example.com"


async def status_of(url, **options):
    """101 for who is let in, or the status he is turned away with; nothing else is said to him."""
    try:
        async with subscribed(url, **options) as connection:
            assert (await receive(connection))["type"] == "hello"
            return 101, connection.subprotocol
    except ConnectionRejected as error:
        return error.status_code, error.body or dict(error.headers).get(b"www-authenticate")


def near(url):
    """Where something that listens everywhere can be reached from here."""
    return url.replace("0.0.0.0", "127.0.0.1")


# ---- tokens


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize(
    ("headers", "subprotocols", "status"),
    [
        ((), (), 401),
        ((BEARER,), (), 101),
        (((b"AUTHORIZATION", b"bearer  " + CANARY.encode()),), (), 101),
        ((), ("metrics.v1", TOKEN + CANARY), 101),
        (((b"Authorization", b"Basic " + CANARY.encode()),), (), 401),
        (((b"Authorization", CANARY.encode()),), (), 401),
        (((b"Authorization", b"Bearer " + CANARY[:-1].encode()),), (), 401),
        (((b"Authorization", b"Bearer"),), (), 401),
        (((b"Authorization", b"Bearer \xff"),), (), 401),
        ((), ("metrics.v1", TOKEN), 401),
        ((), ("metrics.v1", CANARY), 401),
        ((), (TOKEN + "x" * 16, TOKEN + CANARY), 401),
        (((b"Authorization", b"Bearer wrong"), BEARER), (), 401),
        (((b"Cookie", b"token=" + CANARY.encode()),), (), 401),
    ],
)
async def test_only_with_the_token(host, headers, subprotocols, status) -> None:
    async with streaming(host=host, token=SECRET) as (_, url):
        said = await status_of(near(url), headers=headers, subprotocols=subprotocols)
    chosen = "metrics.v1" if "metrics.v1" in subprotocols and status == 101 else None
    assert said == (status, b"Bearer" if status == 401 else chosen)


async def test_the_token_is_never_echoed_and_never_logged(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    async with streaming(token=SECRET) as (_, url):
        stream = await connect(url)
        async with stream:
            await stream.send_all(
                b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Protocol: metrics.v1, %b%b\r\n\r\n" % (TOKEN.encode(), CANARY.encode())
            )
            answer = b""
            while b"hello" not in answer:
                answer += await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 101")
        assert await status_of(f"{url}?token={CANARY}", path=f"/metrics?token={CANARY}") == (401, b"Bearer")
    assert CANARY.encode() not in answer
    assert CANARY not in caplog.text
    assert any(record.name == "trio-websocket" for record in caplog.records)


async def test_without_the_token_nobody_learns_which_paths_there_are() -> None:
    async with streaming(token=SECRET, max_subscribers=1) as (_, url):
        assert [(await status_of(url, path=path))[0] for path in ("/metrics", "/no")] == [401, 401]
        assert (await status_of(url, path="/no", headers=[BEARER]))[0] == 404


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "board.example.com"])
def test_beyond_this_machine_a_token_is_needed(host) -> None:
    with pytest.raises(sg.ConfigError, match=r"host: must be this machine .* unless there is a token: give one"):
        sg.MetricsConfig(host=host)
    assert sg.MetricsConfig(host=host, token=SECRET).host == host


@pytest.mark.parametrize("token", ["", "x" * 15, "x" * 257, "with a blank in it", "with,comma,in-it!", "\u20ac" * 20])
def test_a_token_that_is_guessed_or_cannot_be_sent_is_refused_and_not_repeated(token) -> None:
    with pytest.raises(sg.ConfigError, match="token: must be 16 to 256 letters") as caught:
        sg.MetricsConfig(token=sg.Secret(token))
    assert not token or token not in str(caught.value)


# ---- pages and names


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 101),
        ("LOCALHOST:80", 101),
        ("metrics.localhost", 101),
        ("127.0.0.9:1", 101),
        ("[::1]:5", 101),
        ("evil.example", 403),
        ("evil.example:80", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("localhost@evil.example", 403),
        ("192.168.0.1", 403),
        ("[", 403),
    ],
)
async def test_a_name_that_was_rebound_to_our_address_is_refused(host, status) -> None:
    async with streaming() as (_, url):
        assert (await status_of(url, host=host))[0] == status
        await works(url)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (PAGE, 101),
        (PAGE.upper(), 101),
        ("http://board.example.com", 403),
        (f"{PAGE}:444", 403),
        (f"{PAGE}.evil.example", 403),
        ("http://localhost:3000", 403),  # not the machine that the stream is on
        ("http://stream.example.com:9000", 101),  # what it has served itself, or the proxy before it
        ("https://stream.example.com:9000", 101),
        ("null", 403),
    ],
)
async def test_beyond_this_machine_a_page_is_of_the_streams_own_origin_or_on_the_list(origin, status) -> None:
    fields = {"host": "0.0.0.0", "token": SECRET, "allowed_origins": [PAGE]}
    async with streaming(**fields) as (_, url):
        headers = [BEARER, (b"Origin", origin.encode())]
        assert (await status_of(near(url), host="stream.example.com:9000", headers=headers))[0] == status


async def test_of_two_origins_both_must_be_allowed() -> None:
    async with streaming(allowed_origins=[PAGE]) as (_, url):
        headers = [(b"Origin", PAGE.encode()), (b"Origin", b"https://evil.example")]
        assert (await status_of(url, headers=headers[:1]))[0] == 101
        assert (await status_of(url, headers=headers))[0] == 403


@pytest.mark.parametrize(
    "origin", ["board.example.com", "https://", "HTTPS://a", "https://a/", "https://a?b", "null", "*"]
)
def test_what_is_no_origin_cannot_be_allowed(origin) -> None:
    with pytest.raises(sg.ConfigError, match=r"allowed_origins\[0\]: must be the origin of a page"):
        sg.MetricsConfig(allowed_origins=[origin])


@given(
    st.text(max_size=40),
    st.lists(st.tuples(st.sampled_from([b"Origin", b"authorization", b"X"]), st.binary(max_size=40))),
    st.lists(st.text(max_size=40).map(lambda text: TOKEN + text)),
    st.sampled_from(["127.0.0.1", "0.0.0.0"]),
)
def test_whatever_is_said_nobody_comes_in_without_the_token(host, headers, subprotocols, where) -> None:
    entrance = Entrance(sg.MetricsConfig(host=where, token=SECRET))
    assert entrance.refusal(host, headers, subprotocols) in (401, 403)


# ---- caps: see test_stream.py for those on connections, frames, readers that stall and handshakes that do not end


async def drip(stream, data):
    for byte in data:
        await stream.send_all(bytes([byte]))
        await trio.sleep(0.02)


async def test_a_head_that_comes_drop_by_drop_is_cut_off(monkeypatch) -> None:
    """Each byte comes in time, and the whole of it does not."""
    monkeypatch.setattr("switchgear.actors.metrics.stream._HANDSHAKE", 0.2)
    async with streaming(max_subscribers=1) as (_, url):
        stream = await connect(url)
        async with stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with pytest.raises(trio.BrokenResourceError):
                await drip(stream, b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 10_000)
        await works(url)
