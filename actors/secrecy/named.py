"""Texts of others without what has the name of a secret in them: parameters of URLs, headers in lists, users of URLs.

A caller's secrets are known to nobody by value. In what a library or a bug says they are found by their names, in the
forms in which requests are written into texts.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from .masked import MASK
from .names import looks_secret

_USER = re.compile(r"(?<=://)[^/\s?#'\"]*@")
_PARAMETER = re.compile(r"(?<=[?&])([^=&?\s#'\"]+)=([^&\s#'\"]*)")
_TEXT = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_PAIR = re.compile(rf"\(b?['\"]([\w-]+)['\"], b?{_TEXT}")  # as in the repr of a list of headers
_HEADER_VALUE = re.compile(rf"(Illegal header value )b?{_TEXT}")  # of h11
_SOCKS = re.compile(r"\bauth=\(.{0,1000}\)")
_TELLING = re.compile("[=@(]|Illegal")  # what is in all of these, and in few texts


def without_named(text: str) -> str:
    """A text without the values of parameters and headers that look like credentials, and without users of URLs."""
    if _TELLING.search(text) is None:
        return text
    text = _USER.sub(f"{MASK}@", text)
    text = _PARAMETER.sub(
        lambda found: f"{found[1]}={MASK}" if looks_secret(unquote_plus(found[1])) else found[0], text
    )
    text = _PAIR.sub(lambda found: f"('{found[1]}', '{MASK}'" if looks_secret(found[1]) else found[0], text)
    return _SOCKS.sub(f"auth={MASK}", _HEADER_VALUE.sub(rf"\1'{MASK}'", text))
