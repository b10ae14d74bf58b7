"""The secret values that a runtime knows, and texts without them. Pure.

By its value a secret is found wherever it comes up: in what a service answers, in the error of a library, in the log of
another. Each service knows its own and takes them out of its errors; what is of the whole runtime (events, logs) loses
those of all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, quote_plus

from .masked import MASK

if TYPE_CHECKING:
    from ..auth import Credentials
    from ..errors import ServiceError

SHORTEST = 8
"""Characters. A shorter value (``admin``) would be found in texts that have nothing to do with it, and what is taken
out there would tell what it is. GitLab's masked variables have the same limit."""
_MOST = 1000  # values, of all services and of the tokens of the last time


class Known:
    """Values to be taken out of texts. The oldest are forgotten when there are too many.

    Args:
        above: what knows them too.
        most: how many.
    """

    def __init__(self, above: Known | None = None, most: int = _MOST) -> None:
        self._above = above
        self._most = most
        self._values: dict[str, None] = {}  # the latest last
        self._forms: tuple[str, ...] = ()  # the longest first, for a short one may be a part of it

    def learn(self, *values: str) -> None:
        """These are secrets."""
        added = False
        for value in values:
            if len(value) >= SHORTEST:
                added |= value not in self._values
                self._values.pop(value, None)
                self._values[value] = None
        if added:
            while len(self._values) > self._most:
                del self._values[next(iter(self._values))]
            forms = {form for value in self._values for form in _forms(value)}
            self._forms = tuple(sorted(forms, key=len, reverse=True))
        if self._above is not None:
            self._above.learn(*values)

    def learn_credentials(self, credentials: Credentials) -> None:
        """What is added to requests from now on: the values, and of ``Bearer abc`` the part that counts."""
        for _, value in credentials.headers:
            self.learn(value, value.partition(" ")[2])
        self.learn(*(value for _, value in parse_qsl(credentials.query)))

    def scrub(self, text: str) -> str:
        """The text without them."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def clean(self, error: ServiceError) -> None:
        """Take them out of an error's text, which may quote what a service or a library has said."""
        if self._forms:
            text = self.scrub(error.message)
            if text != error.message:
                error.message, error.args = text, (text,)


def _forms(value: str) -> set[str]:
    """As it is, and as it looks in a URL, in JSON and in the repr of text or bytes."""
    raw = value.encode("utf-8", "surrogatepass")
    return {
        value,
        quote(raw, safe=""),
        quote(raw),
        quote_plus(raw),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        repr(raw)[2:-1],
    }
