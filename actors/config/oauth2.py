"""Who we are to a service by OAuth2: where its tokens come from, who we are there, and what we ask for."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from .breaker import BreakerConfig
from .check import Positive, Text, is_loopback, missing_extra, shown, url_problem
from .policy import RetryPolicy, TimeoutConfig
from .record import Record, has
from .secret import Secret
from .signing import signing_key
from .tls import TLSConfig, unverified_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_TARGET = re.compile(r"[\x21\x22\x24-\x5b\x5d-\x7e]*")  # path and query as they can go out
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, appendix A.4
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21\x22\x24-\x7e]+")  # RFC 8707: absolute, without a fragment
_PRINTABLE = re.compile(r"[\x20-\x7e]+")  # RFC 6749, appendix A: what client ids and tokens are made of
_NEEDS = {
    "client_secret": ("client_secret_basic", "client_secret_post"),
    "private_key": ("private_key_jwt",),
}


def endpoint_problem(value: str) -> str | None:
    """RFC 6749, section 3.2: it may have a query, and no fragment."""
    base, _, query = value.partition("?")
    if (problem := url_problem(base)) is not None:
        return problem
    parts = urlsplit(base)
    if parts.scheme != "https" and not is_loopback(parts.hostname):
        return "must start with https://: what is sent there is a secret (http:// is for this machine alone)"
    if not _TARGET.fullmatch(parts.path + query):
        return "has characters in its path or query that must be quoted, with %XX"
    return None


def _issuer(value: str) -> str | None:
    return "must have no query: it is a name" if "?" in value else endpoint_problem(value)


def _printable(value: str) -> str | None:
    return None if _PRINTABLE.fullmatch(value) else "must be printable ASCII, and not empty"


def _secret(value: Secret) -> str | None:
    return None if value.reveal().isprintable() and value.reveal() else "must be printable, and not empty"


def _refresh_token(value: Secret) -> str | None:
    return _printable(value.reveal())


def _scope(value: str) -> str | None:
    if _SCOPE.fullmatch(value):
        return None
    return f"must be one word of printable ASCII without quotes and backslashes, not {shown(value)}"


def _resource(value: str) -> str | None:
    return None if _URI.fullmatch(value) else f"must be an absolute URI without a fragment, not {shown(value)}"


def _fernet_key(value: Secret) -> str | None:
    try:
        if len(base64.urlsafe_b64decode(value.reveal().encode("ascii"))) == 32:
            return None
    except ValueError:
        pass  # it is said below
    return "is no key of Fernet: Fernet.generate_key() of cryptography.fernet makes one"


Endpoint: TypeAlias = Annotated[str, endpoint_problem]
Issuer: TypeAlias = Annotated[str, _issuer]
Printable: TypeAlias = Annotated[str, _printable]
ClientSecret: TypeAlias = Annotated[Secret, _secret]
RefreshToken: TypeAlias = Annotated[Secret, _refresh_token]
Scope: TypeAlias = Annotated[str, _scope]
Resource: TypeAlias = Annotated[str, _resource]
FernetKey: TypeAlias = Annotated[Secret, _fernet_key]


class TokenFile(Record, frozen=True, forbid_unknown_fields=True):
    """A folder in which refresh tokens are kept, encrypted by Fernet (of the package cryptography)."""

    folder: Text
    """It is made if there is none, with mode 0700. Each service has a file of its own, with mode 0600. For one process
    at a time: two that use the same refresh token would make it worthless for each other, and so would two services."""
    keys: Sequence[FernetKey]
    """The first one encrypts, all of them decrypt: put a new one before the old, and take the old one out later."""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """A key, and what it is for."""
        if record.keys is not None and not record.keys:
            yield "keys", "must have one key at least"
        if (problem := missing_extra("cryptography", "oauth2")) is not None:
            yield "folder", problem


class OAuth2Auth(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="oauth2", kw_only=True):
    """``Authorization: Bearer``, with tokens of an OAuth2 authorization server (RFC 6749)."""

    client_id: Printable
    token_url: Endpoint | None = None
    """The token endpoint. ``https``, but for this machine."""
    issuer: Issuer | None = None
    """The authorization server. Without a ``token_url`` it is asked where that is (RFC 8414, or OpenID Connect
    Discovery where there is no such thing)."""
    client_auth: Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth", "none"] = (
        "client_secret_basic"
    )
    """How we show the server who we are. ``none``: a public client, which has nothing to show but its refresh token."""
    client_secret: ClientSecret | None = None
    private_key: Secret | None = None
    """For ``private_key_jwt`` (RFC 7523): as PEM, or a JWK as JSON. Needs the extra ``switchgear[oauth2]``."""
    key_id: Text | None = None
    """``kid`` of the assertions. None: that of the JWK, if it has one."""
    algorithm: Literal["RS256", "PS256", "ES256", "ES384", "ES512"] | None = None
    """That assertions are signed by. None: RS256, or that of the key's curve."""
    assertion_audience: Text | None = None
    """``aud`` of the assertions. None: the ``issuer``, or else the token endpoint."""
    grant: Literal["client_credentials", "refresh_token"] = "client_credentials"
    """What we get tokens for: being who we are, or having been given a ``refresh_token``."""
    refresh_token: RefreshToken | None = None
    """The first one. The server may give another with each token; what it gave last is kept (see ``store``)."""
    store: TokenFile | None = None
    """Where refresh tokens are kept. None: in memory, where they outlive a crash of the actor and no more."""
    scope: Sequence[Scope] = ()
    audience: Text | None = None
    """Of the tokens: not in any RFC, and asked for by some servers."""
    resource: Sequence[Resource] = ()
    """What the tokens are for (RFC 8707)."""
    default_lifetime: Positive | None = None
    """Seconds that a token lives if the server does not say. None: until the service refuses it."""
    tls: TLSConfig = TLSConfig()
    """For the way to the server; with ``tls_client_auth``, its certificate is who we are (RFC 8705)."""
    timeout: TimeoutConfig = TimeoutConfig(total=10.0, attempt=5.0)
    retry: RetryPolicy = RetryPolicy(max_attempts=2, base_delay=0.5)
    breaker: BreakerConfig = BreakerConfig()
    """These three are for the server, apart from the service's own."""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """Somewhere to ask, something to show, and something to ask for."""
        if not has(record, "token_url") and not has(record, "issuer"):
            yield "token_url", "give the token endpoint, or the issuer, which is then asked for it"
        yield from _shown_and_needed(record)
        if record.grant == "refresh_token" and not has(record, "refresh_token") and not has(record, "store"):
            yield "refresh_token", "the grant needs one, or a store that has one"
        tls = record.tls if isinstance(record.tls, TLSConfig) else None
        for url in (record.token_url, record.issuer):
            if (problem := unverified_problem(tls, url)) is not None:
                yield "tls.verify", problem
        if getattr(record.timeout, "header", None) is not None:
            yield "timeout.header", "is for services: a token endpoint takes no such hint"
        if getattr(record.breaker, "scope", "service") not in ("service", None):
            yield "breaker.scope", "must be 'service': a token endpoint is one thing, and has one breaker"


def _shown_and_needed(record: Any) -> Iterator[tuple[str, str]]:
    """Each way to show who we are has its secret, and no use for another's."""
    way = record.client_auth
    for key, ways in _NEEDS.items():
        if way is None:
            return
        given = has(record, key)
        if way in ways and not given:
            yield key, f"is missing: {way} needs it"
        if given and way not in ways:
            yield key, f"is of no use with client_auth = {way!r}: leave it out"
    if way == "tls_client_auth" and isinstance(record.tls, TLSConfig) and record.tls.cert_file is None:
        yield "tls.cert_file", "is missing: with tls_client_auth the certificate is who we are"
    if way == "private_key_jwt":
        yield from _key(record)
    if way == "none" and record.grant == "client_credentials":
        yield "client_auth", "must not be 'none' for client_credentials: there is nothing that could be trusted"


def _key(record: Any) -> Iterator[tuple[str, str]]:
    if (problem := missing_extra("joserfc", "oauth2")) is not None:
        yield "client_auth", problem
    elif record.private_key is not None:
        try:
            signing_key(record.private_key.reveal(), record.algorithm)
        except ValueError as error:
            yield "private_key", str(error)
