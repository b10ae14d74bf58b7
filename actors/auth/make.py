"""Which source belongs to which kind of authentication."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import BearerAuth
from .bearer import FileSource, FunctionSource

if TYPE_CHECKING:
    from ..config import Auth
    from .source import Source, Surroundings


def make_source(auth: Auth | None, around: Surroundings) -> Source | None:  # noqa: ARG001 - for those that ask over the network
    """The source of what has to be fetched; None for what is simply there."""
    if isinstance(auth, BearerAuth):
        if auth.token_file is not None:
            return FileSource(auth.token_file)
        if auth.token_from is not None:
            return FunctionSource(auth.token_from)
    return None
