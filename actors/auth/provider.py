"""Kinds of authentication of the user's own: what we ask of them, and when.

``authenticate`` is asked for each request, which it sees as it will be sent: it may sign it. What it needs for that it
keeps itself; if that has to be fetched there is ``refresh``, which flies like any other (`authenticator.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import trio

from ..errors import AuthFailed
from ..secrecy import Masked, shown_names, shown_target
from .bearer import called, lifetime
from .credentials import NOTHING, Credentials, checked
from .errands import failure_of
from .source import Grant, Source

if TYPE_CHECKING:
    from ..transport import Reply


class AuthRequest(Masked, msgspec.Struct, frozen=True):
    """A request before it is sent, as an `AuthProvider` sees it. (Its ``Host`` is that of the URL.)"""

    method: str
    url: str
    """Whole, with the query."""
    headers: tuple[tuple[str, str], ...]
    """All of them, but for those that frame the message."""
    body: bytes | None
    """None if it is sent in pieces, which nobody can see before."""

    def told(self) -> Iterator[tuple[str, Any]]:
        """The values of headers and query may be credentials, and the body anything."""
        yield "method", self.method
        yield "url", shown_target(self.url)
        yield "headers", shown_names(self.headers)


class AuthProvider(Protocol):
    """A kind of authentication of your own, for `CustomAuth`.

    Two more methods are there or not:

    * ``async refresh(self) -> float | None`` fetches what ``authenticate`` needs, and says for how many seconds that is
      good (None: nobody knows). It is called before the first request, shortly before these seconds are over, after a
      401 (then the request is made again, once), and when ``validate`` says no. Never twice at once, whoever waits.
    * ``async validate(self) -> bool`` is asked before each request whether what there is will do.

    What they raise ends the call as `AuthFailed`, which tells the type of the error and not its text. To say more,
    raise `AuthFailed` yourself, with ``retry_at`` if you know when to ask again.
    """

    async def authenticate(self, request: AuthRequest) -> Credentials | Mapping[str, str]:
        """What to add to this request: headers, or `Credentials`, which can have a query too."""
        ...


class Way(Protocol):
    """The way to the wire, as whoever signs a request has it."""

    async def send(self, credentials: Credentials) -> Reply:
        """The request, with these on it."""
        ...

    async def ask(self, request: AuthRequest) -> Reply:
        """Another one, to anywhere, which the credentials need. Raises AuthFailed if there is no answer to it."""
        ...

    @property
    def over(self) -> bool:
        """It cannot be sent again: the answer is with the caller, or the body has been taken from him."""
        ...

    @property
    def deadline(self) -> float:
        """When the attempt's time is over (trio time)."""
        ...


class Signer(Protocol):
    """Adds credentials that depend on the request, or on the answer."""

    async def exchange(self, request: AuthRequest, way: Way) -> Reply:
        """Send it with its credentials. Raises AuthFailed if there are none."""
        ...


class ProviderSigner:
    """Asks a provider before each request."""

    def __init__(self, provider: Any) -> None:
        self._authenticate = provider.authenticate

    async def exchange(self, request: AuthRequest, way: Way) -> Reply:
        """See `Signer`."""
        credentials = None
        with trio.move_on_at(way.deadline):
            credentials = await self._credentials(request)
        if credentials is None:
            raise AuthFailed("the authentication took longer than an attempt may", retryable=True)
        return await way.send(credentials)

    async def _credentials(self, request: AuthRequest) -> Credentials:
        try:
            given = self._authenticate(request)
            if inspect.isawaitable(given):
                given = await given
        except Exception as error:  # noqa: BLE001 - whatever a user's provider raises
            raise failure_of("the authentication", error) from None
        if isinstance(given, Mapping):
            given = Credentials(tuple((name, _text(value)) for name, value in given.items()))
        if not isinstance(given, Credentials):
            raise AuthFailed(f"the authentication gave neither headers nor Credentials, but a {type(given).__name__}")
        return checked(given)


def _text(value: Any) -> Any:
    return value.strip(" \t") if isinstance(value, str) else value  # blanks around it are no part of a header's value


class ProviderSource(Source):
    """Lets a provider fetch what it needs."""

    def __init__(self, provider: Any) -> None:
        self._refresh = provider.refresh
        self._threads = trio.CapacityLimiter(1)

    async def fetch(self, previous: Grant | None) -> Grant:
        """See `Source`."""
        try:
            seconds = await called(self._refresh, self._threads)
        except Exception as error:  # noqa: BLE001 - whatever a user's provider raises
            raise failure_of("the refresh of the authentication", error) from None
        return Grant(NOTHING, lifetime(seconds, "the refresh of the authentication"))

    async def aclose(self) -> None:
        """See `Source`."""


class Broken(Source):
    """Of a provider that could not be made."""

    def __init__(self, failure: AuthFailed) -> None:
        self._message = failure.message

    async def fetch(self, previous: Grant | None) -> Grant:
        """See `Source`."""
        raise AuthFailed(self._message, retryable=True)

    async def aclose(self) -> None:
        """See `Source`."""


async def is_valid(validate: Any) -> bool:
    """What a provider says of what it has. Raises AuthFailed for what it raises."""
    try:
        said = validate()
        return bool(await said if inspect.isawaitable(said) else said)
    except Exception as error:  # noqa: BLE001 - whatever a user's provider raises
        raise failure_of("the validation of the authentication", error) from None
