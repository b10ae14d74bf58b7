"""Checks of single values. Each raises a ConfigError that names the key, the value, and what would do."""

from __future__ import annotations

import math
import re
from urllib.parse import urlsplit

from ..errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def number(key: str, value: object) -> float:
    """A number that is one: no boolean, no NaN, no infinity."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"{key}: must be a finite number, not {value!r}")
    return value


def positive(key: str, value: object) -> None:
    """More than zero."""
    if not number(key, value) > 0:
        raise ConfigError(f"{key}: must be more than 0, not {value!r}")


def finite(key: str, value: object) -> None:
    """Zero or more."""
    if not number(key, value) >= 0:
        raise ConfigError(f"{key}: must be 0 or more, not {value!r}")


def at_least(key: str, value: object, least: int) -> None:
    """A whole number, not below ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{key}: must be a whole number of at least {least}, not {value!r}")


def between(key: str, value: object, low: float, high: float) -> None:
    """A number from ``low`` to ``high``."""
    if not low <= number(key, value) <= high:
        raise ConfigError(f"{key}: must be from {low:g} to {high:g}, not {value!r}")


def name(key: str, value: object) -> None:
    """A name that can stand in a path, a log and a metric."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ConfigError(f"{key}: must be 1 to 64 letters, digits, '.', '_' or '-', not {value!r:.80}")


def header(key: str, header_name: object, value: object) -> None:
    """A header that cannot split a request. Its value is not quoted in the error: it may be a credential."""
    if not isinstance(header_name, str) or not _TOKEN.fullmatch(header_name):
        raise ConfigError(f"{key}: {header_name!r:.80} is not a header name: letters, digits and '-'")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise ConfigError(f"{key}.{header_name}: must be text without line breaks or control characters")


def url(key: str, value: object) -> None:
    """The base URL of a service. Not quoted in the errors: people put passwords into URLs."""
    problem = _url_problem(value)
    if problem:
        raise ConfigError(f"{key}: {problem}")


def _url_problem(value: object) -> str | None:
    if not isinstance(value, str) or re.search(r"[\x00-\x20\x7f\\]", value):
        return "must be a URL without spaces, control characters or backslashes"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return "is not a URL: its host or port cannot be read"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "must start with http:// or https:// and have a host, as https://api.example.com/v1"
    try:
        parts.hostname.encode("idna")  # what DNS asks of a name: no empty labels, none over 63 bytes
    except UnicodeError:
        return "has a host that no name server can know"
    if parts.username is not None or parts.password is not None:
        return 'has credentials in it: use auth = { type = "basic", ... } instead'
    if parts.query or parts.fragment or value.endswith(("?", "#")):
        return "must have no query and no fragment: pass params with the calls"
    if {".", ".."} & set(parts.path.split("/")):
        return "must have no '.' or '..' segments"
    return None
