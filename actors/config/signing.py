"""The key that client assertions are signed by: read when the configuration is made, so that a bad one is its fault.

joserfc does the cryptography (the extra ``switchgear[oauth2]``); it is imported where it is first needed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from ..secrecy.masked import Masked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joserfc.jwk import ECKey, RSAKey

_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA = ("RS256", "PS256")
_LEAST_BITS = 2048  # of RSA: RFC 7518, section 3.3


class SigningKey(Masked, msgspec.Struct, frozen=True):
    """A private key, and the algorithm that it is used with."""

    key: "RSAKey | ECKey"
    algorithm: str

    def told(self) -> Iterator[tuple[str, str]]:
        """See `Masked`."""
        yield "algorithm", self.algorithm


def signing_key(text: str, algorithm: str | None) -> SigningKey:
    """From PEM, or a JWK as JSON.

    Args:
        text: the key.
        algorithm: what it is to be used with; None: RS256, or that of its curve.

    Raises:
        ValueError: it is none, or none for this algorithm. The text does not quote it.
    """
    key = _imported(text)
    if not key.is_private:
        raise ValueError("is a public key: assertions are signed by the private one")
    if key.key_type == "RSA" and key.raw_value.key_size < _LEAST_BITS:
        raise ValueError(f"is an RSA key of less than {_LEAST_BITS} bits")
    known = _RSA if key.key_type == "RSA" else (_CURVES.get(key.curve_name),)
    if known == (None,):
        raise ValueError(f"is on a curve that is none of {', '.join(_CURVES)}")
    if algorithm not in (None, *known):
        raise ValueError(f"is no key for {algorithm}, but for {' or '.join(map(str, known))}")
    return SigningKey(key, str(algorithm or known[0]))


def _imported(text: str) -> Any:
    from joserfc.errors import JoseError, SecurityWarning  # noqa: PLC0415 - of an extra
    from joserfc.jwk import ECKey, RSAKey  # noqa: PLC0415 - of an extra

    kinds: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey}
    try:
        data: Any = json.loads(text) if text.lstrip().startswith("{") else text
        tried = [kinds[data["kty"]]] if isinstance(data, dict) else list(kinds.values())
    except (ValueError, KeyError, TypeError, RecursionError):
        tried = []
    for kind in tried:
        try:
            return kind.import_key(data)
        except (JoseError, SecurityWarning, ValueError, TypeError):  # of the other kind, or none
            continue
    raise ValueError("is no private RSA or EC key: give PEM without a passphrase, or a JWK as JSON")
