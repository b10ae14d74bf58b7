"""A response whose body the caller reads from the wire, piece by piece, while the call stays under its guards.

The call is an ask like any other, which lasts for as long as the stream is open: so a worker of the bulkhead, the
breaker's permit and the instance's place are held until then, and the crash, the stop, the deadline and the caller's
cancellation end a stream by the roads on which they end a call. The pieces do not travel through a channel: the actor
hands the open answer over, and the caller reads the socket himself.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from ..errors import ServiceError
from ..secrecy import sealed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ..transport import Answer
    from .messages import Request


class StreamResponse:
    """The answer to `Service.stream`: an async iterator of the body's pieces, for one task.

    Pieces are bytes, decoded if the service compressed them, and as they come: never empty, cut anywhere.

    Raises:
        ServiceError: (from iterating) the rest will not come: `TransportError` where the service or the network broke
            off, `CallTimeout` at the deadline, `ShuttingDown` or `ActorCrashed` where it was us.
        trio.ClosedResourceError: (from iterating) the block of the stream has ended.
    """

    def __init__(self) -> None:
        self.status = 0
        """HTTP status, below 300."""
        self.headers: tuple[tuple[str, str], ...] = ()
        """Names in lower case."""
        self.request_id = ""
        self.attempts = 0
        """How often the service was tried for this call."""
        self.elapsed = 0.0
        """Seconds from the call to the head of the answer."""
        self._answer: Answer | None = None
        self._failure: ServiceError | None = None
        self._ended = False
        self._withdrawn = False
        self._headed = trio.Event()  # or failed before
        self._closed = trio.Event()  # by the caller
        self._over = trio.Event()  # the ask

    def __repr__(self) -> str:
        return f"<StreamResponse {self.status or 'pending'}{' closed' if self._closed.is_set() else ''}>"

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        wanted = name.lower()
        return next((value for known, value in self.headers if known == wanted), None)

    def __aiter__(self) -> StreamResponse:
        return self

    async def __anext__(self) -> bytes:
        if self._closed.is_set():
            raise trio.ClosedResourceError("the stream is read inside its `async with` block only")
        if self._ended:
            raise StopAsyncIteration
        if self._failure is not None:
            raise self._failure
        assert self._answer is not None  # noqa: S101 - the caller has it when there is one
        # Before anything is taken, which a cancellation would lose. What has come already is given without a wait, and
        # a few bytes can be unpacked for seconds.
        await trio.lowlevel.checkpoint()
        try:
            piece = await self._answer.chunk()
        except ServiceError as error:
            raise await self._why(sealed(error)) from error.__cause__
        if piece is None:
            self._ended = True
            raise StopAsyncIteration
        return piece

    async def _why(self, error: ServiceError) -> ServiceError:
        """What ended the body: if the actor has withdrawn it, that is the reason, and not the broken connection."""
        if self._withdrawn:
            with trio.CancelScope(shield=True):  # the ask is about to end: nothing on its way there waits
                await self._over.wait()
            await trio.lowlevel.checkpoint_if_cancelled()  # it was withdrawn because we, who read it, are cancelled
        if self._failure is None:
            self._failure = self._sign(error)
        return self._failure

    # ---- the actor's side

    async def hold(self, answer: Answer, request: Request, sign: Callable[[ServiceError], ServiceError]) -> None:
        """Give the answer to the caller, and wait until he is done with it. Raises what went wrong with the body."""
        self._answer, self._sign = answer, sign
        self.status, self.headers = answer.status, answer.headers
        self.request_id, self.attempts = request.request_id, request.progress.attempts
        self.elapsed = trio.current_time() - request.started
        self._headed.set()
        try:
            await self._closed.wait()
        finally:
            self._withdrawn = not self._closed.is_set()
        if self._failure is not None:
            raise self._failure

    @property
    def handed(self) -> bool:
        """The caller has it: no other attempt can be made."""
        return self._answer is not None

    # ---- the caller's side

    async def run(self, ask: Callable[[], Awaitable[Any]]) -> None:
        """The ask, from its beginning to the end of the stream."""
        try:
            await ask()
        except ServiceError as error:
            if self._failure is None:
                self._failure = error
        finally:
            self._over.set()
            self._headed.set()

    async def headed(self) -> None:
        """Wait for the head. Raises what the call ended of."""
        await self._headed.wait()
        if self._answer is None and self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """The caller has had enough."""
        self._closed.set()


@asynccontextmanager
async def held_open(response: StreamResponse, ask: Callable[[], Awaitable[Any]]) -> AsyncIterator[StreamResponse]:
    """The stream, for the length of a block; at its end nothing of the call is left running.

    What the block raises comes out as it is, and not in the group that the nursery would make of it: the task in the
    nursery raises nothing but Cancelled, and only if we are cancelled too.
    """
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(response.run, ask)
            try:
                await response.headed()
                yield response
            except BaseException as error:  # noqa: BLE001 - raised again below, whatever it is
                raised = error
            finally:
                response.close()
    finally:
        if raised is not None:
            raise raised
