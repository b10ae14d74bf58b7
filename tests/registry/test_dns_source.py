"""Instances from the Domain Name System: a real name server (dnsmasq), and one that does wrong to order."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio
from support.programs import dnsmasq
from support.service import ONCE, QUIET, Upstream
from support.sources import until, until_known
from support.wire import http_server, json_answer, unused_port

import switchgear as sg
from switchgear.actors.config.dns import server
from switchgear.actors.events import SourceDown, SourceRecovered


@asynccontextmanager
async def following(source, transport=None):
    service = sg.ServiceConfig("svc", sources=[source], retry=ONCE)
    with trio.fail_after(60):
        config = sg.RuntimeConfig([service], metrics=QUIET)
        async with sg.open_runtime(config, transport=transport) as runtime, runtime.events() as events:
            yield runtime, events


async def until_at(runtime, *addresses):
    """The instances, once they are at these."""
    return (await until_known(runtime, *addresses, by="address")).values()


def host_file(folder, *lines):
    (folder / "hosts").write_text("".join(f"{line}\n" for line in lines))


async def test_each_address_is_an_instance_and_is_dialled(tmp_path):
    port = unused_port()
    host_file(tmp_path, "127.0.0.1 bank.test", "127.0.0.2 bank.test", "::1 bank.test")
    async with http_server(lambda got: json_answer(got.header("host"))) as server:
        source = sg.DnsSource(endpoint=f"http://bank.test:{server.port}", nameservers=[f"127.0.0.1:{port}"])
        async with dnsmasq(tmp_path, port, "--local-ttl=60"), following(source) as (runtime, _):
            first, second = await until_at(runtime, "127.0.0.1", "127.0.0.2")
            assert (first.endpoint, second.id) == (f"http://bank.test:{server.port}", f"127.0.0.2:{server.port}")
        host_file(tmp_path, "127.0.0.1 bank.test")  # the server listens there alone
        async with dnsmasq(tmp_path, port), following(source) as (runtime, _):
            assert (await runtime.service("svc").get("/")).data == f"bank.test:{server.port}"


async def test_what_changes_is_seen_when_the_time_to_live_is_over(tmp_path):
    port = unused_port()
    host_file(tmp_path, "10.0.0.1 bank.test")
    source = sg.DnsSource(endpoint="http://bank.test", nameservers=[f"127.0.0.1:{port}"], min_ttl=0.05)
    async with dnsmasq(tmp_path, port) as server, following(source) as (runtime, events):  # its TTL is 0
        await until_at(runtime, "10.0.0.1")
        host_file(tmp_path, "10.0.0.1 bank.test", "10.0.0.2 bank.test")
        server.send_signal(signal.SIGHUP)
        await until_at(runtime, "10.0.0.1", "10.0.0.2")
        host_file(tmp_path, "10.0.0.2 bank.test")
        server.send_signal(signal.SIGHUP)
        await until_at(runtime, "10.0.0.2")
        host_file(tmp_path)  # no such name any more: an outage of the source
        server.send_signal(signal.SIGHUP)
        assert "bank.test" in (await until(events, SourceDown)).error
        await until_at(runtime, "10.0.0.2")
        (status,) = await runtime.registry.sources("svc")
        assert status.error is not None


async def test_a_name_server_that_is_not_there_is_asked_until_it_is(tmp_path):
    port = unused_port()
    host_file(tmp_path, "10.0.0.1 bank.test")
    source = sg.DnsSource(endpoint="http://bank.test", nameservers=[f"127.0.0.1:{port}"], timeout=0.2)
    async with following(source) as (runtime, events):
        assert await runtime.registry.discover("svc") == ()
        async with dnsmasq(tmp_path, port):
            await until_at(runtime, "10.0.0.1")
            await until(events, SourceRecovered)


async def test_both_families(tmp_path):
    port = unused_port()
    host_file(tmp_path, "10.0.0.1 bank.test", "fd00::1 bank.test")
    source = sg.DnsSource(endpoint="https://bank.test/v1", nameservers=[f"127.0.0.1:{port}"], family="both")
    async with dnsmasq(tmp_path, port), following(source) as (runtime, _):
        instances = await until_at(runtime, "10.0.0.1", "fd00::1")
        assert [one.id for one in instances] == ["10.0.0.1", "[fd00::1]"]


async def test_an_answer_that_no_datagram_holds_is_asked_for_by_tcp_and_an_alias_is_followed(tmp_path):
    port = unused_port()
    addresses = [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(400)]
    host_file(tmp_path, *(f"{address} fleet.test" for address in addresses))
    source = sg.DnsSource(endpoint="http://bank.test", nameservers=[f"127.0.0.1:{port}"])
    async with dnsmasq(tmp_path, port, "--cname=bank.test,fleet.test"), following(source) as (runtime, _):
        found = await until_at(runtime, *addresses)
        assert {one.endpoint for one in found} == {"http://bank.test"}


async def test_services_have_weights_and_priorities(tmp_path):
    port = unused_port()
    host_file(tmp_path, "10.0.0.1 a.bank.test", "10.0.0.2 a.bank.test", "10.0.0.3 b.bank.test")
    records = [
        "--srv-host=_https._tcp.bank.test,a.bank.test,8443,1,60",
        "--srv-host=_https._tcp.bank.test,b.bank.test,443,2,0",
        "--srv-host=_http._tcp.bank.test,b.bank.test,80,0,0",
        "--srv-host=_none._tcp.bank.test",
    ]
    servers = [f"127.0.0.1:{port}"]
    async with dnsmasq(tmp_path, port, *records):
        source = sg.SrvSource(record="_https._tcp.bank.test", path="/v1", nameservers=servers)
        async with following(source) as (runtime, _):
            found = {one.address: one for one in await runtime.registry.discover("svc")}
            assert found["10.0.0.1"].endpoint == "https://a.bank.test:8443/v1"
            assert [found[f"10.0.0.{n}"].weight for n in (1, 2, 3)] == [30, 30, 0.1]
            assert [found[f"10.0.0.{n}"].metadata["priority"] for n in (1, 2, 3)] == ["1", "1", "2"]
        source = sg.SrvSource(record="_https._tcp.bank.test", host="bank.test", nameservers=servers)
        async with following(source) as (runtime, _):
            found = {one.address: one.endpoint for one in await runtime.registry.discover("svc")}
            assert (
                found["10.0.0.1"] == "https://bank.test:8443"
            )  # whatever DNS calls it, it has to prove to be this one
            assert found["10.0.0.3"] == "https://bank.test:443"
        source = sg.SrvSource(record="_http._tcp.bank.test", scheme="http", nameservers=servers)
        async with following(source) as (runtime, _):
            (only,) = await runtime.registry.discover("svc")
            assert (only.endpoint, only.weight) == ("http://b.bank.test:80", 1)
        source = sg.SrvSource(record="_none._tcp.bank.test", nameservers=servers)
        async with following(source) as (runtime, _):
            assert await runtime.registry.discover("svc") == ()
            (status,) = await runtime.registry.sources("svc")
            assert status.error is None  # that there is no such service is an answer


# ---- a name server that does wrong


class NameServer:
    """Answers over UDP by a script: a function of the query that gives a message, bytes, or None for silence."""

    def __init__(self, socket):
        self.port = socket.getsockname()[1]
        self.asked = 0
        self.answer = None
        self._socket = socket

    async def serve(self):
        while True:
            data, there = await self._socket.recvfrom(4096)
            self.asked += 1
            query = dns.message.from_wire(data)
            said = self.answer(query)
            if said is not None:
                await self._socket.sendto(said if isinstance(said, bytes) else said.to_wire(), there)


@pytest.fixture
async def name_server(nursery):
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as socket:
        await socket.bind(("127.0.0.1", 0))
        server = NameServer(socket)
        nursery.start_soon(server.serve)
        yield server
        nursery.cancel_scope.cancel()


def with_addresses(*addresses, ttl=0, rcode=dns.rcode.NOERROR):
    def answer(query):
        response = dns.message.make_response(query)
        response.set_rcode(rcode)
        if addresses:
            name = query.question[0].name
            response.answer.append(dns.rrset.from_text(name, ttl, "IN", query.question[0].rdtype, *addresses))
        return response

    return answer


@pytest.mark.parametrize(
    "wrong",
    [
        with_addresses(rcode=dns.rcode.SERVFAIL),
        with_addresses(rcode=dns.rcode.REFUSED),
        with_addresses(rcode=dns.rcode.NXDOMAIN),
        with_addresses(),
        lambda _: None,
        lambda query: query.to_wire()[:7],
    ],
    ids=["SERVFAIL", "REFUSED", "NXDOMAIN", "no address", "silence", "garbage"],
)
async def test_a_failure_keeps_the_last_good_set(name_server, wrong):
    name_server.answer = with_addresses("10.0.0.1")
    source = sg.DnsSource(
        endpoint="http://bank.test", nameservers=[f"127.0.0.1:{name_server.port}"], min_ttl=0.01, timeout=0.2
    )
    async with following(source, Upstream(200)) as (runtime, events):
        await until_at(runtime, "10.0.0.1")
        name_server.answer = wrong
        down = await until(events, SourceDown)
        assert down.error
        assert (await runtime.service("svc").get("/")).status == 200
        name_server.answer = with_addresses("10.0.0.2")
        await until(events, SourceRecovered)
        await until_at(runtime, "10.0.0.2")


async def test_the_time_to_live_is_respected(name_server):
    name_server.answer = with_addresses("10.0.0.1", ttl=1000)
    source = sg.DnsSource(endpoint="http://bank.test", nameservers=[f"127.0.0.1:{name_server.port}"], min_ttl=0.01)
    async with following(source, Upstream(200)) as (runtime, _):
        await until_at(runtime, "10.0.0.1")
        for _ in range(20):  # calls ask no name server
            await runtime.service("svc").get("/")
        assert name_server.asked == 1


async def test_the_time_to_live_is_respected_but_not_for_ever(name_server, monkeypatch):
    """One of years, by somebody's mistake, must not be ours until we are started again."""
    monkeypatch.setattr("switchgear.actors.registry.sources.dns.LONGEST", 0.01)
    name_server.answer = with_addresses("10.0.0.1", ttl=2**31 - 1)
    source = sg.DnsSource(endpoint="http://bank.test", nameservers=[f"127.0.0.1:{name_server.port}"], min_ttl=0.01)
    async with following(source, Upstream(200)) as (runtime, _):
        await until_at(runtime, "10.0.0.1")
        name_server.answer = with_addresses("10.0.0.2", ttl=2**31 - 1)
        await until_at(runtime, "10.0.0.2")


async def test_a_name_in_other_letters_is_asked_for_as_name_servers_know_it(name_server):
    asked = []

    def answer(query):
        asked.append(query.question[0].name.to_text())
        return with_addresses("10.0.0.1", ttl=1000)(query)

    name_server.answer = answer
    source = sg.DnsSource(endpoint="http://b\u00fccher.test", nameservers=[f"127.0.0.1:{name_server.port}"])
    async with following(source, Upstream(200)) as (runtime, _):
        await until_at(runtime, "10.0.0.1")
        assert asked == ["xn--bcher-kva.test."]


def with_targets(*records, addresses):
    """Answers to a SRV record, and to its targets."""

    def answer(query):
        if query.question[0].rdtype != dns.rdatatype.SRV:
            said = addresses(query.question[0].name.to_text())
            return with_addresses(*said, rcode=dns.rcode.NOERROR if said else dns.rcode.NXDOMAIN)(query)
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text(query.question[0].name, 0, "IN", "SRV", *records))
        return response

    return answer


async def test_a_target_that_is_no_host_is_said(name_server):
    name_server.answer = with_targets("0 0 80 a\\032b.test.", addresses=lambda _: ["10.0.0.1"])
    source = sg.SrvSource(record="_http._tcp.bank.test", nameservers=[f"127.0.0.1:{name_server.port}"])
    async with following(source, Upstream(200)) as (runtime, _):
        (status,) = await runtime.registry.sources("svc")
        assert "endpoint" in status.error


async def test_a_target_that_cannot_be_found_does_not_take_the_others_along(name_server):
    known = {"a.test.": ["10.0.0.1"], "b.test.": ["10.0.0.2"]}
    records = ["0 0 80 a.test.", "0 0 80 b.test.", "0 0 80 dangling.test."]
    name_server.answer = with_targets(*records, addresses=lambda name: known.get(name, ()))
    source = sg.SrvSource(
        record="_http._tcp.bank.test", nameservers=[f"127.0.0.1:{name_server.port}"], min_ttl=0.01, timeout=0.5
    )
    async with following(source, Upstream(200)) as (runtime, _):
        await until_at(runtime, "10.0.0.1", "10.0.0.2")
        (status,) = await runtime.registry.sources("svc")
        assert "1 of 3 targets" in status.error
        assert "dangling.test" in status.error
        del known["a.test."]  # it goes on where it was found last
        known["b.test."] = ["10.0.0.3"]
        await until_at(runtime, "10.0.0.1", "10.0.0.3")
        name_server.answer = with_targets(records[1], addresses=lambda name: known.get(name, ()))
        await until_at(runtime, "10.0.0.3")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"nameservers": ["ns.example"]}, "must be IP addresses"),
        ({"nameservers": ["10.0.0.1:99999"]}, "must be IP addresses"),
        ({"nameservers": ["1:2:3"]}, "must be IP addresses"),
        ({"min_ttl": 0}, "min_ttl"),
        ({"family": "ipv5"}, "family"),
    ],
)
def test_what_cannot_be_configured(fields, says):
    with pytest.raises(sg.ConfigError, match=says):
        sg.DnsSource(endpoint="http://bank.test", **fields)


@pytest.mark.parametrize(("record", "path"), [("bank", ""), ("_http._tcp.a b", ""), ("_http._tcp.bank.test", "v1")])
def test_what_is_no_service(record, path):
    with pytest.raises(sg.ConfigError, match=r"record|path"):
        sg.SrvSource(record=record, path=path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.1", ("10.0.0.1", 53)),
        ("10.0.0.1:5353", ("10.0.0.1", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]", ("::1", 53)),
        ("[::1]:5353", ("::1", 5353)),
    ],
)
def test_a_server_may_have_a_port_and_brackets(text, found):
    assert [server(one) for one in sg.DnsSource(endpoint="http://a.test", nameservers=[text]).nameservers] == [found]
