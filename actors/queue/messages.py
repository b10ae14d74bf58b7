"""What is said to the queue's actor."""

from __future__ import annotations

import msgspec

from .records import Call, Handle


class Enqueue(msgspec.Struct, frozen=True):
    """Keep a call. Reply: its id, once it is safe."""

    call: Call


class List(msgspec.Struct, frozen=True):
    """Reply: a list of `QueuedCall`."""

    service: str | None
    dead: bool | None
    limit: int


class Retry(msgspec.Struct, frozen=True):
    """Try it as soon as may be, also if it is dead. Reply: how many there were."""

    handle: Handle


class Drop(msgspec.Struct, frozen=True):
    """Forget it. Reply: how many there were."""

    handle: Handle


class Stats(msgspec.Struct, frozen=True):
    """Reply: `QueueStats` by service."""


class Changed(msgspec.Struct, frozen=True):
    """A service has come, gone, or has another configuration."""

    service: str
