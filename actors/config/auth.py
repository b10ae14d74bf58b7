"""Who we are to a service. Secrets only by reference: ``{ env = "NAME" }`` or ``{ file = "path" }`` in files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from .check import HeaderName, header_value
from .record import Record
from .secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable


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


class BearerAuth(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="bearer"):
    """``Authorization: Bearer``, with a fixed token."""

    token: HeaderSecret


class BasicAuth(Record, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="basic"):
    """``Authorization: Basic``, in UTF-8 (RFC 7617)."""

    username: UserId
    password: Password


Auth: TypeAlias = ApiKeyAuth | BearerAuth | BasicAuth
