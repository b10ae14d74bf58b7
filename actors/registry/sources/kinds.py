"""Which function follows which kind of source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...config import DnsSource, FileSource, SrvSource
from . import dns, file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ...config import Source
    from .publish import Publish

KINDS: dict[type[Any], Callable[[Any, Publish], Awaitable[None]]] = {
    DnsSource: dns.follow_addresses,
    FileSource: file.follow,
    SrvSource: dns.follow_services,
}


async def follow(source: Source, publish: Publish) -> None:
    """Say which instances a source has, for ever."""
    await KINDS[type(source)](source, publish)
