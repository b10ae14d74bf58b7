"""The transports behind a door: one for each instance, each for some time.

httpcore 1.0 (behind httpx 0.28) leaves things behind where an exchange does not end whole: a place in its pool that is
taken for ever (httpcore #1093, httpx2 #1175), a stream of HTTP/2 that is never reset and counts on both sides until
there are too many (#943, #1098), and connections that it has lost sight of. Nothing of it can be mended from outside,
so a transport is replaced when it may be spoiled: new calls get another, and the old one is closed, with whatever it
holds, as soon as the calls on it have ended. One for each instance, so that one that hangs costs the others nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..service.target import Target
    from .httpx_library import AsyncTransport
    from .httpx_trip import Trip

_CLOSING = 2.0  # seconds that closing connections may take
_MOST_STUCK = 16  # places in a pool that are taken for ever: each is looked at with every request
_MOST_STREAMS = 100  # at once on one connection: more would wait in httpcore, which opens no second one
_MOST_REQUESTS = 500  # over one connection of HTTP/2: nginx says GOAWAY to the thousandth, and httpcore drops the rest


class Lane:
    """One transport, and the exchanges that are under way on it."""

    def __init__(self, to: Target | None, transport: AsyncTransport) -> None:
        self.to = to
        self.transport = transport
        self.busy = 0
        self.taken = 0
        self.stuck = 0
        self.retired = False
        self._sockets: list[Any] = []

    def opened(self, stream: Any) -> None:
        """A new socket: noted, because httpcore may lose it."""
        self._sockets = [one for one in self._sockets if one.get_extra_info("socket").fileno() != -1]
        self._sockets.append(stream)

    async def aclose(self) -> None:
        """Close the transport, and what it has lost."""
        with trio.CancelScope(deadline=trio.current_time() + _CLOSING, shield=True):
            await self.transport.aclose()
            for one in self._sockets:
                await one.aclose()


class Lanes:
    """Where each exchange goes.

    Args:
        make: a new transport.
        owned: whether they are ours to replace and to close; if not, there is one for all instances.
        http2: whether they may speak HTTP/2.
    """

    def __init__(self, make: Callable[[], AsyncTransport], *, owned: bool, http2: bool = False) -> None:
        self._make = make
        self.owned = owned
        self._http2 = http2
        self._open = True
        self._lanes: dict[Target | None, Lane] = {}
        self._ending: set[Lane] = set()  # retired, with somebody on them
        self._leaving: list[Lane] = []  # retired, with nobody on them, to be closed by the next who can wait

    def enter(self, to: Target) -> Lane:
        """The lane of an exchange, which is to be left again. Raises what `make` raises."""
        key = to if self.owned else None
        lane = self._lanes.get(key)
        if lane is not None and self._http2 and (lane.busy >= _MOST_STREAMS or lane.taken >= _MOST_REQUESTS):
            self._retire(to)
            lane = None
        if lane is None:
            lane = Lane(key, self._make())
            lane.retired = not self._open  # a call that began before the door was closed: it is served, and that is all
            if self._open:
                self._lanes[key] = lane
        lane.busy += 1
        lane.taken += 1
        return lane

    async def leave(self, to: Target, lane: Lane, trip: Trip, *, whole: bool) -> None:
        """An exchange has ended: whole, or somehow."""
        lane.busy -= 1
        if not whole:
            await trip.hang_up(shared=self._http2)
        if not self.owned:
            return
        if not whole and self._lanes.get(to) is lane and self._spoiled(lane, trip):
            self._retire(to)
        elif lane.retired and not lane.busy:
            self._ending.discard(lane)
            self._leaving.append(lane)
        await self._close()

    def _spoiled(self, lane: Lane, trip: Trip) -> bool:
        if self._http2 and (trip.unfinished or trip.stream is not None):
            return True
        lane.stuck += trip.unfinished
        return lane.stuck >= _MOST_STUCK

    def keep_only(self, targets: set[Target]) -> None:
        """Other instances have gone: what is idle is closed with the next exchange, the rest with its own."""
        if self.owned:
            for to in [one for one in self._lanes if one not in targets]:
                self._retire(to)

    async def cut(self, targets: set[Target]) -> None:
        """Close the lanes to these, whoever is on them."""
        for lane in [one for one in self._ending if one.to in targets]:
            await lane.aclose()
        await self._close()

    async def aclose(self) -> None:
        """Close what is idle now, and each of the others when the exchanges on it have ended."""
        self._open = False
        if self.owned:
            for to in list(self._lanes):
                self._retire(to)
            await self._close()

    def _retire(self, to: Target | None) -> None:
        lane = self._lanes.pop(to)
        lane.retired = True
        if lane.busy:
            self._ending.add(lane)
        else:
            self._leaving.append(lane)

    async def _close(self) -> None:
        while self._leaving:
            await self._leaving.pop().aclose()
