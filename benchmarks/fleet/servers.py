"""What is called in the place of a network: servers that take their time, in trio's."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Protocol

import httpx
import trio


class Server(Protocol):
    """One server."""

    async def serve(self) -> int:
        """Work on a request; the status of the answer."""


class Roomy:
    """Has room for any number of requests: how long one takes hangs on nothing but when it comes.

    Args:
        answer: from when a request comes, the seconds that it takes and the status of its answer.
    """

    def __init__(self, answer: Callable[[float], tuple[float, int]]) -> None:
        self._answer = answer

    async def serve(self) -> int:
        """At once."""
        seconds, status = self._answer(trio.current_time())
        await trio.sleep(seconds)
        return status


class Slotted:
    """Works on so many requests at a time; the others wait in a line.

    Args:
        slots: how many.
        work: the seconds that the next request takes.
    """

    def __init__(self, slots: int, work: Callable[[], float]) -> None:
        self._slots = trio.Semaphore(slots)
        self._work = work

    async def serve(self) -> int:
        """When a slot is free."""
        async with self._slots:
            await trio.sleep(self._work())
        return 200


class Network(httpx.AsyncBaseTransport):
    """Brings each request to the server that its host is the name of."""

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self._servers = servers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        return httpx.Response(await self._servers[request.url.host].serve(), request=request)


def normal(rng: random.Random, mean: float, deviation: float) -> float:
    """Seconds: normal, and none below zero."""
    return max(0.0, rng.gauss(mean, deviation))
