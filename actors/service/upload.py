"""The body of a request that comes in pieces: a caller's async iterator, which can be sent only once.

It is iterated in the actor's task, so whatever it raises must become an error of this call and not a crash of the
actor; and it is closed there, so that no generator is left for the garbage collector, of which trio warns.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import trio

from ..errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

_log = logging.getLogger("switchgear.service")

_CLOSING = 1.0  # seconds that an iterator may take to clean up after a request that has ended before it


class Upload:
    """The pieces of one body. Empty ones are left out."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces = pieces
        self._iterator: AsyncIterator[bytes] | None = None

    @property
    def begun(self) -> bool:
        """Some of it may have been taken: it cannot be sent again."""
        return self._iterator is not None

    def __aiter__(self) -> Upload:
        if self._iterator is not None:
            raise InvalidRequest("the body comes from an iterator, which can be sent only once")
        try:
            self._iterator = aiter(self._pieces)
        except Exception as error:
            raise _failed(error) from error
        return self

    async def __anext__(self) -> bytes:
        assert self._iterator is not None  # noqa: S101 - `__aiter__` comes first
        try:
            piece = await anext(self._iterator)
        except StopAsyncIteration:
            raise
        except Exception as error:
            raise _failed(error) from error
        if not isinstance(piece, (bytes, bytearray, memoryview)):
            raise InvalidRequest(f"a body comes in pieces of bytes, and its iterator gave a {type(piece).__name__}")
        return bytes(piece)

    async def aclose(self) -> None:
        """The request is over: a generator that has not come to its end is told so."""
        if isinstance(self._iterator, AsyncGenerator):  # what else may be iterated (a channel, say) is his to close
            with trio.CancelScope(deadline=trio.current_time() + _CLOSING, shield=True):
                try:
                    await self._iterator.aclose()
                except Exception:  # noqa: BLE001 - the call has its outcome already
                    _log.exception("the generator of a request's body raised when it was closed")


def _failed(error: Exception) -> InvalidRequest:
    # Also for a ServiceError: it comes from elsewhere, and would count against this service.
    return InvalidRequest(f"the iterator of the body raised {type(error).__name__}: {error}")
