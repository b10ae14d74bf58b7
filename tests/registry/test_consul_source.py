"""Instances from Consul: an agent that answers by a script, as it should and as its users complain that it does."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from support.service import ONCE, QUIET, drain
from support.sources import until, until_known
from support.wire import http_server

import switchgear as sg
from switchgear.actors.events import SourceDown, SourceRecovered


def entry(number, *, status="passing", address="", tags=(), meta=None, weights=None):
    service = {"ID": f"bank-{number}", "Service": "bank", "Address": address, "Port": 8000 + number, "Tags": list(tags)}
    service |= {"Meta": meta, "Weights": weights or {"Passing": 10, "Warning": 1}}
    node = {"Node": f"n{number}", "Address": f"10.0.0.{number}"}
    return {"Node": node, "Service": service, "Checks": [{"Status": "passing"}, {"Status": status}]}


class Agent:
    """A transport that answers as Consul does; a query with the index that it has waits until that is another."""

    def __init__(self, *entries, index=10):
        self.entries, self.index = list(entries), index
        self.times, self.requests = [], []
        self.changed = trio.Event()
        self.answer = None  # instead of the honest one

    def change(self, *entries, index=None):
        self.entries, self.index = list(entries), self.index + 1 if index is None else index
        self.wake()

    def wake(self):
        self.changed.set()
        self.changed = trio.Event()

    async def handle_async_request(self, request):
        self.times.append(trio.current_time())
        self.requests.append(request)
        if self.answer is not None:
            return self.answer(request)
        asked = int(request.url.params.get("index", 0))
        if asked == self.index:
            wait = float(request.url.params["wait"].removesuffix("s"))
            with trio.move_on_after(wait):
                await self.changed.wait()
        return httpx.Response(200, headers={"X-Consul-Index": str(self.index)}, json=self.entries)

    async def aclose(self):
        pass


@asynccontextmanager
async def following(agent, **fields):
    source = sg.ConsulSource("bank", url="http://localhost:8500", **fields)
    service = sg.ServiceConfig("svc", sources=[source], retry=ONCE)
    config = sg.RuntimeConfig([service], metrics=QUIET)
    with trio.fail_after(100_000):
        async with sg.open_runtime(config, transport=agent, seed=1) as runtime, runtime.events() as events:
            yield runtime, events


async def test_what_no_check_calls_critical_is_an_instance(autojump_clock):
    agent = Agent(
        entry(1, tags=["region=eu", "canary"], meta={"version": "1.2", "canary": "no"}),
        entry(2, status="warning", address="10.9.9.9"),
        entry(3, status="critical"),
        entry(4, address="fd00::4"),
    )
    async with following(agent, tag="blue", datacenter="dc 1", path="/v1") as (runtime, _):
        known = await until_known(runtime, "n1/bank-1", "n2/bank-2", "n4/bank-4")
        first, second = known["n1/bank-1"], known["n2/bank-2"]
        assert (first.endpoint, first.weight, first.version) == ("http://10.0.0.1:8001/v1", 10, "1.2")
        assert first.metadata == {"region": "eu", "canary": "no", "version": "1.2"}
        assert (second.endpoint, second.weight) == ("http://10.9.9.9:8002/v1", 1)
        assert known["n4/bank-4"].endpoint == "http://[fd00::4]:8004/v1"
        assert dict(agent.requests[0].url.params) == {"tag": "blue", "dc": "dc 1", "index": "0", "wait": "60s"}


async def test_a_name_for_certificates(autojump_clock):
    agent = Agent(entry(1), entry(2, address="two.bank.test"))
    async with following(agent, scheme="https", host="bank.test") as (runtime, _):
        known = await until_known(runtime, "n1/bank-1", "n2/bank-2")
        assert (known["n1/bank-1"].endpoint, known["n1/bank-1"].address) == ("https://bank.test:8001", "10.0.0.1")
        assert (known["n2/bank-2"].endpoint, known["n2/bank-2"].address) == ("https://two.bank.test:8002", "")


async def test_a_change_is_known_at_once_and_nothing_is_asked_meanwhile(autojump_clock):
    agent = Agent(entry(1))
    async with following(agent) as (runtime, _):
        await until_known(runtime, "n1/bank-1")
        await trio.sleep(600)
        assert 10 <= len(agent.times) <= 12  # one a minute
        began = trio.current_time()
        agent.change(entry(1), entry(2))
        await until_known(runtime, "n1/bank-1", "n2/bank-2")
        assert trio.current_time() == began


async def test_an_index_that_goes_backwards_is_forgotten(autojump_clock):
    agent = Agent(entry(1), index=1000)
    async with following(agent) as (runtime, _):
        await until_known(runtime, "n1/bank-1")
        agent.change(entry(2), index=5)  # the agent was restored from a snapshot
        await until_known(runtime, "n2/bank-2")
        agent.change(entry(3))
        await until_known(runtime, "n3/bank-3")


@pytest.mark.parametrize("header", [{"X-Consul-Index": "0"}, {}, {"X-Consul-Index": "what"}, {"X-Consul-Index": "7"}])
async def test_a_server_that_never_blocks_is_not_flooded(autojump_clock, header):
    agent = Agent()
    agent.answer = lambda _: httpx.Response(200, headers=header, json=[entry(1)])
    async with following(agent) as (runtime, _):
        await until_known(runtime, "n1/bank-1")
        await trio.sleep(300)
        assert 10 <= len(agent.times) <= 300 / 15 + 3
        (status,) = await runtime.registry.sources("svc")
        assert status.age <= 15


def broken(*args, **kwargs):
    return lambda _: httpx.Response(*args, **kwargs)


def no_connection(_):
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (broken(500), "answered 500"),
        (broken(403, text="ACL not found"), "answered 403"),
        (broken(200, text="<html>"), "not what it should be"),
        (broken(200, json=[{"Node": {}}]), "not what it should be"),
        (broken(200, text="[" * 100_000), "not what it should be"),
        (no_connection, "no connection"),
    ],
)
async def test_an_outage_keeps_the_last_good_set(autojump_clock, answer, says):
    agent = Agent(entry(1))
    async with following(agent) as (runtime, events):
        await until_known(runtime, "n1/bank-1")
        agent.answer = answer
        agent.wake()
        assert says in (await until(events, SourceDown)).error
        await trio.sleep(3600)
        await until_known(runtime, "n1/bank-1")
        (status,) = await runtime.registry.sources("svc")
        assert status.age >= 3600
        assert len(agent.times) < 300  # and it is not hammered
        agent.answer = None
        await until(events, SourceRecovered)
        agent.change(entry(2))
        await until_known(runtime, "n2/bank-2")


async def test_an_agent_that_answers_nothing_is_an_outage(autojump_clock):
    agent = Agent(entry(1))
    async with following(agent) as (runtime, events):
        await until_known(runtime, "n1/bank-1")

        async def silence(_):
            await trio.sleep_forever()

        agent.handle_async_request = silence
        agent.wake()
        assert "in time" in (await until(events, SourceDown)).error
        await until_known(runtime, "n1/bank-1")


async def test_one_entry_that_is_none_does_not_take_the_others_along(autojump_clock):
    agent = Agent(entry(1), entry(2, address="no host"))
    async with following(agent) as (runtime, _):
        await until_known(runtime, "n1/bank-1")
        (status,) = await runtime.registry.sources("svc")
        assert "1 of its entries" in status.error


async def test_what_is_wrong_with_an_entry_is_said_once_and_stays_true_while_nothing_changes(autojump_clock):
    agent = Agent(entry(1), entry(2, address="no host"))
    async with following(agent, wait=60.0) as (runtime, events):
        for again in (lambda: None, lambda: agent.change(entry(3), entry(2, address="no host"))):
            await trio.sleep(200)  # looks that find nothing new
            (status,) = await runtime.registry.sources("svc")
            assert "1 of its entries" in status.error
            assert status.age <= 61
            again()
        assert not [one for one in drain(events) if isinstance(one, (SourceDown, SourceRecovered))]
        agent.change(entry(3))
        await until(events, SourceRecovered)


async def test_the_token_is_sent_and_shown_nowhere(tmp_path):
    def route(received):
        body = json.dumps([entry(1)]).encode()
        return (200 if received.header("x-consul-token") == "s3cret" else 403), {"X-Consul-Index": "7"}, body

    async with http_server(route) as server:
        source = sg.ConsulSource("bank", url=server.url, token=sg.Secret("s3cret"))
        assert "s3cret" not in repr(source)
        config = sg.RuntimeConfig([sg.ServiceConfig("svc", sources=[source])], metrics=QUIET)
        with trio.fail_after(30):
            async with sg.open_runtime(config) as runtime:
                await until_known(runtime, "n1/bank-1")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"service": ""}, "must be the service's name"),
        ({"url": "http://consul.example", "token": sg.Secret("s")}, "over plain http"),
        ({"url": "https://consul.example", "tls": sg.TLSConfig(verify=False)}, "only for services on this machine"),
        ({"wait": 0.5}, "wait"),
        ({"path": "v1"}, "path"),
    ],
)
def test_what_cannot_be_configured(fields, says):
    with pytest.raises(sg.ConfigError, match=says):
        sg.ConsulSource(**{"service": "bank"} | fields)
