"""Who we are to the service: what each kind of authentication adds to a request.

Static credentials are made into headers once and then kept in the token cache, so that a call costs a look-up and so
that tokens which expire (OAuth2, a later chapter) go the same way. A 401 invalidates what was used, and only that.
"""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from ..config import Auth, BasicAuth, BearerAuth
from ..machines.tokens import Token
from ..secrecy import Masked

if TYPE_CHECKING:
    from ..machines.tokens import TokenCache


class Credentials(Masked, msgspec.Struct, frozen=True):
    """What to add to one request."""

    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""


_NONE = Token(Credentials(), 0, math.inf)


class Authenticator:
    """Gives the credentials of one service."""

    def __init__(self, auth: Auth | None, tokens: TokenCache[Credentials]) -> None:
        self._auth = auth
        self._tokens = tokens

    def credentials(self, now: float) -> Token[Credentials]:
        """From the cache, or made anew."""
        if self._auth is None:
            return _NONE
        return self._tokens.get(now) or self._tokens.store(_make(self._auth), None, now)

    def refused(self, token: Token[Credentials]) -> None:
        """The service answered 401 to these: they are not used again."""
        self._tokens.invalidate(token.generation)


def _make(auth: Auth) -> Credentials:
    if isinstance(auth, BearerAuth):
        # Blanks at the ends are no part of a header's value: h11 would refuse it.
        return Credentials((("Authorization", f"Bearer {auth.token.reveal().strip(' ')}"),))
    if isinstance(auth, BasicAuth):
        pair = f"{auth.username}:{auth.password.reveal()}".encode()
        return Credentials((("Authorization", f"Basic {base64.b64encode(pair).decode('ascii')}"),))
    if auth.location == "query":
        return Credentials(query=urlencode({auth.name: auth.key.reveal()}))
    return Credentials(((auth.name, auth.key.reveal().strip(" \t")),))
