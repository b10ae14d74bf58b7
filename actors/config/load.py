"""From a file or a dict to a `RuntimeConfig`, or to a list of everything that is wrong with it.

Somebody who mends a configuration wants to see all of its faults at once, so the records are walked field by field;
what is sound goes on, also out of a record that is not, until nothing is left to check.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import ConfigError
from .check import shown
from .record import (
    Partial,
    Record,
    Wrong,
    fields,
    holds_secrets,
    is_secret,
    is_struct,
    item,
    kind,
    options,
    plain,
    reader,
)
from .runtime import RuntimeConfig
from .secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

_MISSING = object()
_FEW = 12  # keys that can be taken in at a glance


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
    loaded = _load(source, RuntimeConfig)
    del source  # may have secrets as they are: not for who shows the locals of a traceback
    config: RuntimeConfig = _sound(*loaded)
    return config


def load_record(source: Mapping[str, Any] | str | os.PathLike[str], struct: type[Record]) -> Any:
    """Any record, from a dict or a file. Raises ConfigError with every fault, a line each."""
    loaded = _load(source, struct)
    del source
    return _sound(*loaded)


def _sound(record: Any, faults: list[Fault]) -> Any:
    if faults:
        raise ConfigError("\n".join(map(str, faults)))
    return record


def check_config(source: Mapping[str, Any] | str | os.PathLike[str]) -> list[Fault]:
    """Every fault that can be found; an empty list if the configuration is valid."""
    return _load(source, RuntimeConfig)[1]


def _load(source: Mapping[str, Any] | str | os.PathLike[str], struct: type[Record]) -> tuple[Any, list[Fault]]:
    if isinstance(source, (str, os.PathLike)):
        name, base = str(source), Path(source).parent
        try:
            data = _read(Path(source))
        except (OSError, ValueError, RecursionError) as error:
            return None, [Fault(name, "", _unreadable(error))]
    else:
        name, base, data = "config", Path(), source
    walk = _Walk(base)
    config = walk.value(data, struct, "")
    return config, [Fault(name, key.lstrip("."), reason) for key, reason in walk.faults]


def _read(path: Path) -> Any:
    if path.suffix not in {".toml", ".json"}:
        raise ValueError(f"a configuration is a .toml or a .json file, not {path.suffix or 'one without a suffix'!r}")
    text = path.read_text(encoding="utf-8-sig")  # some editors begin with a byte order mark
    return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, where the last of two equal keys would win without a word. (TOML refuses them itself.)"""
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r:.80} is there twice")
    return table


def _unreadable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "cannot be read: it is nested too deeply"
    return f"cannot be read: {error.strerror if isinstance(error, OSError) else error}"


class _Walk:
    """Reads values as types, and notes each fault with the path of its key."""

    def __init__(self, base: Path) -> None:
        self.faults: list[tuple[str, str]] = []
        self._base = base  # of the paths of secrets

    def value(self, value: Any, type_: Any, path: str) -> Any:
        """The value as it is to be kept: what was faulty is a `Partial`, or missing."""
        members = [one for one in options(type_) if one is not types.NoneType]
        if value is None and types.NoneType in options(type_):
            return None
        element = next((item(one) for one in members if item(one) is not None), None)
        if element is not None and isinstance(value, (list, tuple)):
            return tuple(self.value(one, element, f"{path}[{index}]") for index, one in enumerate(value))
        if is_struct(members[0]):
            return self._one_of(value, [one for one in members if is_struct(one)], path)
        try:
            if is_secret(type_):
                value = self._secret(value)
            elif holds_secrets(type_) and isinstance(value, Mapping):
                value = {key: self._secret_in(key, one) for key, one in value.items()}
            return reader(type_)(value)
        except Wrong as wrong:
            return self._wrong(f"{path}{wrong.where}", wrong.reason)

    def _wrong(self, path: str, reason: str) -> Any:
        self.faults.append((path, reason))
        return _MISSING

    def _one_of(self, value: Any, structs: list[type[Record]], path: str) -> Any:
        if isinstance(value, tuple(structs)):
            return value
        if not isinstance(value, Mapping):
            return self._wrong(path, f"must be a table, not {kind(value)}{_keys(structs)}")
        tag = structs[0].__struct_config__.tag_field
        if tag is None:
            return self._record(value, structs[0], path)
        known = {str(one.__struct_config__.tag): one for one in structs}
        said = value.get(tag)
        if not isinstance(said, str) or said not in known:
            what = f"must be one of {', '.join(map(repr, sorted(known)))}"
            return self._wrong(f"{path}.{tag}", what + (f", not {shown(said)}" if tag in value else "; it is missing"))
        return self._record({key: one for key, one in value.items() if key != tag}, known[said], path)

    def _record(self, value: Mapping[str, Any], struct: type[Record], path: str) -> Any:
        before = len(self.faults)
        known = fields(struct)
        sound = {}
        for key, one in value.items():
            if key in known:
                sound[key] = self.value(one, known[key][0], f"{path}.{key}")
            else:
                self._wrong(f"{path}.{plain(key)}", f"unknown key{_nearest(key, known)}")
        for field in msgspec.structs.fields(struct):
            if field.required and field.name not in value:
                self._wrong(f"{path}.{field.name}", "is missing and has no default")
            elif field.name not in value:
                sound[field.name] = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        faulty = [key for key, one in sound.items() if one is _MISSING]
        partial = Partial(struct, {key: one for key, one in sound.items() if one is not _MISSING}, faulty)
        self.faults += [(f"{path}.{key}", reason) for key, reason in struct.cross_check(partial)]
        return struct(**sound) if len(self.faults) == before else partial

    def _secret_in(self, key: Any, raw: Any) -> Any:
        """A value of a table that may be a secret: as it is, or by reference."""
        try:
            return self._secret(raw) if isinstance(raw, Mapping) else raw
        except Wrong as wrong:
            raise Wrong(wrong.reason, f".{plain(key)}") from None

    def _secret(self, raw: Any) -> Any:
        """A secret by reference. What is wrong is told without quoting what may be the secret itself."""
        if isinstance(raw, Secret):
            return raw
        if not isinstance(raw, Mapping) or len(raw) != 1 or not isinstance(raw.get("env", raw.get("file")), str):
            raise Wrong('a secret is given by reference: { env = "NAME" } or { file = "path" }, never as it is')
        if "env" in raw:
            try:
                value = os.environ.get(raw["env"], "")
            except UnicodeEncodeError:  # JSON can hold half a character: no variable has such a name
                value = ""
            if not value.strip():
                variable = raw["env"] if re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", raw["env"]) else "that is named here"
                raise Wrong(f"the environment variable {variable} is not set, or empty")
            return Secret(value)
        try:
            value = (self._base / raw["file"]).read_text(encoding="utf-8-sig").strip()
        except (OSError, ValueError) as error:
            raise Wrong(f"the file of the secret cannot be read: {type(error).__name__}") from None
        if not value:
            raise Wrong("the file of the secret is empty")
        return Secret(value)


def _keys(structs: list[type[Record]]) -> str:
    """What the table has that should be there in the place of a single value; of a long list, nothing."""
    if structs[0].__struct_config__.tag_field is not None:
        return "; its type is one of " + ", ".join(sorted(str(one.__struct_config__.tag) for one in structs))
    keys = list(fields(structs[0]))
    return f"; its keys are {', '.join(keys)}" if len(keys) <= _FEW else ""


def _nearest(key: object, known: Iterable[str]) -> str:
    text = key[:80] if isinstance(key, str) else shown(key)
    close = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"
