"""Answers of the past: for when there is none of the present, or while they are fresh. Pure: the time is an argument.

Whole answers of status 200 to GET and HEAD are kept, by method, target, the caller's own credentials, and what the
answer says that it varies on. Two callers with different credentials never see each other's answers. Bounded in entries
and bytes; the least recently used go first. A request that changes what is at its target makes us forget what we had
of it (RFC 9111, section 4.4).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from ..machines.freshness import Freshness, directives, freshness
from ..secrecy import looks_secret
from ..transport import Reply

if TYPE_CHECKING:
    from .messages import Request

    Key: TypeAlias = tuple[str, str, tuple[object, ...], tuple[object, ...]]

_CACHED = ("GET", "HEAD")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_OVERHEAD = 500  # bytes: what an entry costs beside its body, about


class Entry(msgspec.Struct, frozen=True):
    """One answer."""

    reply: Reply
    at: float
    """Trio time of its arrival."""
    says: Freshness

    def is_fresh(self, now: float) -> bool:
        """It may be used without asking the service."""
        return self.says.is_fresh(now - self.at)


class _Resource:
    """All that is kept of one target."""

    __slots__ = ("keys", "vary")

    def __init__(self) -> None:
        self.keys: set[Key] = set()
        self.vary: tuple[str, ...] = ()  # as the last answer said


class ResponseCache:
    """Replies by request."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._resources: dict[str, _Resource] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def tune(self, max_entries: int, max_bytes: int) -> None:
        """Other bounds, for the same entries."""
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._shrink()

    def put(self, request: Request, reply: Reply, now: float, wall_now: float) -> None:
        """Remember a successful answer, if it may be; forget what it has changed."""
        if request.method not in _CACHED:
            if request.method not in _SAFE:
                self._forget(request.target)
            return
        says, vary = self._storable(request, reply, wall_now)
        if says is None:
            return
        resource = self._resources.setdefault(request.target, _Resource())
        resource.vary = vary
        key = _key(request, vary)
        self._drop(key)
        self._resources.setdefault(request.target, resource).keys.add(key)
        self._entries[key] = Entry(reply, now, says)
        self._bytes += _size(reply)
        self._shrink()

    def get(self, request: Request, max_age: float, now: float, *, strict: bool = False) -> Entry | None:
        """An answer to the same request that came no more than ``max_age`` seconds ago.

        ``strict``: and if it is not fresh any more, only one that does not forbid to be used then.
        """
        resource = self._resources.get(request.target)
        key = None if resource is None else _key(request, resource.vary)
        entry = None if key is None else self._entries.get(key)
        if key is None or entry is None:
            return None
        if now - entry.at > max_age:
            self._drop(key)
            return None
        if strict and entry.says.forbids_stale and not entry.is_fresh(now):
            return None
        self._entries.move_to_end(key)
        return entry

    def fresh(self, request: Request, max_age: float, now: float) -> Entry | None:
        """One that answers without a call, unless the caller wants a new one (``Cache-Control: no-cache``)."""
        entry = self.get(request, max_age, now)
        if entry is None or not entry.is_fresh(now):
            return None
        wanted = _said(request)
        return None if "no-cache" in wanted or "no-store" in wanted or wanted.get("max-age") == "0" else entry

    def _storable(self, request: Request, reply: Reply, wall_now: float) -> tuple[Freshness | None, tuple[str, ...]]:
        names = [name for name, _ in request.headers]
        vary = {
            part.strip().lower()
            for name, value in reply.headers
            if name == "vary"
            for part in value.split(",")
            if part.strip()
        }
        if (
            reply.status != 200
            or _size(reply) > self._max_bytes
            or "*" in vary
            or any(name.lower() == "range" for name in names)
            or "no-store" in _said(request)
        ):
            return None, ()
        return freshness(reply.headers, wall_now), tuple(sorted(vary))

    def _forget(self, target: str) -> None:
        resource = self._resources.get(target)
        for key in list(resource.keys) if resource is not None else ():
            self._drop(key)

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes or len(self._entries) > self._max_entries:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._bytes -= _size(entry.reply)
        resource = self._resources[key[1]]
        resource.keys.discard(key)
        if not resource.keys:
            del self._resources[key[1]]


def _size(reply: Reply) -> int:
    return len(reply.body) + _OVERHEAD


def _said(request: Request) -> dict[str, str]:
    """The caller's own ``Cache-Control``."""
    return directives(value for name, value in request.headers if name.lower() == "cache-control")


def _key(request: Request, vary: tuple[str, ...]) -> Key:
    own = sorted((name.lower(), value) for name, value in request.headers)
    # What says who a caller is. (The configuration's are the same for all of a service's callers.) By the names as he
    # wrote them: in lower case, `authToken` is one word, and no word of any rule.
    scope = tuple(sorted((name.lower(), value) for name, value in request.headers if looks_secret(name)))
    selected = tuple((name, *(value for known, value in own if known == name)) for name in vary)
    return (request.method, request.target, scope, selected)
