"""The types of single values: what a number, a name, a header or a URL has to be, and what is said when it is not.

A check takes a value of the right basic type and returns what is wrong with it, or None. It hangs on the type as
``Annotated[float, check]``, so that a record's fields say all that there is to know; `record.py` reads them.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from ..errors import ConfigError
from .secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    Check: TypeAlias = Callable[[Any], str | None]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")  # as h11 takes it
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_PATH = re.compile(r"/[\x21\x22\x24-\x5b\x5d-\x7e]*")
_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*")
_SERVER_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,256}")
_ORIGIN = re.compile(r"https?://[a-z0-9._\[\]:-]+")
_DOMAIN = re.compile(r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_MOST = 10**12  # what is counted fits 64 bits everywhere

OUR_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "x-request-id", "x-retry-attempt"},
)
"""What frames a request and names it is ours to write; a second one would make two requests of one."""


def shown(value: object) -> str:
    """A value as a fault quotes it: short, and whatever it is, for a fault must not end in another error."""
    try:
        return f"{value!r:.80}"
    except (ValueError, RecursionError):  # Python writes no number of 4300 digits, and no list deeper than its stack
        return "one that is too large to be shown"


def finite(key: str, value: object) -> None:
    """Raises ConfigError if ``value`` is no finite number from 0."""
    reason = number(value) or _from_zero(value)
    if reason:
        raise ConfigError(f"{key}: {reason}")


def url(key: str, value: object) -> None:
    """Raises ConfigError if ``value`` cannot be the base URL of a service."""
    reason = url_problem(value)
    if reason:
        raise ConfigError(f"{key}: {reason}")


def address(key: str, value: object, endpoint: str) -> None:
    """Raises ConfigError if ``value`` is no IP address that the endpoint can be at; empty: none is known."""
    reason = address_problem(value, endpoint)
    if reason:
        raise ConfigError(f"{key}: {reason}")


def address_problem(value: object, endpoint: str) -> str | None:
    """Why an endpoint cannot be at this address, if it cannot."""
    if value == "":
        return None
    try:
        here = ipaddress.ip_address(value if isinstance(value, str) else "").is_loopback
    except ValueError:
        return f"must be an IP address or empty, not {shown(value)}"
    if is_loopback(urlsplit(endpoint).hostname) and not here:  # what is allowed on this machine only would leave it
        return f"the endpoint is on this machine, and {value} is not"
    return None


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine itself: ``localhost``, a name below it, or an address of the loopback network."""
    try:
        return ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return host is not None and (host == "localhost" or host.endswith(".localhost"))


def number(value: Any) -> str | None:
    """A number that is one: no boolean, no NaN, no infinity."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e300 < value < 1e300:
        return f"must be a finite number, not {shown(value)}"
    return None


def between(low: float, high: float) -> Check:
    """A number from ``low`` to ``high``."""
    return lambda value: None if low <= value <= high else f"must be from {low:g} to {high:g}, not {shown(value)}"


def at_least(least: int) -> Check:
    """A whole number, not below ``least``."""
    return lambda value: (
        None if least <= value <= _MOST else f"must be a whole number of at least {least}, not {shown(value)}"
    )


def _positive(value: Any) -> str | None:
    return None if value > 0 else f"must be more than 0, not {value!r}"


def _from_zero(value: Any) -> str | None:
    return None if value >= 0 else f"must be 0 or more, not {value!r}"


def _name(value: str) -> str | None:
    if _NAME.fullmatch(value):
        return None
    return f"must be 1 to 64 letters, digits, '.', '_' or '-', not {shown(value)}"


def _text(value: str) -> str | None:
    return "must be text without line breaks or control characters" if _CONTROL.search(value) else None


def _foreign(value: str) -> str | None:
    if _DOMAIN.fullmatch(value):
        return None
    return f"must be the name of a host in lower case, as cdn.example.com, and nothing more, not {shown(value)}"


def _path(value: str) -> str | None:
    if _PATH.fullmatch(value):
        return None
    return f"must start with '/' and have no spaces, backslashes or '#', not {shown(value)}"


def base_path(value: str) -> str | None:
    """What all requests are under: empty, or a path without a slash at its end."""
    return None if re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)*", value) else "must be empty or a path such as /v1"


def _host(value: str) -> str | None:
    """A name or an address to listen on. An empty one would be all that this machine has."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return None if _HOSTNAME.fullmatch(value) else f"must be an address or a host name, not {shown(value)}"
    return None


def _token(value: Secret) -> str | None:
    """One that goes into a header as into a subprotocol, and that nobody guesses. It is not quoted."""
    if _SERVER_TOKEN.fullmatch(value.reveal()):
        return None
    return "must be 16 to 256 letters, digits, '-', '.', '_' or '~': `openssl rand -hex 32` makes one"


def _origin(value: str) -> str | None:
    if _ORIGIN.fullmatch(value):
        return None
    return f"must be the origin of a page, as https://board.example.com, not {shown(value)}"


def header_name(value: str) -> str | None:
    """The name of a header."""
    return None if _TOKEN.fullmatch(value) else f"{shown(value)} is not a header name: letters, digits and '-'"


def header_value(value: str) -> str | None:
    """The value of a header: one that cannot split a request. It is not quoted, for it may be a credential."""
    if _VALUE.fullmatch(value):
        return None
    return "must be text of Latin-1, without line breaks, control characters, or spaces around it"


def _headers(value: dict[str, str | Secret]) -> str | None:
    seen = set()
    for name, text in value.items():
        reason = header_name(name)
        if reason:
            return reason
        reason = header_value(text) if isinstance(text, str) else header_value(text.reveal().strip(" \t"))
        if reason:
            return f"{name}: {reason}"
        if name.lower() in OUR_HEADERS:
            return f"{name} is set by Switchgear for each request: leave it out"
        if name.lower() in seen:
            return f"{name} is there twice: upper and lower case are the same in the name of a header"
        seen.add(name.lower())
    return None


def url_problem(value: object) -> str | None:
    """The base URL of a service. It is not quoted: people put passwords into URLs."""
    if not isinstance(value, str) or re.search(r"[\x00-\x20\x7f\\\ud800-\udfff]", value):
        return "must be a URL without spaces, control characters or backslashes"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return "is not a URL: its host or port cannot be read"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
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


def missing_extra(package: str, extra: str) -> str | None:
    """What to install if a package is not there."""
    if importlib.util.find_spec(package) is not None:
        return None
    return f"needs the package {package!r}, which is not installed: pip install 'switchgear[{extra}]'"


Count: TypeAlias = Annotated[int, at_least(1)]
CountOrZero: TypeAlias = Annotated[int, at_least(0)]
Positive: TypeAlias = Annotated[float, _positive]
FromZero: TypeAlias = Annotated[float, _from_zero]
Pause: TypeAlias = Annotated[float, between(0.001, 1e9)]
"""Seconds between two rounds of something: without a least, it would never rest."""
Name: TypeAlias = Annotated[str, _name]
"""One that can stand in a path, a log and a metric."""
Text: TypeAlias = Annotated[str, _text]
ForeignHost: TypeAlias = Annotated[str, _foreign]
"""The name of somebody else's host."""
Host: TypeAlias = Annotated[str, _host]
ServerToken: TypeAlias = Annotated[Secret, _token]
Origin: TypeAlias = Annotated[str, _origin]
"""Scheme, host and port of a page, in lower case, as a browser sends it."""
Path: TypeAlias = Annotated[str, _path]
Url: TypeAlias = Annotated[str, url_problem]
HeaderName: TypeAlias = Annotated[str, header_name]
HeaderText: TypeAlias = Annotated[str, header_value]
Headers: TypeAlias = Annotated[dict[str, str | Secret], _headers]
