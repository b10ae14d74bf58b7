"""Bearer tokens that somebody else keeps fresh: in a file, or behind a function."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from ..config import Secret
from ..config.check import header_value, number
from ..errors import AuthFailed
from .credentials import bearer
from .errands import failure_of
from .source import Grant, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from .credentials import Credentials

_EVERY = 5.0  # seconds between two looks at a file: who rotates a token leaves the old one good for longer than that
_LARGEST = 65_536  # bytes: no header is longer


class FileSource(Source):
    """A token in a file, which is looked at again and again: while calls are made, at the most every five seconds.

    What is in it counts, and not when it was changed: a file system may say the same time of two versions of a file,
    and to read so little costs no more than to ask. It is read in a thread, since a file system can hang.
    """

    every = _EVERY

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._threads = trio.CapacityLimiter(1)

    async def fetch(self, previous: Grant | None) -> Grant:
        """See `Source`."""
        what = f"the token file {self._path}"
        try:
            raw = await trio.to_thread.run_sync(_read, self._path, abandon_on_cancel=True, limiter=self._threads)
        except OSError as error:
            raise AuthFailed(f"{what} cannot be read: {error.strerror}", retryable=True) from None
        try:
            text = raw.decode("utf-8-sig")  # some editors begin with a byte order mark
        except UnicodeDecodeError:
            raise AuthFailed(f"{what} is no text in UTF-8", retryable=True) from None
        credentials = _bearer(text, what)
        return previous if previous is not None and previous.credentials == credentials else Grant(credentials)

    async def aclose(self) -> None:
        """See `Source`."""


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LARGEST + 1)


class FunctionSource(Source):
    """A token that a function of the user's gives, alone or with the seconds for which it is good.

    A function that is not async may block, as most that ask a vault do: it is called in a thread.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._threads = trio.CapacityLimiter(1)

    async def fetch(self, previous: Grant | None) -> Grant:
        """See `Source`."""
        try:
            given = await called(self._function, self._threads)
        except Exception as error:  # noqa: BLE001 - whatever a user's function raises
            raise failure_of("the function of the token", error) from None
        text, seconds = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        return Grant(_bearer(text, "what the function of the token gave"), lifetime(seconds, "that function"))

    async def aclose(self) -> None:
        """See `Source`."""


async def called(function: Callable[..., Any], threads: trio.CapacityLimiter) -> Any:
    """What a function of the user's gives: one that is not async runs in a thread, for it may block.

    ``threads`` is a limiter of its own, of one: a function that hangs keeps its thread when we have given it up, and
    must not take more and more of those that the whole program has.
    """
    inner = function.func if isinstance(function, partial) else function
    if inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(getattr(inner, "__call__", None)):  # noqa: B004 - an object whose call is async
        return await function()
    # In a tuple: what is given may have to be awaited, which trio takes for a mistake.
    (given,) = await trio.to_thread.run_sync(lambda: (function(),), abandon_on_cancel=True, limiter=threads)
    return await given if inspect.isawaitable(given) else given


def lifetime(seconds: Any, who: str) -> float | None:
    """Seconds for which something is good, as a user's code said it. Raises AuthFailed for what is no such number."""
    if seconds is None:
        return None
    if number(seconds) or seconds <= 0:
        raise AuthFailed(f"{who} says for how long it is good with something that is no number over 0", retryable=True)
    return float(seconds)


def _bearer(token: Any, what: str) -> Credentials:
    text = token.reveal() if isinstance(token, Secret) else token
    if not isinstance(text, str):
        raise AuthFailed(f"{what} is no text, but a {type(token).__name__}", retryable=True)
    text = text.strip()
    if not text:
        raise AuthFailed(f"{what} is empty", retryable=True)
    if len(text) > _LARGEST or header_value(text):
        raise AuthFailed(f"{what} is no token: it has control characters, or is too long", retryable=True)
    return bearer(text)
