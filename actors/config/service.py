"""One service: where it is, who we are to it, and how it is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from .auth import Auth
from .breaker import BreakerConfig
from .bulkhead import BulkheadConfig
from .check import OUR_HEADERS, Count, ForeignHost, Headers, Name, Pause, Text, Url, between, missing_extra
from .exposure import credential_in, exposure, is_exposed
from .fallback import Fallback
from .instance import InstanceConfig
from .outlier import OutlierConfig
from .policy import (
    HealthCheckConfig,
    HedgeConfig,
    PushbackConfig,
    RateLimit,
    RetryPolicy,
    TimeoutConfig,
)
from .proxy import ProxyConfig
from .record import Record
from .secret import Secret
from .sources import Source, confusable, forgeable, twice
from .tls import TLSConfig, unverified_problem

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["OUR_HEADERS", "InstanceConfig", "ServiceConfig"]


class ServiceConfig(Record, frozen=True, forbid_unknown_fields=True):
    """One external service. Give ``base_url``, or ``instances``, or neither and register instances at run time.

    Its instances are all of these together with those of its ``sources``.
    """

    name: Name
    base_url: Url | None = None
    version: Text = ""
    auth: Auth | None = None
    rate_limit: RateLimit | Sequence[RateLimit] | None = None
    """Several are kept all at once: 10 a second and 1,000 an hour."""
    timeout: TimeoutConfig = TimeoutConfig()
    retry: RetryPolicy = RetryPolicy()
    hedge: HedgeConfig | None = None
    breaker: BreakerConfig = BreakerConfig()
    bulkhead: BulkheadConfig = BulkheadConfig()
    fallbacks: Sequence[Fallback] = ()
    """Tried in this order when a call fails."""
    health_check: HealthCheckConfig | None = None
    outlier: OutlierConfig | None = OutlierConfig()
    """Instances whose calls fail get none for a while, where there are others. None: never."""
    panic_threshold: Annotated[float, between(0, 1)] = 0.5
    """If the health checks leave less than this share of the instances, they are not believed, and all get calls."""
    slow_start: Pause | None = None
    """Seconds in which an instance that comes to others, or comes back, gets from a tenth of its calls to all of them.
    None: it gets all at once."""
    balancer: Literal[
        "p2c", "least_outstanding", "round_robin", "weighted_round_robin", "weighted_random", "ring_hash", "maglev"
    ] = "p2c"
    """Which instance gets a call: see the page on balancing."""
    zone: Text = ""
    """Where we are. Instances whose ``metadata`` has the same ``zone`` are preferred, while enough of them are well."""
    subset_size: Count | None = None
    """Use so many instances at most (of each priority and zone), others in each process: for fleets so large that a
    process should not have connections to all. Fewer than twenty make the load uneven."""
    instances: Sequence[InstanceConfig] = ()
    sources: Sequence[Source] = ()
    """Where more of them are found, any number. What several name is one instance: it is as the first of them says
    (what was registered, then ``instances``, then the sources in this order), and there while any of them names it."""
    headers: Headers = msgspec.field(default_factory=dict)
    """Sent with every request. A value is text, or a `Secret` (in files by reference, as everywhere); where the name
    looks like that of a credential (``X-API-Key``), a text is made one. No values are shown in the repr."""
    allow_plain_http: bool = False
    """Credentials (``auth``, or headers that look like some) may go to ``http://`` addresses of other machines.

    Without it such a configuration is refused, and so are calls that bring their own, except for this machine's own
    addresses. It is for meshes, where a sidecar encrypts what leaves the machine."""
    follow_redirects: bool = False
    """Those on the same origin, and GETs to ``allowed_hosts``."""
    allowed_hosts: Sequence[ForeignHost] = ()
    """Other hosts that the service may send us to, by redirects (if ``follow_redirects``) and by URLs that are passed
    to `Service.link`: names, without wildcards.

    They are called by GET and HEAD, over https on its own port, and without any credential: nothing of ``auth``,
    ``headers`` and ``tls``, and of the caller's headers only those that say which form of a thing he wants. The name is
    resolved once for each connection, and if it has an address that is not public (loopback, private, link-local, a
    cloud's metadata service, and all that stands for these) nothing is sent to any of them."""
    max_response_bytes: Count = 10_000_000
    """Of a decoded body."""
    tls: TLSConfig = TLSConfig()
    """For ``https`` addresses."""
    proxy: ProxyConfig | None = None
    """That all requests go through."""
    http2: bool = False
    """Offer HTTP/2 to ``https`` addresses (which may decline it). Needs the extra ``switchgear[http2]``.

    Off by default, because of a trap. A server may end a connection at any time by a GOAWAY, and promises to answer
    what it has begun: nginx does so after 1,000 requests, proxies and load balancers when they are redeployed. The
    library below us (httpcore on h2) takes the connection for closed at once, and every request that is under way on it
    fails together, up to a hundred, where HTTP/1.1 would have lost none. So a connection is replaced after 500
    requests. What is known when it happens all the same is said by ``TransportError.processed``: ``"no"`` for a
    request that the GOAWAY says was not looked at, ``"maybe"`` for the others, which are retried only if they are
    idempotent or keyed. See "Proxies and HTTP/2" on the page about the architecture.
    """

    pushback: PushbackConfig = PushbackConfig()

    @property
    def rate_limits(self) -> Sequence[RateLimit]:
        """All of ``rate_limit``."""
        limit = self.rate_limit
        return () if limit is None else (limit,) if isinstance(limit, RateLimit) else limit

    @property
    def way(self) -> tuple[TLSConfig, ProxyConfig | None, bool]:
        """All that decides by what connections it is called: with another way, it needs others."""
        return self.tls, self.proxy, self.http2

    @property
    def balancing(self) -> tuple[str, str, int | None]:
        """All that decides how calls are spread."""
        return self.balancer, self.zone, self.subset_size

    @property
    def account(self) -> tuple[str | None, Auth | None, dict[str, str | Secret]]:
        """Who asks whom: with another one, what was answered before is somebody else's. (A header may be a key.)"""
        return self.base_url, self.auth, dict(self.headers)

    def exposes(self, url: str) -> str | None:
        """Why this address may not be called with the credentials of this configuration, or None."""
        what = credential_in(self.auth, self.headers) if self.reads_plain(url) else None
        return None if what is None else exposure(what)

    def reads_plain(self, url: str) -> bool:
        """Whether anybody on the way there can read what is sent, and nothing says that this is as it should be."""
        return not self.allow_plain_http and is_exposed(url, None if self.proxy is None else self.proxy.url)

    @property
    def breaker_scope(self) -> Literal["service", "instance", "operation"]:
        """``breaker.scope`` as it is for this service."""
        if self.breaker.scope is not None:
            return self.breaker.scope
        return "service" if self.base_url is not None and not self.sources else "instance"

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
        proxy = record.proxy.url if isinstance(record.proxy, ProxyConfig) else None
        what = credential_in(record.auth, record.headers or {})
        if what is not None:
            yield from forgeable(record.sources)
        if what is not None and not record.allow_plain_http:
            if record.base_url is not None and is_exposed(record.base_url, proxy):
                yield "base_url", exposure(what)
            for index, one in enumerate(record.instances or ()):
                if getattr(one, "endpoint", None) is not None and is_exposed(one.endpoint, proxy):
                    yield f"instances[{index}].endpoint", exposure(what)
        if isinstance(record.tls, TLSConfig) and unverified_problem(record.tls, proxy) is not None:
            yield "tls.verify", "verify = false is only for services on this machine, and the proxy's is another"
        if record.allowed_hosts and proxy is not None:
            text = "cannot be had behind a proxy, which resolves names itself: configure these hosts as services"
            yield "allowed_hosts", text
        if record.slow_start is not None and record.balancer in {"ring_hash", "maglev"}:
            yield "slow_start", f"cannot be had with {record.balancer}: each step of a weight would move keys"
        check = record.health_check
        if proxy is not None and isinstance(check, HealthCheckConfig) and check.kind == "tcp":
            yield "health_check.kind", 'a proxy is no way for a check that only connects: use kind = "http"'
        if record.http2 and (problem := missing_extra("h2", "http2")) is not None:
            yield "http2", problem
        yield from twice(record.instances)
        yield from confusable(record.sources)
