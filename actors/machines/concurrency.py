"""How many calls at once a service takes, learned from how it answers them. Pure.

By Little's law the calls under way are rate times latency. A service that works on C calls at once and is given more
lets them queue: the rate stays, the latency grows, and nobody gains. So the limit to find is C, and it changes with
every deployment over there. Both machines are those of Netflix (github.com/Netflix/concurrency-limits: AIMDLimit,
Gradient2Limit, WindowedLimit), with their constants; where they differ from it, they say so.

A machine is told of each attempt when that ends: when (``now``), its ``latency``, how many were ``in_flight`` when it
began, it included, and whether it was ``dropped``: refused, failed, or not answered in time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config import AimdConfig, Gradient2Config

_WARM_UP = 10  # windows whose plain mean is the first average
_ENOUGH = 10  # answers that a window holds at least
_MUCH_FASTER = 2.0  # times: then the average is out of date,
_FORGET = 0.95  # and shrinks by this in each window
_PATIENCE = 60  # windows with too high a latency, after which it is measured what is high


class AimdLimit:
    """Additive increase, multiplicative decrease.

    A round trip with no drop adds one, if half of the limit was in use; a drop leaves ``backoff_ratio`` of it. Two
    differences from AIMDLimit, both from TCP (RFC 5681 and the ``recover`` of RFC 6582), for which the rule was made:

    * It adds one for each *answer*, which doubles the limit each round trip: half of the time it would be far too high.
    * It backs off for each drop. With a hundred calls under way one moment of overload would leave nothing of the
      limit; here drops of calls that began before the limit was last lowered do not lower it again.
    """

    __slots__ = ("_config", "_exact", "_lowered", "_most", "limit")

    def __init__(self, config: AimdConfig, most: int, start: float | None = None) -> None:
        self.limit = 0
        """Calls at once."""
        self._lowered = -math.inf
        self._exact = float(config.initial_limit if start is None else start)
        self.tune(config, most)

    def tune(self, config: AimdConfig, most: int) -> None:
        """Other constants, and another bound: the limit goes on from where it is."""
        self._config, self._most = config, most
        self._set(self._exact)

    def sample(self, now: float, latency: float, in_flight: int, dropped: bool) -> None:
        """An attempt has ended."""
        if dropped or latency > self._config.timeout:
            if now - latency > self._lowered:
                self._lowered = now
                self._set(min(self.limit - 1, self._exact * self._config.backoff_ratio))
        elif in_flight * 2 >= self.limit:
            self._set(self._exact + 1 / self.limit)

    def _set(self, exact: float) -> None:
        self._exact = _within(self._config.min_limit, exact, self._most)
        self.limit = int(self._exact)


class Gradient2Limit:
    """Follows the gradient of the latency: what it is on the long run over what it is now.

    Once a window, if half of the limit was in use in it::

        gradient = clamp(tolerance * long / short, 0.5, 1)
        limit = (1 - smoothing) * limit + smoothing * (gradient * limit + queue_size)

    Three differences from Gradient2Limit:

    * There, ``long`` is the average of all windows, also of those in which we ourselves made the service slow. Under an
      overload that lasts it follows, and the limit with it: to 29 times the right one in 20 minutes, with a service for
      10 calls at once. Here windows with half of the limit in use never raise it.
    * So that a service which has become slower is not taken for an overloaded one for ever, ``long`` is measured anew
      after 60 windows with too high a latency: for one window there is a quarter of the limit. (Envoy's gradient
      controller does so once a minute in any case, GradientLimit did after so many samples.)
    * What is dropped must not pass for a good answer because it was refused quickly: it counts as no faster than usual.
    """

    __slots__ = (
        *("_averaged", "_config", "_exact", "_long", "_most", "limit", "probing"),
        *("_began", "_count", "_most_in_flight", "_slow", "_sum"),
    )

    def __init__(self, config: Gradient2Config, most: int, start: float | None = None) -> None:
        self.limit = 0
        """Calls at once."""
        self.probing = False
        """The limit is low for a moment, to measure."""
        self._long = 0.0
        self._averaged = 0  # windows that are in it, up to _WARM_UP
        self._slow = 0  # windows with too high a latency since the last measurement
        self._exact = float(config.initial_limit if start is None else start)
        self._began, self._sum = -math.inf, 0.0
        self._count, self._most_in_flight = 0, 0  # of the window
        self.tune(config, most)

    def tune(self, config: Gradient2Config, most: int) -> None:
        """Other constants, and another bound: the limit and the average go on from where they are."""
        self._config, self._most = config, most
        self._set(self._exact)

    def sample(self, now: float, latency: float, in_flight: int, dropped: bool) -> None:
        """An attempt has ended."""
        if self.probing and in_flight > self.limit:  # it began among too many
            return
        if dropped:
            latency = max(latency, self._long)
        self._sum += latency
        self._count += 1
        if in_flight > self._most_in_flight:
            self._most_in_flight = in_flight
        if self._count >= _ENOUGH and now >= self._began + self._config.window:
            self._end_window(self._sum / self._count)
            self._begin(now)

    def _begin(self, now: float) -> None:
        """A new window."""
        self._began = now
        self._sum, self._count, self._most_in_flight = 0.0, 0, 0

    def _end_window(self, short: float) -> None:
        if self.probing:
            self._long = short
            self._set(self._exact)
            return
        used = self._most_in_flight * 2 >= self.limit
        self._average(short, used)
        if used:
            config = self._config
            gradient = 1.0 if short <= 0 else _within(0.5, config.tolerance * self._long / short, 1.0)
            wanted = gradient * self._exact + config.queue_size
            self._set(self._exact + config.smoothing * (wanted - self._exact))
            self._slow += gradient < 1
            if self._slow >= _PATIENCE:
                self._probe()

    def _average(self, short: float, used: bool) -> None:
        """Take a window into the average: a plain mean at first, an exponential one later."""
        if self._averaged < _WARM_UP:
            self._averaged += 1
            self._long += (short - self._long) / self._averaged
        elif short < self._long or not used:
            self._long += (short - self._long) * 2 / (self._config.long_window + 1)
            if self._long > _MUCH_FASTER * short:
                self._long *= _FORGET

    def _probe(self) -> None:
        self.probing, self._slow = True, 0
        self.limit = int(_within(1, self._exact / 4, self._most))

    def _set(self, exact: float) -> None:
        self.probing = False
        self._exact = _within(self._config.min_limit, exact, self._most)
        self.limit = int(self._exact)


def _within(least: float, value: float, most: float) -> float:
    """The nearest to ``value`` from ``least`` to ``most``; the upper bound counts for more."""
    return min(max(least, value), most)
