"""Instances from etcd, and one of our own put there. All times are seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from .check import Name, Positive, Text, Url, between
from .instance import InstanceConfig
from .record import Record
from .tls import TLSConfig, unverified_problem

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Etcd(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a cluster is reached, by the JSON gateway of etcd 3.4 or newer."""

    urls: Sequence[Url] = ("http://127.0.0.1:2379",)
    """Of its members: the next is asked where one fails."""
    timeout: Positive = 5.0
    """Of each request that is to be answered at once."""
    tls: TLSConfig = TLSConfig()
    """For members at ``https`` addresses. With a certificate of our own, etcd knows by it who we are."""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """Somebody to ask, and keys that are ours."""
        if record.urls is not None and not record.urls:
            yield "urls", "must have the address of a member at least"
        for url in record.urls or ():
            if isinstance(record.tls, TLSConfig) and (problem := unverified_problem(record.tls, url)) is not None:
                yield "tls.verify", problem


class EtcdSource(_Etcd, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="etcd"):
    """Each key below a prefix is an instance: its value is the JSON of an `InstanceConfig`, its name the id if that is
    not said. What is no instance is left out, and the source says so.
    """

    prefix: Text
    """As ``/services/payments/``."""
    resync: Annotated[float, between(1, 86_400)] = 300.0
    """After so long the list is made anew, whatever the watch has said."""
    name: Name = "etcd"
    """Unique among the sources of its service."""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """A prefix, for without one every key there is would be an instance."""
        yield from super().cross_check(record)
        if record.prefix == "":
            yield "prefix", "must be the start of the instances' keys, as /services/payments/"


class EtcdAdvert(_Etcd, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An instance that others are to find: put into etcd for as long as this runtime lives.

    It hangs on a lease, so it is gone ``ttl`` seconds after a crash, and at once after a regular end.
    """

    key: Text
    """As ``/services/shop/web-1``."""
    instance: InstanceConfig
    ttl: Annotated[float, between(2, 86_400)] = 10.0

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """A key."""
        yield from super().cross_check(record)
        if record.key == "":
            yield "key", "must be the key of the instance, as /services/shop/web-1"
