"""Who a client is to a token endpoint, and what it asks for: the form and the headers of a token request."""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlencode

import msgspec

from ..config.signing import signing_key
from ..secrecy import Masked

if TYPE_CHECKING:
    from ..config.oauth2 import OAuth2Auth

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIVES = 60  # seconds: as short as clocks that differ allow


class TokenRequest(Masked, msgspec.Struct, frozen=True):
    """One request as it goes to a token endpoint."""

    headers: tuple[tuple[str, str], ...]
    body: bytes
    secrets: tuple[str, ...]
    """What is in it, so that nothing that quotes it is quoted."""


class Client:
    """The client that a configuration describes."""

    def __init__(self, auth: OAuth2Auth) -> None:
        self._auth = auth
        self._asked = [("scope", " ".join(auth.scope)), ("audience", auth.audience or "")]
        self._asked += [("resource", one) for one in auth.resource]
        key = auth.private_key
        self._key = None if key is None else signing_key(key.reveal(), auth.algorithm)

    def request(self, refresh_token: str | None, token_url: str, wall_now: float) -> TokenRequest:
        """One request for a token.

        Args:
            refresh_token: what it is asked for with; None: with being who we are.
            token_url: where it will go.
            wall_now: seconds since the epoch.
        """
        auth = self._auth
        if refresh_token is None:
            form = [("grant_type", "client_credentials")]
        else:
            form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)]
        form += [pair for pair in self._asked if pair[1]]
        headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json")]
        secret = "" if auth.client_secret is None else auth.client_secret.reveal()
        if auth.client_auth == "client_secret_basic":
            headers.append(("Authorization", _basic(auth.client_id, secret)))
        else:
            form.append(("client_id", auth.client_id))
        if auth.client_auth == "client_secret_post":
            form.append(("client_secret", secret))
        elif auth.client_auth == "private_key_jwt":
            assertion = self._assertion(auth.assertion_audience or auth.issuer or token_url, wall_now)
            form += [("client_assertion_type", _ASSERTION), ("client_assertion", assertion)]
        hidden = [secret, refresh_token or "", *(value for name, value in form if name == "client_assertion")]
        return TokenRequest(tuple(headers), urlencode(form).encode("ascii"), tuple(filter(None, hidden)))

    def _assertion(self, audience: str, wall_now: float) -> str:
        """RFC 7523, section 3. A new one for each attempt: a server takes no ``jti`` twice.

        One audience, and the issuer's if that is known (draft-ietf-oauth-rfc7523bis): whoever is given one for somebody
        else could use it there.
        """
        from joserfc import jwt  # noqa: PLC0415 - of an extra

        assert self._key is not None  # noqa: S101 - the configuration has seen to it
        kid = self._auth.key_id or self._key.key.kid
        header = {"alg": self._key.algorithm} | ({} if kid is None else {"kid": kid})
        claims = {
            "iss": self._auth.client_id,
            "sub": self._auth.client_id,
            "aud": audience,
            "jti": uuid.uuid4().hex,
            "iat": int(wall_now),
            "exp": int(wall_now) + _ASSERTION_LIVES,
        }
        return jwt.encode(header, claims, self._key.key, algorithms=[self._key.algorithm])


def _basic(client_id: str, secret: str) -> str:
    """RFC 6749, section 2.3.1: both are form-encoded first, whatever RFC 7617 says of other basic authentication."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {base64.b64encode(pair.encode('ascii')).decode('ascii')}"
