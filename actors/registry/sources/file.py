"""Instances from a file, read again whenever it changes.

A change shows in what ``stat`` says of it; that and the reading are done in a thread, for a file may be on a disk that
hangs. Half a file may even be valid, so a change is read when two looks in a row have found the file as it is. (A file
that was renamed over the old one is whole, and would not have to wait; but it cannot be told from one that is removed
and written anew.)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import trio

from ...config.load import load_record
from ...config.sources import InstancesFile
from ...errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...config import FileSource, InstanceConfig
    from .publish import Publish

Mark: TypeAlias = tuple[int, int, int, int]
"""What tells one state of a file from another: device, inode, size, time of the last change (ns)."""

_LARGEST = 16_000_000  # bytes: some hundred thousand instances


async def follow(source: FileSource, publish: Publish) -> None:
    """Look at the file each ``interval`` seconds, and say what is in it."""
    taken: Mark | None = None  # the state that was read
    good = False  # whether that was valid
    seen: Mark | None = None  # the state at the last look
    first = True  # there is nothing yet that half a file could make us lose
    while True:
        now = await trio.to_thread.run_sync(_mark, source.path, abandon_on_cancel=True)
        if isinstance(now, str):
            await publish.failed(now)
        elif now == taken:
            if good:
                await publish.same()
        elif first or now == seen:
            taken, read = now, await trio.to_thread.run_sync(_read, source.path, abandon_on_cancel=True)
            good = not isinstance(read, str)
            await (publish.failed(read) if isinstance(read, str) else publish(read))
        seen = None if isinstance(now, str) else now
        first = False
        await trio.sleep(source.interval)


def _mark(path: str) -> Mark | str:
    try:
        found = Path(path).stat()
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
    if found.st_size > _LARGEST:
        return f"{path}: is larger than {_LARGEST} bytes"
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: str) -> Sequence[InstanceConfig] | str:
    try:
        instances: Sequence[InstanceConfig] = load_record(path, InstancesFile).instances
    except ConfigError as error:
        first, *others = str(error).splitlines()
        return first + (f" (and {len(others)} more faults)" if others else "")
    return instances
