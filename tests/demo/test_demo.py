"""``switchgear demo`` from end to end, as a program of its own with its seven processes.

The services inherit the demo's stderr: reading it to its end waits for the last of them. So each test here also shows
that none outlives the demo.
"""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import trio
import trio_websocket

from switchgear.demo.view import PlainLines, best_view

SERVICES = ["accounts", "search", "payments", "partner", "legacy"]


def start(*arguments, **options):
    command = [sys.executable, "-m", "switchgear", "demo", *arguments]
    return subprocess.Popen(command, **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options))


@pytest.fixture(scope="module")
def summary():
    with start("--seconds", "3", "--seed", "1", "--json") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert out.count(b"\n") == 1
    return json.loads(out)


def test_the_summary_tells_of_five_services(summary):
    assert list(summary["services"]) == SERVICES
    assert summary["seconds"] >= 3
    assert summary["seed"] == 1
    assert summary["metrics"].startswith("ws://127.0.0.1:")
    for service in summary["services"].values():
        assert service["calls"] == service["success"] + service["fallback"] + service["failed"] > 0
        assert service["fallback"] == sum(service["sources"].values())
        assert 0 < service["p50_ms"] <= service["p99_ms"]


def test_each_service_has_its_fault_and_its_remedy(summary):
    accounts, search, payments, partner, legacy = summary["services"].values()
    assert accounts["success"] == accounts["calls"]
    assert search["failed"] == 0
    assert payments["shed"] > 0
    assert payments["sources"].keys() == {"alternative"}
    assert {"CIRCUIT_OPEN", "HTTP_STATUS"} <= payments["errors"].keys()
    assert partner["retried"] + partner["errors"].get("RATE_LIMITED", 0) > 0
    assert partner["sources"].keys() <= {"cache"}
    assert legacy["retried"] > 0
    assert legacy["success"] > legacy["failed"]


def test_the_breaker_of_payments_opens_and_closes_again(summary):
    transitions = summary["services"]["payments"]["transitions"]
    assert (transitions[0]["old"], transitions[0]["new"]) == ("closed", "open")
    assert transitions[0]["reason"]
    assert transitions[-1]["new"] == summary["services"]["payments"]["breaker"] == "closed"
    assert [one["at"] for one in transitions] == sorted(one["at"] for one in transitions)


def test_the_runtime_has_measured_what_its_callers_have_seen(summary):
    for name, service in summary["services"].items():
        on_behalf = summary["services"]["payments"]["sources"]["alternative"] if name == "accounts" else 0
        under_way = service["measured"]["count"] - service["calls"] - on_behalf
        assert 0 <= under_way <= 20  # callers that had no answer yet when the demo ended
        assert service["measured"]["fallbacks"] >= service["fallback"]
        assert service["measured"]["breaker"] == service["breaker"]


async def test_interrupted_it_still_sums_up_and_leaves_nothing_running():
    with start("--seconds", "60") as process, trio.fail_after(60):
        first = await trio.to_thread.run_sync(process.stdout.readline)
        url = first.decode().removeprefix("metrics stream: ").strip()
        async with trio_websocket.open_websocket_url(url) as stream:
            message = ""
            while not all(f'"{service}"' in message for service in SERVICES):
                message = await stream.get_message()  # a greeting comes first
        process.send_signal(signal.SIGINT)
        out, err = await trio.to_thread.run_sync(process.communicate)
    assert (process.returncode, err) == (130, b"")
    assert re.search(r"^service +breaker +calls", out.decode(), re.MULTILINE)
    assert "breaker transitions" in out.decode()


def test_interrupted_while_the_services_start():
    with start("--seconds", "60", "--json") as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode in {130, -signal.SIGINT}, err  # the latter: before the program was loaded
    assert out == b""


def test_killed_it_leaves_nothing_running():
    with start("--seconds", "60") as process:
        assert process.stdout.readline().startswith(b"metrics stream: ")
        process.kill()
        _, err = process.communicate(timeout=60)
    assert err == b""


def test_on_a_terminal_it_is_a_table():
    ours, theirs = os.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    with start("--seconds", "1", "--seed", "1", stdout=theirs, env=environment) as process:
        os.close(theirs)
        shown = b"".join(everything_from(ours))
        assert (process.wait(timeout=60), process.stderr.read()) == (0, b"")
    assert b"switchgear demo  0 of 1 s" in shown
    assert b"metrics stream: ws://127.0.0.1:" in shown
    assert b"\x1b[32mclosed" in shown
    assert b"\nservice   breaker" in shown.rpartition(b"\x1b")[2]  # the summary comes last, and is plain text


def everything_from(terminal):
    try:
        while chunk := os.read(terminal, 65536):
            yield chunk
    except OSError:
        pass  # how a terminal says that its other side has closed
    finally:
        os.close(terminal)


def test_without_rich_a_terminal_gets_plain_lines(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rich.live", None)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert isinstance(best_view(), PlainLines)
    assert "switchgear[demo]" in capsys.readouterr().out
