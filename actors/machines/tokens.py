"""The token cache: a credential, how long it is good for, and which one a request has used. Pure."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Token(msgspec.Struct, Generic[T], frozen=True):
    """One credential. ``generation`` tells it from those before and after it."""

    value: T
    generation: int
    expires_at: float

    def __repr__(self) -> str:
        return f"<Token generation {self.generation}>"  # never its value


class TokenCache(Generic[T]):
    """Holds the credential in force."""

    __slots__ = ("_generation", "_token")

    def __init__(self) -> None:
        self._generation = 0
        self._token: Token[T] | None = None

    def get(self, now: float) -> Token[T] | None:
        """The credential, or None if there is none or it has expired."""
        token = self._token
        return token if token is not None and now < token.expires_at else None

    def store(self, value: T, expires_in: float | None, now: float) -> Token[T]:
        """Put a new credential in force for ``expires_in`` seconds (None: until it is invalidated)."""
        self._generation += 1
        expires_at = math.inf if expires_in is None else now + expires_in
        self._token = Token(value, self._generation, expires_at)
        return self._token

    def invalidate(self, generation: int) -> None:
        """The service refused this one. Only it is dropped: fifty refusals of an old one cost one refresh."""
        if self._token is not None and self._token.generation == generation:
            self._token = None
