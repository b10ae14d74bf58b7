"""Instances from the Domain Name System. All times are seconds."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from .check import Name, Positive, Text, Url, base_path, missing_extra
from .record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

_SRV = re.compile(r"(?=.{1,253}$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{1,63}\.?")
_SERVER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]+)")


def server(value: str) -> tuple[str, int]:
    """Address and port of a name server. Raises ValueError."""
    found = _SERVER.fullmatch(value)
    if found is None:
        raise ValueError(value)
    address, port = found[1] or found[2] or found[4], int(found[3] or 53)
    ipaddress.ip_address(address)
    if not 0 < port < 65_536:
        raise ValueError(value)
    return address, port


def _servers(values: Sequence[str]) -> str | None:
    for value in values:
        try:
            server(value)
        except ValueError:
            return f"must be IP addresses, with a port or without, as 10.0.0.53 or [fd00::53]:5353, not {value!r:.80}"
    return None


def _srv_name(value: str) -> str | None:
    return None if _SRV.fullmatch(value) else f"must be a name such as _https._tcp.api.example.com, not {value!r:.80}"


class _Lookup(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What looking up addresses and services has in common."""

    family: Literal["ipv4", "ipv6", "both"] = "ipv4"
    """Which addresses are instances. Each is dialled by itself: on a machine without IPv6, all of that kind would fail,
    and the happy eyeballs that hide it elsewhere would not be there."""
    min_ttl: Positive = 5.0
    """It is looked up again when its time to live is over, but not more often than that, and within an hour."""
    timeout: Positive = 5.0
    """Of one lookup, over all name servers."""
    nameservers: Annotated[Sequence[str], _servers] = ()
    """To ask instead of the system's."""
    name: Name = "dns"
    """Unique among the sources of its service."""

    @classmethod
    def cross_check(cls, _record: Any) -> Iterator[tuple[str, str]]:
        """The library has to be there."""
        if problem := missing_extra("dns", "dns"):
            yield "type", problem


class DnsSource(_Lookup, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="dns"):
    """Each address (A, AAAA) of a name is an instance.

    An answer without addresses is an outage of the source, also when the name is said not to exist: what was found last
    stays, since no instance at all can be no better.
    """

    endpoint: Url
    """The base URL whose host is looked up, as a whole name: no search domain is tried, and no hosts file. ``Host`` and
    the certificate stay those of this name."""


class SrvSource(_Lookup, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="srv"):
    """Each target of a SRV record (RFC 2782) is an instance for each of its addresses.

    Its ``metadata["priority"]`` is the record's, and the record's weight is shared by its addresses; where others have
    a weight, 0 stands for a very small one. The target "." says that there is no such service: then it has none. A
    target that cannot be found stays where it was found last, and takes no other along.
    """

    record: Annotated[str, _srv_name]
    """As ``_https._tcp.api.example.com``."""
    scheme: Literal["http", "https"] = "https"
    host: Text = ""
    """The name in the targets' certificates and in ``Host``; empty: each target's own. A service with credentials needs
    it: whoever can forge an answer of DNS can name a target of his, which has a certificate for its own name."""
    path: Annotated[str, base_path] = ""
    """That all requests are under, as ``/v1``."""
