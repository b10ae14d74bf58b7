"""The leases of registered instances: the registry's task that looks, once a beat, who has fallen silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..events import LeaseExpired, SelfPreservation
from ..machines.leases import BEAT
from .records import LeaseCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from switchgear.runtime import Context

    from ..machines.leases import Leases


class Leasing:
    """For one life of the registry actor. The leases themselves outlive it; their keys are service and id."""

    def __init__(self, ctx: Context, leases: Leases[tuple[str, str]], lapsed: Callable[[str, str], None]) -> None:
        self._ctx = ctx
        self._leases = leases
        self._lapsed = lapsed  # told of each instance that has not been heard of in time
        self._preserving = leases.doubted > 0  # as the last life has told
        self._watching = False
        self._watch()

    def grant(self, service: str, id: str, ttl: float | None) -> None:
        """The instance stays for ``ttl`` seconds from now on; None: until it is deregistered."""
        if ttl is None:
            self._leases.drop((service, id))
        else:
            self._leases.grant((service, id), ttl, trio.current_time())
            self._watch()

    def renew(self, service: str, id: str) -> bool:
        """It has been heard of. False: it has no lease (any more)."""
        return self._leases.renew((service, id), trio.current_time())

    def drop(self, service: str, ids: Iterable[str]) -> None:
        """They are gone by other ways."""
        for one in ids:
            self._leases.drop((service, one))

    def counts(self) -> LeaseCounts:
        """For those who ask."""
        return LeaseCounts(len(self._leases), self._leases.late, self._leases.doubted)

    def _watch(self) -> None:
        if len(self._leases) and not self._watching:
            self._watching = True
            self._ctx.start_soon(self._look)

    async def _look(self) -> None:
        """While there are leases."""
        while len(self._leases):
            await trio.sleep(BEAT)
            for service, instance in self._leases.expire(trio.current_time()):
                self._ctx.emit(LeaseExpired(path=self._ctx.path, service=service, instance=instance))
                self._lapsed(service, instance)
            self._tell()
        self._watching = False

    def _tell(self) -> None:
        """Of a change only."""
        counts = self.counts()
        if counts.preserving is not self._preserving:
            self._preserving = counts.preserving
            self._ctx.emit(
                SelfPreservation(
                    path=self._ctx.path, active=counts.preserving, doubted=counts.doubted, leases=counts.leases
                )
            )
