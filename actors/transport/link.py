"""Bytes to and from one peer: a plain socket by the shortest way that trio knows, or TLS over trio's streams.

A plain link sends at once and waits for the socket only when it is full: `trio.SocketStream` takes a pass of the
scheduler for every send, which is a third of what a call costs. Closing is synchronous in both, so that a cancelled
call leaves nothing to await.
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import trio

from ..errors import TransportError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from ..service.target import Target

_READ = 65_536


class Link(Protocol):
    """A connected peer."""

    def send_nowait(self, data: bytes) -> int:
        """Send as many bytes as go without waiting, usually all. Raises trio.BrokenResourceError."""
        ...

    async def send_all(self, data: bytes | memoryview) -> bool:
        """Send everything; false if the peer has begun to answer before that. Raises trio.BrokenResourceError."""
        ...

    async def receive_some(self) -> bytes:
        """What has come, at least one byte; none if the peer has closed. Raises trio.BrokenResourceError."""
        ...

    def is_stale(self) -> bool:
        """Has the peer closed, or said something unasked, while the link was idle?"""
        ...

    def close(self) -> None:
        """Close at once. Twice is once."""
        ...


class PlainLink:
    """A TCP socket."""

    __slots__ = ("_fd", "_poll", "_socket")

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.settimeout(0)
        self._fd = self._socket.fileno()  # -1 once it is closed
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def send_nowait(self, data: bytes | memoryview) -> int:
        """One system call."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._broken(error) from error

    async def send_all(self, data: bytes | memoryview) -> bool:
        """Waits for room where there is none."""
        rest = memoryview(data)  # slices of bytes would copy what is left of a large body again and again
        while rest := rest[self.send_nowait(rest) :]:
            await self._wait_for_either()
            if self._fd == -1:
                raise trio.ClosedResourceError
            if self.is_stale():  # an early refusal: a peer that sends one may read no more, and wait for us to stop
                return False
        return True

    async def wait_writable(self) -> None:
        """Until there is room."""
        if self._fd == -1:
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_writable(self._fd)

    async def _wait_for_either(self) -> None:
        """Until the socket can be written or read, or is closed."""
        async with trio.open_nursery() as nursery:

            async def one(wait: Callable[[int], Awaitable[None]]) -> None:
                if self._fd != -1:  # closed before this task had its first turn
                    with suppress(trio.ClosedResourceError):  # the next system call says so too
                        await wait(self._fd)
                nursery.cancel_scope.cancel()

            nursery.start_soon(one, trio.lowlevel.wait_readable)
            nursery.start_soon(one, trio.lowlevel.wait_writable)

    async def receive_some(self) -> bytes:
        """Waits first: a peer on the network has not answered before we ask."""
        while True:
            if self._fd == -1:  # closed by a timeout while nobody waited here
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(self._fd)
            try:
                return self._socket.recv(_READ)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._broken(error) from error

    def _broken(self, error: OSError) -> trio.BrokenResourceError | trio.ClosedResourceError:
        return trio.ClosedResourceError() if self._fd == -1 else trio.BrokenResourceError(str(error))

    def is_stale(self) -> bool:
        """Readable is stale: an idle peer has nothing to say. (To peek would raise, and cost three times as much.)"""
        return self._fd == -1 or bool(self._poll.poll(0))

    def close(self) -> None:
        """Close."""
        if self._fd != -1:
            trio.lowlevel.notify_closing(self._fd)
            self._socket.close()
            self._fd = -1


class _Below(trio.abc.Stream):
    """A plain link as what SSLStream sends and receives by.

    In the place of `trio.SocketStream`, for the same reason as above: TLS costs two passes of the scheduler for a call
    (for locks, which are there for users who send and receive in two tasks), and would cost another one.
    """

    def __init__(self, link: PlainLink) -> None:
        self.link = link

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest := rest[self.link.send_nowait(rest) :]:
            await self.wait_send_all_might_not_block()

    async def wait_send_all_might_not_block(self) -> None:
        await self.link.wait_writable()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self.link.receive_some()

    async def aclose(self) -> None:
        self.link.close()
        await trio.lowlevel.checkpoint()


class TLSLink:
    """TLS over a TCP socket, by trio's SSLStream."""

    __slots__ = ("_link", "_stream")

    def __init__(self, stream: trio.SSLStream[_Below]) -> None:
        self._stream = stream
        self._link = stream.transport_stream.link

    def send_nowait(self, data: bytes) -> int:
        """Nothing: SSLStream always waits."""
        return 0

    async def send_all(self, data: bytes | memoryview) -> bool:
        """Everything: SSLStream cannot read before that."""
        await self._stream.send_all(data)
        return True

    async def receive_some(self) -> bytes:
        """To close without a close_notify breaks the link: RFC 9112, section 9.8."""
        return bytes(await self._stream.receive_some(_READ))

    def is_stale(self) -> bool:
        """Readable is stale: a close_notify, or bytes unasked for. (A session ticket comes with the first answer.)

        Bytes that left the socket with the last answer and were not read are an answer nobody asked for, and
        the next request would take for its own: trio has no public way to see them.
        """
        unread = self._stream._incoming.pending or self._stream.pending()  # noqa: SLF001
        return bool(unread) or self._link.is_stale()

    def close(self) -> None:
        """Without a goodbye: HTTP says where its messages end, so nobody can cut one short unseen."""
        self._link.close()


async def connect(to: Target, tls: ssl.SSLContext | None) -> Link:
    """A link to an instance: Happy Eyeballs and TCP_NODELAY by trio, the host name checked by TLS.

    Raises OSError, trio.BrokenResourceError or ssl.SSLError (wrapped in the former by trio).
    """
    link = PlainLink(await trio.open_tcp_stream(to.address or to.host, to.port))
    if tls is None:
        return link
    secure = trio.SSLStream(_Below(link), tls, server_hostname=to.host, https_compatible=False)
    try:
        await secure.do_handshake()
    except BaseException:
        link.close()
        raise
    return TLSLink(secure)


async def touch(to: Target) -> None:
    """Connect to an instance by TCP, and close again: somebody listens there. Raises TransportError."""
    try:
        stream = await trio.open_tcp_stream(to.address or to.host, to.port)
    except (OSError, UnicodeError) as error:
        raise TransportError(f"no connection to {to.authority}: {type(error).__name__}", processed="no") from error
    stream.socket.close()
