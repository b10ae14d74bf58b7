"""The table: its rows, and whose time is in which."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial

from ..call import servers
from ..call.crew import measure
from ..call.job import Job, Outcome
from ..call.plan import by
from ..call.work import work
from ..harness import Contender, Metric, Sample, Scenario
from ..sampled import sampled
from . import parts
from .alone import US, Measure, actor_by_all, alone, ask, part, sockets

WHOLE, EVENT_LOOP, LIMIT = "a guarded call", "event loop", "limit: trio socket"

STRETCHES: dict[str, Measure] = {
    "actor": actor_by_all,
    "road": part(parts.road),
    "door": part(parts.door),
    "socket": sockets,
}
ALONE: dict[str, Measure | None] = {
    "actor": STRETCHES["actor"],
    ". request": part(parts.request),
    ". ask": ask,
    ". timeouts": part(parts.timeouts),
    ". record": part(parts.record),
    "road": STRETCHES["road"],
    ". breaker": part(parts.breaker),
    ". limiter": part(parts.limiter),
    ". balancer": part(parts.balancer),
    ". auth": part(parts.auth),
    ". decode": part(parts.body),
    "door": STRETCHES["door"],
    ". head": part(parts.head_),
    ". pool": part(parts.pool),
    ". parse": part(parts.parse),
    "socket": STRETCHES["socket"],
    EVENT_LOOP: None,
}
"""The rows of the table, in the order of the road."""

MODULES = {
    "switchgear.service": ". request",
    "switchgear.actors.service.arguments": ". request",
    "switchgear.actors.service.build": ". request",
    "switchgear.actors.service.target": ". request",
    "switchgear.actors.service.template": ". request",
    "switchgear.actors.service.actor": ". ask",
    "switchgear.runtime.ref": ". ask",
    "switchgear.runtime.cell": ". ask",
    "switchgear.runtime.life": ". ask",
    "switchgear.runtime.mailbox": ". ask",
    "switchgear.runtime.envelope": ". ask",
    "switchgear.runtime.patience": ". ask",
    "switchgear.runtime.expiry": ". timeouts",
    "switchgear.actors.machines.meter": ". record",
    "switchgear.actors.machines.histogram": ". record",
    "switchgear.actors.machines.operations": ". record",
    "switchgear.actors.service.road": "road",
    "switchgear.actors.service.border": "road",
    "switchgear.actors.service.wires": "road",
    "switchgear.actors.service.exchange": "road",
    "switchgear.actors.machines.budget": "road",
    "switchgear.actors.machines.breaker": ". breaker",
    "switchgear.actors.machines.window": ". breaker",
    "switchgear.actors.service.admission": ". breaker",
    "switchgear.actors.service.breakers": ". breaker",
    "switchgear.actors.service.outcome": ". breaker",
    "switchgear.actors.service.concurrency": "road",
    "switchgear.actors.service.gate": ". limiter",
    "switchgear.actors.machines.limiter": ". limiter",
    "switchgear.actors.machines.bucket": ". limiter",
    "switchgear.actors.machines.buckets": ". limiter",
    "switchgear.actors.machines.line": ". limiter",
    "switchgear.actors.service.limits": ". limiter",
    "switchgear.actors.service.fleet": ". balancer",
    "switchgear.actors.service.roster": ". balancer",
    "switchgear.actors.machines.outlier": ". balancer",
    "switchgear.actors.machines.balancers.base": ". balancer",
    "switchgear.actors.machines.balancers.endpoint": ". balancer",
    "switchgear.actors.machines.balancers.levels": ". balancer",
    "switchgear.actors.machines.balancers.p2c": ". balancer",
    "switchgear.actors.auth.authenticator": ". auth",
    "switchgear.actors.machines.tokens": ". auth",
    "switchgear.actors.service.decode": ". decode",
    "switchgear.actors.transport.direct": "door",
    "switchgear.actors.transport.connection": "door",
    "switchgear.actors.transport.head": ". head",
    "switchgear.actors.transport.pool": ". pool",
    "switchgear.actors.transport.parser": ". parse",
    "switchgear.actors.transport.parse_httptools": ". parse",
    "switchgear.actors.transport.parse_h11": ". parse",
    "switchgear.actors.transport.link": "socket",
}
"""Whose time is in which row."""


class InACall:
    """Looks at a running service once a round, and gives each row its share."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._rows: dict[str, float] = {}

    def take(self, row: str) -> float:
        """Microseconds; of a new run if this row has been taken from the last one."""
        if row not in self._rows:
            self._rows = self._look()
        return self._rows.pop(row)

    def _look(self) -> dict[str, float]:
        outcomes: list[Outcome] = []
        with servers.on_core(0), sampled(MODULES) as samples:
            work("guarded", self._job, outcomes.append)
        (outcome,) = outcomes
        rows = dict.fromkeys(ALONE, 0.0)
        stretch = ""
        for name, share in samples.shares().items():
            rows[name or EVENT_LOOP] = share * outcome.cpu / outcome.calls * US
        for name in rows:  # what is part of a stretch is in its sum as well
            if name.startswith("."):
                rows[stretch] += rows[name]
            else:
                stretch = name
        return rows


def scenarios(*, quick: bool) -> Iterator[Scenario]:
    """One caller, whose every wait costs a pass of the scheduler, and 64, who share them."""
    logging.getLogger("switchgear").setLevel(logging.ERROR)  # a loop of thousands of calls does block the event loop
    calls = 640 if quick else 32_000
    with servers.plain() as server:
        for callers in (1, 64):
            job = Job(server.urls, callers, seconds=0.05 if quick else 2.0)
            yield Scenario(
                name=f"the road of a call, {by(callers)}",
                metrics=(Metric("in a call", "us"), Metric("alone", "us")),
                contenders=list(contenders(job, calls)),
                reference=WHOLE,
            )


def contenders(job: Job, calls: int) -> Iterator[Contender]:
    """The rows of a table."""
    in_a_call = InACall(job)

    def both(row: str, how: Measure | None) -> Sample:
        sample = {"in a call": in_a_call.take(row)}
        return sample if how is None else {**sample, "alone": alone([how], job, calls)}

    def whole() -> Sample:
        return {"in a call": measure("guarded", job)["CPU"], "alone": alone(STRETCHES.values(), job, calls)}

    yield Contender(WHOLE, whole)
    for row, how in ALONE.items():
        yield Contender(row, partial(both, row, how))
    yield Contender(LIMIT, lambda: {"in a call": measure("socket", job)["CPU"]})
