"""Other hosts that a service sends us to: those of ``allowed_hosts``, for GET and HEAD, and never with a credential.

What goes there is made anew, of a short list of the caller's own headers. Neither what the configuration sends with
each request nor what authentication adds is anywhere near, and the caller's cookies and tokens are for the service too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from ..errors import InvalidRequest
from ..secrecy import Masked
from ..transport import Wire
from .target import PATH_SAFE, Target, is_below

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..transport import Door

# Of the caller's headers, what says which form or part of a thing he wants.
_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "range", "if-range", "if-none-match"})


class Place(Masked, msgspec.Struct, frozen=True):
    """A URL of another host: what `Service.link` gives for one, and what calls take in the place of a path."""

    to: Target
    target: str
    """Path and query."""

    @property
    def url(self) -> str:
        """The whole of it. (The repr has the host only: such URLs are often signed, and whoever has one may use it.)"""
        return self.to.url(self.target)

    def told(self) -> Iterator[tuple[str, Any]]:
        """See `Masked`."""
        yield "host", self.to.host


class Abroad:
    """The other hosts of one service.

    Args:
        hosts: their names.
        headers: that say who we are, and nothing else.
        door: the way there, which leads to public addresses only.
    """

    def __init__(self, hosts: Sequence[str], headers: tuple[tuple[str, str], ...], door: Door) -> None:
        self.door = door
        self._hosts = frozenset(hosts)
        self._headers = headers

    def place(self, url: str, base: str) -> Place | None:
        """See `place`."""
        return place(url, base, self._hosts)

    def wire(self, there: Place, method: str, headers: tuple[tuple[str, str], ...]) -> Wire:
        """The request to make there. Raises InvalidRequest for one that is not to be made there."""
        if there.to.host not in self._hosts:
            raise InvalidRequest(f"{there.to.host} is not one of allowed_hosts")
        if method not in ("GET", "HEAD"):
            raise InvalidRequest(f"a {method} goes to the service itself only, and this leads to another host")
        own = tuple(pair for pair in headers if pair[0].lower() in _HARMLESS)
        names = {name.lower() for name, _ in own}
        ours = (pair for pair in self._headers if pair[0].lower() not in names)
        return Wire(method, there.target, (*own, *ours), replayable=True)


def place(url: str, base: str, hosts: frozenset[str]) -> Place | None:
    """Where a URL leads that was found at ``base``; None if that is none of the ``hosts``, or not by https."""
    try:
        parts = urlsplit(urljoin(base, url))
        if parts.scheme != "https" or parts.username is not None:
            return None
        to = Target.parse(f"https://{parts.netloc}")
    except ValueError:  # no URL, or a host that DNS cannot have (UnicodeError is one)
        return None
    target = quote(parts.path, safe=PATH_SAFE)
    if parts.query:
        target += f"?{quote(parts.query, safe=PATH_SAFE + '?')}"
    return Place(to, target) if to.host in hosts and to.port == 443 and is_below(target) else None
