"""The proxy on the wire: a plain client, a plain server, and exactly the fault that was asked for."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from support.wire import HOST, serve

from switchgear.testing import BlackHole, Corrupt, FaultProxy, HalfClose, Reset, Truncate

RESET = "reset"


class Server:
    """Keeps what it hears and how that ends; answers the first bytes, and closes when the client has."""

    def __init__(self):
        self.heard, self.end, self.over = b"", None, trio.Event()

    async def __call__(self, stream, peer):
        self.heard, self.end = await read_to_end(stream, first=lambda: stream.send_all(b"pong"))
        self.over.set()


async def read_to_end(stream, first=None):
    """All that comes, and how it ends."""
    data = b""
    try:
        while chunk := await stream.receive_some():
            if first is not None and not data:
                await first()
            data += chunk
    except trio.BrokenResourceError:
        return data, RESET
    return data, "closed"


@pytest.mark.parametrize(
    ("fault", "client", "server"),
    [
        (None, (b"pong", "closed"), (b"ping", "closed")),
        (Reset(), (b"", RESET), (b"", None)),
        (Reset(0), (b"", RESET), (b"ping", RESET)),
        (Reset(2), (b"po", RESET), (b"ping", RESET)),
        (Reset(4), (b"pong", RESET), (b"ping", RESET)),
        (Truncate(), (b"", "closed"), (b"", None)),
        (Truncate(0), (b"", "closed"), (b"ping", "closed")),
        (Truncate(3), (b"pon", "closed"), (b"ping", "closed")),
        (HalfClose(1), (b"p", "closed"), (b"ping", "closed")),
        (HalfClose(1, "upstream"), (b"pong", "closed"), (b"p", "closed")),
        (Corrupt(1), (b"p\x90ng", "closed"), (b"ping", "closed")),
        (Corrupt(0, "upstream"), (b"pong", "closed"), (b"\x8fing", "closed")),
    ],
    ids=repr,
)
async def test_what_each_side_sees(fault, client, server) -> None:
    one = Server()
    faults = () if fault is None else (fault,)
    with trio.fail_after(20):
        async with serve(one) as peer, FaultProxy.open(HOST, peer.port, faults=faults, seed=1) as proxy:
            async with await trio.open_tcp_stream(HOST, proxy.port) as stream:
                try:
                    await stream.send_all(b"ping")
                    if not isinstance(fault, Reset | Truncate):
                        await stream.send_eof()
                except trio.BrokenResourceError:  # the kernel tells of a reset once: no read will see this one
                    assert fault == Reset()
                else:
                    assert await read_to_end(stream) == client
            if peer.accepted:
                await one.over.wait()
    assert (one.heard, one.end) == server


async def test_a_black_hole_is_silent_until_reset_and_refusal_ends_with_heal() -> None:
    async with serve(Server()) as peer, FaultProxy.open(HOST, peer.port, faults=(BlackHole(),)) as proxy:
        async with await trio.open_tcp_stream(HOST, proxy.port) as stream:
            await stream.send_all(b"ping")
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert (proxy.statistics().open, peer.accepted) == (1, 0)
            proxy.reset_all()
            assert await read_to_end(stream) == (b"", RESET)
        proxy.refuse()
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(HOST, proxy.port)
        proxy.heal()
        async with await trio.open_tcp_stream(HOST, proxy.port) as stream:
            await stream.send_all(b"ping")
            assert await stream.receive_some() == b"pong"


async def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with FaultProxy.open(HOST, 1):
            raise KeyError
