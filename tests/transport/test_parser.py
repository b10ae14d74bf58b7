"""Both parsers: the same response whatever the cuts, and the same that httpx would have read."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchgear.actors.errors import ResponseTooLarge, ServiceError, TransportError
from switchgear.actors.transport import parser as parser_module
from switchgear.actors.transport.parse_h11 import H11Parser
from switchgear.actors.transport.parse_httptools import HttptoolsParser
from switchgear.actors.transport.parser import MAX_HEAD, MAX_HEADERS, MAX_RAW

PARSERS = [HttptoolsParser, H11Parser]
OK = b"HTTP/1.1 200 OK\r\n"

both = pytest.mark.parametrize("make", PARSERS, ids=lambda make: make.__name__)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data in pieces; each cut is a place modulo its length."""
    places = sorted({place % (len(data) + 1) for place in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


def run(parser, pieces, *, head=False, close=True):
    """What the parser makes of these pieces: ("ok", status, headers, body, reusable), or ("refused", error class)."""
    parser.begin(head=head)
    body = b""
    try:
        for piece in pieces:
            parser.feed(piece)
            body += b"".join(parser.chunks)
            parser.chunks = []
            if parser.complete:
                break  # as a connection does: what is still to come shows as a stale connection
        if not parser.complete:
            if not close:
                return ("waits", parser.headed)
            parser.end()
    except ServiceError as error:
        return ("refused", type(error).__name__)
    assert parser.body_size == len(body)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in parser.headers]
    return ("ok", parser.status, low(headers), body, parser.reusable)


def low(headers):
    """Names in lower case, and the one value that h11 writes in its own way."""
    return [(name.lower(), value.lower() if name.lower() == b"transfer-encoding" else value) for name, value in headers]


def both_read(data, *, head=False, close=True):
    """What the two make of the same bytes in one piece."""
    return [run(make(), [data], head=head, close=close) for make in PARSERS]


# ---- generated responses

names = st.from_regex(r"X-[A-Za-z0-9]{1,8}", fullmatch=True).map(str.encode)
values = st.binary(max_size=20).map(lambda raw: bytes(byte for byte in raw if byte == 9 or 32 <= byte != 127).strip())
others = st.lists(st.tuples(names, values), max_size=5)
space = st.sampled_from([b"", b" ", b"  ", b" \t"])
extension = st.sampled_from([b"", b";a", b";a=b", b';q="x y"'])


@st.composite
def responses(draw):
    """(bytes, to a HEAD request, ends with the connection)."""
    head = draw(st.booleans()) and draw(st.booleans())
    status = draw(st.sampled_from([200, 200, 200, 201, 204, 304, 404, 500, 599]))
    reason = draw(st.sampled_from([b" OK", b" ", b" Not \xe9 at all"]))
    lines = [b"HTTP/1.1 %d%b" % (status, reason)]
    lines += [name + b":" + draw(space) + value + draw(space) for name, value in draw(others)]
    body = draw(st.binary(max_size=100))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    wire = b""
    if framing == "length" and status != 204:
        lines.append(b"%b: %d" % (draw(st.sampled_from([b"Content-Length", b"content-length"])), len(body)))
        wire = body
    elif framing == "chunked" and status != 204:
        lines.append(b"Transfer-Encoding: " + draw(st.sampled_from([b"chunked", b"Chunked"])))
        for part in cut(body, draw(st.lists(st.integers(0, 300), max_size=4))):
            if part:
                wire += b"%x%b\r\n%b\r\n" % (len(part), draw(extension), part)
        wire += b"0" + draw(extension) + b"\r\n"
        wire += b"".join(name + b": " + value + b"\r\n" for name, value in draw(others)) + b"\r\n"
    elif framing == "close":
        wire = body
    told = draw(st.booleans()) and draw(st.booleans())
    if told:
        lines.append(b"Connection: close")
    bodiless = head or status in (204, 304)
    early = b"".join(
        b"HTTP/1.1 %d Early\r\nX-Early: 1\r\n\r\n" % draw(st.sampled_from([100, 102, 103]))
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2])))
    )
    data = early + b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if bodiless else wire)
    return data, head, told or (framing == "close" and not bodiless)


def oracle(data, *, head):
    """What httpx reads: it parses with h11, so this is h11 as httpcore drives it."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=100 * 1024)
    connection.send(h11.Request(method=b"HEAD" if head else b"GET", target=b"/", headers=[(b"Host", b"x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    status, headers, body, told = 0, [], b"", False
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA and not told:
            connection.receive_data(b"")
            told = True
        elif isinstance(event, h11.Response):
            status, headers = event.status_code, [(bytes(name), bytes(value)) for name, value in event.headers]
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, headers, body


@given(responses(), st.lists(st.integers(0, 2000), max_size=12))
@settings(max_examples=120)
def test_cuts_change_nothing(response, cuts) -> None:
    data, head, closes = response
    expected = oracle(data, head=head)
    for make in PARSERS:
        for pieces in ([data], cut(data, cuts), [bytes([byte]) for byte in data]):
            outcome = run(make(), pieces, head=head)
            assert outcome[0] == "ok", (make, outcome)
            assert outcome[1:4] == expected
            assert outcome[4] is not closes, make


# ---- what is refused, and what only one of them refuses

CONTRADICTIONS = {
    "length and coding": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "no number": OK + b"Content-Length: five\r\n\r\nhello",
    "negative": OK + b"Content-Length: -5\r\n\r\nhello",
    "plus": OK + b"Content-Length: +5\r\n\r\nhello",
    "hex": OK + b"Content-Length: 0x5\r\n\r\nhello",
    "empty length": OK + b"Content-Length:\r\n\r\nhello",
    "two in one": OK + b"Content-Length: 5, 6\r\n\r\nhello!",
    "digits of another script": OK + "Content-Length: \u0665\r\n\r\nhello".encode(),
    "length of a galaxy": OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nhello",
    "gzip": OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nhello",
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, gzip": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "xchunked": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "vertical tab": OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "space before the colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "a name with a space": OK + b"Content Length: 5\r\n\r\nhello",
    "no colon": OK + b"Content-Length\r\n\r\nhello",
    "NUL": OK + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "CR": OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n",
    "chunk of no size": OK + b"Transfer-Encoding: chunked\r\n\r\n\r\n",
    "chunk of a wrong size": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
    "chunk of a negative size": OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "chunk of 0x5": OK + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "chunk of a galaxy": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\nhello",
    "chunk without its end": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello",
    "no last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "no end of trailers": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n",
    "short": OK + b"Content-Length: 5\r\n\r\nhell",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status of letters": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "other protocol": b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00d\x00\x04@\x00\x00\x00\x00\x02\x00",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    "only a 100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "nothing": b"",
    "half a status line": b"HTTP/1.1 20",
    "half a head": OK + b"X: 1\r\n",
}


@both
@pytest.mark.parametrize("case", CONTRADICTIONS)
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
def test_what_two_readers_could_read_differently_is_refused(make, case, bytewise) -> None:
    data = CONTRADICTIONS[case]
    pieces = [data[i : i + 1] for i in range(len(data))] if bytewise else [data] if data else []
    assert run(make(), pieces) == ("refused", "TransportError")


EMPTY = b"Content-Length: 0\r\n\r\n"
ODD = {
    "RTSP": b"RTSP/1.0 200 OK\r\n" + EMPTY,
    "no reason": b"HTTP/1.1 200\r\n" + EMPTY,
    "no reason but a space": b"HTTP/1.1 200 \r\n" + EMPTY,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "HTTP/1.0 keep-alive": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + EMPTY,
    "HTTP/1.0 chunked": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n" + EMPTY,
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + EMPTY,
    "HTTP/1.10": b"HTTP/1.10 200 OK\r\n" + EMPTY,
    "http/1.1": b"http/1.1 200 OK\r\n" + EMPTY,
    "status 099": b"HTTP/1.1 099 OK\r\n" + EMPTY,
    "status 600": b"HTTP/1.1 600 OK\r\n" + EMPTY,
    "status 999": b"HTTP/1.1 999 OK\r\n" + EMPTY,
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "bare LF in the end of the head": OK + b"Content-Length: 0\r\n\n",
    "leading CRLF": b"\r\n\r\n" + OK + EMPTY,
    "leading LF": b"\n" + OK + EMPTY,
    "leading space": b" " + OK + EMPTY,
    "fold": OK + b"X: a\r\n b\r\n" + EMPTY,
    "fold with tab": OK + b"X: a\r\n\tb\r\n" + EMPTY,
    "fold of a length": OK + b"Content-Length:\r\n 0\r\n\r\n",
    "fold of the first": OK + b" X: a\r\n" + EMPTY,
    "no name": OK + b": a\r\n" + EMPTY,
    "odd token": OK + b"X!#$%&'*+.^_`|~: a\r\n" + EMPTY,
    "brackets in a name": OK + b"X[0]: a\r\n" + EMPTY,
    "control in a value": OK + b"X: a\x01b\r\n" + EMPTY,
    "DEL in a value": OK + b"X: a\x7fb\r\n" + EMPTY,
    "same length twice": OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "same length in one": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "length with zeros": OK + b"Content-Length: 005\r\n\r\nhello",
    "length and blanks": OK + b"Content-Length: \t 5 \t\r\n\r\nhello",
    "204 with a length": b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n",
    "204 with a coding": b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n",
    "304 with a length": b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n",
    "205 with a length": b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n",
    "103 and 200": b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" + OK + EMPTY,
    "100 with a length": b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n" + OK + EMPTY,
    "100 with close": b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n" + OK + EMPTY,
    "100 with a coding": b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n" + OK + EMPTY,
    "connection of many": OK + b"Connection: foo, Close\r\n" + EMPTY,
    "connection twice": OK + b"Connection: keep-alive\r\nConnection: close\r\n" + EMPTY,
    "upgrade with 200": OK + b"Connection: upgrade\r\nUpgrade: h2c\r\n" + EMPTY,
    "upgrade with 426": b"HTTP/1.1 426 Up\r\nConnection: upgrade\r\nUpgrade: h2c\r\n" + EMPTY,
    "chunk, LF": OK + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    "chunk, LF after it": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n",
    "chunk, blank behind its size": OK + b"Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
    "chunk, blank before its size": OK + b"Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
    "chunk, zeros": OK + b"Transfer-Encoding: chunked\r\n\r\n0000005\r\nhello\r\n000\r\n\r\n",
    "chunk, 20 zeros": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 20 + b"5\r\nhello\r\n0\r\n\r\n",
    "chunk, blank before its extension": OK + b"Transfer-Encoding: chunked\r\n\r\n5 ;a\r\nhello\r\n0\r\n\r\n",
    "chunk, blank in its extension": OK + b"Transfer-Encoding: chunked\r\n\r\n5; a = b\r\nhello\r\n0\r\n\r\n",
    "chunk, LF in its extension": OK + b"Transfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n",
    "chunk, CR in its extension": OK + b"Transfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n",
    "trailer of a length": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
    "trailer of a coding": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n",
    "trailer without a colon": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nnonsense\r\n\r\n",
}

REUSED, CLOSED, REFUSED = "reused", "closed", "refused"
# Where the two do not agree, and neither is wrong enough to be mended: what httptools does, and what h11 does.
DIFFERENCES = {
    "RTSP": (CLOSED, REFUSED),
    "HTTP/1.0 keep-alive": (REUSED, CLOSED),
    "HTTP/1.2": (REFUSED, REUSED),
    "HTTP/2.0": (CLOSED, REUSED),
    "bare LF": (REFUSED, REUSED),
    "bare LF in the end of the head": (REFUSED, REUSED),
    "leading CRLF": (REUSED, REFUSED),
    "leading LF": (REUSED, REFUSED),
    "fold": (REFUSED, REUSED),
    "fold with tab": (REFUSED, REUSED),
    "fold of a length": (REFUSED, REUSED),
    "control in a value": (REFUSED, REUSED),
    "DEL in a value": (REFUSED, REUSED),
    "same length twice": (REFUSED, REUSED),
    "same length in one": (REFUSED, REUSED),
    "100 with close": (REFUSED, REUSED),
    "chunk, blank behind its size": (REFUSED, REUSED),
    "chunk, 20 zeros": (REUSED, REFUSED),
    "chunk, blank in its extension": (REFUSED, REUSED),
    "chunk, CR in its extension": (REFUSED, REUSED),
    "trailer of a length": (REFUSED, REUSED),
    "trailer of a coding": (CLOSED, REFUSED),
}


def fate(outcome):
    """One word for it."""
    return REFUSED if outcome[0] == REFUSED else REUSED if outcome[-1] else CLOSED


@pytest.mark.parametrize("case", ODD)
def test_what_is_odd_is_read_by_both_or_stands_in_the_table(case) -> None:
    data = ODD[case]
    outcomes = [run(make(), [data]) for make in PARSERS]
    assert outcomes == [run(make(), [data[i : i + 1] for i in range(len(data))]) for make in PARSERS]
    if case in DIFFERENCES:
        assert tuple(map(fate, outcomes)) == DIFFERENCES[case]
    else:
        assert outcomes[0] == outcomes[1]


# ---- limits


def with_headers(count, size):
    return (
        OK + b"".join(b"X-%03d: %b\r\n" % (i, b"v" * (size - 5)) for i in range(count)) + b"Content-Length: 0\r\n\r\n"
    )


SIZED = len(b"Content-Length") + 1


@both
@pytest.mark.parametrize("step", [1, 1000, 65_536, 10_000_000])
@pytest.mark.parametrize(
    ("data", "fits"),
    [
        (with_headers(MAX_HEADERS - 1, 10), True),
        (with_headers(MAX_HEADERS, 10), False),
        (with_headers(1, MAX_HEAD - SIZED), True),
        (with_headers(1, MAX_HEAD - SIZED + 1), False),
        (with_headers(64, 1024 - 1), True),
        (with_headers(64, 1024), False),
        (b"HTTP/1.1 103 Early\r\nX: %b\r\n\r\n" % (b"x" * 40_000) * 2 + OK + b"Content-Length: 0\r\n\r\n", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: %b\r\n\r\n" % (b"x" * MAX_HEAD), False),
    ],
    ids=["100", "101", "64 kB in one", "one more", "64 kB in many", "more in many", "1xx", "trailers"],
)
def test_heads_have_a_limit_whatever_the_cuts(make, data, fits, step) -> None:
    outcome = run(make(), [data[i : i + step] for i in range(0, len(data), step)])
    assert outcome[:2] == (("ok", 200) if fits else ("refused", "ResponseTooLarge"))


ENDLESS = {
    "status": (b"HTTP/1.1 200 ", b"x"),
    "name": (OK, b"x"),
    "value": (OK + b"X: ", b"x"),
    "value of the second": (OK + b"X: 1\r\nY: ", b"x"),
    "blanks": (OK + b"X: 1\r\nY:", b" "),
    "headers": (OK, b"X: 1\r\n"),
    "100": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "103": (b"", b"HTTP/1.1 103 Early\r\nX: 1\r\n\r\n"),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: 1\r\n"),
    "trailer": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"x"),
    "chunk extension": (OK + b"Transfer-Encoding: chunked\r\n\r\n5;", b"x"),
    "zeros": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "long extensions": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;%b\r\nx\r\n" % (b"x" * 1000)),
}


@both
@pytest.mark.parametrize("case", ENDLESS)
def test_what_never_ends_is_given_up(make, case) -> None:
    start, more = ENDLESS[case]
    assert endless(make(), start, more) <= MAX_RAW + 2 * 4096


@both
@pytest.mark.parametrize(
    ("chunk", "step"),
    [
        (b"1\r\nx\r\n", 1),
        (b"1\r\nx\r\n", 65_536),
        (b"64;sign=%b\r\n%b\r\n" % (b"f" * 64, b"x" * 100), 1000),
    ],
    ids=["of a byte, byte by byte", "of a byte", "signed"],
)
def test_what_chunks_honestly_need_is_not_too_much(make, chunk, step) -> None:
    data = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * (MAX_RAW // 4) + b"0\r\n\r\n"
    outcome = run(make(), [data[i : i + step] for i in range(0, len(data), step)])
    assert outcome[:2] == ("ok", 200)


def endless(parser, start, more):
    """How many bytes it takes until it gives up."""
    parser.begin(head=False)
    if start:
        parser.feed(start)
    more = more * (4096 // len(more) + 1)
    for count in range(1, 200):
        try:
            parser.feed(more)
        except ResponseTooLarge:
            return count * len(more)
    pytest.fail("it takes anything")


# ---- one after the other


@both
@pytest.mark.parametrize(
    "behind",
    [
        OK + EMPTY,
        b"HTTP/1.1 500 No\r\nX: 1\r\n\r\nx",
        b"HTTP/1.1 101 Up\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"H",
        b"x",
        b"\x00" * 100,
    ],
)
@pytest.mark.parametrize(
    "first",
    [
        b"200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"204 No\r\n\r\n",
        b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_what_comes_behind_an_answer_is_nobodys(make, first, behind, later) -> None:
    parser = make()
    parser.begin(head=False)
    for data in [b"HTTP/1.1 " + first, behind] if later else [b"HTTP/1.1 " + first + behind]:
        parser.feed(data)
    assert parser.complete
    assert not parser.reusable
    assert (parser.status, b"".join(parser.chunks)) == (int(first[:3]), b"" if first.startswith(b"204") else b"hello")
    assert ("x", "1") not in parser.headers
    parser.end()
    assert not parser.reusable


@both
@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
@pytest.mark.parametrize("body", [b"hello", b"5\r\nhello\r\n0\r\n\r\n", OK + EMPTY])
def test_a_body_behind_an_answer_to_head_is_nobodys(make, framing, body) -> None:
    parser = make()
    parser.begin(head=True)
    parser.feed(OK + framing + b"\r\n" + body)
    assert (parser.complete, parser.chunks, parser.reusable) == (True, [], False)


@given(st.lists(responses(), min_size=2, max_size=8), st.lists(st.integers(0, 2000), max_size=6))
@settings(max_examples=60)
def test_one_parser_reads_one_response_after_the_other(all_of_them, cuts) -> None:
    for make in PARSERS:
        parser = make()
        for data, head, _ in all_of_them:
            assert run(parser, cut(data, cuts), head=head)[1:4] == oracle(data, head=head)
            if not parser.reusable:
                parser = make()


STAGES = {
    "nothing": (b"", "any answer"),
    "a letter": (b"H", "its head"),
    "a status line": (OK, "its head"),
    "a 100": (b"HTTP/1.1 100 Continue\r\n\r\n", "its head"),
    "a head": (OK + b"Content-Length: 5\r\n\r\n", "its body"),
    "half a body": (OK + b"Content-Length: 5\r\n\r\nhe", "its body"),
    "half a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe", "its body"),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "its body"),
    "the last chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", "its body"),
    "all": (OK + b"Content-Length: 5\r\n\r\nhello", None),
    "until close": (OK + b"\r\nhello", None),
    "nothing until close": (OK + b"\r\n", None),
}


@both
@pytest.mark.parametrize("stage", STAGES)
def test_the_end_of_the_connection(make, stage) -> None:
    data, missing = STAGES[stage]
    parser = make()
    parser.begin(head=False)
    if data:
        parser.feed(data)
    assert parser.started == bool(data)
    if missing is None:
        parser.end()
        parser.end()
        assert (parser.complete, parser.reusable) == (True, False)
    else:
        with pytest.raises(TransportError, match=f"the peer closed before the end of {missing}"):
            parser.end()
        assert not parser.reusable
        parser.begin(head=False)  # nobody does, but it must not go on with the old one
        assert run(parser, [OK + EMPTY])[0] == "ok"


def test_httptools_where_it_is_installed_and_h11_elsewhere(monkeypatch) -> None:
    assert isinstance(parser_module.new_parser(), HttptoolsParser)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert parser_module._choose() is H11Parser


# ---- anything at all

tokens = st.one_of(
    st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b";", b"\0", b"\xff", b"0", b"5", b"f" * 16]),
    st.sampled_from([b"HTTP/1.1 ", b"100", b"101", b"200", b"204", b" OK", OK, b"hello", b"X: y"]),
    st.sampled_from([b"Content-Length: ", b"Transfer-Encoding: chunked", b"Connection: close", b"Upgrade: x"]),
)
streams = st.lists(st.one_of(tokens, st.binary(max_size=8)), max_size=30).map(b"".join)


@st.composite
def damaged(draw):
    """A good response with some bytes changed, lost or doubled."""
    data = bytearray(draw(responses())[0])
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["change", "lose", "double", "insert"])):
            case "change":
                data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case "lose":
                del data[place : place + draw(st.integers(1, 10))]
            case "double":
                data[place:place] = data[place : place + draw(st.integers(1, 30))]
            case "insert":
                data[place:place] = draw(tokens)
    return bytes(data)


@given(st.one_of(streams, streams.map(OK.__add__), damaged()), st.booleans(), st.lists(st.integers(0, 600), max_size=6))
@settings(max_examples=300)
def test_anything_ends_as_a_response_or_as_a_typed_error(data, head, cuts) -> None:
    for make in PARSERS:
        whole, pieces = run(make(), [data] if data else [], head=head), run(make(), cut(data, cuts)[:-1], head=head)
        assert whole[0] in ("ok", "refused")
        assert pieces[0] in ("ok", "refused")
        if whole[0] == "ok":
            assert whole[1] >= 200
            assert len(whole[3]) <= len(data)
