"""The service, its callers, and what is counted of them."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio
import trio.testing

import switchgear as sg

RATE = 100.0  # calls a second
CAPACITY = 150  # requests a second that the service can serve
LATENCY = 0.02
DOWN, UP, END = 30, 90, 210  # seconds
STEADY = 5  # seconds in a row in which it has to work to count as recovered

_RETRY: dict[str, Any] = {"max_attempts": 4, "base_delay": 0.5, "statuses": (503,)}
_OFF = sg.BreakerConfig(enabled=False)
VARIANTS: dict[str, dict[str, Any]] = {
    "no retries": {"retry": sg.RetryPolicy(max_attempts=1), "breaker": _OFF},
    "retries without a budget": {"retry": sg.RetryPolicy(budget=None, **_RETRY), "breaker": _OFF},
    "retries within the budget": {"retry": sg.RetryPolicy(**_RETRY), "breaker": _OFF},
    "budget and breaker": {
        "retry": sg.RetryPolicy(**_RETRY),
        "breaker": sg.BreakerConfig(trip="rate", monitoring_period=10.0, reset_timeout=2.0, half_open_max_requests=5),
    },
}


@dataclass
class Course:
    """What happened in one variant, second by second."""

    wanted: Counter[int] = field(default_factory=Counter)
    """Calls that began."""
    attempts: Counter[int] = field(default_factory=Counter)
    """Requests that reached the service."""
    succeeded: Counter[int] = field(default_factory=Counter)
    """Calls that began then, and succeeded."""

    @property
    def amplification(self) -> float:
        """Requests for each call during the outage."""
        span = range(DOWN, UP)
        return sum(self.attempts[at] for at in span) / sum(self.wanted[at] for at in span)

    @property
    def recovery(self) -> int | None:
        """Seconds from the end of the outage until 99 % of the calls succeed again, and go on to; None: never."""
        for start in range(UP, END - STEADY + 1):
            if all(self.succeeded[at] >= 0.99 * self.wanted[at] for at in range(start, start + STEADY)):
                return start - UP
        return None


class Service(httpx.AsyncBaseTransport):
    """Down for a while; up, it serves nothing while it is asked more than it can."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._last: deque[float] = deque()  # requests of the last second

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        now = trio.current_time()
        self._course.attempts[int(now)] += 1
        self._last.append(now)
        while self._last[0] <= now - 1:
            self._last.popleft()
        served = not DOWN <= now < UP and len(self._last) <= CAPACITY
        await trio.sleep(LATENCY)
        return httpx.Response(200 if served else 503, request=request)


async def run(variant: str, seed: int) -> Course:
    """One variant, from beginning to end. Under a mock clock that begins at 0."""
    course, rng = Course(), random.Random(seed)
    bulkhead = sg.BulkheadConfig(max_concurrent=10_000)
    config = sg.ServiceConfig("svc", "http://svc.test", bulkhead=bulkhead, **VARIANTS[variant])
    settings = sg.RuntimeConfig([config], metrics=sg.MetricsConfig(websocket=False))

    async def call(service: sg.Service) -> None:
        second = int(trio.current_time())
        course.wanted[second] += 1
        response = await service.try_request("GET", "/", timeout=10.0)
        course.succeeded[second] += response.success

    async with (
        sg.open_runtime(settings, transport=Service(course), seed=seed) as runtime,
        trio.open_nursery() as nursery,
    ):
        while trio.current_time() < END:
            nursery.start_soon(call, runtime.service("svc"))
            await trio.sleep(rng.expovariate(RATE))
    return course


def simulate(seed: int) -> dict[str, Course]:
    """All variants, under the same calls."""
    return {
        variant: trio.run(run, variant, seed, clock=trio.testing.MockClock(autojump_threshold=0))
        for variant in VARIANTS
    }
