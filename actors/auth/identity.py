"""Who we are to one service, through all lives of its actor: a crash costs no token, and forgets no refusal.

It is replaced when the configuration says that we are somebody else, and kept through any other change. Like the rest
of the service's memory it is only changed synchronously, so no life can leave it half done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..machines.tokens import TokenCache

if TYPE_CHECKING:
    import random

    from ..config import Auth
    from .credentials import Credentials
    from .source import Grant


class Identity:
    """What is known of the credentials of one service."""

    __slots__ = ("auth", "grant", "provider", "tokens", "trouble")

    def __init__(self, auth: Auth | None, rng: random.Random) -> None:
        self.auth = auth
        self.tokens: TokenCache[Credentials] = TokenCache(rng)
        """What has been fetched, and when to fetch again."""
        self.grant: Grant | None = None
        """What was fetched last, for the source to go on from."""
        self.provider: Any = None
        """Of authentication of the user's own, if it has been made: it keeps what it has fetched."""
        self.trouble = ""
        """Why the last attempt to fetch failed; empty if it did not."""
