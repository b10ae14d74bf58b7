"""What a caller gets when a service fails. ``on`` names the error codes it is for; empty: all that make sense."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import msgspec

from ..errors import ErrorCode
from .check import at_least, name, positive


class CacheFallback(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="cache"):
    """The last good answer to the same request, if it is not older than ``max_age`` seconds."""

    kind: ClassVar[str] = "cache"

    max_age: float = 300.0
    max_entries: int = 1000
    max_bytes: int = 10_000_000
    on: tuple[ErrorCode, ...] = ()

    def __post_init__(self) -> None:
        positive("max_age", self.max_age)
        at_least("max_entries", self.max_entries, 1)
        at_least("max_bytes", self.max_bytes, 1)


class DefaultFallback(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="default"):
    """A fixed value."""

    kind: ClassVar[str] = "default"

    value: Any
    on: tuple[ErrorCode, ...] = ()


class AlternativeFallback(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="alternative"
):
    """The same request to another service, through that one's own guards."""

    kind: ClassVar[str] = "alternative"

    service: str
    on: tuple[ErrorCode, ...] = ()

    def __post_init__(self) -> None:
        name("service", self.service)


Fallback: TypeAlias = CacheFallback | DefaultFallback | AlternativeFallback
