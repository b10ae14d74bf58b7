"""One service: where it is, who we are to it, and how it is called."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..errors import ConfigError
from .auth import Auth
from .check import at_least, header, name, number, url
from .fallback import Fallback
from .policy import BreakerConfig, BulkheadConfig, HealthCheckConfig, RateLimit, RetryPolicy, TimeoutConfig


OUR_HEADERS = frozenset({
    *("host", "content-length", "transfer-encoding", "connection", "x-request-id", "x-retry-attempt"),
})
"""What frames a request and names it is ours to write; a second one would make two requests of one."""


class InstanceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One instance of a service."""

    endpoint: str
    """Its base URL."""
    id: str = ""
    """Unique in its service; the endpoint if empty."""
    weight: float = 1.0
    """Its share of the calls; 0 takes it out."""
    metadata: dict[str, str] = {}

    def __post_init__(self) -> None:
        url("endpoint", self.endpoint)
        if number("weight", self.weight) < 0:
            raise ConfigError(f"weight: must be 0 or more, not {self.weight!r}")


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One external service. Give ``base_url``, or ``instances``, or neither and register instances at run time."""

    name: str
    base_url: str | None = None
    version: str = ""
    auth: Auth | None = None
    rate_limit: RateLimit | None = None
    timeout: TimeoutConfig = TimeoutConfig()
    retry: RetryPolicy = RetryPolicy()
    breaker: BreakerConfig = BreakerConfig()
    bulkhead: BulkheadConfig = BulkheadConfig()
    fallbacks: tuple[Fallback, ...] = ()
    """Tried in this order when a call fails."""
    health_check: HealthCheckConfig | None = None
    balancer: Literal["round_robin", "weighted_random", "p2c"] = "p2c"
    instances: tuple[InstanceConfig, ...] = ()
    headers: dict[str, str] = {}
    """Sent with every request."""
    follow_redirects: bool = False
    """Only on the same origin."""
    max_response_bytes: int = 10_000_000
    """Of a decoded body."""

    def __post_init__(self) -> None:
        name("name", self.name)
        msgspec.structs.force_setattr(self, "fallbacks", tuple(self.fallbacks))  # a list is welcome
        msgspec.structs.force_setattr(self, "instances", tuple(self.instances))
        if self.base_url is not None:
            url("base_url", self.base_url)
            if self.instances:
                raise ConfigError("base_url: give either base_url or instances, not both")
        for header_name, value in self.headers.items():
            header("headers", header_name, value)
            if header_name.lower() in OUR_HEADERS:
                raise ConfigError(f"headers.{header_name}: is set by Switchgear for each request: leave it out")
        at_least("max_response_bytes", self.max_response_bytes, 1)
        ids = [instance.id or instance.endpoint for instance in self.instances]
        twice = next((one for one in ids if ids.count(one) > 1), None)
        if twice is not None:
            raise ConfigError(f"instances: two of them have the id {twice!r}: ids are unique in a service")
