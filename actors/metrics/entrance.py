"""Who may come in to a server of ours: by which name he calls us, from which page, with which token. Pure.

On loopback every program of this machine may come, and the pages that a browser has open elsewhere may not: browsers
send where a page is from (`Origin`), and by which name they have reached us (`Host`), which under DNS rebinding is the
page's own name with our address. Beyond loopback a token is asked for.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..config.check import is_loopback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import MetricsConfig

TOKEN = "switchgear.token."  # noqa: S105 - what comes before one
"""Begins the subprotocol by which a page in a browser gives its token, for it can set no headers."""


class Entrance:
    """What one server lets in. Statuses are all that is said to who is turned away: a reason would be of use to him."""

    def __init__(self, config: MetricsConfig) -> None:
        self._local = is_loopback(config.host)
        self._origins = frozenset(config.allowed_origins)
        self._token = None if config.token is None else config.token.reveal().encode("ascii")

    def refusal(self, host: str, headers: Sequence[tuple[bytes, bytes]], subprotocols: Sequence[str]) -> int | None:
        """The status to turn a request away with, or None.

        Args:
            host: its ``Host``.
            headers: the others; names in any case.
            subprotocols: that it proposes.
        """
        if self._local and not _names_this_machine(host):
            return 403
        origins = _values(headers, b"origin")
        if not all(self._may_read(origin.decode("latin-1").lower(), host) for origin in origins):
            return 403
        return None if self._token is None or self._has_token(headers, subprotocols) else 401

    def _may_read(self, origin: str, host: str) -> bool:
        """A page of this machine where we are on it, one that we have served ourselves, or one that is listed."""
        if self._local and is_loopback(_hostname(origin)):
            return True
        return origin in self._origins or origin in {f"http://{host}".lower(), f"https://{host}".lower()}

    def _has_token(self, headers: Sequence[tuple[bytes, bytes]], subprotocols: Sequence[str]) -> bool:
        assert self._token is not None  # noqa: S101 - else it is not asked for
        said = [value[7:].strip() for value in _values(headers, b"authorization") if value[:7].lower() == b"bearer "]
        said += [one.removeprefix(TOKEN).encode("latin-1", "replace") for one in subprotocols if one.startswith(TOKEN)]
        # Of several, the first counts: to try a thousand in one request would be cheaper than it should be.
        return bool(said) and hmac.compare_digest(said[0], self._token)


def _values(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for known, value in headers if known.lower() == name]


def _names_this_machine(host: str) -> bool:
    """With or without a port; also as trio-websocket says ``::1:80``, without the brackets. (No browser does.)"""
    return is_loopback(_hostname(f"//{host}")) or is_loopback(host.rpartition(":")[0])


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
