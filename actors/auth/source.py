"""Where credentials come from that are not simply there: what such a source is asked for, and what it gives.

A source does the I/O of one kind of authentication: it asks a token endpoint, reads a file, calls a function of the
user's. It holds no policy: when it is asked, and what becomes of what it gives, is the token cache's to say, and it is
never asked twice at once.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from .credentials import Credentials


class Grant(msgspec.Struct, frozen=True):
    """What a source gave: credentials, and the seconds for which they are good.

    ``expires_in`` counts from when the source was asked, which is no later than when they were issued; None: nobody
    knows, so they are used until they are refused.
    """

    credentials: Credentials
    expires_in: float | None = None

    def __repr__(self) -> str:
        return f"<Grant for {'an unknown time' if self.expires_in is None else f'{self.expires_in:g} s'}>"


class Source(Protocol):
    """Gives credentials that have to be fetched."""

    async def fetch(self, previous: Grant | None) -> Grant:
        """New credentials.

        Args:
            previous: what it gave last, if anything.

        Raises:
            AuthFailed: there are none to be had. ``retryable``: whether asking again later can help; ``retry_at``: not
                before then (trio time), where that is known.
        """
        ...
