"""What stands below a prefix in etcd: a list, and the events of a watch applied to it. Pure.

The gateway speaks JSON after protobuf's rules: numbers of 64 bits are text, keys and values are base64, and what has
its default value is left out (an event without a type is a PUT). A watch begins at the revision after the list's; when
that has been compacted meanwhile, or anything else does not fit, the list has to be made anew.
"""

from __future__ import annotations

import base64
import enum
from typing import TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class KeyValue(msgspec.Struct, frozen=True):
    """One key, as the gateway has it."""

    key: str
    value: str = ""


class Header(msgspec.Struct, frozen=True):
    """Of each answer."""

    revision: str = "0"


class Listed(msgspec.Struct, frozen=True):
    """The answer to a range request."""

    header: Header = Header()
    kvs: tuple[KeyValue, ...] = ()


class WatchEvent(msgspec.Struct, frozen=True):
    """One change."""

    kv: KeyValue
    type: str = "PUT"


class Watched(msgspec.Struct, frozen=True):
    """One message of a watch."""

    header: Header = Header()
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: str = "0"
    events: tuple[WatchEvent, ...] = ()


class After(enum.Enum):
    """What a message of a watch has led to."""

    SAME = "same"
    CHANGED = "changed"
    COMPACTED = "compacted"
    """The watch cannot go on from there: list anew."""
    OVER = "over"
    """The server has ended the watch."""


class EtcdView:
    """Keys and values below a prefix."""

    __slots__ = ("prefix", "revision", "values")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.revision = 0
        """As of which ``values`` are."""
        self.values: dict[str, bytes] = {}
        """By key, without the prefix."""

    def listed(self, answer: Listed) -> None:
        """A whole list. Raises ValueError for what is no answer of etcd's; nothing has changed then."""
        values = dict(self._pair(one) for one in answer.kvs)
        self.revision = int(answer.header.revision)
        self.values = values

    def watched(self, answer: Watched) -> After:
        """A message of the watch that began after ``revision``. Raises ValueError as `listed`."""
        if int(answer.compact_revision) > 0:
            return After.COMPACTED
        if answer.canceled:
            return After.OVER
        changes = [(*self._pair(event.kv), event.type == "DELETE") for event in answer.events]
        self.revision = max(self.revision, int(answer.header.revision))
        for key, value, gone in changes:
            if gone:
                self.values.pop(key, None)
            else:
                self.values[key] = value
        return After.CHANGED if changes else After.SAME

    def _pair(self, one: KeyValue) -> tuple[str, bytes]:
        key = base64.b64decode(one.key, validate=True).decode()
        return key.removeprefix(self.prefix), base64.b64decode(one.value, validate=True)


def encoded(text: str) -> str:
    """As the gateway wants keys and values."""
    return base64.b64encode(text.encode()).decode("ascii")


def range_end(prefix: str) -> str:
    """The first key that is not below a prefix, encoded: the prefix with its last byte one higher."""
    data = bytearray(prefix.encode())
    data[-1] += 1  # UTF-8 has no byte 255
    return base64.b64encode(bytes(data)).decode("ascii")
