"""How TLS is spoken to a service. Services with the same settings share one context."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from .check import is_loopback
from .record import Record, has

if TYPE_CHECKING:
    from collections.abc import Iterator


def _file(path: str) -> str | None:
    try:
        found = Path(path).is_file()
    except OSError:  # a name that is too long, or in a folder that may not be read
        found = False
    return None if found else f"there is no file {path!r:.200}"


class TLSConfig(Record, frozen=True, forbid_unknown_fields=True):
    """Certificates and versions. The default trusts the system's authorities and checks the host name."""

    ca_file: Annotated[str, _file] | None = None
    """PEM file of the authorities to trust instead of the system's."""
    cert_file: Annotated[str, _file] | None = None
    """PEM file of our own certificate (and its chain), for mutual TLS."""
    key_file: Annotated[str, _file] | None = None
    """PEM file of its private key; None: it is in ``cert_file``."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    verify: bool = True
    """False trusts anybody. Only for services on this machine, and said in a warning when it is first used."""

    @classmethod
    def cross_check(cls, record: Any) -> Iterator[tuple[str, str]]:
        """A key is the key of a certificate."""
        if record.key_file is not None and not has(record, "cert_file"):
            yield "key_file", "is of no use without cert_file: give both, or neither"


def unverified_problem(tls: TLSConfig | None, url: str | None) -> str | None:
    """Why this address may not be called under these settings, or None."""
    if tls is None or tls.verify or url is None or is_loopback(urlsplit(url).hostname):
        return None
    return "verify = false is only for services on this machine: give ca_file for an authority of your own"
