"""Instances from the Domain Name System, looked up again when their time to live is over, and never by a call.

The resolver is dnspython's, on trio. What the system's settings are is read in a thread, and again after each failure:
a laptop that has changed networks has other name servers. Names are whole: no search domain is tried, for what they
mean must not depend on which machine asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import trio

from ...config.dns import DnsSource, server
from ...config.instance import InstanceConfig
from ...errors import ConfigError
from .server import AGAIN, Tries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dns.asyncresolver import Resolver

    from ...config.dns import SrvSource
    from .publish import Publish

S = TypeVar("S", "DnsSource", "SrvSource")

LONGEST = 3600.0
"""Seconds after which we look again, whatever the time to live: one of years, once by mistake in a zone, would be ours
until we are started again."""
_LEAST = 0.1  # the weight of what has none, beside others that have: RFC 2782 asks for a very small chance
_TYPES = {"ipv4": ("A",), "ipv6": ("AAAA",), "both": ("A", "AAAA")}


class _NothingFound(Exception):
    """No answer, or none with what was asked for. The text says which."""


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

    tries, resolver = Tries(publish), None
    before: dict[str, list[str]] = {}  # the addresses of targets at the last look
    while True:
        try:
            if resolver is None:
                resolver = await trio.to_thread.run_sync(_resolver, source, abandon_on_cancel=True)
            lookup = Lookup(resolver, source, before)
            found = await look(lookup, source)
        except (dns.exception.DNSException, OSError, ConfigError, _NothingFound) as error:
            resolver = None
            await tries.failed(_words(error))
        else:
            before = lookup.found
            await publish(found, lookup.problem)
            await trio.sleep(max(source.min_ttl, lookup.ttl))


class Lookup:
    """One look: the questions that it takes, and for how long the answers hold."""

    def __init__(self, resolver: Resolver, source: DnsSource | SrvSource, before: dict[str, list[str]]) -> None:
        self._resolver = resolver
        self._source = source
        self._before = before
        self.ttl = LONGEST
        """Seconds, the least of all answers."""
        self.found: dict[str, list[str]] = {}
        """The addresses of the targets."""
        self.lost: list[str] = []
        """Why targets could not be found."""
        self.problem: str | None = None
        """What is wrong with what was found."""

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
        import dns.exception  # noqa: PLC0415 - an extra

        try:
            answer = await self._resolver.resolve(
                name, kind, lifetime=self._source.timeout, search=False, raise_on_no_answer=False
            )
        except dns.exception.DNSException as error:
            raise _NothingFound(_words(error)) from error
        self.ttl = min(self.ttl, answer.chaining_result.minimum_ttl)
        return list(answer.rrset or ())

    async def of_target(self, host: str) -> list[str]:
        """The addresses of one host of several; where they cannot be found, those of the last look."""
        try:
            found = await self.addresses(host)
        except _NothingFound as error:
            self.ttl = min(self.ttl, AGAIN.maximum)
            self.lost.append(str(error))
            found = self._before.get(host, [])
        self.found[host] = found
        return found


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
    targets = [(record, host) for record, host in targets if host not in {".", ""}]  # "decidedly not available"
    some_weigh = any(record.weight for record in records)
    found = []
    for record, host in targets:
        weight = (record.weight or _LEAST) if some_weigh else 1.0
        try:
            found += _at(source, record, host, weight, await lookup.of_target(host))
        except ConfigError as error:
            lookup.lost.append(_words(error))
    if lookup.lost and len(lookup.lost) == len(targets):
        raise _NothingFound(lookup.lost[0])
    if lookup.lost:
        lookup.problem = f"{len(lookup.lost)} of {len(targets)} targets cannot be found, the first: {lookup.lost[0]}"
    return found


def _at(source: SrvSource, record: Any, host: str, weight: float, addresses: Sequence[str]) -> list[InstanceConfig]:
    """One target: an instance for each of its addresses."""
    endpoint = f"{source.scheme}://{source.host or host}:{record.port}{source.path}"
    return [
        InstanceConfig(
            endpoint,
            id=f"{host}:{record.port}/{address}",
            weight=weight / len(addresses),
            metadata={"priority": str(record.priority)},
            address=address,
        )
        for address in addresses
    ]


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
