"""One service: where it is, who we are to it, and how it is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from .auth import Auth
from .check import OUR_HEADERS, Count, Headers, Name, Text, Url, between
from .fallback import Fallback
from .policy import BreakerConfig, BulkheadConfig, HealthCheckConfig, RateLimit, RetryPolicy, TimeoutConfig
from .record import Record
from .tls import TLSConfig, unverified_problem

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["OUR_HEADERS", "InstanceConfig", "ServiceConfig"]


class InstanceConfig(Record, frozen=True, forbid_unknown_fields=True):
    """One instance of a service."""

    endpoint: Url
    """Its base URL."""
    id: Text = ""
    """Unique in its service; the endpoint if empty."""
    weight: Annotated[float, between(0, 1e9)] = 1.0
    """Its share of the calls; 0 takes it out."""
    metadata: dict[str, str] = msgspec.field(default_factory=dict)


class ServiceConfig(Record, frozen=True, forbid_unknown_fields=True):
    """One external service. Give ``base_url``, or ``instances``, or neither and register instances at run time."""

    name: Name
    base_url: Url | None = None
    version: Text = ""
    auth: Auth | None = None
    rate_limit: RateLimit | None = None
    timeout: TimeoutConfig = TimeoutConfig()
    retry: RetryPolicy = RetryPolicy()
    breaker: BreakerConfig = BreakerConfig()
    bulkhead: BulkheadConfig = BulkheadConfig()
    fallbacks: Sequence[Fallback] = ()
    """Tried in this order when a call fails."""
    health_check: HealthCheckConfig | None = None
    balancer: Literal["round_robin", "weighted_random", "p2c"] = "p2c"
    instances: Sequence[InstanceConfig] = ()
    headers: Headers = msgspec.field(default_factory=dict)
    """Sent with every request. Their values are not shown: they may be credentials."""
    follow_redirects: bool = False
    """Only on the same origin."""
    max_response_bytes: Count = 10_000_000
    """Of a decoded body."""
    tls: TLSConfig = TLSConfig()
    """For ``https`` addresses."""

    def __repr__(self) -> str:
        return f"ServiceConfig({', '.join(f'{key}={value!r}' for key, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = {key: getattr(self, key) for key in self.__struct_fields__}
        return list((shown | {"headers": dict.fromkeys(self.headers, "***")}).items())

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """One way to find the service, and one id for each instance."""
        if record.base_url is not None and record.instances:
            yield "base_url", "give either base_url or instances, not both"
        for url in (record.base_url, *(getattr(one, "endpoint", None) for one in record.instances or ())):
            if isinstance(record.tls, TLSConfig) and (problem := unverified_problem(record.tls, url)) is not None:
                yield "tls.verify", problem
        seen = set()
        for index, instance in enumerate(record.instances or ()):
            own = getattr(instance, "id", None) or getattr(instance, "endpoint", None)
            if own is not None and own in seen:
                yield f"instances[{index}]", f"there is an instance {own!r:.80} already: ids are unique in a service"
            seen.add(own)
