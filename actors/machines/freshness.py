"""How long an answer may be used again: RFC 9111, for a private cache. Pure.

Freshness comes from ``max-age``, or else from ``Expires``; there are no heuristics, and ``s-maxage`` is for shared
caches. What cannot be read makes an answer stale, never fresh (section 4.2.1).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .retry import http_date

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_DIRECTIVE = re.compile(r'[ \t,]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s,]*)))?')
_DIGITS = re.compile(r"[0-9]+")
_ABSURD = 2.0**31  # section 1.2.2: what is larger is taken for this


class Freshness(NamedTuple):
    """What an answer says of its use."""

    lifetime: float
    """Seconds for which it is fresh, counted from when it was made; 0 if it does not say."""
    age: float
    """Seconds since it was made, when it arrived."""
    forbids_stale: bool
    """It must not be used when it is not fresh."""

    def is_fresh(self, held: float) -> bool:
        """Is it, so many seconds after its arrival?"""
        return self.age + held < self.lifetime


def directives(values: Iterable[str]) -> dict[str, str]:
    """The directives of ``Cache-Control`` headers, by lower-case name; of equal ones the first counts."""
    found: dict[str, str] = {}
    for value in values:
        for name, quoted, plain in _DIRECTIVE.findall(value):
            found.setdefault(name.lower(), quoted or plain)
    return found


def freshness(headers: Sequence[tuple[str, str]], wall_now: float) -> Freshness | None:
    """What an answer's headers (names in lower case) say; None if it must not be kept.

    Args:
        headers: of the answer.
        wall_now: when it arrived: seconds since the epoch.
    """
    said = directives(value for name, value in headers if name == "cache-control")
    if "no-store" in said:
        return None
    sent = _date(headers, "date")
    age = max(_seconds(_first(headers, "age")), 0.0 if sent is None else wall_now - sent, 0.0)
    if "max-age" in said:
        lifetime = _seconds(said["max-age"])
    else:
        expires = _date(headers, "expires")
        lifetime = 0.0 if expires is None else max(0.0, expires - (wall_now if sent is None else sent))
    if "no-cache" in said and not said["no-cache"]:  # with names of headers it is about these only
        lifetime = 0.0
    return Freshness(lifetime, age, "must-revalidate" in said or ("no-cache" in said and not said["no-cache"]))


def _first(headers: Sequence[tuple[str, str]], wanted: str) -> str:
    return next((value for name, value in headers if name == wanted), "")


def _date(headers: Sequence[tuple[str, str]], name: str) -> float | None:
    text = _first(headers, name)
    return http_date(text) if text else None


def _seconds(text: str) -> float:
    return min(float(text[:12]), _ABSURD) if _DIGITS.fullmatch(text) else 0.0
