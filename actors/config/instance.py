"""One instance of a service, as configurations, files and registries of others name it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from .check import Text, Url, address_problem, between
from .record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator


class InstanceConfig(Record, frozen=True, forbid_unknown_fields=True):
    """One instance of a service."""

    endpoint: Url
    """Its base URL."""
    id: Text = ""
    """Unique in its service; the endpoint if empty."""
    weight: Annotated[float, between(0, 1e9)] = 1.0
    """Its share of the calls; 0 takes it out."""
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    """``priority`` (a whole number, 0 is the first) and ``zone`` decide who is preferred; the rest is yours."""
    version: Text = ""
    """That of its service if empty."""
    address: Text = ""
    """The IP address to connect to, where it is known: the host of ``endpoint`` is not looked up then. ``Host`` and the
    certificate stay the endpoint's."""

    @property
    def own_id(self) -> str:
        """Its id, said or not."""
        return self.id or self.endpoint

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """An address that the endpoint can be at."""
        if record.address and record.endpoint and (problem := address_problem(record.address, record.endpoint)):
            yield "address", problem
