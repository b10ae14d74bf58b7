"""What looks like a credential, and where none may go: over plain http to another machine, to be read on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..secrecy.names import looks_secret
from .check import is_loopback
from .secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping


def credential_in(auth: object, headers: Mapping[str, str | Secret]) -> str | None:
    """What of a configuration sends credentials; None if nothing does."""
    if auth is not None:
        return "auth"
    return next((f"header {one!r}" for one, it in headers.items() if isinstance(it, Secret) or looks_secret(one)), None)


def is_exposed(url: str, proxy: str | None = None) -> bool:
    """Whether what is sent there can be read on the way: plain http, and not within this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    return not is_loopback(parts.hostname) or (proxy is not None and not is_loopback(urlsplit(proxy).hostname))


def exposure(what: str) -> str:
    """What is said of credentials that would be exposed."""
    return (
        f"{what} would send credentials over plain http, where anybody on the way can read them: use https://, or "
        "allow_plain_http = true where something else encrypts (the sidecar of a mesh)"
    )
