"""The examples of docs/testing.rst, run as they stand there."""

from __future__ import annotations

import runpy
import threading
from pathlib import Path

import pytest
import trio
from support.wire import HOST, http_server, json_answer

EXAMPLES = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "examples" / "testing.py"))
test_that_an_outage_is_met_by_the_breaker = EXAMPLES["test_that_an_outage_is_met_by_the_breaker"]


async def test_a_bad_network_is_survived() -> None:
    async with http_server(lambda _: json_answer({"ok": True})) as server:
        await EXAMPLES["check_that_a_bad_network_is_survived"](HOST, server.port)


@pytest.fixture
def server():
    """One that runs in a loop of its own, as a user's would."""
    ready, port, stop = threading.Event(), [], []

    async def main():
        async with http_server(lambda _: json_answer({"ok": True})) as server:
            port.append(server.port)
            with trio.CancelScope() as scope:
                token = trio.lowlevel.current_trio_token()
                stop.append(lambda: token.run_sync_soon(scope.cancel))
                ready.set()
                await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    ready.wait(10)
    yield HOST, port[0]
    stop[0]()
    thread.join(10)
    assert not thread.is_alive()


def test_it_recovers_from_any_schedule(server) -> None:
    EXAMPLES["check_that_it_recovers"](server)
