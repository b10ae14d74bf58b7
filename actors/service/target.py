"""Where a request goes and under which names: addresses, paths, headers. Pure, and the only door to the wire.

Nothing that a caller passes may leave the service: not by an absolute URL, not by ``//host``, not by dot segments,
not by a line break in a path or a header. All of it is refused here, before a credential is anywhere near.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

import msgspec

from ..config.service import OUR_HEADERS
from ..errors import InvalidRequest
from .template import PathValues, fill, refuse_unfilled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..instance import ServiceInstance

Headers: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2: methods and header names
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, section 5.5: no CR, LF, NUL or other controls
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_COMMON = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"})
_PLAIN = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?")  # no empty segment, and none that begins with a dot
_OCTET = r"%(?!0|1|7F|25|2E|2F|5C)[0-9A-F]{2}"  # of no control, '%', '.', '/' or backslash; in capitals, as by quote()
_SURELY_BELOW = re.compile(  # as most are, without a closer look: no segment is empty, and none begins with a dot
    rf"(?:/(?!\.)(?:[\w.~!$&'()*+,=:@-]++|{_OCTET})++)++/?+(?:\?[!\"$-~]*+)?+", re.ASCII
)
_BELOW = re.compile(r"(?:/(?!/)[!\"$->@-\[\]-~]*)?(?:\?[!\"$-~]*)?")  # no backslash in the path, no '#' anywhere
_DOTS = re.compile(r"(?:^|[/\\])\.\.?(?:[/\\;]|$)")  # ';': some servers drop path parameters before they resolve
PATH_SAFE = "/%:@!$&'()*+,;=~-._"  # what quote() leaves alone in a path; the caller may have quoted already
_DEFAULT_PORTS = {"http": 80, "https": 443}
_REFUSED = {"CONNECT": "opens a tunnel", "TRACE": "sends our credentials back"}
_LONGEST = 60_000  # characters: what httpx can take, less the host; any server refuses earlier


class Target(msgspec.Struct, frozen=True, cache_hash=True):  # it is a key on the road of every call
    """The address of one instance: an origin, and the path that all its requests are under."""

    scheme: str
    host: str
    port: int
    prefix: str
    """Empty, or a path that starts with a slash and does not end in one."""
    address: str = ""
    """The IP address to connect to; empty: what ``host`` resolves to."""

    @classmethod
    def parse(cls, url: str) -> "Target":
        """From a base URL that the configuration has checked."""
        parts = urlsplit(url)
        port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
        host = parts.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
        return cls(parts.scheme, host, port, parts.path.rstrip("/"))

    @classmethod
    def of(cls, instance: ServiceInstance) -> "Target":
        """Of an instance: its endpoint, at its address if it has one."""
        target = cls.parse(instance.endpoint)
        return msgspec.structs.replace(target, address=instance.address) if instance.address else target

    @property
    def authority(self) -> str:
        """``host`` or ``host:port``, as in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if _DEFAULT_PORTS[self.scheme] == self.port else f"{host}:{self.port}"

    def url(self, target: str) -> str:
        """The URL of a request target (path and query) below the prefix."""
        return f"{self.scheme}://{self.authority}{self.prefix}{target}"

    def relative(self, location: str, target: str) -> str | None:
        """The target that a redirect from ``target`` leads to, or None if it leaves the origin or the prefix."""
        try:
            parts = urlsplit(urljoin(self.url(target), location))
            there = Target.parse(f"{parts.scheme}://{parts.netloc}")
        except (KeyError, ValueError):
            return None
        if parts.username is not None or (there.scheme, there.host, there.port) != (self.scheme, self.host, self.port):
            return None
        if not (parts.path + "/").startswith(self.prefix + "/"):
            return None
        path = quote(parts.path[len(self.prefix) :], safe=PATH_SAFE)  # servers send what they like
        onward = path + (f"?{quote(parts.query, safe=PATH_SAFE + '?')}" if parts.query else "")
        return onward if is_below(onward) else None


def check_method(method: str) -> str:
    """The method in capitals. Raises InvalidRequest for what is no token."""
    if method in _COMMON:
        return method
    if not isinstance(method, str) or not _TOKEN.fullmatch(method):
        raise InvalidRequest(f"{method!r:.80} is not an HTTP method: use GET, POST, or another single word")
    method = method.upper()
    if method in _REFUSED:
        raise InvalidRequest(f"{method} {_REFUSED[method]}: it is not for calling services")
    return method


def build_target(path: str, params: Mapping[str, Any] | None, values: PathValues | None = None) -> str:
    """Path and query of a request, quoted. Raises InvalidRequest for a path that could leave the service.

    Args:
        path: a path, or a template if there are ``values``.
        params: the query.
        values: of the names in the template.
    """
    if values is not None:
        path = fill(path, values)
    if params is None and isinstance(path, str) and len(path) < _LONGEST and _PLAIN.fullmatch(path):
        return path  # as most are: nothing to quote, nothing that could leave
    if not isinstance(path, str):
        raise InvalidRequest(f"a path is text that starts with '/', not a {type(path).__name__}")
    if params is not None and not hasattr(params, "items"):
        raise InvalidRequest(f"params is a mapping of names to values, not a {type(params).__name__}")
    path, _, query = path.partition("?")
    _check_path(path)
    if values is None:
        refuse_unfilled(path)
    if _CONTROL.search(query) or "#" in query:
        raise InvalidRequest("the query of the path has a control character or a '#': pass it in params instead")
    try:
        target = quote(path, safe=PATH_SAFE)
        pairs = urlencode([pair for name, value in (params or {}).items() for pair in _pairs(name, value)])
        query = "&".join(part for part in (quote(query, safe=PATH_SAFE + "?"), pairs) if part)
    except UnicodeEncodeError:
        raise InvalidRequest("the path or a parameter has a lone surrogate, which is no character") from None
    if query:
        target = f"{target}?{query}"
    if len(target) > _LONGEST:
        raise InvalidRequest(f"path and query have {len(target)} characters, over {_LONGEST}: send a body instead")
    return target


def _check_path(path: str) -> None:
    if path and not path.startswith("/"):
        raise InvalidRequest(  # which is not quoted: people put passwords into URLs
            "a path starts with '/' and has no scheme or host; a URL that the service itself gave is passed to `link`"
        )
    if path.startswith("//"):
        raise InvalidRequest("a path that starts with '//' names another host: remove one slash")
    if _CONTROL.search(unquote(path)) or "\\" in path or "#" in path:
        raise InvalidRequest("a path has no control characters, backslashes or '#': quote them with %XX where meant")
    if _has_dots(path):
        raise InvalidRequest("a path has no '.' or '..' segments: they could leave the service")


def is_below(target: str) -> bool:
    """Whether a request target, put behind any origin and prefix, is below them to whatever reads it."""
    if _SURELY_BELOW.fullmatch(target):
        return True
    path = target.partition("?")[0]
    return _BELOW.fullmatch(target) is not None and not _has_dots(path) and not _CONTROL.search(unquote(path))


def _has_dots(path: str) -> bool:
    decoded = path
    for _ in range(3):  # %252e%252e: some servers decode twice
        if _DOTS.search(decoded):
            return True
        if "%" not in decoded:
            return False
        decoded = unquote(decoded)
    return False


def _pairs(name: str, value: Any) -> Iterable[tuple[str, str]]:
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return ((name, _text(name, one)) for one in value)
    return ((name, _text(name, value)),)


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise InvalidRequest(f"parameter {name!r} is a {type(value).__name__}: give text, a number, or a list of these")


def check_headers(headers: Headers | None) -> tuple[tuple[str, str], ...]:
    """A caller's headers as pairs. Raises InvalidRequest for what could split the request, or is ours to set."""
    if headers is None:
        return ()
    checked = []
    for number, (name, value) in enumerate(_header_pairs(headers), 1):
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):  # not quoted: it may be "Authorization: Bearer ..."
            raise InvalidRequest(f"the name of header number {number} is none: letters, digits and '-', and no value")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise InvalidRequest(f"the value of header {name!r} must be text without line breaks or controls")
        if name.lower() in OUR_HEADERS:
            if name.lower() == "x-request-id":
                continue  # taken by `request_id_of`
            raise InvalidRequest(f"header {name!r} is set by Switchgear and cannot be passed")
        checked.append((name, value.strip(" \t")))  # RFC 9110, section 5.5: not part of the value, and refused by h11
    return tuple(checked)


def _header_pairs(headers: Headers) -> list[tuple[Any, Any]]:
    try:
        return [(name, value) for name, value in (headers.items() if isinstance(headers, Mapping) else headers)]
    except (TypeError, ValueError):
        raise InvalidRequest("headers are a mapping of names to values, or pairs of them") from None


def request_id_of(headers: Headers | None) -> str | None:
    """The caller's own ``X-Request-ID``, if there is one. Raises InvalidRequest if it does not look like one."""
    if headers is None:
        return None
    for name, value in _header_pairs(headers):
        if isinstance(name, str) and name.lower() == "x-request-id":
            if not isinstance(value, str) or not _REQUEST_ID.fullmatch(value):
                raise InvalidRequest("X-Request-ID must match [A-Za-z0-9._-]{1,128}")
            return value
    return None
