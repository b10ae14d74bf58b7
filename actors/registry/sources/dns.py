"""Instances from the Domain Name System, looked up again when their time to live is over, and never by a call.

The resolver is dnspython's, on trio. What the system's settings are is read in a thread, and again after each failure:
a laptop that has changed networks has other name servers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import trio

from switchgear.runtime import Backoff

from ...config.dns import DnsSource, server
from ...config.instance import InstanceConfig
from ...errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dns.asyncresolver import Resolver

    from ...config.dns import SrvSource
    from .publish import Publish

S = TypeVar("S", "DnsSource", "SrvSource")

AGAIN = Backoff(initial=1.0, maximum=30.0)
_LEAST = 0.1  # the weight of what has none, beside others that have: RFC 2782 asks for a very small chance
_TYPES = {"ipv4": ("A",), "ipv6": ("AAAA",), "both": ("A", "AAAA")}


class _NothingFound(Exception):
    """The answer has none of what was asked for."""


async def follow_addresses(source: DnsSource, publish: Publish) -> None:
    """Say which addresses a name has."""
    await _follow(source, publish, _by_address)


async def follow_services(source: SrvSource, publish: Publish) -> None:
    """Say which targets a SRV record has."""
    await _follow(source, publish, _by_target)


async def _follow(
    source: S, publish: Publish, look: Callable[[Lookup, S], Awaitable[Sequence[InstanceConfig]]]
) -> None:
    import dns.exception  # noqa: PLC0415 - an extra

    failures, resolver = 0, None
    while True:
        try:
            if resolver is None:
                resolver = await trio.to_thread.run_sync(_resolver, source, abandon_on_cancel=True)
            lookup = Lookup(resolver, source)
            found = await look(lookup, source)
        except (dns.exception.DNSException, OSError, ConfigError, _NothingFound) as error:
            failures, resolver = failures + 1, None
            await publish.failed(_words(error))
            await trio.sleep(AGAIN.delay(failures, publish.rng))
        else:
            failures = 0
            await publish(found)
            await trio.sleep(max(source.min_ttl, lookup.ttl))


class Lookup:
    """One look: the questions that it takes, and for how long the answers hold."""

    def __init__(self, resolver: Resolver, source: DnsSource | SrvSource) -> None:
        self._resolver = resolver
        self._source = source
        self.ttl = math.inf
        """Seconds, the least of all answers."""

    async def addresses(self, name: str) -> list[str]:
        """Of a host, in order. Raises what dnspython raises, and _NothingFound."""
        found: list[str] = []
        for kind in _TYPES[self._source.family]:
            found += [record.address for record in await self.records(name, kind)]
        if not found:
            raise _NothingFound(f"{name} has no address of the family {self._source.family!r}")
        return sorted(found)

    async def records(self, name: str, kind: str) -> list[Any]:
        """What a name has of this type; none is no error, unless there is no such name."""
        answer = await self._resolver.resolve(
            name, kind, lifetime=self._source.timeout, search=False, raise_on_no_answer=False
        )
        self.ttl = min(self.ttl, answer.chaining_result.minimum_ttl)
        return list(answer.rrset or ())


async def _by_address(lookup: Lookup, source: DnsSource) -> list[InstanceConfig]:
    parts = urlsplit(source.endpoint)
    port = "" if parts.port is None else f":{parts.port}"
    return [
        InstanceConfig(source.endpoint, id=f"{_host(address)}{port}", address=address)
        for address in await lookup.addresses(parts.hostname or "")
    ]


async def _by_target(lookup: Lookup, source: SrvSource) -> list[InstanceConfig]:
    records = await lookup.records(source.record, "SRV")
    if not records:
        raise _NothingFound(f"{source.record} has no SRV record")
    targets = [(record, record.target.to_text(omit_final_dot=True)) for record in records]
    some_weigh = any(record.weight for record in records)
    found = []
    for record, host in targets:
        if host in {".", ""}:  # "decidedly not available at this domain"
            continue
        addresses = await lookup.addresses(host)
        weight = (record.weight or _LEAST) if some_weigh else 1.0
        endpoint = f"{source.scheme}://{host}:{record.port}{source.path}"
        found += [
            InstanceConfig(
                endpoint,
                id=f"{host}:{record.port}/{address}",
                weight=weight / len(addresses),
                metadata={"priority": str(record.priority)},
                address=address,
            )
            for address in addresses
        ]
    return found


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _resolver(source: DnsSource | SrvSource) -> Resolver:
    import dns.asyncresolver  # noqa: PLC0415 - an extra
    import dns.nameserver  # noqa: PLC0415

    resolver = dns.asyncresolver.Resolver(configure=not source.nameservers)
    if source.nameservers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(*server(one)) for one in source.nameservers]
    return resolver


def _words(error: Exception) -> str:
    """What went wrong, on one line: dnspython says it at length."""
    return f"{str(error).splitlines()[0] if str(error) else type(error).__name__:.300}"
