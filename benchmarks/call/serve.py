"""The server of `call.py`'s contenders where nginx is not there, or cannot do it: nginx waits 20 ms for nobody.

    python -m benchmarks.call.serve '{"ports": [8001, 8002], "delay": 0.02}'

It reads no more of a request than it has to, so that it is not slower than those who are measured: where the head ends,
and the id that it gives back. It runs until its standard input ends, and so no longer than whoever started it.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections import deque

BODY = b'{"id":"c_0123456789","amount":250,"currency":"EUR","paid":true,"lines":["%s"]}' % (b"x" * 124)  # 200 bytes
MARK = b"\r\nX-Request-ID: "
END = b"\r\n\r\n"
FIRST = b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: application/json\r\nContent-Length: %d" % len(BODY)


def answer(head: bytes) -> bytes:
    """To one request: the same to all, but for the id."""
    _, mark, rest = head.partition(MARK)
    if not mark:
        return FIRST + END + BODY
    return b"".join((FIRST, MARK, rest.partition(b"\r\n")[0], END, BODY))


class Late:
    """Sends each answer so many seconds late. All wait equally long, so one queue and one timer do."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._queue: deque[tuple[float, asyncio.Transport, bytes]] = deque()
        self._loop = asyncio.get_running_loop()

    def send(self, transport: asyncio.Transport, data: bytes) -> None:
        """Later."""
        if not self._delay:
            transport.write(data)
            return
        due = self._loop.time() + self._delay
        if not self._queue:
            self._loop.call_at(due, self._flush)
        self._queue.append((due, transport, data))

    def _flush(self) -> None:
        now = self._loop.time()
        while self._queue and self._queue[0][0] <= now:
            _, transport, data = self._queue.popleft()
            transport.write(data)
        if self._queue:
            self._loop.call_at(self._queue[0][0], self._flush)


class Peer(asyncio.Protocol):
    """One connection. Requests have no body."""

    def __init__(self, late: Late) -> None:
        self._late = late
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """By asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """By asyncio."""
        *heads, self._unread = (self._unread + data).split(END)
        for head in heads:
            self._late.send(self._transport, answer(head))


async def serve(ports: list[int], delay: float = 0.0, cert: str = "", key: str = "") -> None:
    """Until standard input ends."""
    loop = asyncio.get_running_loop()
    late = Late(delay)
    tls = None
    if cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(cert, key)
    for port in ports:
        await loop.create_server(lambda: Peer(late), "127.0.0.1", port, ssl=tls, backlog=4096)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(**json.loads(sys.argv[1])))
