"""Instances from etcd, and one of our own put there: a real server, and one that does wrong to order."""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from support.programs import etcd
from support.service import ONCE, QUIET, drain
from support.sources import until, until_known
from support.wire import unused_port

import switchgear as sg
from switchgear.actors.events import AdvertFailed, AdvertMade, SourceDown, SourceRecovered

PREFIX = "/services/bank/"


def b64(text):
    return base64.b64encode(text.encode()).decode()


async def put(client, key, value, **fields):
    body = {"key": b64(PREFIX + key), "value": b64(value if isinstance(value, str) else json.dumps(value)), **fields}
    (await client.post("/v3/kv/put", json=body)).raise_for_status()


async def delete(client, key):
    (await client.post("/v3/kv/deleterange", json={"key": b64(PREFIX + key)})).raise_for_status()


@asynccontextmanager
async def following(url, *, transport=None, adverts=(), **fields):
    source = sg.EtcdSource(urls=[url] if isinstance(url, str) else url, prefix=PREFIX, **fields)
    service = sg.ServiceConfig("svc", sources=[source], retry=ONCE)
    registry = sg.RegistryConfig(advertise=adverts)
    config = sg.RuntimeConfig([service], metrics=QUIET, registry=registry)
    with trio.fail_after(60 if transport is None else 100_000):
        async with sg.open_runtime(config, transport=transport, seed=1) as runtime, runtime.events() as events:
            yield runtime, events


@pytest.fixture
def ports():
    return unused_port(), unused_port()


async def test_keys_below_a_prefix_are_instances_and_followed(tmp_path, ports):
    async with etcd(tmp_path, *ports) as client:
        await put(client, "a", {"endpoint": "http://a.test", "weight": 3, "metadata": {"zone": "eu"}})
        await client.post("/v3/kv/put", json={"key": b64("/services/other"), "value": b64("{}")})
        async with following(str(client.base_url)) as (runtime, _):
            known = await until_known(runtime, "a")
            assert (known["a"].endpoint, known["a"].weight, known["a"].metadata) == ("http://a.test", 3, {"zone": "eu"})
            await put(client, "b", {"endpoint": "http://b.test", "id": "other"})
            await until_known(runtime, "a", "other")
            await delete(client, "a")
            await until_known(runtime, "other")
            await put(client, "c", "<html>")
            await put(client, "d", {"endpoint": "d.test"})
            await put(client, "e", {"endpoint": "http://e.test"})
            await until_known(runtime, "other", "e")
            (status,) = await runtime.registry.sources("svc")
            assert "2 of its entries are no instances" in status.error


async def test_a_server_that_goes_and_comes_back_with_what_it_had(tmp_path, ports):
    async with etcd(tmp_path, *ports) as client:
        await put(client, "a", {"endpoint": "http://a.test"})
    urls = [f"http://127.0.0.1:{unused_port()}", f"http://127.0.0.1:{ports[0]}"]  # the first is never there
    async with following(urls) as (runtime, events):
        assert await runtime.registry.discover("svc") == ()
        async with etcd(tmp_path, *ports) as client:
            await until(events, SourceRecovered)
            await until_known(runtime, "a")
        await until(events, SourceDown)
        await until_known(runtime, "a")
        async with etcd(tmp_path, *ports) as client:
            await put(client, "b", {"endpoint": "http://b.test"})
            await until_known(runtime, "a", "b")


async def test_an_advert_is_found_and_gone_with_its_runtime(tmp_path, ports):
    async with etcd(tmp_path, *ports) as client:
        url = str(client.base_url)
        advert = sg.EtcdAdvert(urls=[url], key=f"{PREFIX}web-1", instance=sg.InstanceConfig("http://me.test", weight=2))
        async with following(url) as (runtime, _):
            assert await runtime.registry.discover("svc") == ()
            async with following(url, adverts=[advert]) as (own, _):
                known = await until_known(runtime, "web-1")
                assert (known["web-1"].endpoint, known["web-1"].weight) == ("http://me.test", 2)
                await until_known(own, "web-1")
            await until_known(runtime)


async def test_an_advert_comes_back_when_its_key_or_its_lease_is_taken_away(tmp_path, ports):
    async with etcd(tmp_path, *ports) as client:
        url = str(client.base_url)
        advert = sg.EtcdAdvert(urls=[url], key=f"{PREFIX}web-1", instance=sg.InstanceConfig("http://me.test"), ttl=2)
        async with following(url, adverts=[advert]) as (runtime, events):
            await until_known(runtime, "web-1")
            await delete(client, "web-1")
            await until_known(runtime)
            await until_known(runtime, "web-1")
            leases = (await client.post("/v3/lease/leases", json={})).json()["leases"]
            for lease in leases:
                await client.post("/v3/lease/revoke", json=lease)
            await until_known(runtime)
            await until(events, AdvertMade)
            await until_known(runtime, "web-1")


async def test_an_advert_that_cannot_be_made_is_said_once_and_tried_again(tmp_path, ports):
    advert = sg.EtcdAdvert(
        urls=[f"http://127.0.0.1:{ports[0]}"], key=f"{PREFIX}web-1", instance=sg.InstanceConfig("http://me.test"), ttl=2
    )
    with trio.fail_after(60):
        config = sg.RuntimeConfig(metrics=QUIET, registry=sg.RegistryConfig(advertise=[advert]))
        async with sg.open_runtime(config) as runtime, runtime.events() as events:
            assert "no connection" in (await until(events, AdvertFailed)).error
            async with etcd(tmp_path, *ports):
                await until(events, AdvertMade)


# ---- a server that does wrong


class Gateway(httpx.AsyncBaseTransport):
    """Answers lists with one key and a revision, and watches with the lines that it is given."""

    def __init__(self):
        self.keys, self.revision = ["a"], 7
        self.lists, self.watches = 0, []
        self.lines = None  # an async iterator of bytes, from what the watch asks for
        self.list = None

    async def handle_async_request(self, request):
        asked = json.loads(request.content)
        if request.url.path == "/v3/kv/range":
            self.lists += 1
            if self.list is not None:
                return self.list()
            kvs = [
                {"key": b64(PREFIX + key), "value": b64(f'{{"endpoint": "http://{key}.test"}}')} for key in self.keys
            ]
            return httpx.Response(200, json={"header": {"revision": str(self.revision)}, "kvs": kvs})
        self.watches.append(asked["create_request"])
        return httpx.Response(200, stream=Stream(self.lines or forever))


class Stream(httpx.AsyncByteStream):
    def __init__(self, lines):
        self._lines = lines

    async def __aiter__(self):
        async for line in self._lines():
            yield line


async def forever():
    yield line(created=True)
    await trio.sleep_forever()


def line(**result):
    return json.dumps({"result": {"header": {"revision": "7"}, **result}}).encode() + b"\n"


def after_a_moment(*lines):
    async def said():
        yield line(created=True)
        await trio.sleep(1)
        for one in lines:
            yield one

    return said


async def test_a_watch_begins_where_the_list_ended_and_ends_in_time(autojump_clock):
    gateway = Gateway()
    async with following("http://localhost", transport=gateway, resync=100) as (runtime, _):
        await until_known(runtime, "a")
        await trio.sleep(1000)
        assert gateway.watches[0]["start_revision"] == "8"
        assert 10 <= gateway.lists <= 11
        gateway.keys = ["a", "b"]  # which no event tells of
        await until_known(runtime, "a", "b")


async def test_what_has_been_compacted_is_listed_anew(autojump_clock):
    gateway = Gateway()
    gateway.lines = after_a_moment(line(canceled=True, compact_revision="90"))
    async with following("http://localhost", transport=gateway) as (runtime, _):
        await until_known(runtime, "a")
        gateway.keys, gateway.revision = ["b"], 99
        await until_known(runtime, "b")
        assert [watch["start_revision"] for watch in gateway.watches[:2]] == ["8", "100"]


@pytest.mark.parametrize(
    "why",
    [{"compact_revision": "90"}, {"cancel_reason": "permission denied"}, {}],
    ids=["compacted", "refused", "no word"],
)
async def test_a_server_that_ends_each_watch_at_once_is_not_flooded(autojump_clock, why):
    gateway = Gateway()

    async def over():
        if gateway.lists >= 1000:  # no time passes in a flood
            await trio.sleep_forever()
        yield line(created=True)
        yield line(canceled=True, **why)

    gateway.lines = over
    async with following("http://localhost", transport=gateway) as (runtime, _):
        await until_known(runtime, "a")
        await trio.sleep(900)
        assert 25 < gateway.lists < 125
        await until_known(runtime, "a")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "the watch has ended"),
        ([line(canceled=True, cancel_reason="permission denied")], "the watch was canceled"),
        ([b'{"error": {"grpc_code": 14}}\n'], "the watch was refused"),
        ([b"<html>\n"], "not what it should be"),
        ([line(events=[{"kv": {"key": "!"}}])], "not what it should be"),
        ([b"x" * 20_000_000], "longer than"),
    ],
    ids=["end", "cancel", "refusal", "no JSON", "no key", "no end of a line"],
)
async def test_a_watch_that_breaks_keeps_the_last_good_set(autojump_clock, lines, says):
    gateway = Gateway()
    gateway.lines = after_a_moment(*lines)
    async with following("http://localhost", transport=gateway) as (runtime, events):
        assert says in (await until(events, SourceDown)).error
        await until_known(runtime, "a")
        gateway.lines = None
        gateway.keys = ["b"]
        await until(events, SourceRecovered)
        await until_known(runtime, "b")


@pytest.mark.parametrize("answer", [{"kvs": [{"key": "!"}]}, {"header": {"revision": "x"}}, [], {"kvs": 7}])
async def test_a_list_that_is_none_keeps_the_last_good_set(autojump_clock, answer):
    gateway = Gateway()
    async with following("http://localhost", transport=gateway, resync=100) as (runtime, events):
        await until_known(runtime, "a")
        gateway.list = lambda: httpx.Response(200, json=answer)
        assert "not what it should be" in (await until(events, SourceDown)).error
        await trio.sleep(3600)
        await until_known(runtime, "a")
        assert gateway.lists < 200


class Leasing(httpx.AsyncBaseTransport):
    """A gateway for adverts: what is asked of it, and answers that can be replaced by path."""

    def __init__(self, **answers):
        self.asked, self.answers = [], answers

    async def handle_async_request(self, request):
        what = request.url.path.rpartition("/")[2]
        self.asked.append((what, json.loads(request.content)))
        honest = {"grant": {"ID": "7", "TTL": "9"}, "keepalive": {"result": {"ID": "7", "TTL": "9"}}}
        answer = self.answers.get(what, honest.get(what, {}))
        return httpx.Response(answer) if isinstance(answer, int) else httpx.Response(200, json=answer)


@asynccontextmanager
async def advertising(transport):
    advert = sg.EtcdAdvert(
        urls=["http://localhost"], key=f"{PREFIX}web-1", instance=sg.InstanceConfig("http://me.test"), ttl=9
    )
    config = sg.RuntimeConfig(metrics=QUIET, registry=sg.RegistryConfig(advertise=[advert]))
    with trio.fail_after(1000):
        async with sg.open_runtime(config, transport=transport) as runtime, runtime.events() as events:
            yield events


async def test_a_key_of_which_nobody_knows_whether_it_was_put_is_taken_back_too(autojump_clock):
    gateway = Leasing(put=503)
    async with advertising(gateway):
        await trio.sleep(1)
    assert [what for what, _ in gateway.asked[:2]] == ["grant", "put"]
    assert gateway.asked[-1] == ("revoke", {"ID": "7"})


async def test_no_key_is_put_without_a_lease(autojump_clock):
    """It would stay there for ever."""
    gateway = Leasing(grant={})
    async with advertising(gateway) as events:
        await trio.sleep(60)
        assert {what for what, _ in gateway.asked} == {"grant"}
        assert not drain(events)
        del gateway.answers["grant"]
        await until(events, AdvertMade)


@pytest.mark.parametrize(
    ("record", "fields", "says"),
    [
        (sg.EtcdSource, {"prefix": ""}, "must be the start of the instances' keys"),
        (sg.EtcdSource, {"prefix": "/a", "urls": []}, "the address of a member"),
        (sg.EtcdSource, {"prefix": "/a", "urls": ["https://a.test"], "tls": sg.TLSConfig(verify=False)}, "only for"),
        (sg.EtcdAdvert, {"key": "", "instance": sg.InstanceConfig("http://a.test")}, "must be the key of the instance"),
        (sg.EtcdAdvert, {"key": "a", "instance": sg.InstanceConfig("http://a.test"), "ttl": 1}, "ttl"),
    ],
)
def test_what_cannot_be_configured(record, fields, says):
    with pytest.raises(sg.ConfigError, match=says):
        record(**fields)
