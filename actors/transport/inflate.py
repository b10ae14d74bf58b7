"""Content encodings, undone with a bound: what comes out never takes more memory than was allowed.

Pure. httpx would do it too, but one read of 64 kB at a time, which a hostile gzip blows up to 64 MB before anybody
could look at its size (and a brotli to gigabytes).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import ResponseTooLarge, ServiceError, TransportError
from .codings import EXTRA, KNOWN, SLICE, Damaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_MOST = 2  # codings in one answer: the application's, and that of a proxy before it. Each multiplies what can come out
_SAME = {"x-gzip": "gzip"}  # RFC 9110, section 8.4.1.3

# Apache's mod_deflate allows 200 bytes for one, Envoy 100; what services send is packed 5 to 30 times, deflate ends
# at 1,032, brotli and zstd have no end. Both count from the first bytes on, and refuse an honest list of a million
# zeros; below what `max_response_bytes` allows by default there is no harm in it, so here they are free.
_RATIO = 200
_FREE = 10_000_000


class Inflater:
    """Undoes the content encoding of one answer.

    Args:
        encoding: the value of ``Content-Encoding``: codings in the order in which they were applied.
        max_bytes: of all that comes out; None for a stream of any length.

    Raises:
        TransportError: (from all methods) it is nothing that can be undone here, or the bytes are not what it says.
            Not before there is a byte: the answer to a HEAD request has an encoding and no body.
        ResponseTooLarge: (from `pieces` and `feed`) more would come out than ``max_bytes``, or, past 10 MB, more than
            200 times what has come over the wire.
    """

    def __init__(self, encoding: str, max_bytes: int | None = None) -> None:
        named = (part.strip().lower() for part in encoding.split(","))
        self._names = [_SAME.get(name, name) for name in named if name not in {"", "identity"}]
        self._max_bytes = math.inf if max_bytes is None else max_bytes
        self._layers: list[_Layer] = []  # that which was put on last comes off first

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What these bytes add to the body, undone as it is asked for: 1 byte to 64 kB at a time."""
        if not data:
            return
        if not self._layers:
            self._layers = _layers(self._names)
        flow = iter((data,))
        for layer in self._layers:
            flow = self._undone(layer, flow)
        try:
            yield from flow
        except ServiceError:
            for layer in self._layers:  # the error knows its traceback, which knows them; and brotli's window is 16 MB
                del layer.coding
            raise

    def feed(self, data: bytes) -> bytes:
        """What these bytes add to the body, at once."""
        return b"".join(self.pieces(data))

    def end(self) -> None:
        """There is no more. An answer without a body has no encoding to end."""
        for layer in self._layers:
            if layer.taken and not layer.coding.whole:
                raise TransportError(f"its body ends in the middle of the {layer.name}")

    def _undone(self, layer: _Layer, flow: Iterator[bytes]) -> Iterator[bytes]:
        for data in flow:
            for start in range(0, len(data), SLICE):
                part = data[start : start + SLICE]
                layer.taken += len(part)
                damage = None
                try:
                    for piece in layer.coding.pieces(part):
                        layer.given += len(piece)
                        self._check(layer.given)
                        yield piece
                except Damaged as error:
                    damage = str(error)
                if damage is not None:  # raised here, it does not know `error`, nor what that knows
                    raise TransportError(f"its body is not {layer.name}: {damage}")

    def _check(self, size: int) -> None:
        """Of any layer: the outer one could keep us busy with what is nothing to the inner."""
        if size > self._max_bytes:
            raise ResponseTooLarge(f"the body is larger than max_response_bytes ({self._max_bytes})")
        if size > _FREE and size > _RATIO * self._layers[0].taken:
            raise ResponseTooLarge(
                f"the body is more than {_RATIO} times as large as what came over the wire, as that of a decompression "
                "bomb is; if it is meant to be so, ask for it with the header `Accept-Encoding: identity`"
            )


class _Layer:
    """One coding of a body."""

    __slots__ = ("coding", "given", "name", "taken")

    def __init__(self, name: str) -> None:
        make = KNOWN.get(name)
        if make is None and name in EXTRA:
            raise TransportError(f"its content encoding is {name}, which takes `pip install switchgear[codings]`")
        if make is None:
            raise TransportError(f"its content encoding {name!r:.40} is not known")
        self.name = name
        self.coding = make()
        self.taken = self.given = 0  # bytes


def _layers(names: list[str]) -> list[_Layer]:
    """RFC 9110, section 8.4: they are named in the order in which they were put on."""
    if len(names) > _MOST:
        raise TransportError(f"it has {len(names)} content encodings, one in the other; {_MOST} are undone")
    return [_Layer(name) for name in reversed(names)]


def inflater_for(status: int, headers: Iterable[tuple[str, str]], max_bytes: int | None) -> Inflater | None:
    """What undoes the encoding that these headers (names in lower case) announce; None if there is nothing to undo."""
    if status == 206:  # a part of what was encoded as a whole: it makes sense beside its other parts only
        return None
    encodings = [value for name, value in headers if name == "content-encoding" and value.lower() != "identity"]
    return Inflater(", ".join(encodings), max_bytes) if encodings else None
