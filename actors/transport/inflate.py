"""Content encodings, undone with a bound: what comes out never takes more memory than was allowed.

Pure. httpx would do it too, but one read of 64 kB at a time, which a hostile gzip blows up to 64 MB before anybody
could look at its size (and a brotli to gigabytes).
"""

from __future__ import annotations

import zlib

from ..errors import ResponseTooLarge, TransportError

_GZIP_OR_ZLIB, _RAW = 47, -15  # wbits, as in zlib.decompressobj


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
            raise TransportError(f"its content encoding {encoding!r:.40} was not asked for, and is not known")
        self._max_bytes = max_bytes
        self._size = 0
        self._begun = False
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)

    def feed(self, data: bytes) -> bytes:
        """What these bytes add to the body."""
        parts = []
        while data:
            if self._inflate.eof:  # a gzip file may have several members
                self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
            part = self._decompress(data, self._max_bytes - self._size + 1)
            self._size += len(part)
            if self._size > self._max_bytes:
                raise ResponseTooLarge(f"the body is larger than max_response_bytes ({self._max_bytes})")
            parts.append(part)
            data = self._inflate.unused_data
        return b"".join(parts)

    def end(self) -> None:
        """There is no more. An answer without a body has no encoding to end."""
        if self._begun and not self._inflate.eof:
            raise TransportError(f"its body ends in the middle of the {self._encoding}")

    def _decompress(self, data: bytes, most: int) -> bytes:
        first, self._begun = not self._begun, True
        try:
            return self._inflate.decompress(data, most)
        except zlib.error as error:
            if first and self._encoding == "deflate":  # RFC 9110, section 8.4.1.2: some leave out the zlib wrapper
                self._inflate = zlib.decompressobj(_RAW)
                return self._decompress(data, most)
            raise TransportError(f"its body is not {self._encoding}") from error
