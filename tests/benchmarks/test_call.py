"""The benchmark of a call measures calls: its server answers, its contenders get answers, and failures are none."""

from functools import partial
from importlib import import_module
from urllib.parse import urlsplit

import httptools
import msgspec
import pytest
import trio
import trio.lowlevel
from support.wire import unused_port

from benchmarks.call import crew, scenarios, servers, work
from benchmarks.call.contenders import Item
from benchmarks.call.job import Job, Outcome
from benchmarks.call.serve import BODY, answer
from benchmarks.call.work import Tally
from benchmarks.road import plan as road

QUICK = 0.05  # seconds


@pytest.mark.parametrize(
    ("head", "id"), [(b"GET / HTTP/1.1", None), (b"GET / HTTP/1.1\r\nX-Request-ID: 7\r\nB: c", b"7")]
)
def test_our_server_answers_200_bytes_of_json_and_gives_the_id_back(head, id):
    class Seen:
        headers: dict[bytes, bytes]
        body = b""

        def __init__(self):
            self.headers = {}

        def on_header(self, name, value):
            self.headers[name] = value

        def on_body(self, data):
            self.body += data

    seen = Seen()
    httptools.HttpResponseParser(seen).feed_data(answer(head))
    assert len(seen.body) == 200
    assert msgspec.json.decode(seen.body, type=Item).amount == 250
    assert seen.headers.get(b"X-Request-ID") == id


@pytest.mark.parametrize("server", [servers.plain, servers.secure, servers.slow])
def test_our_servers_are_there_while_they_are_needed(server, monkeypatch):
    monkeypatch.setattr(servers, "NGINX", None)
    with server() as one:
        assert one.kind == "our own"
        sample = crew.measure("socket", Job(one.urls, 2, QUICK, one.ca))
        assert sample["throughput"] > 0
        assert sample["failed"] == 0
        if server is servers.slow:  # nobody gets more answers than there is time for
            assert sample["throughput"] <= 2 * (QUICK / servers.DELAY + 1) / QUICK
    for url in one.urls:
        with pytest.raises(ConnectionRefusedError):
            servers.socket.create_connection((servers.HOST, urlsplit(url).port))


async def test_requests_may_come_in_pieces_and_together():
    with servers.slow() as server:
        stream = await trio.open_tcp_stream(servers.HOST, urlsplit(server.urls[0]).port)
        async with stream:
            for piece in (
                b"GET / HTTP/1.1\r\nX-Requ",
                b"est-ID: a\r\n\r",
                b"\nGET / HTTP/1.1\r\nX-Request-ID: b\r\n\r\n",
            ):
                await stream.send_all(piece)
                await trio.lowlevel.checkpoint()
            got = b""
            while got.count(BODY) < 2:
                got += await stream.receive_some()
    assert got.index(b"X-Request-ID: a\r\n") < got.index(b"X-Request-ID: b\r\n")


def test_without_trustme_tls_is_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(servers, "has_trustme", lambda: False)
    kinds = {
        one.name.partition(",")[0]: {contender.needs for contender in one.contenders} for one in scenarios(quick=True)
    }
    assert kinds["TLS"] == {"trustme"}
    assert kinds["plain"] == kinds["20 ms"] == {None, "aiohttp", "httpx2", "pyreqwest"}


def test_the_guarded_contender_gets_its_answers():
    outcomes = []
    with servers.slow() as server:
        work.work("guarded", Job(server.urls, 3, QUICK), outcomes.append)
    (outcome,) = outcomes
    assert outcome.calls > 0
    assert (outcome.failed, outcome.error) == (0, "")


def test_where_nobody_answers_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(work, "PATIENCE", QUICK)
    outcomes = []
    work.work("socket", Job((f"http://{servers.HOST}:{unused_port()}",), 2, QUICK), outcomes.append)
    (outcome,) = outcomes
    assert outcome.calls == 0
    assert outcome.failed > 0
    with pytest.raises(RuntimeError, match=r"not one answer in .* OSError"):
        crew.sample(outcome)


def test_a_sample_is_in_the_units_of_the_tables():
    outcome = Outcome(calls=300, failed=100, wall=0.5, cpu=0.03, error="TimeoutError()")
    assert crew.sample(outcome) == {"throughput": 600, "CPU": pytest.approx(100), "failed": 25}


async def test_measuring_begins_when_all_callers_have_had_an_answer(autojump_clock):
    tally = Tally(2, warm := trio.Event())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tally.keep_calling, partial(trio.sleep, 1))
        nursery.start_soon(tally.keep_calling, partial(trio.sleep, 2.5))
        await warm.wait()
        assert trio.current_time() == pytest.approx(2.5, abs=0.1)
        tally.over = True


async def test_measuring_begins_without_those_whom_nobody_serves(autojump_clock):
    tally = Tally(2, warm := trio.Event())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tally.keep_calling, partial(trio.sleep, 1))
        nursery.start_soon(tally.keep_calling, trio.sleep_forever)
        await warm.wait()
        assert tally.calls == 6
        nursery.cancel_scope.cancel()


def test_the_time_of_every_module_has_a_row():
    for module, row in road.MODULES.items():
        import_module(module)
        assert row in road.ALONE
