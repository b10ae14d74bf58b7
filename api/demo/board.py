"""What the demo shows, before it is known how: the state of everything at one moment, as rows of text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from .tally import Summary, Tally, Transition

if TYPE_CHECKING:
    from ..system import Runtime

# "shed" counts calls that are under "fallback" or "failed" as well: refused by us, and then answered otherwise or not.
HEADINGS = ("service", "breaker", "calls", "ok", "fallback", "failed", "shed", "retried", "p50 ms", "p99 ms")


@dataclass
class Board:
    """All that a view needs."""

    runtime: Runtime
    seconds: float
    seed: int
    begun: float
    """In trio's time."""
    tallies: dict[str, Tally] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return trio.current_time() - self.begun

    @property
    def metrics_url(self) -> str:
        """Where to watch from outside."""
        return self.runtime.metrics.websocket_url or "off"

    def breaker(self, service: str) -> str:
        """The state of a breaker as it is shown: what is not closed stands out without colour too."""
        state = self.runtime.service(service).breaker
        return state if state == "closed" else state.upper().replace("_", "-")

    def rows(self) -> list[tuple[str, ...]]:
        """A row for each service, under `HEADINGS`."""
        return [
            (
                name,
                self.breaker(name),
                *(str(count) for count in (tally.calls, tally.success, tally.fallback, tally.failed)),
                *(str(count) for count in (tally.shed, tally.retried)),
                *(f"{tally.milliseconds(q):.0f}" for q in (0.5, 0.99)),
            )
            for name, tally in self.tallies.items()
        ]

    def summary(self) -> Summary:
        """How it went."""
        return Summary(
            seconds=round(self.elapsed, 3),
            seed=self.seed,
            metrics=self.metrics_url,
            services={name: tally.summary(self.runtime.metrics.get(name)) for name, tally in self.tallies.items()},
        )
