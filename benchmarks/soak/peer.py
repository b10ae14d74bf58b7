"""The other side of the soak: a server that does what the path of a request says. Run as a child process.

The last line of every whole answer is the id of its request, so that an answer in the wrong hands is seen.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import sys

import trio

KINDS = {
    "plain": 8,
    "chunked": 4,
    "gzip": 2,
    "until-close": 1,
    "says-close": 1,
    "closes-unsaid": 1,
    "continue-first": 1,
    "empty": 1,
    "slow": 2,
    "drip": 1,
    "stall": 1,
    "half": 1,
    "half-reset": 1,
    "surplus": 1,
    "garbage": 1,
    "hangs-up": 1,
    "error-500": 1,
    "error-503": 1,
    "early": 1,
}
"""What a request can ask for, and how often it is asked for."""
WRONG = frozenset({"stall", "half", "half-reset", "garbage", "hangs-up", "error-500", "error-503", "early"})
"""Those that have no answer, or an error, in them."""


class Over(Exception):
    """The connection is to be closed."""


async def _request(stream: trio.abc.Stream, data: bytes) -> tuple[bytes, bytes, bytes]:
    """The path and the id of the next request, and what came behind its head."""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(65536)
        if not more:
            raise Over
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    size = int(fields.get(b"content-length", 0))
    if b"/early/" not in first:
        while len(rest) < size:
            more = await stream.receive_some(65536)
            if not more:
                raise Over
            rest += more
    return first.split(b" ")[1], fields[b"x-request-id"], rest[size:]


def _whole(body: bytes, more: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\n%bContent-Length: %d\r\n\r\n%b" % (
        status,
        more,
        len(body),
        body,
    )


async def _answer(stream: trio.abc.Stream, raw: trio.SocketStream, kind: str, body: bytes) -> None:  # noqa: PLR0915
    send = stream.send_all
    match kind:
        case "chunked":
            parts = [body[i : i + 1000] for i in range(0, len(body), 1000)]
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            await send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks)
        case "gzip":
            await send(_whole(gzip.compress(body, 1), b"Content-Encoding: gzip\r\n"))
        case "until-close":
            await send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + body)
            raise Over
        case "says-close":
            await send(_whole(body, b"Connection: close\r\n"))
            raise Over
        case "closes-unsaid":
            await send(_whole(body))
            raise Over
        case "continue-first":
            await send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + _whole(body))
        case "empty":
            await send(b"HTTP/1.1 204 No Content\r\n\r\n")
        case "slow":
            await trio.sleep(0.02)
            await send(_whole(body))
        case "drip":
            data = _whole(body[-40:])
            for i in range(0, len(data), 20):
                await send(data[i : i + 20])
                await trio.sleep(0.001)
        case "stall":
            await trio.sleep_forever()
        case "half":
            await send(_whole(body)[:-10])
            raise Over
        case "half-reset":
            await send(_whole(body)[:-10])
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise Over
        case "surplus":
            await send(_whole(body) + _whole(b"not yours"))
        case "garbage":
            await send(b"\x16\x03\x01 no HTTP\r\n\r\n")
            raise Over
        case "hangs-up":
            raise Over
        case "error-500":
            await send(_whole(body, status=b"500 Oh"))
        case "error-503":
            await send(_whole(body, b"Retry-After: 0\r\n", b"503 Busy"))
        case "early":
            await send(_whole(body, b"Connection: close\r\n", b"413 Too Large"))
            raise Over
        case _:
            await send(_whole(body))


async def _serve(raw: trio.SocketStream, context: ssl.SSLContext | None) -> None:
    rest = b""
    stream: trio.abc.Stream = raw
    if context is not None:
        stream = trio.SSLStream(raw, context, server_side=True)
    try:
        async with raw:  # of TLS no more: who reads half of an answer does not wait for our close_notify
            while True:
                path, who, rest = await _request(stream, rest)
                kind, size = path.decode().split("/")[1:3]
                await _answer(stream, raw, kind, b"x" * int(size) + b"\n" + who)
    except (Over, trio.BrokenResourceError, ConnectionError):
        return


async def main() -> None:
    """Two listeners, and a third for TLS with the certificate of the argument.

    Their ports are said on standard output. Ends when standard input does.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1])
    listeners = [(await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=2000))[0] for _ in range(3)]
    print(*(listener.socket.getsockname()[1] for listener in listeners), flush=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, lambda stream: _serve(stream, None), listeners[:2])
        nursery.start_soon(trio.serve_listeners, lambda stream: _serve(stream, context), listeners[2:])
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
