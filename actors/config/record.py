"""Records that can only hold what makes sense: each field is checked against its type, in code as from a file.

msgspec checks what it decodes, but not what is constructed in code, and it stops at the first fault. So the types are
read here, once for each class, into readers: functions that return the value as it is to be kept, or raise `Wrong`.
"""

from __future__ import annotations

import enum
import functools
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec

from ..errors import ConfigError
from ..secrecy.names import looks_secret
from .check import number, shown
from .function import function
from .secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    Reader: TypeAlias = Callable[[Any], Any]


_REFUSED = "<refused>"
_PLAIN = re.compile(r"[\w-]{1,80}")


class Wrong(Exception):
    """What is wrong with a value; ``where`` leads to the part of it that is, as ``[2]``."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.where = where


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The base of all configuration."""

    def __post_init__(self) -> None:
        faults = _read_all(self) or [f"{key}: {reason}" for key, reason in self.cross_check(self)]
        if faults:
            raise ConfigError("\n".join(faults))

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:  # noqa: ARG003 (those that override it do)
        """What is wrong with the fields together: key and reason. Of a `Partial`, fields may be None."""
        return iter(())


def _read_all(record: Record) -> list[str]:
    """What is wrong with the fields, each for itself. Those that are sound are as they are to be kept.

    The others are gone: the traceback of the refusal has the record among its locals, and what was refused may be a
    secret that was given as it is.
    """
    faults = []
    for key, (_, read) in fields(type(record)).items():
        value = getattr(record, key)
        try:
            kept = read(value)
        except Wrong as wrong:
            faults.append(f"{key}{wrong.where}: {wrong.reason}")
            kept = _REFUSED
        if kept is not value:  # a list becomes a tuple, a whole number a float
            msgspec.structs.force_setattr(record, key, kept)
    return faults


class Partial:
    """A record with faults: its fields that are sound, and None for the others. Enough to look for more faults."""

    def __init__(self, struct: type[Record], sound: Mapping[str, Any], faulty: Collection[str] = ()) -> None:
        self._struct = struct
        self._faulty = faulty
        for field in msgspec.structs.fields(struct):
            setattr(self, field.name, sound.get(field.name))

    def is_a(self, struct: type[Record]) -> bool:
        """Whether it was meant to be a ``struct``."""
        return self._struct is struct

    def has(self, key: str) -> bool:
        """Whether something was given for ``key``, be it sound or not."""
        return key in self._faulty or getattr(self, key) is not None


def has(record: Any, key: str) -> bool:
    """Whether a record, or a partial one, was given something for ``key``."""
    return record.has(key) if isinstance(record, Partial) else getattr(record, key) is not None


def is_a(value: object, struct: type[Record]) -> bool:
    """A record, or one that was meant to be."""
    return isinstance(value, struct) or (isinstance(value, Partial) and value.is_a(struct))


@functools.cache
def fields(struct: type[Record]) -> dict[str, tuple[Any, Reader]]:
    """The fields of a record: their types and readers."""
    hints = typing.get_type_hints(struct, include_extras=True)
    return {name: (hints[name], reader(hints[name])) for name in struct.__struct_fields__}


def options(type_: Any) -> tuple[Any, ...]:
    """The members of a union; anything else is its own only option."""
    if isinstance(type_, types.UnionType) or typing.get_origin(type_) is typing.Union:
        return typing.get_args(type_)
    return (type_,)


def is_struct(type_: Any) -> bool:
    """Whether a type is one of our records."""
    return isinstance(type_, type) and issubclass(type_, Record)


def item(type_: Any) -> Any:
    """The element type of ``Sequence[X]``, or None."""
    return typing.get_args(type_)[0] if typing.get_origin(type_) is Sequence else None


def is_secret(type_: Any) -> bool:
    """Whether a type is a secret, with or without checks of its own, or none."""
    members = [one for one in options(type_) if one is not types.NoneType]
    return any(one is Secret or typing.get_args(one)[:1] == (Secret,) for one in members)


def holds_secrets(type_: Any) -> bool:
    """Whether a type is a table whose values may be secrets."""
    bare = typing.get_args(type_)[0] if typing.get_origin(type_) is Annotated else type_
    return typing.get_origin(bare) is dict and Secret in options(typing.get_args(bare)[1])


def reader(type_: Any) -> Reader:
    """The reader of a type."""
    members = options(type_)
    if types.NoneType in members:
        inner = reader(typing.Union[tuple(one for one in members if one is not types.NoneType)])  # noqa: UP007
        return lambda value: None if value is None else inner(value)
    lists = [one for one in members if item(one) is not None]
    if lists and len(members) > 1:
        many, one = reader(lists[0]), reader(typing.Union[tuple(one for one in members if one not in lists)])  # noqa: UP007
        return lambda value: (many if isinstance(value, (list, tuple)) else one)(value)
    origin, args = typing.get_origin(type_), typing.get_args(type_)
    if origin is Annotated:
        return functools.partial(_checked, reader(args[0]), args[1])
    if origin is Literal:
        return functools.partial(_choice, args)
    if origin is Sequence:
        return functools.partial(_sequence, reader(args[0]))
    if origin is Callable:
        return _function
    if origin is tuple:
        return functools.partial(_pair, [reader(arg) for arg in args])
    if origin is dict:
        return _secret_texts if holds_secrets(type_) else _texts
    if all(is_struct(one) for one in members):
        return functools.partial(_record, members)
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return functools.partial(_member, type_)
    return _BASIC[type_]


def _checked(read: Reader, check: Callable[[Any], str | None], value: Any) -> Any:
    kept = read(value)
    reason = check(kept)
    if reason:
        raise Wrong(reason)
    return kept


def _choice(known: tuple[str, ...], value: Any) -> Any:
    if not isinstance(value, str) or value not in known:
        raise Wrong(f"must be one of {', '.join(map(repr, known))}, not {shown(value)}")
    return value


def _member(enumeration: type[enum.Enum], value: Any) -> Any:
    try:
        return enumeration(value)
    except (ValueError, RecursionError):  # it says what it did not find, however deeply nested
        raise Wrong(f"must be one of {', '.join(one.value for one in enumeration)}, not {shown(value)}") from None


def _sequence(read: Reader, value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        how = ": in TOML [[...]] begins each of its tables" if isinstance(value, Mapping) else ""
        raise Wrong(f"must be an array, not {kind(value)}{how}")
    kept = []
    for index, element in enumerate(value):
        try:
            kept.append(read(element))
        except Wrong as wrong:
            raise Wrong(wrong.reason, f"[{index}]{wrong.where}") from None
    return tuple(kept)


def _pair(reads: list[Reader], value: Any) -> Any:
    if not isinstance(value, (list, tuple)) or len(value) != len(reads):
        raise Wrong(f"must be an array of {len(reads)}, not {shown(value)}")
    return tuple(_sequence(read, [part])[0] for read, part in zip(reads, value, strict=True))


def _texts(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise Wrong(f"must be a table, not {kind(value)}")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise Wrong("must be text", f".{plain(key)}")
    return dict(value)  # the caller may go on with his


def _secret_texts(value: Any) -> Any:
    """As above. A text whose name is that of a credential is taken for one, and masked and kept out of files."""
    if not isinstance(value, Mapping):
        raise Wrong(f"must be a table, not {kind(value)}")
    secrets = {key: one for key, one in value.items() if isinstance(one, Secret) and isinstance(key, str)}
    texts = _texts({key: one for key, one in value.items() if key not in secrets})
    masked = {key: Secret(text) if looks_secret(key) else text for key, text in texts.items()}
    return {key: masked.get(key, one) for key, one in value.items()}


def _record(structs: tuple[type[Record], ...], value: Any) -> Any:
    if not isinstance(value, structs):
        raise Wrong(f"must be a {' or '.join(one.__name__ for one in structs)}, not {kind(value)}")
    return value


def _bool(value: Any) -> Any:
    if not isinstance(value, bool):
        raise Wrong(f"must be true or false, not {shown(value)}")
    return value


def _int(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Wrong(f"must be a whole number, not {shown(value)}")
    return value


def _float(value: Any) -> Any:
    reason = number(value)
    if reason:
        raise Wrong(reason)
    return value if isinstance(value, float) else float(value)


def _function(value: Any) -> Any:
    try:
        return function(value)
    except ValueError as error:
        raise Wrong(str(error)) from error.__cause__


def _str(value: Any) -> Any:
    if not isinstance(value, str):
        raise Wrong(f"must be text, not {kind(value)}")
    return value


def _secret(value: Any) -> Any:
    if not isinstance(value, Secret):
        raise Wrong('must be a Secret: Secret(...) in code, { env = "NAME" } or { file = "path" } in a file')
    return value


_BASIC: dict[Any, Reader] = {
    Any: lambda value: value,
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    int | str: lambda value: value,  # what it may be is for its own check to say
    Secret: _secret,
}


def plain(key: object) -> str:
    """A key as part of a path: quoted if it is not a simple one, so that a fault stays on its line."""
    return key if isinstance(key, str) and _PLAIN.fullmatch(key) else shown(key)


def kind(value: object) -> str:
    """What a value is, without quoting it."""
    names = {list: "an array", str: "a text", bool: "a boolean", int: "a number", float: "a number", dict: "a table"}
    return "nothing" if value is None else names.get(type(value), f"a {type(value).__name__}")
