"""How a service is reached through a proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from .auth import BasicAuth
from .check import missing_extra, url_problem
from .record import Record
from .tls import TLSConfig, unverified_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 255  # bytes of a name or a password: RFC 1929, section 2, counts them in one byte


def _proxy_url(value: str) -> str | None:
    scheme, found, rest = value.partition("://")
    if not found or scheme not in {"http", "https", "socks5"}:
        return "must start with http://, https:// or socks5:// and have a host, as http://proxy.example.com:3128"
    if scheme == "socks5" and (problem := missing_extra("socksio", "socks")) is not None:
        return problem
    if "/" in rest.removesuffix("/"):
        return "must have no path: a proxy is a host and a port"
    return url_problem(f"http://{rest}")


class ProxyConfig(Record, frozen=True, forbid_unknown_fields=True):
    """A proxy that all requests to a service go through, its health checks included.

    ``https`` addresses are reached through a tunnel (CONNECT), in which the proxy sees their host and nothing else.
    Requests to ``http`` addresses it reads as they are. Names are resolved by the proxy. What is configured is done:
    there is no list of exceptions, no address is called directly because it is this machine's, and the variables of
    the environment (``HTTPS_PROXY`` and the like) mean nothing here.
    """

    url: Annotated[str, _proxy_url]
    """``http://``, ``https://`` or ``socks5://`` with host and port, and without credentials. SOCKS needs the extra
    ``switchgear[socks]``."""
    auth: BasicAuth | None = None
    """Who we are to the proxy. Through ``http://`` and ``socks5://`` it can be read on the way there."""
    tls: TLSConfig = TLSConfig()
    """For the way to an ``https://`` proxy. (The way to the service has its own.)"""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """What SOCKS can carry, and whom nobody may be mistaken for."""
        url = record.url or ""
        if isinstance(record.tls, TLSConfig) and (problem := unverified_problem(record.tls, url or None)) is not None:
            yield "tls.verify", problem
        if url.startswith("socks5:") and isinstance(record.auth, BasicAuth):
            for part in (record.auth.username, record.auth.password.reveal()):
                if not 0 < len(part.encode("utf-8", "surrogatepass")) <= _LONGEST:
                    yield "auth", f"SOCKS takes names and passwords of 1 to {_LONGEST} bytes"
                    return
