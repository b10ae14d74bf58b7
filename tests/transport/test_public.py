"""A host that a service names is called at public addresses only, and at none that a second look-up would give."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from contextlib import contextmanager

import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st
from support.reroute import Names, Reroute
from support.service import ONCE, QUIET, outcome_of
from support.wire import http_server, json_answer

import switchgear as sg
from switchgear.actors.transport.public import is_public

PUBLIC, PUBLIC6, OTHER = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "8.8.8.8"

NOT_PUBLIC = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.0.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "100.127.255.255", "192.0.0.192", "192.0.2.1"),
    *("198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.255"),
    *("240.0.0.1", "255.255.255.255", "168.63.129.16"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "ff02::1"),
    *("2001:db8::1", "3fff::1", "2001::1", "2001:0:7f00:1::1", "100::1", "5f00::1", "64:ff9b:1::1", "::127.0.0.1"),
    *("::8.8.8.8", "not an address", "", "127.1", "0x7f000001", "2130706433"),
]


def as_ipv6(address: str) -> list[str]:
    """The addresses of IPv6 that stand for one of IPv4: mapped, NAT64, 6to4."""
    number = int(ipaddress.IPv4Address(address))
    return [
        str(ipaddress.IPv6Address((0xFFFF << 32) | number)),
        str(ipaddress.IPv6Address((0x64FF9B << 96) | number)),
        str(ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1)),
    ]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_public(address) -> None:
    assert not is_public(address)
    if address.count(".") == 3 and ":" not in address:
        assert not any(map(is_public, as_ipv6(address)))


@pytest.mark.parametrize("address", [PUBLIC, OTHER, "1.1.1.1", "172.32.0.1", "100.128.0.1", "223.255.255.255"])
def test_what_is_public_is_so_in_each_form(address) -> None:
    assert is_public(address)
    assert all(map(is_public, as_ipv6(address)))
    assert is_public(PUBLIC6)


@given(st.ip_addresses(v=4))
def test_a_form_of_ipv6_is_what_it_stands_for(address) -> None:
    assert {is_public(one) for one in as_ipv6(str(address))} == {is_public(str(address))}


@given(st.ip_addresses())
def test_nothing_that_the_kernel_keeps_for_itself_is_public(address) -> None:
    if is_public(str(address)):
        assert not any((address.is_loopback, address.is_link_local, address.is_multicast, address.is_unspecified))
        if address.version == 4:
            assert not address.is_reserved
        elif address.ipv4_mapped is None and address not in ipaddress.ip_network("64:ff9b::/96"):
            assert int(address) >> 125 == 1  # 2000::/3


# ---- connections


@contextmanager
def world(names, there):
    """The name server and the network of a test. They are trio's own seams: nothing of ours is replaced."""
    reroute = Reroute(there)
    trio.socket.set_custom_hostname_resolver(names)
    trio.socket.set_custom_socket_factory(reroute)
    yield reroute


@pytest.fixture
def authority(monkeypatch, tmp_path):
    """Certificates for cdn.example.com, of an authority that the system trusts."""
    ca = trustme.CA()
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(path)
    paths = ssl.get_default_verify_paths()._replace(openssl_cafile=str(path), openssl_capath="/nowhere")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("cdn.example.com").configure_cert(context)
    return context


def runtime(url="http://127.0.0.1:1", **fields):
    config = sg.ServiceConfig("svc", url, allowed_hosts=("cdn.example.com",), **({"retry": ONCE} | fields))
    return sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET))


async def get(service, **options):
    return await outcome_of(service.get(service.link("https://cdn.example.com/x?sig=1"), **options))


async def test_a_public_host_is_called_by_its_name(authority) -> None:
    async with http_server(lambda _: json_answer({"a": 1}), ssl_context=authority) as server:
        with world(Names([PUBLIC]), {PUBLIC: server.port}) as tried:
            async with runtime() as running:
                response = await running.service("svc").get(running.service("svc").link("https://cdn.example.com/x"))
    assert response.data == {"a": 1}
    assert tried.tried == [PUBLIC]
    assert dict(server.log[0].headers)["host"] == "cdn.example.com"


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["::1"],
        ["169.254.169.254"],
        ["10.0.0.7"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["fd00:ec2::254"],
        [PUBLIC, "127.0.0.1"],
        ["192.168.0.1", PUBLIC6],
        [],
    ],
)
async def test_not_even_a_connection_is_opened_where_an_address_is_not_public(answer) -> None:
    with world(Names(answer), {}) as tried:
        async with runtime() as running:
            error = await get(running.service("svc"))
    assert isinstance(error, sg.TransportError)
    assert error.processed == "no"
    assert "not public" in str(error)
    assert tried.tried == []


async def test_a_name_that_is_bound_anew_leads_nowhere(authority) -> None:
    """DNS rebinding: the first answer is public, each later one is this machine, where a server of ours listens."""
    async with http_server(lambda _: json_answer("secret"), ssl_context=authority) as ours:
        names = Names([PUBLIC], ["127.0.0.1"])
        with world(names, {"127.0.0.1": ours.port}) as tried:
            async with runtime(retry=sg.RetryPolicy(max_attempts=3, base_delay=0)) as running:
                error = await get(running.service("svc"))
    assert isinstance(error, sg.TransportError)
    assert tried.tried == [PUBLIC]  # which refused; what the name leads to now was looked at, and not called
    assert len(names.asked) == 3
    assert ours.accepted == 0


async def test_the_next_address_has_its_turn(authority, autojump_clock) -> None:
    async with http_server(lambda _: json_answer({}), ssl_context=authority) as server:
        there = {PUBLIC: None, OTHER: server.port}
        with world(Names([PUBLIC, "1.1.1.1", OTHER, PUBLIC]), there) as tried:
            async with runtime(timeout=sg.TimeoutConfig(connect=4.0)) as running:
                assert (await get(running.service("svc"))).success
    assert tried.tried == [PUBLIC, "1.1.1.1", OTHER]


async def test_none_of_them_has_it_for_longer_than_connecting_may_take(autojump_clock) -> None:
    with world(Names([PUBLIC, OTHER]), {PUBLIC: None, OTHER: None}) as tried:
        async with runtime(timeout=sg.TimeoutConfig(connect=4.0)) as running:
            begun = trio.current_time()
            error = await get(running.service("svc"))
            assert trio.current_time() - begun == pytest.approx(4.0)
    assert "within 4 s" in str(error)
    assert tried.tried == [PUBLIC, OTHER]


async def test_a_name_that_there_is_not() -> None:
    with world(Names(socket.gaierror(socket.EAI_NONAME, "no")), {}):
        async with runtime() as running:
            error = await get(running.service("svc"))
    assert isinstance(error, sg.TransportError)
    assert "gaierror" in str(error)


async def test_a_redirect_of_the_service_goes_the_same_way() -> None:
    def route(_):
        return 302, {"Location": "https://cdn.example.com/x"}, b""

    async with http_server(route) as server, runtime(server.url, follow_redirects=True) as running:
        service = running.service("svc")
        await outcome_of(service.get("/warm", headers={"X": "1"}, timeout=1e-9))
        with world(Names(["127.0.0.1"]), {"127.0.0.1": server.port}) as tried:
            error = await outcome_of(service.get("/file"))
    assert isinstance(error, sg.TransportError)
    assert "not public" in str(error)
    assert tried.tried == ["127.0.0.1"]  # to the service itself, which is configured to be there
    assert len(server.log) == 1
