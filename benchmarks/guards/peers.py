"""The guards of others, each put around the work as its manual does: with three attempts, five failures, 30 s.

In the stacks a retry is around the breaker and that around the limiter, as with ours.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from .ours import Work

RATE = 1e8
FAULT = ConnectionError  # what is worth another try


# ---- retries


def tenacity_decorator(work: Work) -> Work:
    """@retry."""
    import tenacity

    return tenacity.retry(**_like_ours())(work)


def tenacity_loop(work: Work) -> Work:
    """async for attempt in AsyncRetrying."""
    import tenacity

    options = _like_ours()

    async def call() -> Any:
        async for attempt in tenacity.AsyncRetrying(**options):
            with attempt:
                return await work()
        raise AssertionError("it raises what the last attempt did")

    return call


def _like_ours() -> dict[str, Any]:
    """Three attempts, exponential backoff with full jitter, and the error as it was."""
    import tenacity

    return {
        "stop": tenacity.stop_after_attempt(3),
        "wait": tenacity.wait_random_exponential(max=30),
        "retry": tenacity.retry_if_exception_type(FAULT),
        "reraise": True,
    }


def stamina_decorator(work: Work) -> Work:
    """@retry."""
    import stamina

    return stamina.retry(on=FAULT, attempts=3)(work)


def stamina_loop(work: Work) -> Work:
    """async for attempt in retry_context."""
    import stamina

    async def call() -> Any:
        async for attempt in stamina.retry_context(on=FAULT, attempts=3):
            with attempt:
                return await work()
        raise AssertionError("it raises what the last attempt did")

    return call


def hyx_retry(work: Work) -> Work:
    """@retry."""
    from hyx.retry import retry

    return retry(on=FAULT, attempts=3)(work)


# ---- circuit breakers


def purgatory(work: Work) -> Work:
    """@circuits("name"). (Its store in memory has nothing to initialize.)"""
    from purgatory import AsyncCircuitBreakerFactory

    return AsyncCircuitBreakerFactory(default_threshold=5, default_ttl=30)("guards")(work)


def aiobreaker(work: Work) -> Work:
    """@breaker."""
    from aiobreaker import CircuitBreaker

    return CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=30))(work)


def hyx_breaker(work: Work) -> Work:
    """@consecutive_breaker."""
    from hyx.circuitbreaker import consecutive_breaker

    return consecutive_breaker(exceptions=FAULT, failure_threshold=5, recovery_time_secs=30)(work)


# ---- limiters


def aiolimiter(work: Work) -> Work:
    """async with limiter."""
    from aiolimiter import AsyncLimiter

    limiter = AsyncLimiter(RATE, 1)

    async def call() -> Any:
        async with limiter:
            return await work()

    return call


def hyx_bucket(work: Work) -> Work:
    """@tokenbucket."""
    from hyx.ratelimit import tokenbucket

    return tokenbucket(max_executions=RATE, per_time_secs=1)(work)


# ---- stacks


def tenacity_purgatory_aiolimiter(work: Work) -> Work:
    """The best known of each kind."""
    return tenacity_decorator(purgatory(aiolimiter(work)))


def stamina_aiobreaker_aiolimiter(work: Work) -> Work:
    """The next best known."""
    return stamina_decorator(aiobreaker(aiolimiter(work)))


def hyx_all(work: Work) -> Work:
    """All of one house."""
    return hyx_retry(hyx_breaker(hyx_bucket(work)))
