"""Instances from etcd: a list, and a watch from there on (`machines/etcd_view.py`), by its JSON gateway."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from ...config.instance import InstanceConfig
from ...config.load import load_record
from ...errors import ConfigError
from ...machines.blocking_query import BURST, EVERY
from ...machines.bucket import TokenBucket
from ...machines.etcd_view import After, EtcdView, Listed, Watched, encoded, range_end
from .server import Outage, Server, Tries, decoded, publish_sound

if TYPE_CHECKING:
    from ...config.etcd import EtcdSource
    from .publish import Publish


class _Message(msgspec.Struct):
    result: Watched | None = None
    error: Any = None


async def follow(source: EtcdSource, publish: Publish) -> None:
    """Say which instances are below the prefix, whenever that changes."""
    door, view, tries = publish.door(source.tls), EtcdView(source.prefix), Tries(publish)
    servers = [Server(door, url, source.timeout) for url in source.urls]
    pace = TokenBucket(1 / EVERY, BURST)  # as for Consul: each answer may come at once
    try:
        for server in itertools.cycle(servers):
            try:
                while True:
                    await _list(server, view)
                    await _publish(view, publish)
                    with trio.move_on_after(source.resync):
                        await _watch(server, view, publish)
                        await trio.sleep(pace.reserve(trio.current_time()))
            except Outage as outage:
                await tries.failed(str(outage))
    finally:
        await servers[0].aclose()  # it is one door for all


async def _list(server: Server, view: EtcdView) -> None:
    wanted = {"key": encoded(view.prefix), "range_end": range_end(view.prefix)}
    answer = decoded((await server.ask("POST", "/v3/kv/range", wanted)).body, Listed)
    try:
        view.listed(answer)
    except ValueError as error:
        raise Outage(f"its list is not what it should be: {error}") from None


async def _watch(server: Server, view: EtcdView, publish: Publish) -> None:
    """Until what it goes on from has been compacted. Raises Outage if it breaks."""
    begin = {
        "key": encoded(view.prefix),
        "range_end": range_end(view.prefix),
        "start_revision": str(view.revision + 1),
        "progress_notify": True,
    }
    async with server.lines("/v3/watch", {"create_request": begin}) as lines:
        async for line in lines:
            message = decoded(line, _Message)
            if message.result is None:
                raise Outage("the watch was refused")
            try:
                after = view.watched(message.result)
            except ValueError as error:
                raise Outage(f"its watch is not what it should be: {error}") from None
            if after is After.COMPACTED:
                return
            if after is After.OVER:
                raise Outage("the watch was canceled")
            await (_publish(view, publish) if after is After.CHANGED else publish.same())
    raise Outage("the watch has ended")


async def _publish(view: EtcdView, publish: Publish) -> None:
    await publish_sound(publish, view.values.items(), _instance)


def _instance(pair: tuple[str, bytes]) -> InstanceConfig:
    key, value = pair
    try:
        fields = msgspec.json.decode(value, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise ConfigError(f"{key}: the value is no JSON object") from None
    try:
        instance: InstanceConfig = load_record(fields | {"id": fields.get("id") or key}, InstanceConfig)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    return instance
