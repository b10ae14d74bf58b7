"""The secrets that are in a configuration, wherever they are in it."""

from __future__ import annotations

import base64
import enum
import functools
import typing
from typing import TYPE_CHECKING, Any

from ..config import BasicAuth, Secret
from ..config.record import Record, fields, is_struct, item, options

if TYPE_CHECKING:
    from collections.abc import Iterator


def found(value: Any) -> Iterator[str]:
    """The values of all secrets in a record, and of those that are sent in another form."""
    if isinstance(value, Secret):
        yield value.reveal().strip()
    elif isinstance(value, Record):
        for name in _worth_a_look(type(value)):
            yield from found(getattr(value, name))
    elif isinstance(value, dict):
        for one in value.values():
            yield from found(one)
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from found(one)
    if isinstance(value, BasicAuth):  # which a proxy's is sent as by httpcore, and not by us
        yield base64.b64encode(f"{value.username}:{value.password.reveal()}".encode()).decode("ascii")


@functools.cache
def _worth_a_look(record: type[Record]) -> tuple[str, ...]:
    """The fields that may hold a secret: a handful, where to look into all of them is a third of what a start costs."""
    return tuple(name for name, (type_, _) in fields(record).items() if not _is_plain(type_))


def _is_plain(type_: Any) -> bool:
    """Nothing of this type holds a secret. What is not known here may."""
    if typing.get_origin(type_) is typing.Annotated:
        return _is_plain(typing.get_args(type_)[0])
    if (element := item(type_)) is not None:
        return _is_plain(element)
    if is_struct(type_):
        return not _worth_a_look(type_)
    several = options(type_)
    if len(several) > 1:
        return all(_is_plain(one) for one in several)
    if typing.get_origin(type_) is typing.Literal or type_ in {str, int, float, bool, type(None)}:
        return True
    return isinstance(type_, type) and issubclass(type_, enum.Enum)
