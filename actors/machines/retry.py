"""Whether to try again, and when. Pure functions: the numbers come in, the answer goes out.

The delay is clamped and then jittered: a jitter that the clamp cuts away lets all clients meet at the cap.
(AWS architecture blog, "Exponential backoff and jitter"; RESILIENCE.md, "Retry".)
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from email.utils import parsedate_tz
from typing import TYPE_CHECKING

from ..errors import CallTimeout, HTTPStatusError, RateLimited, TransportError

if TYPE_CHECKING:
    import random

    from ..config import RetryPolicy
    from ..errors import ServiceError

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110, section 9.2.2
_ABSURD = 86_400.0  # seconds: no server means more than a day
_SECONDS = re.compile(r"[0-9]+")
_UNPROCESSED = frozenset({425, 429})  # answers which say that nothing was done


def delay(policy: RetryPolicy, failures: int, rng: random.Random, last: float = 0.0) -> float:
    """Seconds to wait after the ``failures``-th failed attempt (from 1); ``last``: how long was waited before that."""
    if policy.jitter == "decorrelated":
        most = min(policy.max_delay, max(policy.base_delay, 3 * last))
        return rng.uniform(min(policy.base_delay, most), most)
    try:
        wait = min(policy.max_delay, policy.base_delay * float(policy.multiplier) ** (failures - 1))
    except OverflowError:  # long past the cap, unless nothing has been growing
        wait = policy.max_delay if policy.base_delay else 0.0
    if policy.jitter == "full":
        return wait * rng.random()
    if policy.jitter == "equal":
        return wait * (0.5 + 0.5 * rng.random())
    return wait


def retryable(policy: RetryPolicy, error: ServiceError, method: str, *, keyed: bool) -> bool:
    """May this call be tried again after this error?

    What the service cannot have acted on may always be tried again. What it may have acted on only if doing it twice
    does no harm: the method is idempotent, or the call carries an idempotency key (``keyed``).
    """
    harmless = keyed or method in IDEMPOTENT
    if isinstance(error, (HTTPStatusError, RateLimited)):
        if error.status is None or error.status not in policy.statuses:
            return False
        return harmless or error.status in _UNPROCESSED
    if error.code not in policy.errors:
        return False
    if isinstance(error, TransportError):
        return error.processed == "no" or harmless
    return harmless and (error.retryable or not isinstance(error, CallTimeout))


def parse_retry_after(value: str | None, *, date: str | None = None, wall_now: float) -> float | None:
    """Seconds to wait, from a ``Retry-After`` header (RFC 9110, section 10.2.3): a number, or any of the HTTP dates.

    Args:
        value: the header, or None.
        date: the ``Date`` header of the same response: a date is measured against the clock that wrote it.
        wall_now: seconds since the epoch, for where there is no ``Date``.

    Returns:
        None where there is nothing to go by: no header, or nonsense. A date of the past is 0; more than a day is a day.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _ABSURD)
    then = http_date(text)
    if then is None:
        return None
    sent = None if date is None else http_date(date)
    return min(max(0.0, then - (wall_now if sent is None else sent)), _ABSURD)


def http_date(text: str) -> float | None:
    """Seconds since the epoch; None for nonsense. IMF-fixdate, RFC 850 and asctime: `parsedate_tz` reads all three."""
    try:
        parts = parsedate_tz(text)
        if parts is None:
            return None
        dt.datetime(*parts[:5], tzinfo=dt.UTC)  # raises for the 31st of February, which timegm takes
        if not 0 <= parts[5] <= 60:
            return None
        return float(calendar.timegm((*parts[:6], 0, 1, 0))) - (parts[9] or 0)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
