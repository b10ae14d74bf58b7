"""Connections to hosts that a service has named and nobody has configured: to public addresses only.

A name is resolved once, every address that it has is looked at, and then the very address is connected to and not the
name again: a name server that gives another answer a moment later (DNS rebinding) is not asked a second time.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import msgspec
import trio

from ..errors import TransportError
from .link import connect

if TYPE_CHECKING:
    import ssl

    from ..service.target import Target
    from .link import Link

_GLOBAL = ipaddress.IPv6Network("2000::/3")  # all that is given out; the rest is local, reserved or a translation
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an address of IPv4
# What `is_global` of some Python lets pass, and leads to no public host.
_NOT_PUBLIC = [
    ipaddress.ip_network(one)
    for one in (
        "168.63.129.16/32",  # the metadata service of Azure, at an address that looks like any other
        "192.0.0.0/24",  # RFC 6890: protocol assignments; the metadata service of Oracle is there
        "192.88.99.0/24",  # RFC 7526: to whatever relay of 6to4 is near
        "2001::/23",  # RFC 2928: protocol assignments, Teredo (which holds an address of IPv4) among them
        "3fff::/20",  # RFC 9637: documentation
    )
]


def is_public(address: str) -> bool:
    """Whether an IP address is one of a public host: none of this machine, its networks, a cloud's, or of many hosts.

    An address of IPv6 that stands for one of IPv4 (mapped, NAT64, 6to4) is what it stands for.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            ip = inner
        elif ip not in _GLOBAL:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in one for one in _NOT_PUBLIC)


async def connect_public(to: Target, tls: ssl.SSLContext | None) -> Link:
    """A link to ``to``, whose addresses are all public: the first that takes it, each in its share of the time left.

    Raises:
        TransportError: an address is not public. Nothing has been sent to it, not even a request for a connection.
        OSError, trio.BrokenResourceError, ssl.SSLError: as `connect`, of the last address.
    """
    found = await trio.socket.getaddrinfo(to.host, to.port, type=trio.socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if not addresses or not all(map(is_public, addresses)):  # one is enough: who mixes them wants us to try our luck
        raise TransportError(
            f"{to.host} is at an address that is not public, where a service may not send us: "
            "to call a host of your own network, configure it as a service",
            processed="no",
        )
    until = trio.current_effective_deadline()
    for left in range(len(addresses), 1, -1):
        now = trio.current_time()
        with trio.move_on_at(now + (until - now) / left):
            try:
                return await connect(msgspec.structs.replace(to, address=addresses[-left]), tls)
            except OSError:
                pass
    return await connect(msgspec.structs.replace(to, address=addresses[-1]), tls)
