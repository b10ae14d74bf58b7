"""What a 401 asks for: the challenges of ``WWW-Authenticate`` (RFC 9110, section 11.6.1). Pure.

    challenge  = auth-scheme [ 1*SP ( token68 / #auth-param ) ]        and a header is a list of them

The comma stands between challenges and between the parameters of one, so only what follows tells which it is. Servers
write what they like; what cannot be read is skipped up to the next comma, and nothing is raised.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 8_192  # characters of all of them that are read
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_GAP = re.compile(r"[\s,]*+")
_PARAM = re.compile(rf'({_WORD})\s*+=\s*+(?:({_WORD})|"((?:[^"\\]|\\.)*+)")\s*+(?=,|$)', re.DOTALL)
_SCHEME = re.compile(rf"({_WORD})(?:\s++|(?=,|$))")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]++=*+\s*+(?=,|$)")
_SKIP = re.compile(r'(?:"(?:[^"\\]|\\.)*+"|[^,])*+', re.DOTALL)
_CLOSED = re.compile(r'(?:"(?:[^"\\]|\\.)*+"|[^"])*+', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


class Challenge(msgspec.Struct, frozen=True):
    """One way to authenticate. Scheme and names of parameters are in lower case; the first of a name counts."""

    scheme: str
    params: dict[str, str]


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """All challenges of all ``WWW-Authenticate`` headers, in their order."""
    text = _without_open_quote(",".join(values)[:_LONGEST])
    found: list[Challenge] = []
    at = 0
    while (at := _after(_GAP, text, at)) < len(text):
        param = _PARAM.match(text, at)
        if param is not None and found:
            word, quoted = param[2], param[3]
            found[-1].params.setdefault(param[1].lower(), word if word is not None else _QUOTED_PAIR.sub(r"\1", quoted))
            at = param.end()
        elif param is None and (scheme := _SCHEME.match(text, at)) is not None:
            found.append(Challenge(scheme[1].lower(), {}))
            at = scheme.end()
            if _PARAM.match(text, at) is None:
                at = _after(_TOKEN68, text, at)
        else:
            at = _after(_SKIP, text, at)
    return found


def _without_open_quote(text: str) -> str:
    """From a quote that has no end on, no quote is one: each would be looked for to the end, which is a square of it.

    That is safe, for where the first finds all later ones escaped, each of them finds those after it escaped too.
    """
    closed = _after(_CLOSED, text, 0)
    return text[:closed] + text[closed:].replace('"', "\\")  # which can stand in nothing but a quoted text, as they


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return at if match is None else match.end()


def new_token_may_help(values: Iterable[str]) -> bool:
    """Whether a service that refused a bearer token may take another one (RFC 6750, section 3).

    It does if it says nothing of it, or that the token is not valid (any more). It does not if it says that the token
    is not enough, or the request malformed, nor if it wants something else than bearer tokens.
    """
    challenges = parse_challenges(values)
    bearer = [one for one in challenges if one.scheme == "bearer"]
    return not challenges or any(one.params.get("error", "invalid_token") == "invalid_token" for one in bearer)
