"""Request heads: whatever is put in, one request or none."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from switchgear.actors.errors import InvalidRequest, TransportError
from switchgear.actors.service.target import Target
from switchgear.actors.transport import head

HERE = Target("http", "svc.test", 8080, "")

nasty = st.one_of(
    st.text(max_size=12),
    st.lists(
        st.one_of(
            st.sampled_from(list("a/ \t\r\n\0:é\x85\u2028\x0b\x0c\ud800\x7f\xa0\u017f\u010a")),
            st.sampled_from(["GET", "\r\n", ": ", " HTTP/1.1", "\r\n\r\n", "Host", "Content-Length", "5", "chunked"]),
        ),
        max_size=6,
    ).map("".join),
)
pairs = st.lists(st.tuples(nasty, nasty), max_size=3).map(tuple)


def encode(method="GET", target="/x", constant=(), headers=(), size=0, to=HERE):
    return head.encode(to, method, target, constant=head.Block(constant), headers=headers, size=size)


def read_by_a_server(data: bytes):
    """The one request that a server reads from these bytes: (method, target, headers)."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    request = server.next_event()
    assert isinstance(request, h11.Request), request
    return request.method, request.target, list(request.headers)


@given(nasty, nasty, pairs, pairs)
@example("GET", "/", (), ((" folded", "x"),))
@example("GET", "/", (), (("Content-Length", "5"),))
@example("GET", "/", (), (("", "x"),))
@example("GET", "/", (), (("a:b", "x"),))
@example("GET", "/\t", (), ())
@example("", "/", (), ())
@example("GET", "/", (), (("a", "x\r\nb: y"),))
@example("GET", "/", (("a", "x\r\nb: y"),), ())
@example("GET", "/", ((" folded", "x"),), ())
@settings(max_examples=300)
def test_nothing_splits_a_request(method, target, constant, headers) -> None:
    try:
        data = encode(method, target, constant, headers)
    except InvalidRequest:
        return
    assert data.endswith(b"\r\n\r\n")
    assert data.count(b"\r\n\r\n") == 1
    got_method, got_target, got_headers = read_by_a_server(data)
    assert got_method == method.encode()
    assert got_target == (target if target.startswith("/") else "/" + target).encode()
    strip = [(name.lower().encode(), value.strip(" \t").encode("latin-1")) for name, value in (*constant, *headers)]
    assert got_headers[0] == (b"host", b"svc.test:8080")
    assert got_headers[1 : 1 + len(strip)] == strip


@pytest.mark.parametrize("name", ["Host", "host", "Content-Length", "cOnTeNt-LeNgTh", "Transfer-Encoding"])
def test_what_says_where_a_request_ends_is_not_the_callers_to_say(name) -> None:
    with pytest.raises(InvalidRequest):
        encode(headers=((name, "5"),))
    with pytest.raises(InvalidRequest):
        encode(constant=((name, "5"),))
    assert (name.lower() + "-x").encode() in encode(headers=((name + "-X", "5"),)).lower()


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\rb", "a\nb", "a\0b", "a\x0bb", "\u0100", "\ud800", "a\x7f"])
def test_what_a_value_cannot_have(value) -> None:
    with pytest.raises(InvalidRequest) as caught:
        encode(headers=(("Authorization", "s3cret" + value),))
    assert "s3cret" not in repr(caught.value)


def test_values_are_latin_1() -> None:
    assert b"\r\nX: \xe9\t \xa0\r\n" in encode(headers=(("X", "é\t \xa0"),))


@pytest.mark.parametrize(
    ("method", "size", "line"),
    [
        ("GET", 0, None),
        ("HEAD", 0, None),
        ("DELETE", 0, None),
        ("GET", 3, b"Content-Length: 3"),
        ("POST", 0, b"Content-Length: 0"),
        ("PUT", 0, b"Content-Length: 0"),
        ("PATCH", 10**10, b"Content-Length: 10000000000"),
        ("POST", None, b"Transfer-Encoding: chunked"),
        ("GET", None, b"Transfer-Encoding: chunked"),
    ],
)
def test_framing(method, size, line) -> None:
    found = [x for x in encode(method, size=size).split(b"\r\n") if x.lower().startswith((b"content-l", b"transfer-"))]
    assert found == ([] if line is None else [line])


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://a.test", b"a.test"),
        ("http://a.test:80", b"a.test"),
        ("https://a.test:443", b"a.test"),
        ("http://a.test:443", b"a.test:443"),
        ("https://a.test:80", b"a.test:80"),
        ("http://127.0.0.1:8080", b"127.0.0.1:8080"),
        ("http://[::1]:8080", b"[::1]:8080"),
        ("http://[2001:db8::1]", b"[2001:db8::1]"),
        ("https://bücher.test:1", b"xn--bcher-kva.test:1"),
    ],
)
def test_host(url, host) -> None:
    data = encode(to=Target.parse(url))
    assert data.split(b"\r\n")[1] == b"Host: " + host
    assert read_by_a_server(data)[2] == [(b"host", host)]


def test_a_host_of_other_letters_goes_out_as_dns_wants_it() -> None:
    assert b"\r\nHost: xn--bcher-kva.test\r\n" in encode(to=Target("http", "bücher.test", 80, ""))
    assert b"\r\nHost: xn--bcher-kva.test:81\r\n" in encode(to=Target("http", "bücher.test", 81, ""))


@pytest.mark.parametrize("host", ["ü" * 70, "ü..a"])
def test_a_host_that_no_dns_can_have(host) -> None:
    with pytest.raises(TransportError) as caught:
        encode(to=Target("http", host, 80, ""))
    assert caught.value.processed == "no"


@pytest.mark.parametrize("host", ["a\r\nX: y", "a b", "a\0", "a/b", "a\n", ""])
def test_a_host_cannot_split_a_request_either(host) -> None:
    with pytest.raises((TransportError, InvalidRequest)):
        encode(to=Target("http", host, 80, ""))


@pytest.mark.parametrize(
    ("prefix", "target", "line"),
    [
        ("", "", b"GET / HTTP/1.1"),
        ("", "/", b"GET / HTTP/1.1"),
        ("", "?a=1", b"GET /?a=1 HTTP/1.1"),
        ("/v1", "", b"GET /v1 HTTP/1.1"),
        ("/v1", "/x?a=1", b"GET /v1/x?a=1 HTTP/1.1"),
        ("/v1", "?a=1", b"GET /v1?a=1 HTTP/1.1"),
    ],
)
def test_path(prefix, target, line) -> None:
    assert encode(target=target, to=Target("http", "a", 80, prefix)).split(b"\r\n")[0] == line


@pytest.mark.parametrize("target", ["/a b", "/a\r\n", "/é", "/\x7f", "/a\tb", "/ HTTP/1.1\r\nX: y\r\n\r\nGET /"])
def test_what_a_target_cannot_have(target) -> None:
    with pytest.raises(InvalidRequest):
        encode(target=target)


def test_constant_headers_come_before_those_of_the_request() -> None:
    names = [name for name, _ in read_by_a_server(encode(constant=(("A", "1"),), headers=(("B", "2"),)))[2]]
    assert names == [b"host", b"a", b"b"]


def test_no_look_takes_long() -> None:
    with pytest.raises(InvalidRequest):
        encode(headers=(*[("X", "y" * 1000)] * 1000, ("X", "\n")))
