"""Which source belongs to which kind of authentication."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import BearerAuth, OAuth2Auth, ServiceConfig
from .bearer import FileSource, FunctionSource
from .oauth2 import OAuth2Source

if TYPE_CHECKING:
    from ..config import Auth
    from .source import Source, Surroundings


def make_source(auth: Auth | None, around: Surroundings) -> Source | None:
    """The source of what has to be fetched; None for what is simply there."""
    if isinstance(auth, BearerAuth):
        if auth.token_file is not None:
            return FileSource(auth.token_file)
        if auth.token_from is not None:
            return FunctionSource(auth.token_from)
    if isinstance(auth, OAuth2Auth):
        config = around.config
        door = around.open_door(ServiceConfig(config.name, tls=auth.tls, proxy=config.proxy))
        return OAuth2Source(auth, door=door, memory=around.oauth2(), rng=around.rng)
    return None
