"""An instance whose address is known: that is dialled, and everything else goes by the endpoint's name."""

from __future__ import annotations

import ssl

import pytest
import trustme
from support.http2 import http2_server, server_context
from support.wire import http_server, json_answer

import switchgear as sg

NAME = "bank.example"  # which no name server knows


def config(port, *, scheme="http", **options):
    service = sg.ServiceConfig("bank", retry=sg.RetryPolicy(max_attempts=1), **options)
    instance = sg.ServiceInstance("1", "bank", endpoint=f"{scheme}://{NAME}:{port}", address="127.0.0.1")
    return sg.RuntimeConfig([service], metrics=sg.MetricsConfig(websocket=False)), instance


def certificate(tmp_path, name=NAME):
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return context, sg.TLSConfig(ca_file=str(path))


async def test_the_address_is_dialled_and_the_host_header_is_the_endpoints():
    async with http_server(lambda got: json_answer(got.header("host"))) as server:
        settings, instance = config(server.port, health_check=sg.HealthCheckConfig(interval=1000))
        async with sg.open_runtime(settings) as runtime:
            await runtime.registry.register(instance)
            assert (await runtime.service("bank").get("/")).data == f"{NAME}:{server.port}"
            assert (await runtime.health.check("bank")).status == "healthy"


@pytest.mark.parametrize(("certified", "code"), [(NAME, None), ("127.0.0.1", "TRANSPORT")])
async def test_the_certificate_has_to_be_the_endpoints(tmp_path, certified, code):
    context, tls = certificate(tmp_path, certified)
    async with http_server(lambda _: json_answer(1), ssl_context=context) as server:
        settings, instance = config(server.port, scheme="https", tls=tls)
        async with sg.open_runtime(settings) as runtime:
            await runtime.registry.register(instance)
            response = await runtime.service("bank").try_request("GET", "/")
            assert (response.error and response.error.code) == code


async def test_over_http2_too(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = sg.TLSConfig(ca_file=str(tmp_path / "ca.pem"))

    def echo(request):
        return 200, {"content-type": "text/plain"}, request.headers[":authority"].encode()

    async with http2_server(echo, server_context(authority, NAME)) as server:
        settings, instance = config(server.port, scheme="https", tls=tls, http2=True)
        async with sg.open_runtime(settings) as runtime:
            await runtime.registry.register(instance)
            assert (await runtime.service("bank").get("/")).data == f"{NAME}:{server.port}"


@pytest.mark.parametrize(
    ("endpoint", "address", "says"),
    [
        ("http://a.test", "b.test", "must be an IP address or empty"),
        ("http://a.test", 7, "must be an IP address or empty"),
        ("http://localhost", "10.0.0.1", "the endpoint is on this machine"),
    ],
)
async def test_what_is_no_address_is_refused(endpoint, address, says):
    settings, _ = config(1)
    async with sg.open_runtime(settings) as runtime:
        with pytest.raises(sg.ConfigError, match=says):
            await runtime.registry.register(sg.ServiceInstance("1", "bank", endpoint=endpoint, address=address))
