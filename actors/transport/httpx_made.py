"""The transports that we make ourselves: httpx's, for a service with a proxy or with HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from ..config import ProxyConfig, ServiceConfig
    from .tls import TLSContexts


def new_transport(config: ServiceConfig, contexts: TLSContexts, *, expiry: float) -> httpx.AsyncHTTPTransport:
    """A transport for one instance.

    It takes as many connections as it is asked for: the bulkhead is the limit, and a request that waits in httpcore's
    queue can lose its place in the pool, for all times, when it is cancelled there.

    Args:
        config: of the service.
        contexts: of the runtime.
        expiry: seconds after which an idle connection is not used again.

    Raises:
        ssl.SSLError, OSError: a file of the TLS settings is not what it should be.
    """
    return httpx.AsyncHTTPTransport(
        verify=contexts.get(config.tls, http2=config.http2),
        trust_env=False,
        http2=config.http2,
        limits=httpx.Limits(max_keepalive_connections=config.bulkhead.max_concurrent, keepalive_expiry=expiry),
        proxy=None if config.proxy is None else _proxy(config.proxy, contexts),
    )


def _proxy(config: ProxyConfig, contexts: TLSContexts) -> httpx.Proxy:
    return httpx.Proxy(
        config.url,
        auth=None if config.auth is None else (config.auth.username, config.auth.password.reveal()),
        ssl_context=contexts.get(config.tls) if config.url.startswith("https:") else None,
    )
