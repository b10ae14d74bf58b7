"""A server that a source asks over HTTP, by the runtime's own connections; and how to go on when it fails."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import trio

from switchgear.runtime import Backoff

from ...errors import ConfigError, ServiceError
from ...service.target import Target
from ...transport import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator

    from ...config import InstanceConfig
    from ...transport import Door, Reply
    from .publish import Publish

T = TypeVar("T")
K = TypeVar("K")

MAX_BYTES = 16_000_000  # of an answer: some ten thousand instances
CLOSING = 2.0  # seconds that closing connections may take
AGAIN = Backoff(initial=1.0, maximum=30.0)
_WHILE = 60.0  # seconds without a failure, and the next one is the first again
_AGENT = ("User-Agent", "switchgear registry")


class Outage(Exception):
    """It cannot be said which instances there are. The text says why, without secrets."""


class Server:
    """One server.

    Args:
        door: the way to it.
        url: its base URL.
        headers: of all requests.
        timeout: seconds that connecting may take, and a request that is to be answered at once.
    """

    def __init__(self, door: Door, url: str, timeout: float, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self._door = door
        self._to = Target.parse(url)
        self._timeout = timeout
        self._headers = (_AGENT, *headers)

    async def ask(self, method: str, target: str, body: Any = None, *, longer: float = 0.0) -> Reply:
        """A whole answer of status 200, ``longer`` seconds late at the most. Raises Outage."""
        end = trio.current_time() + self._timeout + longer
        with self._outages(target):
            reply = await self._door.exchange(
                self._to, self._wire(method, target, body), connect=self._timeout, max_bytes=MAX_BYTES, deadline=end
            )
        if reply.status != 200:
            raise Outage(f"{self._to.authority} answered {reply.status}")
        return reply

    @asynccontextmanager
    async def lines(self, target: str, body: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer to a POST, line by line as they come. Raises Outage."""
        with self._outages(target):
            answer = await self._door.open(
                self._to,
                self._wire("POST", target, body),
                connect=self._timeout,
                deadline=trio.current_time() + self._timeout,
            )
            try:
                if answer.status != 200:
                    raise Outage(f"{self._to.authority} answered {answer.status}")
                async with aclosing(_lines(answer.chunk)) as lines:
                    yield lines
            finally:
                await _closed(answer)

    async def aclose(self) -> None:
        """Close its connections."""
        await _closed(self._door)

    def _wire(self, method: str, target: str, body: Any) -> Wire:
        content = b"" if body is None else msgspec.json.encode(body)
        headers = self._headers if body is None else (*self._headers, ("Content-Type", "application/json"))
        return Wire(method, target, headers, content, replayable=True)

    @contextmanager
    def _outages(self, target: str) -> Iterator[None]:
        """Makes outages of what goes wrong with a request."""
        try:
            yield
        except trio.TooSlowError:
            raise Outage(f"{self._to.authority} has not answered {target.partition('?')[0]} in time") from None
        except ServiceError as error:
            raise Outage(error.message) from None


class Tries:
    """Says what fails, and waits longer each time that it fails again before it has worked for a while.

    One success is no proof: of a server that gives a list and refuses each watch, every second request succeeds.
    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._failures = 0
        self._forgotten = 0.0  # when those are

    async def failed(self, reason: str) -> None:
        """Say so, and wait."""
        now = trio.current_time()
        self._failures = self._failures + 1 if now < self._forgotten else 1
        await self._publish.failed(reason)
        pause = AGAIN.delay(self._failures, self._publish.rng)
        self._forgotten = now + pause + _WHILE
        await trio.sleep(pause)


async def publish_sound(publish: Publish, entries: Iterable[K], make: Callable[[K], InstanceConfig]) -> None:
    """Publish the instances that ``make`` gives of the entries, and say if some are none (it raises ConfigError)."""
    sound, faults = [], []
    for entry in entries:
        try:
            sound.append(make(entry))
        except ConfigError as error:
            faults.append(str(error).splitlines()[0])
    left_out = (
        f"{len(faults)} of its entries are no instances and were left out, the first: {faults[0]}" if faults else None
    )
    await publish(sound, left_out)


def decoded(data: bytes, type_: type[T]) -> T:
    """JSON. Raises Outage."""
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise Outage(f"its answer is not what it should be: {error}") from None


async def _lines(chunk: Callable[[], Any]) -> AsyncGenerator[bytes, None]:
    rest = bytearray()
    while (piece := await chunk()) is not None:
        rest += piece
        *whole, rest = rest.split(b"\n")
        for line in whole:
            yield bytes(line)
        if len(rest) > MAX_BYTES:
            raise Outage(f"a line of its answer is longer than {MAX_BYTES} bytes")


async def _closed(what: Any) -> None:
    """Shielded: what is not closed here is closed by nobody."""
    with trio.CancelScope(deadline=trio.current_time() + CLOSING, shield=True):
        await what.aclose()
