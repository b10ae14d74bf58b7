"""The secrets that are in a configuration, wherever they are in it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from ..config import BasicAuth, Secret
from ..config.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator


def found(value: Any) -> Iterator[str]:
    """The values of all secrets in a record, and of those that are sent in another form."""
    if isinstance(value, Secret):
        yield value.reveal().strip()
    elif isinstance(value, Record):
        for name in value.__struct_fields__:
            yield from found(getattr(value, name))
    elif isinstance(value, dict):
        for one in value.values():
            yield from found(one)
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from found(one)
    if isinstance(value, BasicAuth):  # which a proxy's is sent as by httpcore, and not by us
        yield base64.b64encode(f"{value.username}:{value.password.reveal()}".encode()).decode("ascii")
