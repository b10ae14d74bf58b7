"""The sum of all reports, and of what is yet to be reported. Pure: reports and the time come in, figures come out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..machines.meter import Delta, add, empty
from .records import OperationMetrics, ServiceMetrics

if TYPE_CHECKING:
    from ..machines.operations import Tally
    from ..service.state import ServiceState
    from ..transport import PoolStatistics
    from .records import Report

_SHED = ("CIRCUIT_OPEN", "RATE_LIMITED", "OVERLOADED")
_NOTHING = empty()


class Account:
    """One service."""

    __slots__ = ("figures", "since", "state", "total")

    def __init__(self, state: ServiceState, since: float) -> None:
        self.state = state
        self.since = since
        self.total = _NOTHING  # until there is something: ten thousand idle services should weigh little
        self.figures: ServiceMetrics | None = None  # of the total, until the next report


class Ledger:
    """All services. Handed from one life of the metrics actor to the next."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}

    def open(self, state: ServiceState, now: float) -> None:
        """Figures of this service begin."""
        self.accounts[state.name] = Account(state, now)

    def close(self, state: ServiceState) -> None:
        """They end. What is still on its way is not for the next service of that name."""
        self.accounts.pop(state.name, None)
        for delta in state.meter.unbooked():
            delta.booked = True

    def book(self, report: Report) -> None:
        """Add a report, once: whoever made it must not count it again."""
        account = self.accounts.get(report.service)
        if account is not None and not report.delta.booked:
            if account.total is _NOTHING:
                account.total = empty()
            add(account.total, report.delta)
            account.figures = None
        report.delta.booked = True

    def metrics(self, service: str, now: float) -> ServiceMetrics:
        """The figures of a service, with what it has not reported yet. KeyError if it is not known."""
        account = self.accounts[service]
        unbooked = account.state.meter.unbooked()
        if unbooked:
            total = empty()
            for part in (account.total, *unbooked):
                add(total, part)
            return _figures(total, account, now)
        if account.figures is None:
            account.figures = _figures(account.total, account, now)
            return account.figures
        error = account.total.last_error
        return msgspec.structs.replace(
            account.figures,
            uptime=now - account.since,
            last_error_age=None if error is None else max(0.0, now - error[1]),
            breaker=account.state.breakers.state.value,
            ejected=account.state.ejected,
            panic=account.state.panic,
            connections=_connections(account),
        )


def _connections(account: Account) -> PoolStatistics | None:
    counts = account.state.connections
    return None if counts is None else counts.statistics()


def _figures(total: Delta, account: Account, now: float) -> ServiceMetrics:
    histogram = total.histogram
    errors = dict(total.errors)
    for code, count in total.refused.items():
        errors[code] = errors.get(code, 0) + count
    last = total.last_error
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
        breaker=account.state.breakers.state.value,
        ejected=account.state.ejected,
        panic=account.state.panic,
        connections=_connections(account),
        last_error=None if last is None else last[0],
        last_error_age=None if last is None else max(0.0, now - last[1]),
        uptime=now - account.since,
        operations={" ".join(key).strip(): _operation(tally) for key, tally in total.operations.items()},
    )


def _operation(tally: Tally) -> OperationMetrics:
    return OperationMetrics(
        count=tally.count,
        errors=sum(tally.errors.values()),
        errors_by_code=dict(tally.errors),
        mean=round(tally.seconds / tally.count, 6),
        max=round(tally.longest, 6),
    )
