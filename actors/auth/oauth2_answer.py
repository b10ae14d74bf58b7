"""What a token endpoint answers: a token, or why there is none (RFC 6749, sections 5.1 and 5.2). Pure.

Nothing in an answer is trusted. A token becomes a header, so it must be one; a lifetime becomes a timer; a description
becomes part of an error that is logged. What fits no rule is taken for an accident of the server's, which passes: only
one of the codes that no wait mends is for good, for a token cache does not ask again after that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import AuthFailed
from ..secrecy import Masked

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES = 65_536
"""Of an answer: none that makes sense is larger."""
_YEAR = 366 * 86_400.0  # seconds: no token is used longer, whatever its server says
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?")
_VALUE = re.compile(r"[\x21-\x7e]+")  # RFC 6750 asks for less than that; this is what a header can hold in one piece
_REFRESH = re.compile(r"[\x20-\x7e]+")  # RFC 6749, appendix A.17
_CODE = re.compile(r"[a-z_]{1,40}")
_SHOWN = 200  # characters of a description

_FOR_GOOD = frozenset(
    {
        "invalid_client",
        "invalid_request",
        "invalid_scope",
        "invalid_target",  # RFC 8707
        "unauthorized_client",
        "unsupported_grant_type",
    }
)


class TokenAnswer(Masked, msgspec.Struct, frozen=True):
    """A token. ``expires_in`` (seconds) and ``refresh_token`` are None where the answer has none."""

    access_token: str
    expires_in: float | None
    refresh_token: str | None


class GrantRefused(AuthFailed):
    """The server does not take the grant: the refresh token is used up, revoked, or somebody else's."""


class _Raw(Masked, msgspec.Struct):
    """Of any type: one wrong member must not hide what the others say."""

    access_token: Any = None
    token_type: Any = None
    expires_in: Any = None
    refresh_token: Any = None
    error: Any = None
    error_description: Any = None


def read_answer(
    status: int, body: bytes, secrets: tuple[str, ...] = (), scrub: Callable[[str], str] = str
) -> TokenAnswer:
    """The token in an answer.

    Args:
        status: of the answer.
        body: of the answer, no longer than `MAX_BYTES`.
        secrets: what was sent: a server may quote it, and we would quote the server.
        scrub: takes other secrets out of what it says.

    Raises:
        GrantRefused: ``invalid_grant``.
        AuthFailed: any other reason; ``retryable`` tells whether it can be another one later.
    """
    raw = _decoded(body)
    if raw is not None and raw.error is not None:  # whatever the status: some send it with 200
        raise _refusal(status, raw, _described(raw.error_description, secrets, scrub))
    if not 200 <= status < 300:
        raise AuthFailed(f"the token endpoint answered {status}", retryable=True)
    if raw is None:
        raise AuthFailed("the token endpoint answered with something that is not a JSON object", retryable=True)
    return _token(raw)


def _decoded(body: bytes) -> _Raw | None:
    try:
        return msgspec.json.decode(body, type=_Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _refusal(status: int, raw: _Raw, said: str) -> AuthFailed:
    code = raw.error if isinstance(raw.error, str) and _CODE.fullmatch(raw.error) else "an error that has no code"
    text = f"the token endpoint answered {status} {code}{said}"
    if code == "invalid_grant":
        return GrantRefused(text)
    return AuthFailed(text, retryable=status == 429 or status >= 500 or code not in _FOR_GOOD)


def _described(description: object, secrets: tuple[str, ...], scrub: Callable[[str], str]) -> str:
    if not isinstance(description, str) or any(secret in description for secret in secrets if secret):
        return ""
    shown = scrub(description)[:_SHOWN]  # in this order, or half a secret could be left that nobody knows any more
    text = "".join(one if one.isprintable() else " " for one in shown).strip()
    return f": {text!r}" if text else ""


def _token(raw: _Raw) -> TokenAnswer:
    kind = raw.token_type
    if kind is not None and not (isinstance(kind, str) and kind.lower() == "bearer"):
        raise AuthFailed("the token endpoint gave a token that is no bearer token: no other kind is supported")
    if not isinstance(raw.access_token, str) or not _VALUE.fullmatch(raw.access_token):
        raise _malformed("access_token is missing, or nothing that a header can hold")
    refresh = raw.refresh_token
    if refresh is not None and not isinstance(refresh, str):
        raise _malformed("refresh_token is not text")
    if refresh and not _REFRESH.fullmatch(refresh):
        raise _malformed("refresh_token has characters that no token has")
    return TokenAnswer(raw.access_token, _lifetime(raw.expires_in), refresh or None)


def _lifetime(value: object) -> float | None:
    """Seconds. RFC 6749 wants a number; some servers send it as text."""
    if value is None:
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise _malformed("expires_in is no number above 0")
    return float(min(value, _YEAR))


def _malformed(reason: str) -> AuthFailed:
    return AuthFailed(f"the token endpoint answered with something that is no token answer: {reason}", retryable=True)
