"""Records that carry what must not be shown: their repr tells what they are, and nothing that could be a credential.

A traceback that shows locals (pytest's, rich's, Sentry's) shows them by their repr, and rich and Sentry look into
tuples, dicts and records by themselves. So what goes on the road of a call goes in records of this kind, and by value
nowhere else where an error could pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MASK = "***"
"""What stands in the place of a secret."""


class Masked:
    """A mixin, before `msgspec.Struct`, whose own ``__rich_repr__`` would show all fields to rich."""

    __slots__ = ()

    def told(self) -> Iterator[tuple[str, Any]]:
        """What may be shown: names and values."""
        return iter(())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.told())})"

    def __rich_repr__(self, /) -> list[tuple[str, Any]]:
        return list(self.told())


def shown_names(headers: Iterable[tuple[str, str]]) -> list[str]:
    """Of headers, the names: any value may be a credential, whatever the header is called."""
    return [name for name, _ in headers]


def shown_target(target: str) -> str:
    """Of a path and its query, the path."""
    path, mark, _ = target.partition("?")
    return f"{path}{mark}{MASK if mark else ''}"


def shown_body(body: object) -> str:
    """Of a body, its size."""
    return f"{len(body)} bytes" if isinstance(body, bytes) else "in pieces"
