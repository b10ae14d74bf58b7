"""Path templates: ``/users/{id}`` and the values that go into it, each as one segment and nothing more. Pure.

A template is written by the program, its values come from anywhere. What a value cannot be quoted as, it is refused as:
a server may decode ``%2F`` before it resolves dot segments, so no quoting makes ``../admin`` safe. A template is also
the name of what a call does, for breakers and figures: there are few of them, whatever the values are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, unquote
from uuid import UUID

from ..errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

PathValues: TypeAlias = Mapping[str, str | int | UUID]

_NAME = re.compile(r"\{([^{}]*)\}")
_PLAIN = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")  # needs no quoting, and is no dot segment
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DOTS = re.compile(r"(?:^|[/\\])\.\.?(?:[/\\;]|$)")  # ';': some servers drop path parameters before they resolve
_DECODED = 3  # how often a value is unquoted to look for these: some servers do it twice
_LONGEST = 500  # characters of a template, which names an operation in every snapshot of the figures


@lru_cache(maxsize=1024)  # a template is a constant of a program; who makes them up pays for it, and only time
def _pieces(template: str) -> tuple[str, ...]:
    """Text and names by turns, beginning and ending with text. Raises InvalidRequest."""
    pieces = tuple(_NAME.split(template))
    names = pieces[1::2]
    if not template.startswith("/") or len(template) > _LONGEST:
        raise InvalidRequest(f"a path template starts with '/' and has at most {_LONGEST} characters")
    if any("{" in text or "}" in text for text in pieces[::2]):
        raise InvalidRequest("a brace of the path template has no partner: a brace that is meant is written %7B or %7D")
    if "?" in template:
        raise InvalidRequest("a path template has no query: pass it in params")
    if wrong := [name for name in names if not name.isidentifier()]:
        raise InvalidRequest(f"{wrong[0]!r:.80} is not the name of a path value: write {{name}}, in letters and digits")
    if len(set(names)) < len(names):
        raise InvalidRequest("each name in a path template is there once")
    return pieces


def fill(template: str, values: PathValues) -> str:
    """The path of a template, each value quoted. Raises InvalidRequest, which names the value and never quotes it."""
    if not isinstance(template, str):
        raise InvalidRequest(f"a path template is text that starts with '/', not a {type(template).__name__}")
    if type(values) is not dict and not isinstance(values, Mapping):  # the first costs a tenth of the second
        raise InvalidRequest(
            f"path is a mapping of the names in the template to values, not a {type(values).__name__}: the path itself "
            'is passed by position, as in get("/users/{id}", path={"id": 7})'
        )
    pieces = _pieces(template)
    names = pieces[1::2]
    if len(names) != len(values) or any(name not in values for name in names):
        raise _mismatch(names, values)
    parts = list(pieces)
    parts[1::2] = [_segment(name, values[name]) for name in names]
    return "".join(parts)


def refuse_unfilled(path: str) -> None:
    """Raises InvalidRequest for a path that is a template, and was given no values."""
    if name := _NAME.search(path):
        raise InvalidRequest(
            f"the path has the name {name[1]!r:.80} in braces and path= gives no value for it: "
            "pass path={...}, or write braces that are meant as %7B and %7D"
        )


def _mismatch(names: Iterable[str], values: Mapping[str, Any]) -> InvalidRequest:
    wanted = set(names)
    missing = sorted(wanted - values.keys())
    surplus = sorted(f"{name!r:.80}" for name in values if name not in wanted)
    said = [f"path gives no value for {', '.join(map(repr, missing))}"] if missing else []
    if surplus:
        said.append(f"the template has no {', '.join(surplus[:5])}")
    return InvalidRequest(f"{' and '.join(said)}: the names in the template and in path are the same")


def _segment(name: str, value: Any) -> str:
    """One value, quoted: nothing in it means anything to a server any more."""
    if type(value) is str and _PLAIN.fullmatch(value):  # as most are
        return value
    text = _text(name, value)
    if _PLAIN.fullmatch(text):
        return text
    if not text:
        raise InvalidRequest(f"path value {name!r} is empty: servers drop empty segments, and would see another path")
    if _CONTROL.search(text):
        raise InvalidRequest(f"path value {name!r} has a control character: take it out")
    decoded = text
    for _ in range(_DECODED):
        if _DOTS.search(decoded):
            raise InvalidRequest(
                f"path value {name!r} has '.' or '..' as a segment, which servers resolve however it is quoted: "
                "pass it in params, or give it another name"
            )
        if "%" not in decoded:
            break
        decoded = unquote(decoded)
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise InvalidRequest(f"path value {name!r} has a lone surrogate, which is no character") from None


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # of a member of an enumeration too, which would print its name
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return int.__repr__(value)
        except ValueError:  # Python writes no number of 4300 digits
            raise InvalidRequest(f"path value {name!r} is a number with too many digits") from None
    raise InvalidRequest(f"path value {name!r} is a {type(value).__name__}: give text, a whole number or a UUID")
