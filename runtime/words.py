"""The words of supervision: what a user sets, what the shell reports to the policy, what the policy tells it to do.

Only records, no behaviour: `policy.py` decides, `supervisor.py` performs.
"""

from __future__ import annotations

import enum
import math
from typing import TypeAlias

import msgspec


class Strategy(enum.Enum):
    """Which siblings a crash takes along."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class Restart(enum.Enum):
    """Which ends of a child are followed by a restart."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"  # only a crash
    TEMPORARY = "temporary"  # none: it is forgotten, also when a sibling's crash took it down


class Intensity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most ``max_restarts`` in any ``within`` seconds; ``None`` never gives up (backoff alone bounds the rate)."""

    max_restarts: int | None = 5
    within: float = 30.0
    """Seconds; an exact sliding window."""

    def __post_init__(self) -> None:
        if self.max_restarts is not None and self.max_restarts < 0:
            raise ValueError(f"max_restarts is a count or None, not {self.max_restarts}")
        if not 0 < self.within < math.inf:
            raise ValueError(f"within is a finite number of seconds above 0, not {self.within}")


class Crash(msgspec.Struct, frozen=True):
    """One line of a supervisor's history: who crashed, when (trio time), of what."""

    name: str
    at: float
    error: BaseException | None


# ---- events: what the shell reports


class Begin(msgspec.Struct, frozen=True):
    """The supervisor starts: bring up all children."""


class Ready(msgspec.Struct, frozen=True):
    """A child that was starting is up."""

    name: str


class Exited(msgspec.Struct, frozen=True):
    """A child has ended: ``error`` is its crash, or None for a normal end or a stop that was asked for."""

    name: str
    error: BaseException | None = None


class Tick(msgspec.Struct, frozen=True):
    """Time has passed: `Policy.due` has been reached."""


class Add(msgspec.Struct, frozen=True):
    """A child is added at run time, to the right of all others."""

    name: str
    restart: Restart = Restart.PERMANENT


class Remove(msgspec.Struct, frozen=True):
    """A child is to be stopped and forgotten."""

    name: str


class Shutdown(msgspec.Struct, frozen=True):
    """The supervisor itself is to stop."""

    final: bool = True


Event: TypeAlias = Begin | Ready | Exited | Tick | Add | Remove | Shutdown


# ---- actions: what the shell is to do


class Start(msgspec.Struct, frozen=True):
    """Start this child; report Ready, or Exited if that fails."""

    name: str


class Stop(msgspec.Struct, frozen=True):
    """Stop this child, report Exited. ``final``: it will not be started again, so its mailbox can be emptied. A child
    that is removed while it stops for a restart is told twice, the second time finally.
    """

    name: str
    final: bool


class Delayed(msgspec.Struct, frozen=True):
    """A crash is to be followed by a restart at ``due``; nothing to do but to tell the observers."""

    name: str
    due: float
    crashes: int


class Forgotten(msgspec.Struct, frozen=True):
    """This child is gone from the list and its ref is dead: it was removed, or ended and is not to be restarted, or
    was added at run time and never became ready (``error`` says why).
    """

    name: str
    error: BaseException | None = None


class Booted(msgspec.Struct, frozen=True):
    """All children are up for the first time: the supervisor is ready."""


class Ended(msgspec.Struct, frozen=True):
    """All children are stopped. ``history`` is not empty if it gave up; ``failed`` names a child that did not start."""

    history: tuple[Crash, ...] = ()
    failed: str | None = None


Action: TypeAlias = Start | Stop | Delayed | Forgotten | Booted | Ended
