"""Content codings by the libraries that are installed: each takes a little and gives a little, whatever comes.

A library counts only if it can stop in the middle of its output: a few bytes of input can stand for gigabytes. zlib
can; brotli since 1.2 (brotlicffi as well); compression.zstd of Python 3.14, or backports.zstd before. (zstandard, the
older binding, cannot.) What all layers of a body may come to together is counted in `inflate.py`.
"""

from __future__ import annotations

import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE = 65_536  # bytes that come out of one step, at most
SLICE = 4_096  # bytes that go in at once: zlib copies what it has not used at every step, so the more, the slower

_GZIP, _WRAPPED, _RAW = 31, 15, -15  # wbits, as in zlib.decompressobj
_BLOCK = 32_752  # brotli 1.2 gives its first block of output whatever the limit, and that is how large it is
_WINDOW = 23  # log2 of zstd's: RFC 9659 allows 8 MB, and libzstd would take 128 MB of memory for the asking
_FRAMES = 1_000  # of zstd, and one more for each so many bytes: a new one costs 10 us, and may be 9 bytes long
_FRAME = 100


class Damaged(Exception):
    """The bytes are not what their coding's name says."""


class Coding(Protocol):
    """Undoes one coding of one body."""

    @property
    def whole(self) -> bool:
        """The body may end here."""
        ...

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What these bytes (1 to SLICE) add, in pieces of 1 to PIECE bytes. To be run to its end, or not used again.

        Raises Damaged.
        """
        ...


class Gzip:
    """gzip, of one or more members (RFC 1952, section 2.2).

    What comes behind the last one and is no member is an error, as it is for curl and Go. Browsers ignore it, but
    somebody looks at what they show.
    """

    wbits = _GZIP

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(self.wbits)

    @property
    def whole(self) -> bool:
        """At the end of a member."""
        return self._inflate.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """See `Coding`."""
        while True:
            if self._inflate.eof:
                if not data:
                    return
                self._next()
            try:
                piece = self._inflate.decompress(data, PIECE)
            except zlib.error as error:
                raise Damaged(str(error)) from None
            if piece:
                yield piece
            data = self._inflate.unused_data or self._inflate.unconsumed_tail
            if not data and len(piece) < PIECE:
                return

    def _next(self) -> None:
        self._inflate = zlib.decompressobj(self.wbits)


class _Zlib(Gzip):
    wbits = _WRAPPED

    def _next(self) -> None:
        raise Damaged("bytes behind its end")


class _RawDeflate(_Zlib):
    wbits = _RAW


class Deflate:
    """deflate in zlib's wrapper (RFC 9110, section 8.4.1.2), or without, as some send it: the first bytes tell."""

    def __init__(self) -> None:
        self._head = b""
        self._inner: Coding | None = None

    @property
    def whole(self) -> bool:
        """At the end."""
        return self._inner is not None and self._inner.whole

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """See `Coding`."""
        if self._inner is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            wrapped = data[0] & 15 == 8 and int.from_bytes(data[:2]) % 31 == 0  # RFC 1950, section 2.2
            self._inner = _Zlib() if wrapped else _RawDeflate()
        yield from self._inner.pieces(data)


class Brotli:
    """br (RFC 7932), by brotli or brotlicffi."""

    def __init__(self, library: Any) -> None:
        self._error = library.error
        self._decompressor = library.Decompressor()

    @property
    def whole(self) -> bool:
        """At the end."""
        return bool(self._decompressor.is_finished())

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """See `Coding`. (`can_accept_more_data` is of no use: it is true while output is waiting.)"""
        while True:
            try:
                piece = self._decompressor.process(data, output_buffer_limit=_BLOCK)
            except self._error as error:
                raise Damaged(str(error)) from None
            if piece:
                yield piece
            if not piece or self.whole:
                return
            data = b""


class Zstd:
    """zstd (RFC 8878), of one or more frames, by compression.zstd or backports.zstd."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._frames = float(_FRAMES)
        self._open()

    def _open(self) -> None:
        window = self._library.DecompressionParameter.window_log_max
        self._frame = self._library.ZstdDecompressor(options={window: _WINDOW})

    @property
    def whole(self) -> bool:
        """At the end of a frame."""
        return bool(self._frame.eof)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """See `Coding`."""
        self._frames += len(data) / _FRAME
        while True:
            if self._frame.eof:
                if not data:
                    return
                self._next()
            try:
                piece = self._frame.decompress(data, PIECE)
            except self._library.ZstdError as error:
                raise Damaged(str(error)) from None
            if piece:
                yield piece
            data = self._frame.unused_data if self._frame.eof else b""
            if not data and self._frame.needs_input:
                return

    def _next(self) -> None:
        self._frames -= 1
        if self._frames < 0:
            raise Damaged("too many frames for so few bytes")
        self._open()


def _library(*names: str) -> Any:
    """The first that is installed, or None."""
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


def _installed() -> dict[str, Callable[[], Coding]]:
    known: dict[str, Callable[[], Coding]] = {"gzip": Gzip, "deflate": Deflate}
    brotli = _library("brotli", "brotlicffi")
    if brotli is not None and hasattr(brotli.Decompressor, "can_accept_more_data"):  # else it knows no limits
        known["br"] = lambda: Brotli(brotli)
    zstd = _library("compression.zstd", "backports.zstd")
    if zstd is not None:
        known["zstd"] = lambda: Zstd(zstd)
    return known


KNOWN = _installed()
EXTRA = frozenset({"br", "zstd"})  # may be missing: `pip install switchgear[codings]` brings them
ACCEPTED = ", ".join(KNOWN)
"""For Accept-Encoding: exactly what can be undone."""
