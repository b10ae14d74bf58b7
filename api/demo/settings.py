"""The demo's configuration: which processes it starts, and how the runtime is to guard each of the five services.

All times shrink with a demo shorter than 15 s, so that failure and recovery are both seen in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchgear.actors.config import (
    AlternativeFallback,
    BreakerConfig,
    CacheFallback,
    DefaultFallback,
    HealthCheckConfig,
    InstanceConfig,
    MetricsConfig,
    RateLimit,
    RetryPolicy,
    RuntimeConfig,
    ServiceConfig,
    TimeoutConfig,
)

from .processes import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .processes import Running

PLANS = (
    Plan("accounts"),
    Plan("search", 1),
    Plan("search", 2),
    Plan("search", 3),
    Plan("payments"),
    Plan("partner"),
    Plan("legacy"),
)


def runtime_config(serving: Sequence[Running], seconds: float) -> RuntimeConfig:
    """How to guard the services that these processes are.

    Args:
        serving: the processes of `PLANS`.
        seconds: how long the demo takes.
    """
    pace = min(1.0, seconds / 15)
    urls: dict[str, list[str]] = {}
    for running in serving:
        urls.setdefault(running.plan.service, []).append(running.url)
    return RuntimeConfig(
        services=(
            ServiceConfig("accounts", urls["accounts"][0]),
            _search(urls["search"], pace),
            _payments(urls["payments"][0], pace),
            _partner(urls["partner"][0]),
            _legacy(urls["legacy"][0], pace),
        ),
        metrics=MetricsConfig(interval=0.25),
        app_name="switchgear-demo",
        grace=1.0,
    )


def _search(urls: Sequence[str], pace: float) -> ServiceConfig:
    """One of three instances is slow: few calls go there, and those that take too long are tried elsewhere."""
    return ServiceConfig(
        "search",
        instances=tuple(InstanceConfig(url, id=f"search-{number}") for number, url in enumerate(urls, start=1)),
        health_check=HealthCheckConfig(interval=1.0 * pace, timeout=1.0),
        timeout=TimeoutConfig(total=2.0, attempt=0.3),
        retry=RetryPolicy(max_attempts=3, base_delay=0.02),
        breaker=BreakerConfig(failure_threshold=50, reset_timeout=1.0 * pace, monitoring_period=5.0),
        fallbacks=(DefaultFallback({"query": "", "hits": [], "instance": "none"}),),
    )


def _payments(url: str, pace: float) -> ServiceConfig:
    """Fails for a while: the breaker opens, charges go onto the customers' accounts, and a trial finds it mended."""
    return ServiceConfig(
        "payments",
        url,
        timeout=TimeoutConfig(total=2.0, attempt=1.0),
        retry=RetryPolicy(max_attempts=2, base_delay=0.05),
        breaker=BreakerConfig(
            failure_threshold=5, reset_timeout=1.0 * pace, monitoring_period=5.0, half_open_max_requests=2
        ),
        fallbacks=(AlternativeFallback("accounts"),),
    )


def _partner(url: str) -> ServiceConfig:
    """Answers 10 requests a second: ours are held to 15, what it refuses waits as it says, or takes the last quote."""
    return ServiceConfig(
        "partner",
        url,
        timeout=TimeoutConfig(total=1.5),
        retry=RetryPolicy(max_attempts=3, base_delay=0.1),
        rate_limit=RateLimit(15.0, burst=5),
        fallbacks=(CacheFallback(max_age=5.0),),
    )


def _legacy(url: str, pace: float) -> ServiceConfig:
    """Drops every fifth connection: retries hide most of it, the cache some; when it is too much the breaker opens."""
    return ServiceConfig(
        "legacy",
        url,
        timeout=TimeoutConfig(total=2.0, attempt=1.0),
        retry=RetryPolicy(max_attempts=3, base_delay=0.05),
        breaker=BreakerConfig(failure_threshold=20, reset_timeout=0.5 * pace, monitoring_period=2.0),
        fallbacks=(CacheFallback(max_age=10.0),),
    )
