"""Which function follows which kind of source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...config import ConsulSource, DnsSource, EtcdSource, FileSource, SrvSource
from . import consul, dns, etcd, file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ...config import Source
    from .publish import Publish

KINDS: dict[type[Any], Callable[[Any, Publish], Awaitable[None]]] = {
    ConsulSource: consul.follow,
    DnsSource: dns.follow_addresses,
    EtcdSource: etcd.follow,
    FileSource: file.follow,
    SrvSource: dns.follow_services,
}


async def follow(source: Source, publish: Publish) -> None:
    """Say which instances a source has, for ever."""
    await KINDS[type(source)](source, publish)
