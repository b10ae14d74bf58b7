"""A secret: something that is used and never shown."""

from __future__ import annotations

import hmac
from typing import NoReturn, final

from ..errors import ConfigError


@final
class Secret:
    """Text that masks itself in repr, str and format, and that JSON, TOML and pickle refuse. `reveal` is the way out.

    It is not masked in a file or on the wire: who reads ``"***"`` there takes it for the secret.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise ConfigError(f"a Secret is text, not a {type(value).__name__}")
        self._value = value

    def reveal(self) -> str:
        """The text itself: for the wire, and nothing else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, _spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._bytes(), other._bytes())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def _bytes(self) -> bytes:
        return self._value.encode("utf-8", "surrogatepass")  # an environment variable may be no valid UTF-8

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled: pass the reference to it (env, file) instead")

    __getstate__ = __reduce__  # which Python 3.11 has for every object, and which would give the text
