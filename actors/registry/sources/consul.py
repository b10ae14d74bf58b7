"""Instances from Consul: one blocking query after the other (`machines/blocking_query.py`)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec
import trio

from ...config.instance import InstanceConfig
from ...machines.blocking_query import BlockingQuery
from .server import Outage, Server, Tries, decoded, publish_sound

if TYPE_CHECKING:
    from ...config.consul import ConsulSource
    from .publish import Publish


class _Node(msgspec.Struct, rename="pascal"):
    node: str
    address: str = ""


class _Weights(msgspec.Struct, rename="pascal"):
    passing: float = 1
    warning: float = 1


class _Service(msgspec.Struct):
    id: str = msgspec.field(name="ID")
    address: str = msgspec.field(name="Address", default="")
    port: int = msgspec.field(name="Port", default=0)
    tags: list[str] | None = msgspec.field(name="Tags", default=None)
    meta: dict[str, str] | None = msgspec.field(name="Meta", default=None)
    weights: _Weights | None = msgspec.field(name="Weights", default=None)


class _Check(msgspec.Struct, rename="pascal"):
    status: str


class _Entry(msgspec.Struct, rename="pascal"):
    node: _Node
    service: _Service
    checks: list[_Check] | None = None

    def has(self, status: str) -> bool:
        """Whether a check of it says so."""
        return any(check.status == status for check in self.checks or ())


async def follow(source: ConsulSource, publish: Publish) -> None:
    """Say which instances Consul has, whenever that changes."""
    server = Server(publish.door(source.tls), source.url, source.timeout, _headers(source))
    query, tries = BlockingQuery(), Tries(publish)
    try:
        while True:
            await trio.sleep(query.next(trio.current_time()))
            try:
                await _look(source, server, query, publish)
            except Outage as outage:
                query.forget()
                await tries.failed(str(outage))
    finally:
        await server.aclose()


def _headers(source: ConsulSource) -> tuple[tuple[str, str], ...]:
    return () if source.token is None else (("X-Consul-Token", source.token.reveal()),)


async def _look(source: ConsulSource, server: Server, query: BlockingQuery, publish: Publish) -> None:
    wait = f"{int(source.wait)}s"
    given = {"tag": source.tag, "dc": source.datacenter, "index": str(query.index), "wait": wait}
    target = f"/v1/health/service/{quote(source.service, safe='')}?"
    # The agent adds up to a sixteenth to the wait, so that not all of its clients come back at once.
    reply = await server.ask(
        "GET", target + urlencode({key: value for key, value in given.items() if value}), longer=source.wait * 17 / 16
    )
    entries = decoded(reply.body, list[_Entry])
    if query.answered(reply.header("x-consul-index")):
        passing = [entry for entry in entries if not entry.has("critical")]
        await publish_sound(publish, passing, lambda entry: _instance(source, entry))
    else:
        await publish.same()


def _instance(source: ConsulSource, entry: _Entry) -> InstanceConfig:
    service = entry.service
    there = service.address or entry.node.address
    address = there if source.host and _is_address(there) else ""
    host = source.host if address else f"[{there}]" if ":" in there else there
    port = f":{service.port}" if service.port else ""
    weights = service.weights or _Weights()
    tags = (tag.partition("=") for tag in service.tags or ())
    metadata = {key: value if found else "true" for key, found, value in tags} | (service.meta or {})
    return InstanceConfig(
        f"{source.scheme}://{host}{port}{source.path}",
        id=f"{entry.node.node}/{service.id}",
        weight=weights.warning if entry.has("warning") else weights.passing,
        metadata=metadata,
        version=metadata.get("version", ""),
        address=address,
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
