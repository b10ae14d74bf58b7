"""JSON that is made to break who reads it: a DecodeError or a value, and the actor lives."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.queue import empty, runtime_with
from support.service import Upstream, drain, outcome_of, reply_json, running

import switchgear as sg
from switchgear.actors.service.decode import check_type, decode
from switchgear.actors.transport import Reply

MANY = 1_000_000


class Node(msgspec.Struct):
    """A type as deep as its data."""

    next: "Node | None" = None
    name: str = ""


DEEP = {
    "brackets": b"[" * MANY,
    "braces": b'{"a":' * MANY,
    "whole": b"[" * MANY + b"]" * MANY,
    "structs": b'{"next":' * MANY,
    "in a field that is not wanted": b'{"other":' + b"[" * MANY,
}
NUMBERS = {
    "too large": b"1e400",
    "too small": b"-1e400",
    "digits": b"1" * 200_000,
    "digits of a float": b"0." + b"1" * 200_000,
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "hexadecimal": b"0x10",
    "a zero in front": b"007",
}
TEXTS = {
    "lone surrogate": b'"\\ud800"',
    "half a pair": b'"\\ud800\\u0041"',
    "no UTF-8": b'"\xff\xfe"',
    "overlong": b'"\xc0\xae"',
    "a control character": b'"\x00"',
    "no end": b'"' + b"a" * 1000,
    "a byte order mark": b"\xef\xbb\xbf1",
    "UTF-16": '"a"'.encode("utf-16"),
    "two values": b"1 2",
    "nothing but blanks": b"  ",
}
ALL = DEEP | NUMBERS | TEXTS
TYPES = [None, Any, Node, list[Any], dict[str, Any], list[Node], int | str | None, float]


@pytest.mark.parametrize("body", ALL.values(), ids=ALL.keys())
async def test_the_actor_lives(body) -> None:
    async with running(*[reply_json(body)] * len(TYPES), reply_json(b"1")) as (service, upstream):
        async with upstream.runtime.events() as events:
            for type_ in TYPES:
                end = await outcome_of(service.get("/", type=type_))
                assert isinstance(end, (sg.DecodeError, sg.ServiceResponse)), end
                if body in DEEP.values():
                    assert isinstance(end, sg.DecodeError)
                    assert len(str(end)) < 500
            assert (await service.get("/")).data == 1
            assert not [event for event in drain(events) if "Crashed" in type(event).__name__]
        assert service.breaker == "closed"


@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP.keys())
async def test_an_answer_that_was_kept_breaks_nothing_either(body) -> None:
    """It is kept as bytes, decoded for one who wants it so, and then asked for as something else."""
    async with running(reply_json(body), 503, fallbacks=(sg.CacheFallback(), sg.DefaultFallback({"name": "x"}))) as (
        service,
        _,
    ):
        assert (await service.get("/", type=bytes)).data == body
        answer = await service.get("/", type=Node)
        assert (answer.source, answer.data) == ("default", Node(name="x"))
        assert (await service.get("/", type=bytes)).source == "cache"


async def test_nor_one_of_another_service(autojump_clock) -> None:
    other = sg.ServiceConfig("backup", "http://backup.test")
    fallbacks = (sg.AlternativeFallback("backup"), sg.DefaultFallback(1))
    async with running(503, reply_json(DEEP["whole"]), others=(other,), fallbacks=fallbacks) as (service, _):
        answer = await service.get("/")
    assert (answer.source, answer.data) == ("default", 1)


async def test_nor_one_to_a_queued_call(autojump_clock) -> None:
    upstream = Upstream(503, reply_json(DEEP["whole"]))
    async with runtime_with(upstream) as runtime:
        answer = await runtime.service("svc").post("/", json=1, idempotency_key="k")
        assert answer.source == "queued"
        await empty(runtime)
    assert len(upstream.requests) == 2


async def test_nor_a_problem_of_an_error() -> None:
    async with running((500, {"Content-Type": "application/problem+json"}, DEEP["brackets"])) as (service, _):
        assert isinstance(await outcome_of(service.get("/")), sg.HTTPStatusError)


def nested(kind: str, depth: int) -> Any:
    inner: Any = 1
    for _ in range(depth):
        inner = [inner] if kind == "list" else {"a": inner} if kind == "dict" else Node(inner if inner != 1 else None)
    return inner


@pytest.mark.parametrize("kind", ["list", "dict", "struct"])
async def test_what_is_too_deep_to_be_sent_is_an_invalid_request(kind) -> None:
    async with running() as (service, upstream):
        with pytest.raises(sg.InvalidRequest, match="cannot be encoded as JSON") as caught:
            await service.post("/", json=nested(kind, 100_000))
        assert len(str(caught.value)) < 500
        loop: list[Any] = []
        loop.append(loop)
        with pytest.raises(sg.InvalidRequest, match="cannot be encoded as JSON"):
            await service.post("/", json=loop)
        for bad in (object(), {1.5j}, "\ud800", {object(): 1}):
            with pytest.raises(sg.InvalidRequest):
                await service.post("/", json=bad)
    assert not upstream.requests


def test_the_last_of_two_keys_counts() -> None:
    """As everywhere where it was not asked: who verifies a signature does so over the bytes."""
    assert decode(Reply(200, (), b'{"name":"a","name":"b"}', 0.0), Node).name == "b"


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:0123456789eE+-.\\u d8tfn', max_size=60).map(str.encode))
@example(b'{"a":1' + b"0" * 400 + b"}")
@example(b"[1e308,1e309]")
@example(b'"\\udfff\\ud800"')
def test_whatever_the_bytes(body) -> None:
    for type_ in (Any, Node, dict[str, float]):
        check_type(type_)
        try:
            value = decode(Reply(200, (), body, 0.0), type_)
        except sg.DecodeError:
            continue
        assert not (isinstance(value, float) and not math.isfinite(value))
        if type_ is Any and value is not None:  # it is JSON to others too, with the same meaning
            assert msgspec.json.decode(msgspec.json.encode(value)) == value
            json.loads(body)
