"""How long to wait before a crashed child is started again. Pure: numbers in, a number out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import random


class Backoff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exponential backoff: ``min(maximum, initial * factor**(n - 1))``, then jittered downwards.

    ``n`` counts *consecutive* crashes: it starts again at 1 once the child has been up for ``reset_after`` seconds
    (a lifetime counter grows to hours: deployex #300). The jitter is taken after the clamp, for a jitter that is
    clamped away lets all clients meet at the cap (stamina).
    """

    initial: float = 0.1
    """Seconds before the first restart."""
    factor: float = 2.0
    maximum: float = 30.0
    """Seconds; no wait is longer."""
    jitter: float = 0.2
    """Share of the wait that is left to chance: 0.2 waits between 80 % and 100 %."""
    reset_after: float = 30.0
    """Seconds of healthy life after which the next crash is the first again."""

    def __post_init__(self) -> None:
        for name, least in (("initial", 0.0), ("factor", 1.0), ("maximum", 0.0), ("jitter", 0.0), ("reset_after", 0.0)):
            value = getattr(self, name)
            if not value >= least:  # written so that NaN fails too
                raise ValueError(f"{name} is at least {least:g}, not {value}")
        if self.jitter > 1:
            raise ValueError(f"jitter is a share from 0 to 1, not {self.jitter}")

    def delay(self, crashes: int, rng: random.Random) -> float:
        """Seconds to wait after the ``crashes``-th consecutive crash (from 1)."""
        try:
            wait = min(self.maximum, self.initial * self.factor ** (crashes - 1))
        except OverflowError:  # 2.0 ** 1024: long past the cap
            wait = self.maximum
        return wait * (1.0 - self.jitter * rng.random())
