"""The secret values that a runtime knows, and texts without them. Pure.

By its value a secret is found wherever it comes up: in what a service answers, in the error of a library, in the log of
another. Each service knows its own and takes them out of its errors; what is of the whole runtime (events, logs) loses
those of all.
"""

from __future__ import annotations

import bisect
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus

from ..config.check import OUR_HEADERS
from .masked import MASK

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..auth import Credentials
    from ..errors import ServiceError
    from ..transport import Wire

SHORTEST = 8
"""Characters. A shorter value (``admin``) would be found in texts that have nothing to do with it, and what is taken
out there would tell what it is. GitLab's masked variables have the same limit."""
_CONFIGURED, _PASSING = 10_000, 1000  # values at the most: of configurations, and of the tokens of the last time


class Known:
    """Values to be taken out of texts. The oldest are forgotten when there are too many, each kind for itself.

    Args:
        above: what knows them too.
        configured: how many of `keep`.
        passing: how many of `learn`.
    """

    __slots__ = ("_above", "_forms", "_kept", "_passing")

    def __init__(self, above: Known | None = None, *, configured: int = _CONFIGURED, passing: int = _PASSING) -> None:
        self._above = above
        self._kept = _Values(configured)
        self._passing = _Values(passing)
        self._forms: list[tuple[int, str]] = []  # the longest first, for a short one may be a part of it

    def keep(self, *values: str) -> None:
        """These are secrets of a configuration: what is learned later does not push them out."""
        self._add(self._kept, values)
        if self._above is not None:
            self._above.keep(*values)

    def learn(self, *values: str) -> None:
        """These are secrets of the day: tokens, and what is made to get one."""
        self._add(self._passing, values)
        if self._above is not None:
            self._above.learn(*values)

    def _add(self, to: _Values, values: tuple[str, ...]) -> None:
        for value in values:
            if len(value) >= SHORTEST:
                new, gone = to.add(value)
                for form in new:
                    bisect.insort(self._forms, form)
                for form in gone:
                    del self._forms[bisect.bisect_left(self._forms, form)]

    def learn_credentials(self, credentials: Credentials) -> None:
        """What is added to requests from now on: the values, and of ``Bearer abc`` the part that counts."""
        for _, value in credentials.headers:
            self.learn(value, value.partition(" ")[2])
        self.learn(*(value for _, value in parse_qsl(credentials.query)))

    def scrub(self, text: str) -> str:
        """The text without them."""
        forms = self._forms.copy()  # a log record may come from another thread while something is learned here
        # What is longer than the text is not in it, and most texts are shorter than a token, as names in events are.
        for _, form in forms[bisect.bisect_left(forms, (-len(text), "")) :]:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def clean(self, error: ServiceError) -> None:
        """Take them out of an error's text, which may quote what a service or a library has said."""
        if self._forms:
            text = self.scrub(error.message)
            if text != error.message:
                error.message, error.args = text, (text,)


def scrubbing(wire: Wire, scrub: Callable[[str], str]) -> Callable[[str], str]:
    """What ``scrub`` does, and what is in headers and query of one request: a caller's secrets nobody else knows."""

    def without(text: str) -> str:
        known = Known()  # made when there is a text: most errors are never read
        known.learn(*(value for name, value in wire.headers if name.lower() not in OUR_HEADERS))
        for part in wire.target.partition("?")[2].split("&"):
            value = part.partition("=")[2]
            known.learn(value, unquote(value), unquote_plus(value))
        return known.scrub(scrub(text))

    return without


class _Values:
    """A bounded set, the latest last."""

    __slots__ = ("_forms", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._forms: dict[str, list[tuple[int, str]]] = {}

    def add(self, value: str) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
        """Which forms have come by it, and which have gone."""
        known = self._forms.pop(value, None)
        forms = self._forms[value] = _forms(value) if known is None else known
        gone = self._forms.pop(next(iter(self._forms))) if len(self._forms) > self._most else []
        return ([] if known is not None else forms), gone


def _forms(value: str) -> list[tuple[int, str]]:
    """As it is, and as it looks in a URL, in JSON and in the repr of text or bytes; sorted as by length."""
    raw = value.encode("utf-8", "surrogatepass")
    forms = {
        value,
        quote(raw, safe=""),
        quote(raw),
        quote_plus(raw),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        repr(raw)[2:-1],
    }
    return [(-len(form), form) for form in forms]
