"""When a service is not called for a while: the settings of the circuit breaker. All times are seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ..errors import ErrorCode
from .check import Count, Positive, between
from .condition import Status
from .function import Function
from .record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

Share = Annotated[float, between(0.001, 1)]


class BreakerConfig(Record, frozen=True, forbid_unknown_fields=True):
    """When the circuit breaker opens, and how it finds its way back."""

    failure_threshold: Count = 5
    """This many failures within ``monitoring_period`` open it (or so many in a row, see ``trip``)."""
    reset_timeout: Positive = 30.0
    """How long it stays open before it lets a trial through."""
    monitoring_period: Positive = 60.0
    """Older failures do not count."""
    half_open_max_requests: Count = 1
    """Trials at once while it is half-open; as many successes close it."""
    enabled: bool = True

    trip: Literal["failures", "consecutive", "rate"] = "failures"
    """What opens it. ``failures``: ``failure_threshold`` of them within ``monitoring_period``. ``consecutive``: as many
    in a row, without a success between them. ``rate``: a share of the calls that fail, or are slow."""
    failure_rate: Share = 0.5
    """With ``rate``: this share of failures opens it."""
    slow_rate: Share | None = None
    """With ``rate``: so does this share of slow calls. None: slowness alone never does."""
    slow_after: Positive = 5.0
    """A call is slow that takes longer."""
    window_calls: Annotated[int, between(1, 100_000)] | None = None
    """With ``rate``: over the last so many calls. None: over those of the last ``monitoring_period``."""
    minimum_calls: Count = 20
    """With ``rate``: fewer calls in the window say nothing."""

    reset_multiplier: Annotated[float, between(1, 100)] = 1.0
    """Each opening that follows another before it was stable lasts so many times longer, from ``reset_timeout`` on."""
    max_reset_timeout: Positive = 600.0
    """But no longer than that (or ``reset_timeout``, if that is more)."""
    reset_jitter: Annotated[float, between(0, 1)] = 0.2
    """And by up to this share shorter, drawn anew each time, so that not all clients come back at once. The first
    opening is exactly ``reset_timeout`` long, and with a multiplier of 1 all are."""
    stable_after: Positive = 60.0
    """Closed for so long it is stable: its next opening is the first again."""

    failure_statuses: Sequence[Status] = ("5xx",)
    """Answers that are failures of the service: numbers, ``"4xx"``, ``"5xx"``."""
    ignored_statuses: Sequence[Status] = (429,)
    """Answers that say nothing about it. (Who is told to come later has met a service that works.) Those in neither
    list are successes."""
    failure_errors: Sequence[ErrorCode] = (ErrorCode.TRANSPORT, ErrorCode.TIMEOUT)
    """Errors without an answer that are failures; all others say nothing. The caller's own cancellation never does."""
    scope: Literal["service", "instance", "operation"] | None = None
    """What has a breaker of its own. ``instance``: no call goes to one whose breaker is open, and ``CircuitOpen`` is
    for when all are. ``operation``: a method and path template, or a path, of which segments with a digit in them
    count as the same. None: ``service`` for one with a ``base_url`` and no sources, else ``instance``, for one bad
    instance among many would keep a breaker of all open."""

    classify: Function | None = None
    """Asked before the lists: a function of the status (or None) and the `ServiceError` (or None), which returns
    ``"failure"``, ``"success"``, ``"ignore"``, or None to leave it to the lists. In a file: its name, as
    ``"package.module:name"``."""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """A window that can hold enough."""
        calls, least = record.window_calls, record.minimum_calls
        if calls is not None and least is not None and record.trip == "rate" and calls < least:
            yield "minimum_calls", f"must not be more than window_calls ({calls}), or it never opens"
