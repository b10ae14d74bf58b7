"""Our machines around any work, in the order in which the road of a service has them (`actors/service/road.py`).

They are those that a `ServiceState` makes of a configuration, so what a change of theirs costs is seen here as well.
What is not here has to do with HTTP: balancer, credentials, timeouts of the wire, what headers of the answer say.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

import switchgear as sg
from switchgear.actors.machines import retry
from switchgear.actors.machines.limiter import NORMAL
from switchgear.actors.service.gate import Gate
from switchgear.actors.service.messages import Progress, Request
from switchgear.actors.service.state import ServiceState
from switchgear.actors.transport import Reply

Work = Callable[[], Awaitable[Any]]
Guard = Callable[[Work], Work]


class Ours:
    """The guards of one service. The work fails with `ServiceError`, as a transport does."""

    def __init__(self, nursery: trio.Nursery, **config: Any) -> None:
        rng = self._rng = random.Random(1)
        limit = sg.RateLimit(1e8, burst=1_000_000)  # asked for each call, and never in the way
        service = sg.ServiceConfig("guards", base_url="http://guards.test", rate_limit=limit, **config)
        self.state = ServiceState(service, "/guards", lambda _event: None, rng)
        self._gate = Gate(self.state.limits.limiter, nursery.start_soon)

    def all_together(self, work: Work) -> Work:
        """Retry loop, budget, breaker, limiter and histogram."""
        return self._repeated(self._attempt(work))

    def retry(self, work: Work) -> Work:
        """The loop and the budget alone (and the histogram, which is in the loop)."""
        budget = self.state.budget
        assert budget is not None

        async def attempt(now: float, attempts: int) -> tuple[Any, float]:
            if attempts == 1:
                budget.deposit(now)
            return await work(), now

        return self._repeated(attempt)

    def breaker(self, work: Work) -> Work:
        """Alone."""
        breaker = self.state.breakers.one

        async def call() -> Any:
            permit = breaker.try_acquire(trio.current_time())
            if permit is None:
                raise sg.CircuitOpen("the circuit breaker is open")
            try:
                result = await work()
            except sg.TransportError:
                permit.failure(trio.current_time())
                raise
            except BaseException:
                permit.cancel(trio.current_time())
                raise
            permit.success(trio.current_time())
            return result

        return call

    def limiter(self, work: Work) -> Work:
        """Alone."""
        gate = self._gate

        async def call() -> Any:
            now = trio.current_time()
            if not gate.limiter.admits(now, 1):
                await gate.enter(now, math.inf, 1, NORMAL)
            return await work()

        return call

    def bulkhead(self, work: Work) -> Work:
        """What a learned limit costs: the sample of each attempt. (The places are workers: see `benchmarks ask`.)"""
        now = trio.current_time()
        reply, request = Reply(200, (), b""), Request("GET", "/", "1", math.inf, now, Progress())

        async def run(*_: object) -> Reply:
            await work()
            return reply

        return partial(self.state.concurrency.watch(run), request, None, now, None, None)

    def _attempt(self, work: Work) -> Callable[[float, int], Awaitable[tuple[Any, float]]]:
        state, gate = self.state, self._gate

        async def attempt(now: float, attempts: int) -> tuple[Any, float]:
            breaker, budget = state.breakers.one, state.budget
            permit = breaker.try_acquire(now)
            if permit is None:
                raise sg.CircuitOpen("the circuit breaker is open", retry_at=breaker.retry_at(now))
            try:
                if not gate.limiter.admits(now, 1):
                    await gate.enter(now, math.inf, 1, NORMAL)
                if budget is not None and attempts == 1:
                    budget.deposit(now)
                result = await work()
                ended = trio.current_time()
                permit.success(ended)
                return result, ended
            except sg.TransportError:
                permit.failure(trio.current_time())
                raise
            except BaseException:
                permit.cancel(trio.current_time())
                raise

        return attempt

    def _repeated(self, attempt: Callable[[float, int], Awaitable[tuple[Any, float]]]) -> Work:
        record = self.state.meter.record

        async def call() -> Any:
            started = now = trio.current_time()
            attempts, waited = 1, 0.0
            while True:
                try:
                    result, ended = await attempt(now, attempts)
                except sg.ServiceError as error:
                    now = trio.current_time()
                    if not self._may_repeat(error, attempts, now):
                        record(error.code.value, now - started, attempts=attempts, now=now)
                        raise
                else:
                    record(None, ended - started, attempts=attempts, now=ended)
                    return result
                waited = retry.delay(self.state.config.value.retry, attempts, self._rng, waited)
                await trio.sleep(waited)
                now, attempts = trio.current_time(), attempts + 1

        return call

    def _may_repeat(self, error: sg.ServiceError, attempts: int, now: float) -> bool:
        policy, budget = self.state.config.value.retry, self.state.budget
        if attempts >= policy.max_attempts or not retry.retryable(policy, error, "GET", keyed=False):
            return False
        return budget is None or budget.try_withdraw(now)
