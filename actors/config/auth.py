"""Who we are to a service. Secrets only by reference: ``{ env = "NAME" }`` or ``{ file = "path" }`` in files."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from .check import OUR_HEADERS, HeaderName, header_value
from .custom import CustomAuth
from .function import Function
from .oauth2 import OAuth2Auth
from .record import Record, has
from .secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _revealed(check: Callable[[str], str | None]) -> Callable[[Secret], str | None]:
    return lambda secret: check(secret.reveal().strip(" \t"))  # blanks around it are not sent


def _userid(value: str) -> str | None:
    """RFC 7617, section 2: the first colon ends the name, and control characters have no place in either part."""
    return "must not have a ':': it would end the name" if ":" in value else _printable(value)


def _file(value: str) -> str | None:
    return None if value.strip() and value.isprintable() else "must be the path of a file"


def _printable(value: str) -> str | None:
    return None if value.isprintable() else "must have no control characters"


HeaderSecret: TypeAlias = Annotated[Secret, _revealed(header_value)]
Password: TypeAlias = Annotated[Secret, _revealed(_printable)]
UserId: TypeAlias = Annotated[str, _userid]


class ApiKeyAuth(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="api_key"):
    """A key in a header or in the query."""

    key: HeaderSecret
    name: HeaderName = "X-API-Key"
    location: Literal["header", "query"] = "header"

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """A key in ``Content-Length`` or ``Host`` would make another request of it."""
        if record.location == "header" and (record.name or "").lower() in OUR_HEADERS:
            yield "name", f"{record.name} is set by Switchgear for each request: the key needs a header of its own"


class BearerAuth(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="bearer"):
    """``Authorization: Bearer``. Give one of the three."""

    token: HeaderSecret | None = None
    """One that stays as it is."""
    token_file: Annotated[str, _file] | None = None
    """Path of a file that it is in, which is read again when it changes: for what Kubernetes or an agent rotates. (A
    relative path begins at the working directory.)"""
    token_from: Function | None = None
    """A function without arguments that gives the token, or the token and the seconds for which it is good. It is asked
    when there is none, before one expires, and when the service has refused one; never twice at once, and with no call
    waiting for it that has a token. One that is not async is called in a thread. In a file: its name, as
    ``"package.module:name"``."""

    def __copy__(self) -> BearerAuth:
        return self

    def __deepcopy__(self, _memo: object) -> BearerAuth:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """A function goes by its name; with what it is bound to, secrets may go along."""
        if self.token_from is not None and not isinstance(self.token_from, FunctionType):
            kind = type(self.token_from).__name__
            raise TypeError(f"a {kind} that gives tokens cannot be pickled: only a function that has a name can")
        return BearerAuth, (self.token, self.token_file, self.token_from)

    def __repr__(self) -> str:
        return f"BearerAuth({', '.join(f'{key}={value!r}' for key, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Not a function's own repr, which shows what it is bound to."""
        shown = [(key, getattr(self, key)) for key in ("token", "token_file", "token_from")]
        return [(key, type(value) if callable(value) else value) for key, value in shown if value is not None]

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """One token."""
        given = [key for key in ("token", "token_file", "token_from") if has(record, key)]
        if len(given) != 1:
            which = f"not {' and '.join(given)}" if given else "there is none"
            yield given[1] if given else "token", f"give one of token, token_file and token_from; {which}"


class BasicAuth(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="basic"):
    """``Authorization: Basic``, in UTF-8 (RFC 7617)."""

    username: UserId
    password: Password


Auth: TypeAlias = ApiKeyAuth | BearerAuth | BasicAuth | OAuth2Auth | CustomAuth
