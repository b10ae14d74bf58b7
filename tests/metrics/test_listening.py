"""Where the stream listens: on loopback only, on the same port for all its lives, or not at all."""

from __future__ import annotations

import json
import socket

import pytest
import trio
from support.wire import unused_port
from trio_websocket import open_websocket_url

import switchgear as sg
from switchgear.actors.metrics import ears as ears_module
from switchgear.actors.metrics.actor import Board
from switchgear.actors.metrics.ears import listening
from switchgear.actors.metrics.ledger import Ledger
from switchgear.actors.metrics.stream import Frames, StreamActor
from switchgear.runtime import ActorCrashed, open_system


async def hello(url):
    async with open_websocket_url(url) as connection:
        return json.loads(await connection.get_message())


def metrics(**fields):
    return sg.RuntimeConfig(metrics=sg.MetricsConfig(interval=0.02, **fields))


async def test_without_a_stream_there_is_no_url_and_no_listener() -> None:
    async with sg.open_runtime(metrics(websocket=False)) as runtime:
        assert runtime.metrics.websocket_url is None
        assert [one.path for one in runtime.tree().children] == ["/metrics", "/registry", "/services"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
async def test_loopback_is_where_it_listens(host) -> None:
    async with sg.open_runtime(metrics(host=host)) as runtime:
        url = runtime.metrics.websocket_url
        if host != "localhost":
            assert url.startswith("ws://[::1]:" if host == "::1" else f"ws://{host}:")
        assert url.endswith("/metrics")
        assert (await hello(url))["type"] == "hello"


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "192.168.0.1", "example.com", "localhost.", None, 7, "127.0.0.1 ", "[::1]", "-a", "a..b"],
)
def test_anywhere_else_is_refused(host) -> None:
    with pytest.raises(sg.ConfigError, match="host: must be"):
        sg.MetricsConfig(host=host)


async def test_a_port_that_is_configured_is_the_port() -> None:
    port = unused_port()
    async with sg.open_runtime(metrics(port=port)) as runtime:
        assert runtime.metrics.websocket_url == f"ws://127.0.0.1:{port}/metrics"
        await hello(runtime.metrics.websocket_url)
    async with sg.open_runtime(metrics(port=port)) as runtime:  # and it is free again at once
        await hello(runtime.metrics.websocket_url)


async def test_a_port_that_is_taken_is_a_config_error_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(sg.ConfigError) as caught:
            async with sg.open_runtime(metrics(port=port)):
                raise AssertionError
    for word in ("metrics.port", "127.0.0.1", str(port), "in use", "0 for any free one", "websocket = false"):
        assert word in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    async with sg.open_runtime(metrics(port=port)) as runtime:
        await hello(runtime.metrics.websocket_url)


async def test_a_crash_keeps_the_port_and_says_a_new_hello(monkeypatch) -> None:
    config = sg.MetricsConfig(interval=0.02)
    board = Board(Ledger())
    async with open_system(seed=1) as system:
        async with listening(config) as ears:
            ref = await system.start(lambda: StreamActor(config, Frames(board), ears), "stream")
        host, port = ears.address
        url = f"ws://{host}:{port}/metrics"
        first = await hello(url)
        with pytest.raises(ActorCrashed):
            await ref.ask("it takes no messages")
        with trio.fail_after(10):
            second = await _once_it_is_back(url)
        assert first["boot_id"] != second["boot_id"]
        assert [one.restarts for one in system.tree().children] == [1]


async def _once_it_is_back(url):
    while True:
        try:
            return await hello(url)
        except Exception:  # noqa: BLE001 - trio-websocket has many names for "nobody there"
            await trio.sleep(0.02)


class TwoAddresses(trio.abc.HostnameResolver):
    """``localhost`` is both, as on most machines."""

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        v4 = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))
        v6 = (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", port, 0, 0))
        return [v4, v6]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


async def test_a_later_life_listens_on_all_addresses_of_the_first() -> None:
    trio.socket.set_custom_hostname_resolver(TwoAddresses())
    async with listening(sg.MetricsConfig(host="localhost", port=unused_port())) as ears:
        lives = []
        for _ in range(2):
            listeners = await ears.take()
            lives.append(sorted(one.socket.getsockname()[:2] for one in listeners))
            for one in listeners:
                await one.aclose()
    assert [host for host, _ in lives[0]] == ["127.0.0.1", "::1"]
    assert lives[1] == lives[0]


async def test_a_port_that_somebody_took_meanwhile_is_waited_for(monkeypatch, caplog) -> None:
    monkeypatch.setattr(ears_module, "_AGAIN", 0.02)
    async with listening(sg.MetricsConfig()) as ears:
        host, port = ears.address
        for one in await ears.take():
            await one.aclose()
        with socket.create_server((host, port)):
            with trio.move_on_after(0.1) as scope:
                await ears.take()
            assert scope.cancelled_caught
        with trio.fail_after(5):
            (listener,) = await ears.take()
        async with listener:
            assert listener.socket.getsockname() == (host, port)
    assert f"cannot listen on {host} port {port} again" in caplog.text


async def test_what_nobody_has_taken_is_closed_if_the_start_fails() -> None:
    async def start():
        async with listening(sg.MetricsConfig()) as ears:
            addresses.append(ears.address)
            raise ZeroDivisionError

    addresses = []
    with pytest.raises(ZeroDivisionError):
        await start()
    with socket.create_server(addresses[0]):
        pass  # it is free
