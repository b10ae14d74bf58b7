"""Content codings undone: the same bytes whatever the cuts, in bounded pieces, and what is hostile is refused early."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import zlib
from contextlib import suppress
from itertools import pairwise

import brotli
import brotlicffi
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from switchgear.actors.errors import ResponseTooLarge, TransportError
from switchgear.actors.transport import codings
from switchgear.actors.transport.inflate import Inflater, inflater_for

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def raw_deflate(data):
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush()


def in_members(data):
    return b"".join(gzip.compress(data[i : i + 1000]) for i in range(0, len(data), 1000)) + gzip.compress(b"")


def in_frames(data):
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"  # RFC 8878, section 3.1.2
    return b"".join(zstd.compress(data[i : i + 1000]) + skippable for i in range(0, len(data) + 1, 1000))


PYPY = "br-cffi"
PACKERS = {
    "gzip": ("gzip", gzip.compress),
    "gzip of members": ("x-gzip", in_members),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("Deflate", raw_deflate),
    "br": ("br", brotli.compress),
    PYPY: (PYPY, brotli.compress),
    "zstd": ("zstd", zstd.compress),
    "zstd of frames": ("ZSTD", in_frames),
    "gzip in br": (" gzip ,, identity, br", lambda data: brotli.compress(gzip.compress(data))),
    "zstd in gzip": ("zstd,gzip", lambda data: gzip.compress(zstd.compress(data))),
    "nothing": ("identity", bytes),
}
NAMES = ["gzip", "deflate", "br", PYPY, "zstd"]
BODIES = st.one_of(  # of 800 kB at most
    st.binary(max_size=5000),
    st.tuples(st.binary(min_size=1, max_size=20), st.integers(1, 40_000)).map(lambda pair: pair[0] * pair[1]),
    st.tuples(st.integers(0, 9), st.integers(0, 200_000)).map(lambda two: random.Random(two[0]).randbytes(two[1])),
)
packer = pytest.mark.parametrize("how", PACKERS)


@pytest.fixture(autouse=True, scope="module")
def pypy():
    """br as it is undone on PyPy, under a name of its own: else the first of the libraries is taken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(codings.KNOWN, PYPY, lambda: codings.Brotli(brotlicffi))
        yield


def unpack(encoding, chunks, max_bytes=None):
    """What comes out, by `pieces`, each of which has a bound."""
    inflater, out = Inflater(encoding, max_bytes), []
    for chunk in chunks:
        out.extend(inflater.pieces(chunk))
    inflater.end()
    return out


def cut(data, at):
    places = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


# ---- what has been packed comes back


@packer
@given(BODIES, st.lists(st.integers(0), max_size=20))
@example(b"", [])
@example(b"x" * 65_536, [1, 2, 3])
@example(b"x" * 65_535 + b"yy", [])
@settings(max_examples=40, deadline=None)
def test_any_body_comes_back_whatever_the_cuts(how, body, at) -> None:
    encoding, pack = PACKERS[how]
    chunks = cut(pack(body), at)
    pieces = unpack(encoding, chunks)
    assert b"".join(pieces) == body
    if encoding != "identity":
        assert all(0 < len(piece) <= 65_536 for piece in pieces)
    inflater = Inflater(encoding, len(body) * 2 + 1000)  # as much more as a layer of what cannot be packed
    assert b"".join(map(inflater.feed, chunks)) == body
    inflater.end()


@packer
def test_byte_by_byte(how) -> None:
    encoding, pack = PACKERS[how]
    body = b"one two three " * 300
    packed = pack(body)
    assert b"".join(unpack(encoding, [packed[i : i + 1] for i in range(len(packed))])) == body


def test_what_the_peer_has_flushed_is_there_at_once() -> None:
    squeezers = {
        "gzip": (zlib.compressobj(wbits=31), zlib.Z_SYNC_FLUSH),
        "deflate": (zlib.compressobj(), zlib.Z_SYNC_FLUSH),
        "zstd": (zstd.ZstdCompressor(), zstd.ZstdCompressor.FLUSH_BLOCK),
    }
    for encoding, (squeezer, mode) in squeezers.items():
        inflater = Inflater(encoding)
        for event in (b"data: 1\n\n", b"data: 2\n\n"):
            assert inflater.feed(squeezer.compress(event) + squeezer.flush(mode)) == event
    for encoding in ("br", PYPY):
        squeezer, inflater = brotli.Compressor(), Inflater(encoding)
        for event in (b"data: 1\n\n", b"data: 2\n\n"):
            assert inflater.feed(squeezer.process(event) + squeezer.flush()) == event


@pytest.mark.parametrize("encoding", [*NAMES, "gzip, br", "compress", "a, b, c"])
def test_no_body_has_nothing_to_undo_whatever_is_announced(encoding) -> None:
    inflater = Inflater(encoding)
    assert (inflater.feed(b""), list(inflater.pieces(b""))) == (b"", [])
    inflater.end()


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, [], None),
        (200, [("content-encoding", "identity")], None),
        (206, [("content-encoding", "gzip")], None),
        (200, [("content-encoding", "gzip")], gzip.compress(b"hello")),
        (404, [("x", "y"), ("content-encoding", "Gzip")], gzip.compress(b"hello")),
        (200, [("content-encoding", "gzip"), ("content-encoding", "br")], brotli.compress(gzip.compress(b"hello"))),
    ],
)
def test_the_headers_say_what_is_to_be_undone(status, headers, body) -> None:
    inflater = inflater_for(status, headers, 100)
    assert (inflater is None) == (body is None)
    if inflater is not None:
        assert inflater.feed(body) == b"hello"


# ---- what is damaged


@packer
@pytest.mark.parametrize("body", [b"", b"hello", random.Random(1).randbytes(10_000)], ids=len)
def test_what_is_cut_short_is_found(how, body) -> None:
    encoding, pack = PACKERS[how]
    packed = pack(body)
    whole_before = {0}  # the ends of members, frames, and parts that say that they are to be skipped
    for end in range(len(packed) if encoding != "identity" else 0):
        inflater = Inflater(encoding)
        got = inflater.feed(packed[:end])
        assert body.startswith(got)
        with suppress(TransportError):
            inflater.end()
            whole_before.add(end)
    assert whole_before == {0} or how in {"gzip of members", "zstd of frames"}


@pytest.mark.parametrize("step", [1, 4096, 10_000_000])
@pytest.mark.parametrize("behind", [b"x", b"\x00", b"junk after it", b"\x1f\x8bX"], ids=repr)
@pytest.mark.parametrize("how", ["gzip", "deflate", "raw deflate", "br", PYPY, "zstd", "gzip in br"])
@pytest.mark.parametrize("body", [b"", b"hello", b"hello" * 10_000], ids=len)
def test_what_comes_behind_the_end_is_damage(how, behind, step, body) -> None:
    encoding, pack = PACKERS[how]
    packed = pack(body) + behind
    with pytest.raises(TransportError):
        unpack(encoding, [packed[i : i + step] for i in range(0, len(packed), step)])


def test_a_deflate_has_one_part_only() -> None:
    with pytest.raises(TransportError, match="behind its end"):
        Inflater("deflate").feed(zlib.compress(b"x") + gzip.compress(b"y"))


@given(st.sampled_from([*NAMES, "gzip, gzip", "zstd, br"]), st.binary(max_size=3000), st.integers(0, 20))
@settings(max_examples=300, deadline=None)
def test_garbage_is_a_typed_error_or_has_a_bound(encoding, garbage, start) -> None:
    _, pack = PACKERS[encoding.rpartition(" ")[2]]
    with suppress(TransportError, ResponseTooLarge):
        assert sum(map(len, unpack(encoding, [pack(b"hello" * 10)[:start] + garbage], 100_000))) <= 100_000


@given(st.sampled_from(sorted(PACKERS)), BODIES, st.data())
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_never_gets_out_of_bounds(how, body, data) -> None:
    encoding, pack = PACKERS[how]
    packed = bytearray(pack(body))
    if packed:
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(TransportError, ResponseTooLarge):
        assert sum(map(len, unpack(encoding, [bytes(packed)], 1_000_000))) <= 1_000_000


# ---- what is not known, or too much of it


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("compress", "'compress' is not known"),
        ("gzip, aws-chunked", "'aws-chunked' is not known"),
        ("x" * 1000, "xxx"),
        ("gzip, gzip, gzip", "3 content encodings"),
        (", ".join(["identity", *["gzip"] * 1000]), "1000 content encodings"),
    ],
)
def test_an_encoding_that_cannot_be_undone_is_named(encoding, words) -> None:
    with pytest.raises(TransportError, match=words) as caught:
        Inflater(encoding).feed(b"x")
    assert len(str(caught.value)) < 200


def without(*modules):
    """What a process says in which these cannot be imported."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({modules!r}))\n"
        "from switchgear.actors.transport import codings, inflate\n"
        "print(codings.ACCEPTED)\n"
        "for name in ('br', 'zstd'):\n"
        "    try: inflate.Inflater(name).feed(b'x')\n"
        "    except Exception as error: print(error)\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_only_what_is_installed_is_offered_and_an_error_says_what_to_install() -> None:
    assert codings.ACCEPTED == "gzip, deflate, br, zstd"
    text = without("brotli", "brotlicffi", "compression.zstd", "backports.zstd", "backports")
    offered, br, zstandard = text.splitlines()
    assert offered == "gzip, deflate"
    assert "its content encoding is br, which takes `pip install switchgear[codings]`" in br
    assert "its content encoding is zstd, which takes `pip install switchgear[codings]`" in zstandard
    assert without("brotli").startswith("gzip, deflate, br, zstd\n")  # brotlicffi stands in


# ---- what is hostile


ZEROS = bytes(100_000_000)
BOMBS = {
    "gzip": gzip.compress(ZEROS),
    "deflate": zlib.compress(ZEROS),
    "br": brotli.compress(ZEROS),
    PYPY: brotli.compress(ZEROS),
    "zstd": zstd.compress(ZEROS),
    "gzip, gzip": gzip.compress(gzip.compress(ZEROS)),
    "br, gzip": gzip.compress(brotli.compress(ZEROS)),
    "gzip, zstd": zstd.compress(gzip.compress(ZEROS)),
}
del ZEROS
bomb = pytest.mark.parametrize("encoding", BOMBS)


def explode(encoding, most, allowed=None):
    size = 0
    for piece in Inflater(encoding, most).pieces(BOMBS[encoding]):
        size += len(piece)
        assert size <= (most if allowed is None else allowed)


@bomb
@pytest.mark.parametrize("most", [0, 1, 1000, 9_999_999])
def test_a_bomb_ends_at_max_bytes(encoding, most) -> None:
    with pytest.raises(ResponseTooLarge, match=f"max_response_bytes \\({most}\\)"):
        explode(encoding, most)


@bomb
@pytest.mark.parametrize("most", [None, 50_000_000])
def test_a_bomb_ends_at_the_ratio_where_max_bytes_would_allow_it(encoding, most) -> None:
    with pytest.raises(ResponseTooLarge, match="Accept-Encoding: identity"):
        explode(encoding, most, allowed=10_000_000)


@pytest.mark.parametrize("encoding", NAMES)
def test_what_repeats_itself_is_no_bomb_below_10_mb(encoding) -> None:
    body = b"[%b0]" % (b"0," * 4_900_000)
    assert b"".join(unpack(encoding, [PACKERS[encoding][1](body)])) == body


def test_a_stream_may_be_longer_than_anything_that_is_kept() -> None:
    inflater, squeezer = Inflater("gzip"), zlib.compressobj(1, wbits=31)
    rows, size = b"".join(b"%d,%d\n" % (row, row * row) for row in range(100_000)), 0
    for _ in range(20):
        size += sum(map(len, inflater.pieces(squeezer.compress(rows))))
    size += sum(map(len, inflater.pieces(squeezer.flush())))
    inflater.end()
    assert size == 20 * len(rows) > 20_000_000


def test_what_is_in_a_layer_counts_also_if_nothing_comes_out_of_the_next() -> None:
    nothing = gzip.compress(gzip.compress(b"") * 700_000)
    with pytest.raises(ResponseTooLarge):
        unpack("gzip, gzip", [nothing])


def test_a_window_of_zstd_has_the_size_that_rfc_9659_allows() -> None:
    def packed(log):
        options = {zstd.CompressionParameter.window_log: log, zstd.CompressionParameter.content_size_flag: 0}
        return zstd.compress(bytes(9_000_000), options=options)

    assert sum(map(len, unpack("zstd", [packed(23)]))) == 9_000_000
    with pytest.raises(TransportError, match="memory"):
        unpack("zstd", [packed(24)])


def test_frames_of_nothing_are_given_up() -> None:
    with pytest.raises(TransportError, match="too many frames"):
        unpack("zstd", [zstd.compress(b"") * 100_000])
    event = zstd.compress(random.Random(1).randbytes(100))
    assert len(b"".join(unpack("zstd", [event * 20_000]))) == 2_000_000
