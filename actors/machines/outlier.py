"""Passive outlier ejection: an instance whose calls fail more than those of the others gets none for a while. Pure.

Envoy's three rules (`OutlierConfig`). Consecutive failures eject at once; the two rates are judged when an interval
closes. Nothing here has a timer: whoever feeds it calls `sweep` once ``due`` has come, however much later, and an
interval is judged as of when it closed. So an outcome costs O(1), and a sweep O(instances that were called).

The way back is Finagle's, not Envoy's: when its time is over, an instance gets one call as a trial, and it is back when
that succeeds. Given all its calls again, a dead one would fail ``consecutive_failures`` of them each time, and all that
come before the first of those has timed out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Iterable

    from ..config import OutlierConfig

_ROUNDING = 1e-9  # equal rates must not differ from their own mean


class Host:
    """What is known of one instance."""

    __slots__ = (
        "calls",
        "counts",
        "ejected",
        "failures",
        "id",
        "in_a_row",
        "multiplier",
        "returned",
        "trying",
        "until",
    )

    def __init__(self, id: str) -> None:
        self.id = id
        self.counts = False
        """It is among those that calls are shared out to, save for its ejection."""
        self.calls = 0
        """In this interval."""
        self.failures = 0
        """Of those."""
        self.in_a_row = 0
        self.ejected = 0.0
        """When it was."""
        self.until: float | None = None
        """When its ejection, or the time for its trial, is over; inf if it waits for a trial, None if it is in use."""
        self.trying = False
        """Its trial is under way."""
        self.multiplier = 0
        """Ejections, less one for each interval that it has been well since."""
        self.returned = 0.0
        """When it came back."""


class OutlierDetector:
    """Ejects, and takes back.

    Args:
        config: the rules.
        rng: for the jitter.
        on_eject: told of each ejection: the host, why, and for how many seconds.
        on_return: told of each return: the host, and why.
    """

    def __init__(
        self,
        config: OutlierConfig,
        rng: random.Random,
        on_eject: Callable[[Host, str, float], None] = lambda _host, _why, _seconds: None,
        on_return: Callable[[Host, str], None] = lambda _host, _why: None,
    ) -> None:
        self.due = math.inf
        """When `sweep` has something to do."""
        self.version = 0
        """Grows whenever ``ejected`` changes."""
        self.trials: dict[str, Host] = {}
        """Those of which the next call is a trial, by id. See `trial`."""
        self._config = config
        self._rng = rng
        self._on_eject = on_eject
        self._on_return = on_return
        self._hosts: dict[str, Host] = {}
        self._size = 0  # of those that count
        self._least = 1  # of those that stay
        self._out: dict[str, Host] = {}
        self._absent = 0  # of those that are out, how many count
        self._called: dict[str, Host] = {}
        """Those with calls in this interval."""
        self._closes = math.inf
        """When this interval does; inf if none is open."""

    @property
    def ejected(self) -> Collection[str]:
        """Ids of those that get no calls, but for a trial."""
        return self._out.keys()

    def waits(self, now: float) -> dict[str, float]:
        """In how many seconds each that is ejected gets its next trial: 0.0 if it waits for a call that can be one."""
        waits = {}
        for host in self._out.values():
            until = host.until
            waits[host.id] = 0.0 if until is None or until == math.inf else max(0.0, until - now)
        return waits

    @property
    def trial(self) -> str | None:
        """Which one the next call should go to, to find out whether it is well again."""
        return next((host.id for host in self.trials.values() if host.counts), None) if self.trials else None

    def tune(self, config: OutlierConfig) -> None:
        """Go on by other rules; who is ejected stays so until the time that it was told."""
        self._config = config

    def update(self, known: Iterable[str], counting: Collection[str], now: float, least: int = 1) -> None:
        """The instances have changed (O(n)).

        Args:
            known: ids of all that there are.
            counting: ids of those that calls are shared out to, whoever of them is ejected.
            now: the time.
            least: so many of them no ejection takes away. Where there are not so many left, those that have been out
                longest come back.
        """
        old = self._hosts
        self._hosts = {name: old.get(name) or Host(name) for name in known}
        for gone in old.keys() - self._hosts.keys():
            for group in (self._out, self.trials, self._called):
                group.pop(gone, None)
        for host in self._hosts.values():
            host.counts = host.id in counting
        self._size = sum(host.counts for host in self._hosts.values())
        self._least = least
        out = sorted((host for host in self._out.values() if host.counts), key=lambda host: host.ejected)
        self._absent = len(out)
        for host in out[: max(0, least - self._size + self._absent)]:
            self._return(host, "too few others are left", now)

    def begin(self, id: str, now: float) -> None:
        """A call goes to it: its trial, if it waits for one. What has not come back in time leads to another."""
        host = self.trials.pop(id, None) if self.trials else None
        if host is not None:
            host.trying, host.until = True, now + self._config.ejection_time
            self._set_due()

    def record(self, id: str, failed: bool | None, now: float) -> None:
        """A call to it has ended. None: in a way that says nothing about it."""
        if now >= self._closes:
            self.sweep(now)
        host = self._hosts.get(id)
        if host is None:
            return
        if host.until is not None:  # of calls from before the ejection, only the trial says anything new
            if host.trying:
                self._tried(host, failed, now)
        elif failed is not None:
            if not host.calls:
                self._open(host, now)
            host.calls += 1
            if failed:
                self._failed(host, now)
            else:
                host.in_a_row = 0

    def _failed(self, host: Host, now: float) -> None:
        host.failures += 1
        host.in_a_row += 1
        if host.in_a_row == self._config.consecutive_failures:
            host.in_a_row = 0
            self._eject(host, f"{self._config.consecutive_failures} failures in a row", now)

    def _open(self, host: Host, now: float) -> None:
        if self._closes == math.inf:
            self._closes = now + self._config.interval
            self.due = min(self.due, self._closes)
        self._called[host.id] = host

    def _tried(self, host: Host, failed: bool | None, now: float) -> None:
        host.trying = False
        if failed is None:
            host.until = math.inf
            self.trials[host.id] = host
        elif failed:
            self._put_out(host, "its trial failed", now)
        else:
            self._return(host, "its trial succeeded", now)

    def sweep(self, now: float) -> None:
        """Do what is due: judge an interval that has closed, and let those be tried whose time is over."""
        if now >= self._closes:
            self._judge(self._closes)
        for host in self._out.values():
            if host.until is not None and host.until <= now:
                host.trying, host.until = False, math.inf
                self.trials[host.id] = host
        self._set_due()

    def _judge(self, at: float) -> None:
        config = self._config
        called = [host for host in self._called.values() if host.counts and host.until is None]
        some = [host for host in called if host.calls >= config.failure_rate_calls]
        many = [host for host in called if host.calls >= config.success_rate_calls]
        if config.success_rate_factor is not None and len(many) >= config.success_rate_hosts:
            self._compare(many, config.success_rate_factor, config.success_rate_margin, at)
        if config.failure_rate is not None and len(some) >= config.failure_rate_hosts:
            self._measure(some, config.failure_rate, at)
        for host in self._called.values():
            host.calls = host.failures = 0
        self._called.clear()
        self._closes = math.inf

    def _compare(self, hosts: list[Host], factor: float, margin: float, at: float) -> None:
        """Success rate against the fleet: the mean less ``factor`` *population* standard deviations, or ``margin``."""
        rates = {host: 1.0 - host.failures / host.calls for host in hosts}
        mean = sum(rates.values()) / len(rates)
        deviation = math.sqrt(sum((rate - mean) ** 2 for rate in rates.values()) / len(rates))
        least = mean - max(factor * deviation, margin)
        for host in sorted(hosts, key=rates.__getitem__):  # the worst first: there may not be room for all
            if rates[host] < least - _ROUNDING:
                self._eject(host, f"{rates[host]:.1%} succeeded, where {least:.1%} is the least among the others", at)

    def _measure(self, hosts: list[Host], most: float, at: float) -> None:
        rates = {host: host.failures / host.calls for host in hosts}
        for host in sorted(hosts, key=rates.__getitem__, reverse=True):
            if rates[host] >= most:  # gRPC's A50 says "greater" in one place and "at least" in another; Envoy does this
                self._eject(host, f"{rates[host]:.1%} failed", at)

    def pardon(self, id: str, why: str, now: float) -> None:
        """It is known to be well by other means."""
        host = self._hosts.get(id)
        if host is not None:
            host.in_a_row = 0
            if host.until is not None:
                self._return(host, why, now)

    def _eject(self, host: Host, why: str, at: float) -> None:
        if host.until is None and host.counts and self._has_room():
            # One off for each interval that it has been well: Envoy counts down in each sweep, which comes to this.
            if host.multiplier:
                host.multiplier = max(0, host.multiplier - int((at - host.returned) // self._config.interval))
            self._put_out(host, why, at)

    def _has_room(self) -> bool:
        """For one more. Envoy's rule since 1.28: the share is looked at with the new one in it; and never the last."""
        absent = self._absent + 1
        within = absent == 1 or absent <= self._config.max_ejected * self._size + _ROUNDING
        return within and self._size - absent >= self._least

    def _put_out(self, host: Host, why: str, at: float) -> None:
        config = self._config
        if host.multiplier * config.ejection_time < config.max_ejection_time:  # else it could not come down in time
            host.multiplier += 1
        seconds = min(host.multiplier * config.ejection_time, config.max_ejection_time)
        seconds *= 1.0 + config.jitter * self._rng.random()
        if host.until is None:
            self._absent += 1
            self._out[host.id] = host
            self.version += 1
        host.ejected, host.until = at, at + seconds
        self._on_eject(host, why, seconds)
        self._set_due()

    def _return(self, host: Host, why: str, now: float) -> None:
        host.until, host.trying, host.returned = None, False, now
        host.calls = host.failures = host.in_a_row = 0  # it is judged by what comes from now on
        self._absent -= host.counts
        del self._out[host.id]
        for group in (self.trials, self._called):
            group.pop(host.id, None)
        self.version += 1
        self._on_return(host, why)
        self._set_due()

    def _set_due(self) -> None:
        times = [host.until for host in self._out.values() if host.until is not None]
        self.due = min(self._closes, *times) if times else self._closes
