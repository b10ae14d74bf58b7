"""Our own door: HTTP/1.1 on trio sockets, without a client library's layers between a call and the wire.

Here is the course of one exchange: a connection from the pool or a new one, the request, the answer, and the one case
in which a request is sent twice. A connection that was idle may have been closed by the peer at the very moment we
wrote to it. If not one byte of an answer came, a request that may be repeated is sent once more, on a new connection;
any other ends as a TransportError that says how unsure it is.
"""

from __future__ import annotations

import math
import ssl
from typing import TYPE_CHECKING
from weakref import WeakSet

import trio

from ..errors import ServiceError, TransportError
from . import head
from .connection import Connection
from .door import Reply
from .inflate import inflater_for
from .link import connect, touch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from switchgear.runtime import Expiring

    from ..service.target import Target
    from .door import Answer, Wire
    from .link import Link
    from .pool import Pool


_UNSURE = (
    "the peer closed a kept-alive connection just as the request was sent: whether it was processed is unknown, and "
    "this request is not one that may be repeated"
)


class DirectDoor:
    """See `Door`. One for each service; it owns the service's connections."""

    def __init__(
        self,
        pool: Pool,
        tls: Callable[[], ssl.SSLContext],
        watch_over: Callable[[Expiring], None],
        dial: Callable[[Target, ssl.SSLContext | None], Awaitable[Link]] = connect,
    ) -> None:
        self.pool = pool
        self._reaper = _Reaper(pool, watch_over)
        self._watch_over = watch_over  # `Expiries.add`: deadlines that cost no cancel scope
        self._made: dict[Target, WeakSet[Connection]] = {}  # and not closed yet, or not long since
        self._dial = dial
        self._tls = tls  # made when the first https connection needs it

    async def exchange(
        self, to: Target, wire: Wire, *, connect: float, max_bytes: int, deadline: float = math.inf
    ) -> Reply:
        """See `Door.exchange`."""
        now = trio.current_time()
        connection = await self._request(to, wire, now, connect, deadline)
        parser = connection.parser
        try:
            raw = await connection.body(max_bytes)
            headers = tuple(parser.headers)
            inflater = inflater_for(parser.status, headers, max_bytes)
            if inflater is not None:
                raw = inflater.feed(raw)
                inflater.end()
        except ServiceError:  # a peer of whose body we cannot make sense is not asked for another on this connection
            connection.usable = False
            raise
        finally:
            ended = trio.current_time()
            self.give_back(to, connection, ended)
        return Reply(parser.status, headers, raw, ended)

    async def open(self, to: Target, wire: Wire, *, connect: float, deadline: float = math.inf) -> Answer:
        """See `Door.open`."""
        connection = await self._request(to, wire, trio.current_time(), connect, deadline)
        connection.deadline = math.inf
        return _OpenAnswer(self, to, connection)

    def give_back(self, to: Target, connection: Connection, now: float) -> None:
        """An exchange has ended, somehow."""
        self.pool.give_back(to, connection, now)
        if self._reaper.over:
            self._reaper.wake()

    async def _request(self, to: Target, wire: Wire, now: float, timeout: float, deadline: float) -> Connection:
        """Send a request and read the head of its answer; the connection is then the caller's to give back."""
        size = len(wire.body) if isinstance(wire.body, bytes) else None
        data = head.encode(to, wire.method, wire.target, constant=wire.constant, headers=wire.headers, size=size)
        connection = self.pool.take(to, now)
        while True:
            reused = connection is not None
            if connection is None:
                connection = Connection(await self._connect(to, timeout, deadline))
                self._made.setdefault(to, WeakSet()).add(connection)
                self.pool.connected()
            connection.deadline = deadline
            if deadline < connection.expiry:
                connection.expiry = deadline
                self._watch_over(connection)
            try:
                await connection.request(data, wire.body, is_head=wire.method == "HEAD")
                return connection
            except BaseException as error:
                self.pool.give_back(to, connection, trio.current_time())  # which closes it: it is not usable
                if not reused or connection.parser.started or not isinstance(error, TransportError):
                    raise
                if not wire.replayable:
                    error.message = _UNSURE
                    raise
            connection = None  # that one was stale: once more, on a new one

    async def _connect(self, to: Target, timeout: float, deadline: float) -> Link:
        try:
            with trio.move_on_at(min(deadline, trio.current_time() + timeout)):
                return await self._dial(to, self._tls() if to.scheme == "https" else None)
        except (OSError, trio.BrokenResourceError, UnicodeError) as error:  # the last: a name that DNS cannot have
            words = _words(error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error)
            raise TransportError(f"no connection to {to.authority}: {words}", processed="no") from error
        if trio.current_time() >= deadline:
            raise trio.TooSlowError
        raise TransportError(f"no connection to {to.authority} within {timeout:g} s", processed="no")

    async def reach(self, to: Target) -> bool:
        """See `Door.reach`."""
        await touch(to)
        return True

    def keep_only(self, targets: set[Target]) -> None:
        """Close what is idle to other instances now, and what is in use when its exchange has ended."""
        self.pool.keep_only(targets)
        for to in [to for to, made in self._made.items() if to not in targets and not made]:
            del self._made[to]

    async def cut(self, targets: set[Target]) -> None:
        """See `Door.cut`."""
        for to in targets:
            for connection in list(self._made.pop(to, ())):
                connection.close()

    async def aclose(self) -> None:
        """Close all connections that are idle, and the others when their exchange has ended."""
        self.pool.close()


class _OpenAnswer:
    """See `Answer`."""

    def __init__(self, door: DirectDoor, to: Target, connection: Connection) -> None:
        self.status = connection.parser.status
        self.headers = tuple(connection.parser.headers)
        self._door = door
        self._to = to
        self._connection = connection
        self._open = True
        self._inflater = inflater_for(self.status, self.headers, None)
        self._pieces: Iterator[bytes] = iter(())

    async def chunk(self) -> bytes | None:
        """See `Answer.chunk`."""
        while (piece := next(self._pieces, None)) is None:
            raw = await self._connection.chunk()
            if self._inflater is None:
                return raw
            if raw is None:
                self._inflater.end()
                return None
            self._pieces = self._inflater.pieces(raw)
        return piece

    async def aclose(self) -> None:
        """See `Answer.aclose`: nothing to wait for, since a connection that is half read is closed at once."""
        if self._open:
            self._open = False
            self._door.give_back(self._to, self._connection, trio.current_time())


class _Reaper:
    """Closes connections that have been idle for too long, also when no call comes that would look at them."""

    def __init__(self, pool: Pool, watch_over: Callable[[Expiring], None]) -> None:
        self.expiry = math.inf
        self.over = True  # nothing is idle
        self._pool = pool
        self._watch_over = watch_over

    def wake(self) -> None:
        """Something may be idle: look when it has grown too old."""
        self.expire()
        if not self.over:
            self._watch_over(self)

    def expire(self) -> None:
        """It is time to look."""
        due = self._pool.expire(trio.current_time())
        self.over = due is None
        if due is not None:
            self.expiry = due


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return type(error).__name__
