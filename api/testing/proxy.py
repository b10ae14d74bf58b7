"""The proxy itself: a port, the connections that come in by it, and what is to happen to them."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import trio

from .faults import Fault, checked
from .relay import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from .faults import Direction

    Plan: TypeAlias = Callable[[int], Sequence[Fault]]

_HOST = "127.0.0.1"
_BACKLOG = 1024


class FaultProxyStatistics(msgspec.Struct, frozen=True):
    """What a proxy has seen since it was opened."""

    connections: int
    """Accepted so far."""
    open: int
    """Of these, still there."""
    unreachable: int
    """Reset because the server behind the proxy did not take them."""
    upstream_bytes: int
    """Sent on to the server."""
    downstream_bytes: int
    """Sent on to clients."""


class FaultProxy:
    """A TCP proxy between a client and a real server. Made by `FaultProxy.open`.

    A connection keeps the faults that it began with. To change those of connections that a client keeps alive, give
    the new ones and `reset_all`.
    """

    def __init__(self, nursery: trio.Nursery, upstream: tuple[str, int], guard: socket.socket, seed: int) -> None:
        self._nursery = nursery
        self._upstream = upstream
        self._guard = guard
        self._listener: trio.SocketListener | None = None
        self._seed = seed
        self._relays: set[Relay] = set()
        self._accepted = 0
        self._unreachable = 0
        self._bytes: dict[Direction, int] = {"upstream": 0, "downstream": 0}
        self.faults: Sequence[Fault] = ()
        """Of each connection from now on, unless there is a `plan`. Empty: the network is good."""
        self.plan: Plan | None = None
        """Gives the faults of each connection by its number, from 0. What it raises ends the proxy."""
        self.host = _HOST
        self.port: int = guard.getsockname()[1]

    @classmethod
    @asynccontextmanager
    async def open(
        cls, host: str, port: int, *, faults: Sequence[Fault] = (), plan: Plan | None = None, seed: int = 0
    ) -> AsyncIterator[FaultProxy]:
        """Listen on a free port of 127.0.0.1 for the length of a block, and pass on what comes to a server.

        At the end of the block all connections are closed. An error of the block comes out as it is, not in a group.

        Args:
            host: of the server.
            port: of the server.
            faults: the first value of `faults`.
            plan: the first value of `plan`.
            seed: of all randomness: with the same seed, the same number of a connection and the same faults, it
                behaves the same.

        Raises:
            OSError: there is no port to listen on.
        """
        failure = None
        with _bound(0) as guard:
            async with trio.open_nursery() as nursery:
                proxy = cls(nursery, (host, port), guard, seed)
                proxy.faults, proxy.plan = checked(faults), plan
                proxy.accept()
                try:
                    yield proxy
                except Exception as error:  # noqa: BLE001 - raised below, where no nursery wraps it
                    failure = error
                finally:
                    proxy.refuse()
                    nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://{self.host}:{self.port}"

    def statistics(self) -> FaultProxyStatistics:
        """The counts at this moment."""
        return FaultProxyStatistics(
            connections=self._accepted,
            open=len(self._relays),
            unreachable=self._unreachable,
            upstream_bytes=self._bytes["upstream"],
            downstream_bytes=self._bytes["downstream"],
        )

    def refuse(self) -> None:
        """From now on nobody listens: connecting is refused. Connections that there are stay."""
        if self._listener is not None:
            self._listener.socket.close()
            self._listener = None

    def accept(self) -> None:
        """Listen again, on the same port."""
        if self._listener is None:
            listening = trio.socket.from_stdlib_socket(_bound(self.port))
            listening.listen(_BACKLOG)
            self._listener = trio.SocketListener(listening)
            self._nursery.start_soon(self._serve, self._listener)

    def reset_all(self) -> None:
        """Reset all connections that there are, now."""
        for relay in list(self._relays):
            relay.reset()

    def heal(self) -> None:
        """From now on the network is good: no faults, no plan, and the port is open."""
        self.faults, self.plan = (), None
        self.accept()

    async def _serve(self, listener: trio.SocketListener) -> None:
        try:
            await trio.serve_listeners(self._one, [listener], handler_nursery=self._nursery)
        except* trio.ClosedResourceError:
            pass  # by `refuse`

    async def _one(self, client: trio.SocketStream) -> None:
        number, self._accepted = self._accepted, self._accepted + 1
        with client.socket:
            faults = checked(self.faults if self.plan is None else self.plan(number))
            relay = Relay(client, faults, f"{self._seed}/{number}", self._count)
            self._relays.add(relay)
            try:
                await relay.run(partial(trio.open_tcp_stream, *self._upstream))
            finally:
                self._relays.discard(relay)
                self._unreachable += relay.unreachable

    def _count(self, direction: Direction, size: int) -> None:
        self._bytes[direction] += size


def _bound(port: int) -> socket.socket:
    """A socket bound to that port, and not listening.

    The proxy holds one from beginning to end, beside the one that listens: while it refuses connections, nobody else
    gets its port.
    """
    bound = socket.socket()
    try:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # Linux asks for the first, the BSDs for the second
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind((_HOST, port))
        bound.settimeout(0)
    except OSError:
        bound.close()
        raise
    return bound
