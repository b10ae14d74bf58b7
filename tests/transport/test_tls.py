"""TLS as a service's configuration asks for it, over real sockets with certificates made for the test."""

from __future__ import annotations

import ssl

import pytest
import trustme
from support.wire import http_server, json_answer

import switchgear as sg


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(authority, *names, client=False):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


async def call(url, tls):
    config = sg.RuntimeConfig(
        [sg.ServiceConfig("svc", url, tls=tls, retry=sg.RetryPolicy(max_attempts=1), health_check=CHECK)],
        metrics=sg.MetricsConfig(websocket=False),
    )
    async with sg.open_runtime(config) as runtime:
        answers = [(await runtime.service("svc").get("/")).data for _ in range(3)]
        return answers, (await runtime.health.check("svc")).status


CHECK = sg.HealthCheckConfig(interval=1000)


async def test_an_authority_of_ones_own_and_connections_that_are_kept(authority, ca_file):
    context = server_context(authority, "localhost")
    async with http_server(lambda _: json_answer(1), ssl_context=context) as server:
        answers, health = await call(f"https://localhost:{server.port}", sg.TLSConfig(ca_file=ca_file))
        assert (answers, health) == ([1, 1, 1], "healthy")
        assert server.accepted == 2  # one for the calls, one for the health check


@pytest.mark.parametrize(
    ("host", "tls"),
    [("127.0.0.1", {"ca_file": True}), ("localhost", {})],
    ids=["another host name", "an authority that is not known"],
)
async def test_a_certificate_that_proves_nothing_is_refused_before_anything_is_sent(authority, ca_file, host, tls):
    context = server_context(authority, "localhost")
    async with http_server(lambda _: json_answer(1), ssl_context=context) as server:
        with pytest.raises(sg.TransportError, match="certificate") as caught:
            await call(f"https://{host}:{server.port}", sg.TLSConfig(ca_file=ca_file if tls else None))
        assert caught.value.processed == "no"
        assert server.log == []


async def test_a_certificate_of_our_own(authority, ca_file, tmp_path):
    mine = tmp_path / "mine.pem"
    authority.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(str(mine))
    context = server_context(authority, "localhost", client=True)
    async with http_server(lambda _: json_answer(1), ssl_context=context) as server:
        url = f"https://localhost:{server.port}"
        answers, _ = await call(url, sg.TLSConfig(ca_file=ca_file, cert_file=str(mine)))
        assert answers == [1, 1, 1]
        with pytest.raises(sg.TransportError):
            await call(url, sg.TLSConfig(ca_file=ca_file))


async def test_an_old_version_is_refused(authority, ca_file):
    context = server_context(authority, "localhost")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with http_server(lambda _: json_answer(1), ssl_context=context) as server:
        url = f"https://localhost:{server.port}"
        assert (await call(url, sg.TLSConfig(ca_file=ca_file)))[0] == [1, 1, 1]
        with pytest.raises(sg.TransportError):
            await call(url, sg.TLSConfig(ca_file=ca_file, min_version="1.3"))


async def test_to_verify_nothing_is_for_this_machine_only_and_is_said(authority, caplog):
    context = server_context(authority, "somewhere.example")
    async with http_server(lambda _: json_answer(1), ssl_context=context) as server:
        assert (await call(f"https://127.0.0.1:{server.port}", sg.TLSConfig(verify=False)))[0] == [1, 1, 1]
    assert "NOT verified" in caplog.text
    with pytest.raises(sg.ConfigError, match=r"tls\.verify"):
        sg.ServiceConfig("svc", "https://api.example.com", tls=sg.TLSConfig(verify=False))
    config = sg.RuntimeConfig(
        [sg.ServiceConfig("svc", tls=sg.TLSConfig(verify=False))], metrics=sg.MetricsConfig(websocket=False)
    )
    async with sg.open_runtime(config) as runtime:
        with pytest.raises(sg.ConfigError, match=r"tls\.verify"):
            await runtime.registry.register(sg.ServiceInstance("a", "svc", endpoint="https://api.example.com"))


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(sg.ConfigError, match="ca_file: there is no file"):
        sg.TLSConfig(ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(sg.ConfigError, match="key_file: is of no use"):
        sg.TLSConfig(key_file=__file__)
