"""The faults that there are: what a bad network does to a connection, as values that can be compared and printed.

The words are toxiproxy's: ``downstream`` are the bytes of the server on their way to the client, ``upstream`` those of
the client on their way to the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from switchgear.actors.config.check import Count, CountOrZero, FromZero, Positive, shown
from switchgear.actors.config.record import Record
from switchgear.actors.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

Direction: TypeAlias = Literal["upstream", "downstream"]


class Latency(Record, frozen=True, forbid_unknown_fields=True):
    """Every byte arrives ``seconds`` later, as by a longer wire: nothing is slower for it, and nothing overtakes."""

    seconds: FromZero
    jitter: FromZero = 0.0
    """What is read together arrives up to this much sooner or later; drawn from the seed of the proxy."""
    direction: Direction = "downstream"


class Drip(Record, frozen=True, forbid_unknown_fields=True):
    """``size`` bytes at a time, one such piece every so many seconds (the first after that time, too)."""

    size: Count = 1
    every: FromZero = 0.01
    direction: Direction = "downstream"


class Bandwidth(Record, frozen=True, forbid_unknown_fields=True):
    """No more than ``rate`` bytes a second."""

    rate: Positive
    direction: Direction = "downstream"


class Corrupt(Record, frozen=True, forbid_unknown_fields=True):
    """The byte ``at`` this place, counted from 0 and over the whole connection, has all its bits turned over.

    What was ASCII is then neither ASCII nor UTF-8, so no text hides it.
    """

    at: CountOrZero = 0
    direction: Direction = "downstream"


class Reset(Record, frozen=True, forbid_unknown_fields=True):
    """A TCP reset, to both sides."""

    after: CountOrZero | None = None
    """Once so many bytes of the direction have gone through: 0 strikes in the place of the first of them, None as
    soon as the connection is accepted."""
    direction: Direction = "downstream"


class Truncate(Record, frozen=True, forbid_unknown_fields=True):
    """An orderly end, to both sides, as if each had closed: what comes after it is thrown away."""

    after: CountOrZero | None = None
    """As in `Reset`."""
    direction: Direction = "downstream"


class BlackHole(Record, frozen=True, forbid_unknown_fields=True):
    """Silence: both sides are read from, and nothing goes through any more, not even that the server has closed.

    It ends when the client closes.
    """

    after: CountOrZero | None = None
    """As in `Reset`. With None the server never hears of the connection; with 0 it answers, and nobody hears it."""
    direction: Direction = "downstream"


class HalfClose(Record, frozen=True, forbid_unknown_fields=True):
    """An orderly end of one direction, while the other goes on."""

    after: CountOrZero = 0
    """Once so many bytes have gone through; 0 strikes in the place of the first of them."""
    direction: Direction = "downstream"


Strike: TypeAlias = Reset | Truncate | BlackHole | HalfClose
"""What ends a direction, or all of a connection."""
Fault: TypeAlias = Latency | Drip | Bandwidth | Corrupt | Strike
STRIKES = get_args(Strike)
FAULTS = get_args(Fault)


def checked(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """The faults as a tuple. Raises ConfigError if one of them is none."""
    for fault in faults:
        if not isinstance(fault, FAULTS):
            raise ConfigError(f"faults: must be faults as Latency(0.02) or Reset(), not {shown(fault)}")
    return tuple(faults)
