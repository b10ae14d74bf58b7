"""Both parsers: the same response whatever the cuts, and the same that httpx would have read."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from switchgear.actors.errors import ResponseTooLarge, ServiceError, TransportError
from switchgear.actors.transport.parse_h11 import H11Parser
from switchgear.actors.transport.parse_httptools import HttptoolsParser
from switchgear.actors.transport.parser import MAX_HEAD, MAX_HEADERS, new_parser

PARSERS = [HttptoolsParser, H11Parser]
OK = b"HTTP/1.1 200 OK\r\n"

both = pytest.mark.parametrize("make", PARSERS, ids=lambda make: make.__name__)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data in pieces; each cut is a place modulo its length."""
    places = sorted({place % (len(data) + 1) for place in cuts} | {0, len(data)})
    return [data[start:end] for start, end in zip(places, places[1:], strict=False)]


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
    return ("ok", parser.status, low(parser.headers), body, parser.reusable)


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
    if draw(st.booleans()) and draw(st.booleans()):
        lines.append(b"Connection: close")
    bodiless = head or status in (204, 304)
    early = b"".join(
        b"HTTP/1.1 %d Early\r\nX-Early: 1\r\n\r\n" % draw(st.sampled_from([100, 102, 103]))
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2])))
    )
    data = early + b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if bodiless else wire)
    return data, head, framing == "close" and not bodiless


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
    data, head, until_close = response
    expected = oracle(data, head=head)
    reusable = not until_close and b"Connection: close" not in data
    for make in PARSERS:
        for pieces in ([data], cut(data, cuts), [bytes([byte]) for byte in data]):
            outcome = run(make(), pieces, head=head)
            assert outcome[0] == "ok", (make, outcome)
            assert outcome[1:4] == expected
            assert outcome[4] == reusable, make
