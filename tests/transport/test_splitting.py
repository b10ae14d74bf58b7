"""Whatever is passed with a call, a server of HTTP/1 or HTTP/2 reads one request, or nothing was sent.

(`test_head.py` has the same of the bytes of HTTP/1 for generated parts; here are both ways on real connections, and
what stands between them and a caller.)
"""

from __future__ import annotations

import random
import ssl
from contextlib import asynccontextmanager

import httpx
import pytest
import trustme
from support.http2 import http2_server, server_context
from support.service import ONCE, QUIET, outcome_of
from support.wire import http_server, json_answer

import switchgear as sg
from switchgear.actors.service.target import Target
from switchgear.actors.transport import HttpxDoor
from switchgear.actors.transport.door import Wire
from switchgear.actors.transport.head import Block

CA = trustme.CA()
CANARY = "canary-9d2"
BREAKS = [
    "\r\n",
    "\n",
    "\r",
    "\x00",
    "\u2028",
    "\x0b",
    "\x1c",
    "\x7f",
    "\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n",
]
BREAKS += ["\r\nX-Evil: 1", "\n X-Folded: 1", "\u010d\u010a", "\ud800"]  # the last but one is CR LF, cut to bytes


@asynccontextmanager
async def served(version, tmp_path):
    """A service that speaks this HTTP, and what its server has read: (method, path, headers) of each request."""
    read = []
    if version == 1:

        def route(received):
            read.append((received.method, received.target, {n.lower(): v for n, v in received.headers}))
            return json_answer(1)

        async with http_server(route) as server, serving(server.url) as service:
            yield service, read
        return
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def route2(request):
        read.append((request.method, request.path, request.headers))
        return 200, {"content-type": "application/json"}, b"1"

    async with http2_server(route2, server_context(CA, "localhost")) as server:
        tls = sg.TLSConfig(ca_file=str(tmp_path / "ca.pem"))
        async with serving(server.url, tls=tls, http2=True) as service:
            yield service, read
        assert not server.violations


@asynccontextmanager
async def serving(url, **fields):
    config = sg.RuntimeConfig((sg.ServiceConfig("svc", url, retry=ONCE, **fields),), metrics=QUIET)
    async with sg.open_runtime(config) as runtime:
        yield runtime.service("svc")


def hostile(rng):
    """Text with something in it that could end a line."""
    break_ = rng.choice(BREAKS)
    return rng.choice([f"{CANARY}{break_}b", f"{break_}{CANARY}", f"{CANARY}{break_}", f"a{break_}{CANARY}{break_}"])


PLACES = {
    "method": lambda text: {"method": text},
    "path": lambda text: {"path": f"/{text}"},
    "query": lambda text: {"path": f"/x?{text}"},
    "name": lambda text: {"headers": {text: "1"}},
    "value": lambda text: {"headers": {"X-A": text}},
    "second value": lambda text: {"headers": [("X-A", "1"), ("x-a", text)]},
    "request id": lambda text: {"headers": {"X-Request-ID": text}},
    "idempotency key": lambda text: {"idempotency_key": text},
    "content type": lambda text: {"headers": {"Content-Type": text}, "content": b"x"},
    "host": lambda text: {"headers": {"Host": text}},
    "length": lambda text: {"headers": {"Content-Length": text}},
    "pseudo header": lambda text: {"headers": {f":authority{text}": "evil"}},
}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
async def test_one_request_or_none(version, place, tmp_path) -> None:
    rng = random.Random(7)
    async with served(version, tmp_path) as (service, read):
        for _ in range(30):
            options = {"method": "GET", "path": "/x"} | place(hostile(rng))
            before = len(read)
            end = await outcome_of(service.request(options.pop("method"), options.pop("path"), **options))
            if isinstance(end, sg.ServiceResponse):  # quoted, or a character that ends no line
                assert len(read) == before + 1
            else:
                assert isinstance(end, sg.InvalidRequest)
                assert CANARY not in str(end) or place in (PLACES["method"], PLACES["path"])
                assert len(read) == before
        assert (await service.get("/last")).data == 1
    assert not [one for one in read if "evil" in one[1] or {"x-evil", "x-folded"} & set(one[2])]
    assert read[-1][1] == "/last"


@pytest.mark.parametrize("break_", ["\r", "\n", "\x00", "\r\nX-Evil: 1"])
async def test_nor_past_all_checks_of_ours_but_the_last(break_, tmp_path) -> None:
    """h2 sends a line break as it is (h2 #1326), and it has reached nginx: so the door looks, whoever comes."""
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))

    def route(_):
        return 200, {}, b""

    async with http2_server(route, server_context(CA, "localhost")) as server:
        to = Target("https", "localhost", server.port, "")
        transport = httpx.AsyncHTTPTransport(verify=context, http2=True, trust_env=False)
        door = HttpxDoor(lambda: transport, owned=True, scrub=str, http2=True)
        await door.exchange(to, Wire("GET", "/first", ()), connect=5, max_bytes=10)
        for wire in (
            Wire(f"GET{break_}", "/x", ()),
            Wire("GET", f"/x{break_}", ()),
            Wire("GET", "/x", ((f"X-A{break_}", "1"),)),
            Wire("GET", "/x", (("X-A", f"{CANARY}{break_}"),)),
        ):
            with pytest.raises(sg.InvalidRequest) as caught:
                await door.exchange(to, wire, connect=5, max_bytes=10)
            assert CANARY not in str(caught.value)
        with pytest.raises(sg.InvalidRequest):
            Block((("X-A", f"{CANARY}{break_}"),))
        await door.aclose()
    assert [one.path for one in server.requests] == ["/first"]
