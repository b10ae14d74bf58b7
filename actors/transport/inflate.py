"""Content encodings, undone with a bound: what comes out never takes more memory than was allowed.

Pure. httpx would do it too, but one read of 64 kB at a time, which a hostile gzip blows up to 64 MB before anybody
could look at its size (and a brotli to gigabytes).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from ..errors import ResponseTooLarge, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterable

_GZIP, _ZLIB, _RAW = 31, 15, -15  # wbits, as in zlib.decompressobj


class Inflater:
    """Undoes one content encoding.

    Args:
        encoding: the value of ``Content-Encoding``: gzip, x-gzip or deflate.
        max_bytes: of all that comes out.

    Raises:
        TransportError: it is none of these, or (from `feed` and `end`) the bytes are not what it says.
        ResponseTooLarge: (from `feed`) more would come out than ``max_bytes``.
    """

    def __init__(self, encoding: str, max_bytes: int) -> None:
        self._encoding = encoding.strip().lower()
        if self._encoding not in ("gzip", "x-gzip", "deflate"):
            raise TransportError(f"its content encoding {encoding!r:.40} is not known")
        self._max_bytes = max_bytes
        self._size = 0
        self._head = b""  # the first two bytes, which tell what kind of deflate it is
        self._inflate = None if self._encoding == "deflate" else zlib.decompressobj(_GZIP)
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """What these bytes add to the body."""
        self._begun = self._begun or bool(data)
        if self._inflate is None:
            self._head += data
            if len(self._head) < 2:
                return b""
            self._inflate, data = zlib.decompressobj(_kind(self._head)), self._head
        try:
            return self._unpack(self._inflate, data)
        except zlib.error as error:
            raise TransportError(f"its body is not {self._encoding}") from error

    def end(self) -> None:
        """There is no more. An answer without a body has no encoding to end."""
        if self._begun and not (self._inflate is not None and self._inflate.eof):
            raise TransportError(f"its body ends in the middle of the {self._encoding}")

    def _unpack(self, inflate: zlib._Decompress, data: bytes) -> bytes:
        parts = []
        while data:
            if inflate.eof:  # a gzip file may have several members
                inflate = self._inflate = zlib.decompressobj(_GZIP)
            part = inflate.decompress(data, self._max_bytes - self._size + 1)
            self._size += len(part)
            if self._size > self._max_bytes:
                raise ResponseTooLarge(f"the body is larger than max_response_bytes ({self._max_bytes})")
            parts.append(part)
            data = inflate.unused_data
        return b"".join(parts)


def inflater_for(headers: Iterable[tuple[str, str]], max_bytes: int) -> Inflater | None:
    """What undoes the encoding that these headers (names in lower case) announce; None if there is none."""
    encodings = [value for name, value in headers if name == "content-encoding" and value.lower() != "identity"]
    return Inflater(", ".join(encodings), max_bytes) if encodings else None


def _kind(head: bytes) -> int:
    """RFC 9110, section 8.4.1.2: deflate has the zlib wrapper (RFC 1950, section 2.2), but some leave it out."""
    wrapped = head[0] & 15 == 8 and int.from_bytes(head[:2]) % 31 == 0
    return _ZLIB if wrapped else _RAW
