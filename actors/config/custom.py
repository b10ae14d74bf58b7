"""Kinds of authentication that are not ours: what is taken for one, and which names configurations know them by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from ..errors import ConfigError
from .check import shown
from .function import function
from .record import Record

Factory: TypeAlias = Callable[[str], Any]

_registered: dict[str, Factory] = {}


def register_auth(name: str, factory: Factory) -> None:
    """Make a kind of authentication known to configurations, as ``auth = { type = "custom", provider = NAME }``.

    Args:
        name: for it; an earlier one of the same name is replaced, for what is configured from then on.
        factory: called with the name of the service before its first call, it gives the provider: an `AuthProvider`, or
            an ``httpx.Auth``. That is kept through crashes, and until the configuration names another.
    """
    if not isinstance(name, str) or not name or ":" in name:
        raise ConfigError(f"the name of a kind of authentication is text without a ':', not {shown(name)}")
    if not callable(factory):
        raise ConfigError(f"the factory of the authentication {name!r} is a function, not a {type(factory).__name__}")
    _registered[name] = factory


def provider_problem(value: Any) -> str | None:
    """Why this is no provider; None if it is one. It is not quoted: it may hold a secret, and show it."""
    if isinstance(value, type):
        return f"must be a provider, not the class {value.__name__}: make one of it"
    if not any(callable(getattr(value, name, None)) for name in ("authenticate", "async_auth_flow")):
        return f"must have a method `authenticate`, or be an httpx.Auth: a {type(value).__name__} is neither"
    return None


def provider_of(value: Any, service: str) -> Any:
    """The provider itself, made by its factory if it was named. Raises what the factory raises, and ConfigError."""
    if not isinstance(value, str):
        return value
    factory = function(value) if ":" in value else _registered[value]
    made = factory(service)
    if problem := provider_problem(made):
        raise ConfigError(f"what the factory of the authentication {value!r} gave {problem}")
    return made


def _provider(value: Any) -> str | None:
    if not isinstance(value, str):
        return provider_problem(value)
    if ":" in value:
        try:
            function(value)
        except ValueError as error:
            return str(error)
        return None
    if value in _registered:
        return None
    return f"there is no authentication {value!r:.80}: switchgear.register_auth has to be called before"


class CustomAuth(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="custom"):
    """A kind of authentication of your own, or an ``httpx.Auth``."""

    provider: Annotated[Any, _provider]
    """An `AuthProvider`, an ``httpx.Auth``, or the name that one has been given by `register_auth`. In a file, such a
    name, or that of a factory as ``"package.module:name"`` (see `register_auth`)."""

    def __copy__(self) -> CustomAuth:
        return self

    def __deepcopy__(self, _memo: object) -> CustomAuth:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """A name can go anywhere; what a provider holds may be secrets, as an httpx.BasicAuth does."""
        if not isinstance(self.provider, str):
            raise TypeError("a provider of authentication cannot be pickled: register it, and give its name instead")
        return CustomAuth, (self.provider,)

    def __repr__(self) -> str:
        return f"CustomAuth(provider={self.__rich_repr__()[0][1]!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Not the provider's own repr, which may show what it holds."""
        return [("provider", self.provider if isinstance(self.provider, str) else type(self.provider))]
