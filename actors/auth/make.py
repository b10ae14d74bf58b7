"""What each kind of authentication works with: fixed credentials, a source of them, or somebody who signs requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ..config import BearerAuth, CustomAuth, OAuth2Auth, ServiceConfig
from ..config.custom import provider_of
from .bearer import FileSource, FunctionSource
from .credentials import Credentials, fixed
from .errands import failure_of
from .flow import FlowSigner
from .oauth2 import OAuth2Source
from .provider import Broken, ProviderSigner, ProviderSource

if TYPE_CHECKING:
    from ..config import Auth
    from ..machines.tokens import Token
    from .identity import Identity
    from .provider import Signer
    from .source import Source, Surroundings


class Means(msgspec.Struct, frozen=True):
    """What one kind of authentication works with, in one life of an actor."""

    fixed: Token[Credentials] | None = None
    """What is added to every request, if it never changes."""
    source: Source | None = None
    """Where it comes from, if it does."""
    signer: Signer | None = None
    """Who adds to each request what depends on it."""
    validate: Callable[[], Any] | None = None
    """Asked before each request whether what was fetched is still good."""
    any_challenge: bool = False
    """A 401 may be mended by fetching again whatever it asks for: who knows what a scheme of the user's says."""


def make_means(identity: Identity, around: Surroundings) -> Means:
    """For who we are, in these surroundings."""
    auth = identity.auth
    if isinstance(auth, CustomAuth):
        return _custom(identity, auth, around.config.name)
    return Means(fixed(auth), make_source(auth, around))


def _custom(identity: Identity, auth: CustomAuth, service: str) -> Means:
    if identity.provider is None:
        try:
            identity.provider = provider_of(auth.provider, service)
        except Exception as error:  # noqa: BLE001 - whatever a factory of the user's raises
            return Means(source=Broken(failure_of("the factory of the authentication", error)))
    provider = identity.provider
    if not hasattr(provider, "authenticate"):
        return Means(fixed(None), signer=FlowSigner(provider))
    fetches = hasattr(provider, "refresh")
    return Means(
        fixed=None if fetches else fixed(None),
        source=ProviderSource(provider) if fetches else None,
        signer=ProviderSigner(provider),
        validate=getattr(provider, "validate", None),
        any_challenge=True,
    )


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
