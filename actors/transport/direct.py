"""Our own door: HTTP/1.1 on trio sockets, without a client library's layers between a call and the wire.

Here is the course of one exchange: a connection from the pool or a new one, the request, the answer, and the one case
in which a request is sent twice. A connection that was idle may have been closed by the peer at the very moment we
wrote to it. If not one byte of an answer came, a request that may be repeated is sent once more, on a new connection;
any other ends as a TransportError that says how unsure it is.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trio

from ..errors import TransportError
from . import head
from .connection import Connection
from .door import Reply
from .inflate import inflater_for
from .link import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..service.target import Target
    from .door import Wire
    from .link import Link
    from .pool import Pool


class DirectDoor:
    """See `Door`. One for each service; it owns the service's connections."""

    def __init__(self, pool: Pool, tls: Callable[[], ssl.SSLContext]) -> None:
        self.pool = pool
        self._tls = tls  # made when the first https connection needs it

    async def exchange(self, to: Target, wire: Wire, *, connect: float, max_bytes: int) -> Reply:
        """See `Door.exchange`."""
        now = trio.current_time()
        connection = await self._request(to, wire, now, connect)
        try:
            raw = await connection.body(max_bytes)
        finally:
            self.pool.give_back(to, connection, now)  # idle since a little later; to say earlier errs on the safe side
        parser = connection.parser
        headers = tuple([(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in parser.headers])
        inflater = inflater_for(headers, max_bytes)
        if inflater is not None:
            raw = inflater.feed(raw)
            inflater.end()
        return Reply(parser.status, headers, raw)

    async def _request(self, to: Target, wire: Wire, now: float, timeout: float) -> Connection:
        """Send a request and read the head of its answer; the connection is then the caller's to give back."""
        data = head.encode(to, wire.method, wire.target, head.block(wire.constant), wire.headers, len(wire.body))
        connection = self.pool.take(to, now)
        if connection is not None:
            try:
                return await self._send(to, connection, wire, data)
            except TransportError as error:
                if connection.parser.started:
                    raise
                if not wire.replayable:
                    error.message = (
                        "the peer closed a kept-alive connection just as the request was sent: whether it was processed "
                        "is unknown, and this request is not one that may be repeated"
                    )
                    raise
        connection = Connection(await self._connect(to, timeout))
        self.pool.connected()
        return await self._send(to, connection, wire, data)

    async def _send(self, to: Target, connection: Connection, wire: Wire, data: bytes) -> Connection:
        try:
            await connection.request(data, wire.body, is_head=wire.method == "HEAD")
        except BaseException:
            self.pool.give_back(to, connection, trio.current_time())  # which closes it: it is not usable
            raise
        return connection

    async def _connect(self, to: Target, timeout: float) -> Link:
        try:
            with trio.move_on_after(timeout):
                return await connect(to.host, to.port, self._tls() if to.scheme == "https" else None)
        except (OSError, trio.BrokenResourceError, UnicodeError) as error:  # the last: a name that DNS cannot have
            words = _words(error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error)
            raise TransportError(f"no connection to {to.authority}: {words}", processed="no") from error
        raise TransportError(f"no connection to {to.authority} within {timeout:g} s", processed="no")

    async def aclose(self) -> None:
        """Close all connections that are idle, and the others when their exchange has ended."""
        self.pool.close()


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return type(error).__name__
