"""From bytes to the caller's type."""

from __future__ import annotations

import dataclasses
import gzip
import json
import zlib
from typing import Annotated, Any, Literal, TypedDict

import httpx
import msgspec
import pytest
from support.service import reply_json, running
from support.wire import answers, http_server, serve

import switchgear as sg

QUIET = sg.MetricsConfig(websocket=False)


class Charge(msgspec.Struct):
    id: int
    lines: list[dict[str, int]] = []


@dataclasses.dataclass
class Money:
    amount: int


class Named(TypedDict):
    name: str


@dataclasses.dataclass
class Picky:
    amount: int

    def __post_init__(self):
        raise KeyError(self.amount)


@pytest.mark.parametrize(
    ("type_", "body", "data"),
    [
        (Charge, b'{"id": 1, "lines": [{"a": 2}], "more": 0}', Charge(1, [{"a": 2}])),
        (Money, b'{"amount": 5}', Money(5)),
        (Named, b'{"name": "x"}', {"name": "x"}),
        (dict, b'{"a": [1, null]}', {"a": [1, None]}),
        (list[int], b"[1, 2]", [1, 2]),
        (int, b"3", 3),
        (str, b'"x"', "x"),
        (int | str, b'"x"', "x"),
        (Any, b"null", None),
        (bytes, b"\x00raw", b"\x00raw"),
        (bytes, b"", b""),
        (Annotated[int, msgspec.Meta(extra={"unhashable": []})], b"3", 3),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_into_what_is_asked_for_whatever_the_content_type(type_, body, data) -> None:
    async with running((200, {"Content-Type": "text/plain"}, body)) as (service, _):
        response = await service.get("/", type=type_)
    assert response.data == data
    assert type(response.data) is type(data)


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("Application/JSON; charset=utf-8", b"[]", []),
        ("application/problem+json", b'"x"', "x"),
        ("text/plain", "j\u00f6".encode(), "j\u00f6"),
        ("text/plain", b"\xff", "\ufffd"),
        ("application/octet-stream", b"\x01", b"\x01"),
        ("", b"raw", b"raw"),
        ("application/json", b"", None),
        ("text/plain", b"", None),
    ],
)
async def test_without_a_type_the_content_type_decides(content_type, body, data) -> None:
    async with running((200, {"Content-Type": content_type}, body)) as (service, _):
        assert (await service.get("/")).data == data


@pytest.mark.parametrize(
    ("type_", "body", "field"),
    [
        (Charge, b'{"id": "x"}', "$.id"),
        (Charge, b'{"id": 1, "lines": [{}, {"a": null}]}', "$.lines[1][...]"),
        (Charge, b"{}", "$"),
        (Charge, b"[]", "$"),
        (Charge, b"", "$"),
        (Charge, b'{"id": 1', "$"),
        (str, b'"\xff"', "$"),
        (Picky, b'{"amount": 1}', "$"),
        (None, b"{", "$"),
    ],
)
async def test_what_does_not_fit_is_a_decode_error_with_the_field(type_, body, field) -> None:
    async with running(reply_json(body), reply_json(b"7")) as (service, upstream):
        with pytest.raises(sg.DecodeError) as caught:
            await service.get("/", type=type_)
        assert caught.value.field == field
        assert (caught.value.service, caught.value.attempts, caught.value.retryable) == ("svc", 1, False)
        assert caught.value.request_id == upstream.requests[0].headers["x-request-id"]
        assert (await service.get("/")).data == 7
        assert upstream.runtime.tree().find("/services/svc").restarts == 0


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["a"] = "a"


@pytest.mark.parametrize(
    ("type_", "body", "field"),
    [
        (Strict, {"kind": "no - at `canary"}, "$.kind"),
        (Strict, {"kind": "no - at `$.canary` x"}, "$.kind"),
        (Strict, {"no - at `canary": 1}, "$"),
        (list[Strict], [{"no` - at `canary": 1}], "$[0]"),
        (Literal["a"], "no - at `canary", "$"),
    ],
)
async def test_nothing_of_the_body_is_taken_for_the_place(type_, body, field) -> None:
    async with running(reply_json(json.dumps(body).encode())) as (service, _):
        with pytest.raises(sg.DecodeError) as caught:
            await service.get("/", type=type_)
    assert caught.value.field == field
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
@pytest.mark.parametrize("type_", [None, list, Any, Charge], ids=str)
async def test_a_million_brackets_are_no_end_of_the_actor(bracket, type_) -> None:
    async with running(reply_json(bracket * 1_000_000), reply_json(b"7")) as (service, upstream):
        with pytest.raises(sg.DecodeError):
            await service.get("/", type=type_)
        assert (await service.get("/")).data == 7
        assert upstream.runtime.tree().find("/services/svc").restarts == 0


@pytest.mark.parametrize("type_", [5, object(), [], Charge | dict, "Charge | None"], ids=str)
async def test_a_type_that_is_none_is_refused_before_anything_is_sent(type_) -> None:
    async with running() as (service, upstream):
        with pytest.raises(sg.InvalidRequest, match="type="):
            await service.get("/", type=type_)
    assert not upstream.requests


async def test_head_has_no_body_whatever_its_headers_say() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n"
    async with serve(answers(head, keep_alive=True)) as peer, plain(peer.url) as service:
        response = await service.head("/")
        assert (response.status, response.data, response.header("content-length")) == (200, None, "100")


@pytest.mark.parametrize("status", [204, 304])
async def test_no_content_is_none(status) -> None:
    async with running(status) as (service, _):
        assert (await service.get("/")).data is None


def plain(url, **fields):
    class Opened:
        async def __aenter__(self):
            config = sg.RuntimeConfig((sg.ServiceConfig("svc", url, retry=sg.RetryPolicy(1), **fields),), metrics=QUIET)
            self._runtime = sg.open_runtime(config)
            return (await self._runtime.__aenter__()).service("svc")

        async def __aexit__(self, *error):
            return await self._runtime.__aexit__(*error)

    return Opened()


def raw_deflate(data):
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("x-gzip", lambda data: gzip.compress(data[:3]) + gzip.compress(data[3:])),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
    ],
)
async def test_packed_answers_are_unpacked(encoding, pack, chunked) -> None:
    body = b'{"a": [%s]}' % b",".join(b"%d" % n for n in range(50_000))
    packed = pack(body)
    if chunked:
        packed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (packed[:1], packed[1:])) + b"0\r\n\r\n"
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(packed)
    head = b"HTTP/1.1 200 OK\r\n%s\r\nContent-Encoding: %s\r\n\r\n" % (length, encoding.encode())
    async with serve(answers(head + packed, keep_alive=True)) as peer, plain(peer.url) as service:
        for _ in range(2):
            assert len((await service.get("/", type=dict)).data["a"]) == 50_000


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", b"this is not gzip"),
        ("gzip", gzip.compress(b"x" * 1000)[:-5]),
        ("gzip", gzip.compress(b"x" * 1000) + b"junk after it"),
        ("deflate", b"\xff\xff\xff"),
        ("br", b"whatever"),
        ("compress", b"whatever"),
    ],
)
async def test_what_cannot_be_unpacked_is_no_answer(encoding, packed) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Encoding: %s\r\n\r\n" % (len(packed), encoding.encode())
    async with serve(answers(head + packed)) as peer, plain(peer.url) as service:
        with pytest.raises(sg.TransportError):
            await service.get("/", type=bytes)


@pytest.mark.parametrize("announced", [False, True])
@pytest.mark.parametrize("size", [1000, 1001, 1_000_000])
async def test_a_body_over_the_limit_is_refused(size, announced) -> None:
    length = b"Content-Length: %d\r\n" % size if announced else b"Connection: close\r\n"
    wire = b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + b"x" * size
    async with serve(answers(wire)) as peer, plain(peer.url, max_response_bytes=1000) as service:
        if size <= 1000:
            assert len((await service.get("/", type=bytes)).data) == size
            return
        with pytest.raises(sg.ResponseTooLarge, match="1000") as caught:
            await service.get("/", type=bytes)
        assert (caught.value.attempts, service.breaker) == (1, "closed")


async def test_the_limit_is_on_what_comes_out_and_holds_while_it_does() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000, compresslevel=9)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Encoding: gzip\r\n\r\n" % len(bomb)
    async with serve(answers(head + bomb)) as peer, plain(peer.url, max_response_bytes=100_000) as service:
        with pytest.raises(sg.ResponseTooLarge):
            await service.get("/", type=bytes)


async def test_an_answer_that_a_transport_has_unpacked_itself_is_left_alone() -> None:
    packed = httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=gzip.compress(b"7"))
    async with running(packed) as (service, _):
        assert (await service.get("/", type=int)).data == 7


async def test_errors_carry_the_answer() -> None:
    async with http_server(lambda _: (422, {"X-Why": "no"}, b'{"why": "no"}')) as server, plain(server.url) as service:
        with pytest.raises(sg.HTTPStatusError) as caught:
            await service.get("/", type=Charge)
    assert caught.value.body == b'{"why": "no"}'
    assert ("x-why", "no") in caught.value.headers
