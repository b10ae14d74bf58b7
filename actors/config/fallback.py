"""What a caller gets when a service fails, and for which failures."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

from .check import Count, Name, Positive
from .condition import Conditional
from .function import Function
from .queue import QueueFallback


class CacheFallback(Conditional, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="cache"):
    """The last good answer to the same request, if it is not older than ``max_age`` seconds.

    Answers of status 200 to GET and HEAD are kept, by method, path, query, the caller's own credentials
    (``Authorization``, ``Cookie``, API keys), and what their ``Vary`` names. A successful request of another method
    makes those to the same path and query forgotten.
    """

    kind: ClassVar[str] = "cache"

    max_age: Positive = 300.0
    max_entries: Count = 1000
    max_bytes: Count = 10_000_000
    strict: bool = False
    """True: not where the service forbids it (``must-revalidate``, ``no-cache``). What it forbids to keep
    (``no-store``) is never kept."""
    serve_fresh: bool = False
    """True: an answer that is fresh by RFC 9111 (``max-age``, ``Expires``) answers without a call, unless the caller
    says ``Cache-Control: no-cache``. Such an answer is no call, and not in the metrics."""


class DefaultFallback(Conditional, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="default"):
    """A fixed value."""

    kind: ClassVar[str] = "default"

    value: Any


class AlternativeFallback(Conditional, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="alternative"):
    """The same request to another service, through that one's own guards."""

    kind: ClassVar[str] = "alternative"

    service: Name


class DegradeFallback(Conditional, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="degrade"):
    """A reduced answer that a function of yours builds."""

    kind: ClassVar[str] = "degrade"

    function: Function
    """Called with the `ServiceError` and the `FailedCall`, in the caller's task; gives the data of the response, and
    may be async. What it raises is this fallback's failure, and the next one is tried. In a file: its name, as
    ``"package.module:name"``."""
    timeout: Positive = 1.0
    """Seconds that it may take if it is async. (The call's own time may be over by then: it has its own.)"""


Fallback: TypeAlias = CacheFallback | DefaultFallback | AlternativeFallback | DegradeFallback | QueueFallback
