"""Answers of the past, for when there is none of the present. Pure: the time is an argument.

Only whole, successful answers to GET and HEAD are kept, by method, target and the headers that can change an answer.
Bounded in entries and bytes; the least recently used go first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..transport import Reply
    from .messages import Request

_CACHED = ("GET", "HEAD")
_OVERHEAD = 500  # bytes: what an entry costs beside its body, about


class ResponseCache:
    """Replies by request."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[object, tuple[float, Reply]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, request: Request, reply: Reply, now: float) -> None:
        """Remember a successful answer."""
        size = len(reply.body) + _OVERHEAD
        if request.method not in _CACHED or size > self._max_bytes:
            return
        key = _key(request)
        self._drop(key)
        self._entries[key] = (now, reply)
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._entries) > self._max_entries:
            self._drop(next(iter(self._entries)))

    def get(self, request: Request, max_age: float, now: float) -> Reply | None:
        """An answer to the same request that is not older than ``max_age`` seconds."""
        key = _key(request)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now - entry[0] > max_age:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def _drop(self, key: object) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry[1].body) + _OVERHEAD


def _key(request: Request) -> object:
    """Every header of the caller's counts: what the peer varies on is not ours to guess, and two callers with
    different credentials must never see each other's answers.
    """
    headers = tuple(sorted((name.lower(), value) for name, value in request.headers))
    return (request.method, request.target, headers)
