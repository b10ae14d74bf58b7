"""Requests that are signed one by one: what their signer sees of them, and the way that it has to the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from ..auth import AuthRequest
from ..errors import AuthFailed
from ..transport import Wire
from .target import Target, check_headers, check_method

if TYPE_CHECKING:
    from ..auth import Credentials
    from ..transport import Reply
    from .exchange import Exchange, Leg


class SignedWay:
    """See `switchgear.actors.auth.Way`: that of one request, which is to be signed."""

    def __init__(self, exchange: Exchange, leg: Leg, wire: Wire) -> None:
        self._exchange = exchange
        self._leg = leg
        self._wire = wire
        self._sent = False
        self.deadline = leg.end

    async def send(self, credentials: Credentials) -> Reply:
        """Each but the first takes a token from the limit: the service counts them all."""
        if self._sent:
            await self._exchange.turn(self._leg)
        self._sent = True
        self._exchange.learn(credentials)
        return await self._exchange.send(self._leg, with_credentials(self._wire, credentials))

    async def ask(self, request: AuthRequest) -> Reply:
        """See `Way`."""
        parts = urlsplit(request.url)
        try:
            to = Target.parse(f"{parts.scheme}://{parts.netloc}")
        except (KeyError, ValueError):
            raise AuthFailed("the authentication asks an address that is no http or https URL") from None
        path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        wire = Wire(check_method(request.method), path, check_headers(request.headers), request.body or b"")
        return await self._exchange.ask(to, wire, self.deadline)

    @property
    def over(self) -> bool:
        """See `Way`."""
        return not self._leg.request.unspent


def outline(wire: Wire, target: Target) -> AuthRequest:
    """What its signer sees of a request."""
    headers = wire.constant.pairs + wire.headers
    return AuthRequest(
        wire.method, target.url(wire.target), headers, wire.body if isinstance(wire.body, bytes) else None
    )


def with_credentials(wire: Wire, credentials: Credentials) -> Wire:
    """In the place of headers of the same names."""
    names = {name.lower() for name, _ in credentials.headers}
    theirs = tuple(pair for pair in wire.headers if pair[0].lower() not in names)
    wire = msgspec.structs.replace(wire, headers=theirs + credentials.headers, constant=wire.constant.without(names))
    return with_query(wire, credentials.query) if credentials.query else wire


def with_query(wire: Wire, query: str) -> Wire:
    """With more at the end of its query."""
    return msgspec.structs.replace(wire, target=f"{wire.target}{'&' if '?' in wire.target else '?'}{query}")
