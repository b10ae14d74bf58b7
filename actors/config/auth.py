"""Who we are to a service. Secrets only by reference: ``{ env = "NAME" }`` or ``{ file = "path" }`` in files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from .check import OUR_HEADERS, HeaderName, header_value
from .record import Record
from .secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _revealed(check: Callable[[str], str | None]) -> Callable[[Secret], str | None]:
    return lambda secret: check(secret.reveal().strip(" \t"))  # blanks around it are not sent


def _userid(value: str) -> str | None:
    """RFC 7617, section 2: the first colon ends the name, and control characters have no place in either part."""
    return "must not have a ':': it would end the name" if ":" in value else _printable(value)


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
    """``Authorization: Bearer``, with a fixed token."""

    token: HeaderSecret


class BasicAuth(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="basic"):
    """``Authorization: Basic``, in UTF-8 (RFC 7617)."""

    username: UserId
    password: Password


Auth: TypeAlias = ApiKeyAuth | BearerAuth | BasicAuth
