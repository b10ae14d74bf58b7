"""The sum of all reports. Pure: reports and the time come in, figures come out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..machines.meter import Delta, add, empty
from .records import ServiceMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .records import Report

_SHED = ("CIRCUIT_OPEN", "RATE_LIMITED", "OVERLOADED")


_NOTHING = empty()


class Account:
    """One service."""

    __slots__ = ("breaker", "figures", "since", "total")

    def __init__(self, since: float) -> None:
        self.since = since
        self.breaker = "closed"
        self.total = _NOTHING  # until there is something: ten thousand idle services should weigh little
        self.figures: ServiceMetrics | None = None  # of the total, until the next report


class Ledger:
    """All services. Handed from one life of the metrics actor to the next."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.changes = 0

    def open(self, service: str, now: float) -> None:
        """Figures of this service begin, if they have not yet."""
        if service not in self.accounts:
            self.accounts[service] = Account(now)
            self.changes += 1

    def close(self, service: str) -> None:
        """They end."""
        if self.accounts.pop(service, None) is not None:
            self.changes += 1

    def book(self, report: Report) -> None:
        """Add a report. Marked as booked even if the service is gone: whoever made it must not count it again."""
        report.delta.booked = True
        account = self.accounts.get(report.service)
        if account is not None:
            if account.total is _NOTHING:
                account.total = empty()
            add(account.total, report.delta)
            account.breaker, account.figures = report.breaker, None
            self.changes += 1

    def metrics(self, service: str, now: float, more: Iterable[Delta] = ()) -> ServiceMetrics:
        """The figures of a service, with what it has not reported yet. KeyError if it is not known."""
        account = self.accounts[service]
        more = tuple(more)
        if more:
            total = empty()
            for part in (account.total, *more):
                add(total, part)
            return _figures(total, account, now)
        if account.figures is None:
            account.figures = _figures(account.total, account, now)
            return account.figures
        error = account.total.last_error
        age = None if error is None else max(0.0, now - error[1])
        return msgspec.structs.replace(account.figures, uptime=now - account.since, last_error_age=age)


def _figures(total: Delta, account: Account, now: float) -> ServiceMetrics:
    histogram = total.histogram
    errors = dict(total.errors)
    for code, count in total.refused.items():
        errors[code] = errors.get(code, 0) + count
    code, when = total.last_error or (None, None)
    p50, p95, p99 = (histogram.quantile(q) for q in (0.5, 0.95, 0.99))
    return ServiceMetrics(
        count=histogram.count + sum(total.refused.values()),
        errors=sum(errors.values()),
        errors_by_code=errors,
        shed=sum(errors.get(one, 0) for one in _SHED),
        mean=histogram.mean,
        p50=p50,
        p95=p95,
        p99=p99,
        min=histogram.min if histogram.count else 0.0,
        max=histogram.max,
        attempts=total.attempts,
        retries=total.retries,
        fallbacks=sum(total.fallbacks.values()),
        fallbacks_by_source=dict(total.fallbacks),
        breaker=account.breaker,
        last_error=code,
        last_error_age=None if when is None else max(0.0, now - when),
        uptime=now - account.since,
    )
