"""Where an authorization server has its token endpoint, as it says itself (RFC 8414). Pure.

What it says decides where secrets go, so it must be who was asked, and the way must be one that nobody else reads.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from ..config.check import is_loopback
from ..config.oauth2 import endpoint_problem
from ..errors import AuthFailed


class _Metadata(msgspec.Struct):
    issuer: Any = None
    token_endpoint: Any = None
    mtls_endpoint_aliases: Any = None


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Where to ask, in this order: as RFC 8414 says (section 3.1), and as OpenID Connect Discovery says."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    return (
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    )


def token_endpoint(body: bytes, issuer: str, *, mtls: bool) -> str:
    """The URL of the token endpoint.

    Args:
        body: of the answer.
        issuer: who was asked.
        mtls: whether it is to be one that asks for our certificate, if there are such (RFC 8705, section 5).

    Raises:
        AuthFailed: the answer makes no sense, or names somebody or something that it must not.
    """
    try:
        said = msgspec.json.decode(body, type=_Metadata)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise AuthFailed("the metadata of the issuer are no JSON object", retryable=True) from None
    if said.issuer != issuer:  # section 3.3: "identical"
        raise AuthFailed("the metadata are of another issuer than the one that is configured: compare them, '/' by '/'")
    url = said.token_endpoint
    if mtls and isinstance(said.mtls_endpoint_aliases, dict):
        url = said.mtls_endpoint_aliases.get("token_endpoint", url)
    problem = endpoint_problem(url) if isinstance(url, str) else "is missing"
    if problem is None and urlsplit(url).scheme != "https" and not is_loopback(urlsplit(issuer).hostname):
        problem = "is on this machine, and the issuer is not"
    if problem is not None:
        raise AuthFailed(f"the token_endpoint in the metadata of the issuer {problem}")
    return str(url)
