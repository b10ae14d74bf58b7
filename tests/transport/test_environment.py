"""What the variables of the environment say means nothing: who can set one must not lead us, or read along."""

from __future__ import annotations

import logging
import ssl

import pytest
import trustme
from support.http2 import http2_server, server_context
from support.service import ONCE, QUIET, outcome_of
from support.wire import http_server, json_answer, unused_port

import switchgear as sg

CA = trustme.CA()
CANARY = "canary-e77"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """All that Python's HTTP libraries are known to read."""
    nowhere = f"http://user:{CANARY}@127.0.0.1:{unused_port()}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, nowhere)
        monkeypatch.setenv(name.lower(), nowhere)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    netrc = f"machine 127.0.0.1 login user password {CANARY}\nmachine localhost login user password {CANARY}\n"
    (tmp_path / ".netrc").write_text(netrc)
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    return tmp_path


async def call(url, **fields):
    config = sg.ServiceConfig("svc", url, retry=ONCE, **fields)
    async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET)) as runtime:
        return await outcome_of(runtime.service("svc").get("/x"))


def tls_server():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.keylog_filename = None  # what the server's side writes is not ours
    CA.issue_cert("localhost").configure_cert(context)
    return context


async def test_a_call_goes_straight_to_where_it_is_sent(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    async with http_server(lambda _: json_answer(1)) as server:
        assert (await call(server.url)).data == 1
    names = {name.lower() for name, _ in server.log[0].headers}
    assert not {"authorization", "proxy-authorization"} & names
    assert CANARY not in caplog.text


async def test_an_authority_is_not_one_because_a_variable_says_so(environment) -> None:
    async with http_server(lambda _: json_answer(1), ssl_context=tls_server()) as server:
        url = f"https://localhost:{server.port}"
        error = await call(url)
        assert isinstance(error, sg.TransportError)
        assert "certificate is not accepted" in str(error)
        assert (await call(url, tls=sg.TLSConfig(ca_file=str(environment / "ca.pem")))).data == 1
    assert len(server.log) == 1


async def test_no_keys_are_written_and_what_is_not_followed_is_said(environment, caplog) -> None:
    caplog.set_level(logging.INFO, "switchgear")
    async with http_server(lambda _: json_answer(1), ssl_context=tls_server()) as server:
        url = f"https://localhost:{server.port}"
        await call(url)
        await call(url, tls=sg.TLSConfig(ca_file=str(environment / "ca.pem")))
    keys = environment / "keys"
    assert not keys.exists() or not keys.read_text().count("SECRET")
    assert "SSLKEYLOGFILE is set in the environment, and not followed" in caplog.text
    assert "of the environment is not read: name the file as tls.ca_file" in caplog.text


async def test_nor_where_httpx_connects_for_us(environment) -> None:
    """HTTP/2 goes over httpx's transport, which could trust the environment."""
    context = server_context(CA, "localhost")
    context.keylog_filename = None
    async with http2_server(lambda _: (200, {"content-type": "application/json"}, b"1"), context) as server:
        tls = sg.TLSConfig(ca_file=str(environment / "ca.pem"))
        assert (await call(server.url, tls=tls, http2=True)).data == 1
        assert not {"authorization", "proxy-authorization"} & set(server.requests[0].headers)
        assert isinstance(await call(server.url, http2=True), sg.TransportError)
    keys = environment / "keys"
    assert not keys.exists() or not keys.read_text().count("SECRET")


async def test_where_the_place_of_the_system_is_not_there_python_finds_them(environment, monkeypatch) -> None:
    paths = ssl.get_default_verify_paths()._replace(openssl_cafile="/nowhere", openssl_capath="/nowhere")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    async with http_server(lambda _: json_answer(1), ssl_context=tls_server()) as server:
        assert (await call(f"https://localhost:{server.port}")).data == 1
