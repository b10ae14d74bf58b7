"""What is added to a request, and what can be said at once of those kinds of credentials that are simply there."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from ..config import ApiKeyAuth, BasicAuth, BearerAuth
from ..config.check import OUR_HEADERS, header_name, header_value
from ..errors import AuthFailed
from ..machines.tokens import Token
from ..secrecy import Masked

if TYPE_CHECKING:
    from ..config import Auth


class Credentials(Masked, msgspec.Struct, frozen=True):
    """What to add to one request."""

    headers: tuple[tuple[str, str], ...] = ()
    """In the place of others of the same names."""
    query: str = ""
    """Appended to the query; quoted already (`urllib.parse.urlencode`)."""


NOTHING = Credentials()


def fixed(auth: Auth | None) -> Token[Credentials] | None:
    """Of what never changes; None if it has to be fetched."""
    if auth is None:
        return Token(NOTHING, 0, math.inf)
    if isinstance(auth, BearerAuth) and auth.token is not None:
        return Token(bearer(auth.token.reveal()), 1, math.inf)
    if isinstance(auth, BasicAuth):
        pair = f"{auth.username}:{auth.password.reveal()}".encode()
        return Token(Credentials((("Authorization", f"Basic {base64.b64encode(pair).decode('ascii')}"),)), 1, math.inf)
    if isinstance(auth, ApiKeyAuth):
        return Token(_key(auth), 1, math.inf)
    return None


def bearer(token: str) -> Credentials:
    """A token, as RFC 6750 says it."""
    # Blanks at the ends are no part of a header's value: h11 would refuse it.
    return Credentials((("Authorization", f"Bearer {token.strip(' ')}"),))


def _key(auth: ApiKeyAuth) -> Credentials:
    if auth.location == "query":
        return Credentials(query=urlencode({auth.name: auth.key.reveal()}))
    return Credentials(((auth.name, auth.key.reveal().strip(" \t")),))


def checked(credentials: Credentials) -> Credentials:
    """As they are, if they can stand in a request. Raises AuthFailed, which does not quote them."""
    for name, value in credentials.headers:
        if not isinstance(name, str) or header_name(name) or name.lower() in OUR_HEADERS:
            raise AuthFailed("the credentials have a header whose name is none, or is Switchgear's to set")
        if not isinstance(value, str) or header_value(value):
            raise AuthFailed("the credentials have a header whose value has control characters, or blanks around it")
    query = credentials.query
    if not isinstance(query, str) or not query.isascii() or not query.isprintable() or set(query) & set(" #\\"):
        raise AuthFailed("the query of the credentials is not quoted: use urllib.parse.urlencode")
    return credentials
