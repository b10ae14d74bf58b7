"""For which failures a fallback is.

Each fallback has three conditions, of which all must hold: ``on`` names the error codes it is for (empty: all but those
of calls that could not be made at all), ``statuses`` the answers (empty: any, and errors without one), and ``when`` is
a function of the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from ..errors import ErrorCode
from .check import shown
from .function import Function
from .record import Record


def _status(value: Any) -> str | None:
    if value in {"4xx", "5xx"} or (type(value) is int and 100 <= value <= 599):
        return None
    return f'must be an HTTP status, or "4xx" or "5xx" for all of a class, not {shown(value)}'


Status: TypeAlias = Annotated[int | str, _status]


class Conditional(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The conditions that all of them have."""

    on: Sequence[ErrorCode] = ()
    """Error codes; empty: all but ``INVALID_REQUEST``, ``INVALID_CONFIG`` and ``UNKNOWN_SERVICE``."""
    statuses: Sequence[Status] = ()
    """Of the answer that the call ended with: numbers, ``"4xx"``, ``"5xx"``. Empty: any, or none."""
    when: Function | None = None
    """Called with the `ServiceError`; the fallback is for those for which it is true. In a file: its name, as
    ``"package.module:name"``."""
