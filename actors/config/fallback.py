"""What a caller gets when a service fails. ``on`` names the error codes it is for; empty: all that make sense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

from ..errors import ErrorCode
from .check import Count, Name, Positive
from .queue import QueueFallback
from .record import Record


class CacheFallback(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="cache"):
    """The last good answer to the same request, if it is not older than ``max_age`` seconds."""

    kind: ClassVar[str] = "cache"

    max_age: Positive = 300.0
    max_entries: Count = 1000
    max_bytes: Count = 10_000_000
    on: Sequence[ErrorCode] = ()


class DefaultFallback(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="default"):
    """A fixed value."""

    kind: ClassVar[str] = "default"

    value: Any
    on: Sequence[ErrorCode] = ()


class AlternativeFallback(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="alternative"):
    """The same request to another service, through that one's own guards."""

    kind: ClassVar[str] = "alternative"

    service: Name
    on: Sequence[ErrorCode] = ()


Fallback: TypeAlias = CacheFallback | DefaultFallback | AlternativeFallback | QueueFallback
