"""Structured fields of HTTP (RFC 9651), as far as lists of items go: ``"burst";q=100;w=60, "daily";q=1000;w=86400``.

Not more: no inner lists, no dictionaries, and nothing is ever written. What is not such a list is `Malformed`, and to
be ignored as a whole, as the RFC wants it: a reader that makes something of half a field makes something else of it
than the next reader.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Bare: TypeAlias = "str | int | float | bytes | bool"
Item: TypeAlias = "tuple[Bare, dict[str, Bare]]"

_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_STRING = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_ESCAPE = re.compile(r"\\(.)")
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
_BYTES = re.compile(r":([A-Za-z0-9+/=]*):")
_BOOLEAN = re.compile(r"\?([01])")
_DATE = re.compile(r"@(-?[0-9]{1,15})(?![0-9.])")


class Malformed(ValueError):
    """It is no list of items."""


def parse_items(lines: Sequence[str]) -> list[Item]:
    """The items of a list, each with its parameters. Several lines of one field are one list.

    Raises Malformed for anything else.
    """
    text = ",".join(lines).strip(" ")
    reader = _Reader(text)
    items: list[Item] = []
    while not reader.done:
        items.append((reader.bare(), reader.parameters()))
        reader.skip(" \t")
        if reader.done:
            break
        reader.expect(",")
        reader.skip(" \t")
        if reader.done:
            raise Malformed("a comma at the end")
    return items


class _Reader:
    """Goes through a text, and never back."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at == len(self._text)

    def skip(self, blanks: str) -> None:
        while not self.done and self._text[self._at] in blanks:
            self._at += 1

    def expect(self, char: str) -> None:
        if not self._text.startswith(char, self._at):
            raise Malformed(f"no {char!r} at {self._at}")
        self._at += 1

    def parameters(self) -> dict[str, Bare]:
        found: dict[str, Bare] = {}
        while self._text.startswith(";", self._at):
            self._at += 1
            self.skip(" ")
            key = self._match(_KEY)[0]
            value: Bare = True
            if self._text.startswith("=", self._at):
                self._at += 1
                value = self.bare()
            found[key] = value
        return found

    def bare(self) -> Bare:
        """One value: the first character says of which type."""
        first = self._text[self._at : self._at + 1]
        if first == '"':
            return _ESCAPE.sub(r"\1", self._match(_STRING)[1])
        if first == "?":
            return self._match(_BOOLEAN)[1] == "1"
        if first == ":":
            return _decoded(self._match(_BYTES)[1])
        if first == "@":
            return int(self._match(_DATE)[1])
        if first == "-" or first.isdigit():
            return _number(self._match(_NUMBER)[0])
        return self._match(_TOKEN)[0]

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise Malformed(f"nothing to be understood at {self._at}")
        self._at = match.end()
        return match


def _number(text: str) -> int | float:
    """RFC 9651, section 4.2.4: up to 15 digits, or 12 and 3 behind the point."""
    whole, point, part = text.removeprefix("-").partition(".")
    if not point:
        if len(whole) > 15:
            raise Malformed("more than 15 digits")
        return int(text)
    if len(whole) > 12 or len(part) > 3:
        raise Malformed("a decimal with too many digits")
    return float(text)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise Malformed("not base64") from None
