"""From a file or a dict to a `RuntimeConfig`, or to a list of everything that is wrong with it.

msgspec stops at the first fault. Somebody who mends a configuration wants to see all of them, so the records are walked
here, field by field, and msgspec converts the leaves.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import ConfigError
from .runtime import RuntimeConfig
from .secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong: in which file, at which key, and why (with how to mend it)."""

    source: str
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key}: {self.reason}" if self.key else f"{self.source}: {self.reason}"


def load_config(source: RuntimeConfig | Mapping[str, Any] | str | os.PathLike[str]) -> RuntimeConfig:
    """A `RuntimeConfig` as it is, a dict, or the path of a ``.toml`` or ``.json`` file.

    Raises:
        ConfigError: with every fault, a line each.
    """
    if isinstance(source, RuntimeConfig):
        return source
    config, faults = _load(source)
    if config is None:
        raise ConfigError("\n".join(str(fault) for fault in faults))
    return config


def check_config(source: Mapping[str, Any] | str | os.PathLike[str]) -> list[Fault]:
    """Every fault that can be found; an empty list if the configuration is valid."""
    return _load(source)[1]


def _load(source: Mapping[str, Any] | str | os.PathLike[str]) -> tuple[RuntimeConfig | None, list[Fault]]:
    if isinstance(source, (str, os.PathLike)):
        name, base = os.fspath(source), Path(source).parent
        try:
            data = _read(Path(source))
        except (OSError, ValueError) as error:
            return None, [Fault(name, "", _unreadable(error))]
    else:
        name, base, data = "config", Path(), source
    faults = [Fault(name, key.lstrip("."), reason) for key, reason in _faults(data, RuntimeConfig, "", base)]
    if faults:
        return None, faults
    try:
        return _convert(data, RuntimeConfig, base), []
    except msgspec.ValidationError as error:
        key, reason = _split(error, "")
        return None, [Fault(name, key.lstrip("."), reason)]


def _read(path: Path) -> Any:
    if path.suffix == ".toml":
        return tomllib.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    raise ValueError(f"a configuration is a .toml or a .json file, not {path.suffix or 'one without a suffix'!r}")


def _unreadable(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return f"cannot be read: {error}"


def _faults(value: Any, type_: Any, path: str, base: Path) -> Iterator[tuple[str, str]]:
    """Every fault of ``value`` as a ``type_``, with the path of its key."""
    options = _options(type_)
    if len(options) > 1:
        if value is None and types.NoneType in options:
            return
        chosen = _choose(value, [option for option in options if option is not types.NoneType])
    else:
        chosen = options[0]
    item = _item(chosen)
    if _is_struct(chosen):
        yield from _struct_faults(value, chosen, path, base)
    elif item is not None and isinstance(value, (list, tuple)):
        for index, element in enumerate(value):
            yield from _faults(element, item, f"{path}[{index}]", base)
    else:
        yield from _leaf_faults(value, type_ if chosen is None else chosen, path, base)


def _struct_faults(value: Any, struct: Any, path: str, base: Path) -> Iterator[tuple[str, str]]:
    if isinstance(value, struct):
        return
    if not isinstance(value, dict):
        yield path, f"must be a table, not {_kind(value)}"
        return
    hints = typing.get_type_hints(struct)
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    tag = struct.__struct_config__.tag_field
    sound = {}
    for key, item in value.items():
        if key in fields:
            faults = list(_faults(item, hints[fields[key].name], f"{path}.{key}", base))
            yield from faults
            if not faults:
                sound[key] = item
        elif key == tag:
            sound[key] = item
        else:
            yield f"{path}.{key}", f"unknown key{_nearest(str(key), [*fields, *([tag] if tag else [])])}"
    for key, field in fields.items():
        if field.required and key not in value:
            yield f"{path}.{key}", "is missing and has no default"
    yield from _whole_faults(sound, struct, path, base)


def _whole_faults(sound: dict[str, Any], struct: Any, path: str, base: Path) -> Iterator[tuple[str, str]]:
    """What the record's own checks say to the keys that are sound by themselves: one after the other, for each check
    raises at the first fault it meets."""
    required = {field.encode_name for field in msgspec.structs.fields(struct) if field.required}
    while required <= sound.keys():
        fault = next(_leaf_faults(sound, struct, path, base), None)
        if fault is None:
            return
        yield fault
        culprit = fault[0][len(path) :].lstrip(".").partition(".")[0].partition("[")[0]
        if sound.pop(culprit, None) is None:
            return


def _leaf_faults(value: Any, type_: Any, path: str, base: Path) -> Iterator[tuple[str, str]]:
    try:
        _convert(value, type_, base)
    except msgspec.ValidationError as error:
        yield _split(error, path)


def _convert(value: Any, type_: Any, base: Path) -> Any:
    def hook(wanted: type, raw: Any) -> Any:
        if wanted is Secret:
            return _secret(raw, base)
        raise NotImplementedError(f"no way to make a {wanted.__name__}")

    return msgspec.convert(value, type_, dec_hook=hook)


def _secret(raw: Any, base: Path) -> Secret:
    """A secret by reference. What is wrong is told without ever quoting a value."""
    if isinstance(raw, Secret):
        return raw
    if not isinstance(raw, dict) or len(raw) != 1 or not {"env", "file"} >= set(raw):
        raise ValueError('a secret is given by reference: { env = "NAME" } or { file = "path" }, never as it is')
    if "env" in raw:
        value = os.environ.get(str(raw["env"]), "")
        if not value:
            raise ValueError(f"the environment variable {raw['env']!r} is not set, or empty")
        return Secret(value)
    try:
        value = (base / str(raw["file"])).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ValueError(f"the secret file {raw['file']!r} cannot be read: {type(error).__name__}") from None
    if not value:
        raise ValueError(f"the secret file {raw['file']!r} is empty")
    return Secret(value)


def _split(error: msgspec.ValidationError, path: str) -> tuple[str, str]:
    """msgspec's text, ``reason - at `$.a[0].b```, as a path of ours and a reason."""
    reason, _, where = str(error).partition(" - at `$")
    key, _, rest = reason.partition(": ")
    if rest and key.replace("_", "").replace(".", "").replace("[", "").replace("]", "").isalnum() and " " not in key:
        return f"{path}{where.rstrip('`')}.{key}", rest  # a check of ours names its key itself
    return f"{path}{where.rstrip('`')}", reason[:1].lower() + reason[1:]


def _nearest(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def _options(type_: Any) -> list[Any]:
    """The members of a union; anything else is its own only option."""
    if isinstance(type_, types.UnionType) or typing.get_origin(type_) is typing.Union:
        return list(typing.get_args(type_))
    return [type_]


def _choose(value: Any, options: list[Any]) -> Any:
    """Which member of a union a value is meant to be; None if that cannot be told (msgspec then says so)."""
    structs = [option for option in options if _is_struct(option)]
    if not structs:
        return None
    if len(structs) == 1 or not isinstance(value, dict):
        return next((one for one in structs if isinstance(value, one)), structs[0] if len(structs) == 1 else None)
    return next((one for one in structs if value.get(one.__struct_config__.tag_field) == one.__struct_config__.tag), None)


def _item(type_: Any) -> Any:
    """The element type of ``tuple[X, ...]`` where X is worth a walk."""
    args = typing.get_args(type_)
    if typing.get_origin(type_) is tuple and len(args) == 2 and args[1] is Ellipsis:
        return args[0]
    return None


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _kind(value: Any) -> str:
    return {list: "an array", str: "a text", bool: "a boolean"}.get(type(value), f"a {type(value).__name__}")
