"""What the headers of an answer say about a quota that is used up, before anybody has been refused.

Read are, in the order of their age: ``X-RateLimit-Remaining`` with ``-Reset`` (GitHub and many after it; or ``-Reset-
After``, Discord), ``X-Rate-Limit-...`` (Twitter), ``RateLimit-Remaining`` with ``-Reset`` (the IETF's draft up to 06),
``RateLimit: limit=, remaining=, reset=`` (07), and ``RateLimit: "name";r=0;t=30`` (from 08 on; here by 11 of
draft-ietf-httpapi-ratelimit-headers). A ``-Reset`` is seconds from now, or a time, in seconds or milliseconds of the
Unix epoch or as a date: nobody has ever agreed (zalando/restful-api-guidelines#379), but the sizes tell them apart.

Only a quota that is used up matters here: nothing is planned by what remains. The draft warns that it is no promise
(section 8.3), and other clients spend of it. What cannot be understood is ignored (section 7).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from .retry import http_date, parse_retry_after
from .structured_fields import Malformed, parse_items

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Fields: TypeAlias = dict[str, list[str]]

_SAY_REMAINING = frozenset({"ratelimit", "ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining"})
_PAIRS = (
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset-after"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
)
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
_DRAFT_07 = re.compile(r"(?:^|,)\s*(remaining|reset)=([0-9]{1,15})(?=\s*(?:,|;|$))")
_EPOCH = 1e9  # as seconds from now it would be 31 years; as a time it is of 2001
_EPOCH_MS = 1e11


def may_be_exhausted(headers: Sequence[tuple[str, str]]) -> bool:
    """A fast look, for every answer: False if `exhausted_for` would find nothing. (Names in lower case.)"""
    for name, value in headers:
        if name in _SAY_REMAINING and ("=0" in value if name == "ratelimit" else value[:1] in "0-"):
            return True
    return False


def exhausted_for(headers: Sequence[tuple[str, str]], *, wall_now: float) -> float | None:
    """Seconds until a quota that is used up is there again: the longest, if there are several.

    Args:
        headers: names in lower case.
        wall_now: seconds since the epoch, for where the answer has no ``Date``. (If it has, a time is measured against
            the clock that wrote it.)

    Returns:
        None if there is still something left, or nothing is said, or only of a part of the service: a ``pk``
        (partition key), an ``X-RateLimit-Resource`` other than ``core`` (GitHub), or an ``X-RateLimit-Bucket``
        (Discord). Which other calls are of that part cannot be known from outside.
    """
    fields: Fields = {}
    for name, value in headers:
        fields.setdefault(name, []).append(value)
    return max((*_standard(fields), *_in_pairs(fields, wall_now)), default=None)


def _standard(fields: Fields) -> Iterator[float]:
    """From the field of the draft."""
    try:
        items = parse_items(fields.get("ratelimit", ()))
    except Malformed:
        yield from _draft_07(",".join(fields["ratelimit"]))
        return
    concurrent = _concurrent(fields)
    for name, parameters in items:
        left, seconds = parameters.get("r"), parameters.get("t")
        if "pk" in parameters or name in concurrent:
            continue
        if type(left) is int and type(seconds) is int and left == 0 <= seconds:
            yield float(seconds)


def _concurrent(fields: Fields) -> set[object]:
    """The policies that limit how many run at once: what is used up there comes back when one of ours has ended."""
    try:
        policies = parse_items(fields.get("ratelimit-policy", ()))
    except Malformed:
        return set()
    return {name for name, parameters in policies if parameters.get("qu") == "concurrent-requests"}


def _draft_07(text: str) -> Iterator[float]:
    said = {match[1]: int(match[2]) for match in _DRAFT_07.finditer(text)}
    if said.get("remaining") == 0 and "reset" in said:
        yield float(said["reset"])


def _in_pairs(fields: Fields, wall_now: float) -> Iterator[float]:
    if _of_a_part(fields):
        return
    for remaining, reset in _PAIRS:
        if any(_NUMBER.fullmatch(text) and float(text) <= 0 for text in fields.get(remaining, ())):
            for text in fields.get(reset, ()):
                seconds = _until(text, fields, wall_now)
                if seconds is not None:
                    yield seconds
                    return


def _of_a_part(fields: Fields) -> bool:
    resource = fields.get("x-ratelimit-resource", ["core"])[0]
    return resource != "core" or ("x-ratelimit-bucket" in fields and "x-ratelimit-global" not in fields)


def _until(text: str, fields: Fields, wall_now: float) -> float | None:
    """Seconds, from any of what a reset may be."""
    date = fields.get("date", [None])[0]
    if not _NUMBER.fullmatch(text):
        return parse_retry_after(text, date=date, wall_now=wall_now)
    number = float(text)
    if number < 0:
        return None
    if number < _EPOCH:
        return number
    sent = None if date is None else http_date(date)
    return max(0.0, (number / 1000 if number >= _EPOCH_MS else number) - (wall_now if sent is None else sent))
