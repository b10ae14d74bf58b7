"""Wall time, for logs, HTTP dates and certificates: the only place that asks the system what day it is.

Everything else counts in ``trio.current_time()``. The offset between the two is taken once a run, so that wall time
follows trio's clock: under a mock clock an hour of virtual time is an hour of wall time too. The price is that a
system clock which is set during a run is not followed, which is what intervals want anyway.
"""

from __future__ import annotations

import time

import trio

_offset: trio.lowlevel.RunVar[float] = trio.lowlevel.RunVar("switchgear wall offset")


def wall_time() -> float:
    """Seconds since the epoch, moving with trio's clock."""
    now = trio.current_time()
    try:
        return now + _offset.get()
    except LookupError:
        _offset.set(time.time() - now)
        return now + _offset.get()
