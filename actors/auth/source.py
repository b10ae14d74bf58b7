"""Where credentials come from that are not simply there: what such a source is asked for, and what it gives.

A source does the I/O of one kind of authentication: it asks a token endpoint, reads a file, calls a function of the
user's. It holds no policy: when it is asked, and what becomes of what it gives, is the token cache's to say, and it is
never asked twice at once. It lives as long as its actor; what has to outlive that is in what it has given, which it is
given back.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ..secrecy import Masked
from .credentials import Credentials

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from ..config import ServiceConfig
    from ..transport import Door
    from .oauth2 import OAuth2Memory


class Grant(Masked, msgspec.Struct, frozen=True):
    """What a source gave: credentials, and the seconds for which they are good.

    ``expires_in`` counts from when the source was asked, which is no later than when they were issued; None: nobody
    knows, so they are used until they are refused. A source may derive from it, to find in it what it needs next time.
    """

    credentials: Credentials
    expires_in: float | None = None

    def told(self) -> Iterator[tuple[str, Any]]:
        """See `Masked`."""
        yield "expires_in", self.expires_in


class Source(Protocol):
    """Gives credentials that have to be fetched."""

    every: float = math.inf
    """Seconds after which it is asked again although what it gave is still good."""

    async def fetch(self, previous: Grant | None) -> Grant:
        """New credentials.

        Args:
            previous: what it gave last, if anything. To give just that again says that there is nothing new.

        Raises:
            AuthFailed: there are none to be had. ``retryable``: whether asking again later can help; ``retry_at``: not
                before then (trio time), where that is known. Anything else that it raises is taken for a mishap: it is
                asked again, and the text is not quoted, for it may be of somebody who does not know what a secret is.
        """
        ...

    async def aclose(self) -> None:
        """Its actor has ended, or has another source: give back what there is. No fetch is under way."""
        ...


class Surroundings(msgspec.Struct, frozen=True):
    """What a source may use of the actor that it is part of."""

    config: ServiceConfig
    """Of the service that the credentials are for."""
    open_door: Callable[[ServiceConfig], Door]
    """Connections of its own, to what is configured like that. To be closed by `Source.aclose`."""
    rng: random.Random
    oauth2: Callable[[], OAuth2Memory]
    """What the service has kept of OAuth2."""
