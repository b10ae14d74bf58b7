"""Where instances come from: what a configuration names, and the sources that the registry follows beside that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from .check import Name, Pause
from .consul import ConsulSource
from .dns import DnsSource, SrvSource
from .etcd import EtcdSource
from .instance import InstanceConfig
from .record import Record, is_a

if TYPE_CHECKING:
    from collections.abc import Iterator

REGISTERED = "registered"
"""Who holds an instance that the program has registered."""
STATIC = "static"
"""Who holds one that the service's configuration names (``base_url``, ``instances``)."""


def _path(value: str) -> str | None:
    if not value or "\0" in value:
        return "must be the path of a file"
    if Path(value).suffix not in {".toml", ".json"}:
        return f"must be a .toml or a .json file, not {value!r:.200}"
    return None


class FileSource(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="file"):
    """The ``instances`` of a ``.toml`` or ``.json`` file, read again whenever it changes.

    What cannot be read or is not valid changes nothing: the last good set stays. Replace the file by renaming another
    one over it, which takes effect at once; a file that is written in place is read when it has been left alone for an
    ``interval``.
    """

    path: Annotated[str, _path]
    """From the working directory, if it is not absolute."""
    interval: Pause = 1.0
    """Seconds between two looks at it."""
    name: Name = "file"
    """Unique among the sources of its service."""


Source: TypeAlias = FileSource | DnsSource | SrvSource | ConsulSource | EtcdSource
"""Any of them."""


class InstancesFile(Record, frozen=True, forbid_unknown_fields=True):
    """What is in a file of instances."""

    instances: Sequence[InstanceConfig]

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """One id for each instance."""
        yield from twice(record.instances)


def twice(instances: Any) -> Iterator[tuple[str, str]]:
    """Instances whose id another one has already: key and reason. Of a `Partial`, fields may be None."""
    seen = set()
    for index, instance in enumerate(instances or ()):
        own = getattr(instance, "id", None) or getattr(instance, "endpoint", None)
        if own is not None and own in seen:
            yield f"instances[{index}]", f"there is an instance {own!r:.80} already: ids are unique in a service"
        seen.add(own)


def confusable(sources: Any) -> Iterator[tuple[str, str]]:
    """Sources that cannot be told apart by name: key and reason. Of a `Partial`, fields may be None."""
    seen: set[str | None] = {REGISTERED, STATIC}
    for index, source in enumerate(sources or ()):
        name = getattr(source, "name", None)
        if name is not None and name in seen:
            what = "is ours" if name in {REGISTERED, STATIC} else "is that of another source of this service"
            yield f"sources[{index}].name", f"{name!r} {what}: give it a name of its own"
        seen.add(name)


def forgeable(sources: Any) -> Iterator[tuple[str, str]]:
    """Sources by which a forged answer of DNS leads to a host that has a certificate, but is none of the service's."""
    reason = (
        "is missing: with credentials it has to be the name that the certificates of all targets are for, since DNS "
        "names the targets, and a forged answer would lead the credentials to another host"
    )
    for index, source in enumerate(sources or ()):
        if is_a(source, SrvSource) and source.host == "" and source.scheme != "http":
            yield f"sources[{index}].host", reason
