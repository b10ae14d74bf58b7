"""The actor that keeps an instance of our own in etcd: a lease, a key on it, and a heartbeat each third of its time.

What the gateway does that one has to know: a heartbeat for a lease that is gone is answered like any other, but without
a time to live; and a key that somebody else deletes stays deleted, however well its lease is. So each heartbeat puts
the key if it is not there.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from switchgear.runtime import Actor, Backoff

from ...config import ServiceConfig
from ...events import AdvertFailed, AdvertMade
from ...machines.etcd_view import encoded
from .server import CLOSING, Outage, Server, decoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear.runtime import Context

    from ...config.etcd import EtcdAdvert
    from ...transport import Door

_AGAIN = Backoff(initial=0.5, maximum=10.0)


class _Lease(msgspec.Struct):
    id: str = msgspec.field(name="ID", default="")
    ttl: str = msgspec.field(name="TTL", default="0")


class _Kept(msgspec.Struct):
    result: _Lease = msgspec.field(default_factory=_Lease)


class AdvertActor(Actor):
    """One advert."""

    def __init__(self, advert: EtcdAdvert, open_door: Callable[[ServiceConfig], Door]) -> None:
        self._advert = advert
        door = open_door(ServiceConfig("advert", tls=advert.tls))  # in each life, for each closes it
        self._lease: str | None = None
        self._made = False  # the key has been put on that lease
        self._servers = itertools.cycle([Server(door, url, advert.timeout) for url in advert.urls])
        self._server = next(self._servers)

    async def setup(self, ctx: Context) -> None:
        """Begin. Nothing is waited for: a cluster that is down must not hold up the start."""
        self._ctx = ctx
        ctx.start_soon(self._keep)

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                await self._put_if_needed()
            except Outage as outage:
                failures += 1
                if failures == 1:
                    self._ctx.emit(AdvertFailed(path=self._ctx.path, key=self._advert.key, error=str(outage)))
                self._server = next(self._servers)
                await trio.sleep(min(_AGAIN.delay(failures, self._ctx.rng), self._advert.ttl / 3))
            else:
                failures = 0
                await trio.sleep(self._advert.ttl / 3)

    async def _put_if_needed(self) -> None:
        """A heartbeat; and where there is no lease, or it has been lost, a new one."""
        lease = self._lease
        if lease is None or not await self._is_alive(lease):
            # Known before the key is put: of a put without an answer, the key may be there, and is to go with us.
            self._lease, self._made = None, False
            lease = self._lease = await self._granted()
        if self._made:
            absent = {"key": encoded(self._advert.key), "target": "CREATE", "create_revision": "0"}
            put = {"request_put": self._pair(lease)}
            await self._server.ask("POST", "/v3/kv/txn", {"compare": [absent], "success": [put]})
        else:  # also over one that is there, on a lease of our life before
            await self._server.ask("POST", "/v3/kv/put", self._pair(lease))
            self._made = True
            self._ctx.emit(AdvertMade(path=self._ctx.path, key=self._advert.key))

    async def _granted(self) -> str:
        granted = await self._server.ask("POST", "/v3/lease/grant", {"TTL": str(round(self._advert.ttl))})
        lease = decoded(granted.body, _Lease).id
        if not lease:  # a key without one would be there for ever
            raise Outage("it gave no lease")
        return lease

    async def _is_alive(self, lease: str) -> bool:
        answer = await self._server.ask("POST", "/v3/lease/keepalive", {"ID": lease})
        return decoded(answer.body, _Kept).result.ttl not in {"", "0"}

    def _pair(self, lease: str) -> dict[str, Any]:
        value = msgspec.json.encode(self._advert.instance).decode()
        return {"key": encoded(self._advert.key), "value": encoded(value), "lease": lease}

    async def teardown(self) -> None:
        """Take it back, so that others need not wait until the lease is over."""
        try:
            if self._lease is not None:
                with trio.move_on_after(CLOSING):
                    await self._server.ask("POST", "/v3/lease/revoke", {"ID": self._lease})
        except Outage as outage:
            self._ctx.emit(AdvertFailed(path=self._ctx.path, key=self._advert.key, error=str(outage)))
        finally:
            await self._server.aclose()
