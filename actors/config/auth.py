"""Who we are to a service. Secrets only by reference: ``{ env = "NAME" }`` or ``{ file = "path" }`` in files."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from .check import header
from .secret import Secret


class ApiKeyAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="api_key"):
    """A key in a header or in the query."""

    key: Secret
    name: str = "X-API-Key"
    location: Literal["header", "query"] = "header"

    def __post_init__(self) -> None:
        header("key", self.name, self.key.reveal())


class BearerAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="bearer"):
    """``Authorization: Bearer``, with a fixed token."""

    token: Secret

    def __post_init__(self) -> None:
        header("token", "Authorization", self.token.reveal())


class BasicAuth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="basic"):
    """``Authorization: Basic``, in UTF-8 (RFC 7617)."""

    username: str
    password: Secret


Auth: TypeAlias = ApiKeyAuth | BearerAuth | BasicAuth
