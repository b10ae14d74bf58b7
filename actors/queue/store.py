"""What the queue asks of the place where its calls are kept. Synchronous and small, so that other engines are easy.

The embedded one is SQLite (`sqlite.py`). A store is used by one thread at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .records import Change, Contents, QueuedCall


class StoreError(Exception):
    """The store did not do it, and is as it was. The text says what is wrong, and how to mend it where we know."""


class Store(Protocol):
    """Keeps calls through the end of the process."""

    in_memory: bool
    """It answers at once: no thread is needed to wait for it, and nothing of it lasts."""

    def open(self, now: float) -> Contents:
        """Be the only one who uses it. Leases of earlier runs are void. All methods raise StoreError."""

    def write(self, changes: Sequence[Change]) -> list[Any]:
        """Make these changes, all of them or none; they are safe when this returns. A result for each."""

    def list(self, service: str | None, *, dead: bool | None, limit: int) -> list[QueuedCall]:
        """By id."""

    def close(self) -> None:
        """Give it back. It may be opened again. Does nothing if it is not open."""
