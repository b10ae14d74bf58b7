"""The demo's five services over real sockets, in their own processes."""

import os
import signal
import subprocess
import sys

import httpx
import pytest
import trio

from switchgear.demo.processes import DemoError, Plan, running
from switchgear.demo.services import SERVICES


def http():
    return httpx.AsyncClient(timeout=20, trust_env=False)


def gone(pid):
    """Neither running nor a zombie: the process is ended and reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def serve_alone(*arguments):
    command = [sys.executable, "-m", "switchgear.demo.servers", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def test_five_services_in_seven_processes_answer_and_are_reaped():
    plans = [Plan(name, instance) for name in SERVICES for instance in range(1, 4 if name == "search" else 2)]
    async with running(plans, seed=1, seconds=15) as processes, http() as client:
        assert [process.plan for process in processes] == plans
        assert len({process.pid for process in processes} | {os.getpid()}) == 8
        urls = {process.plan: process.url for process in processes}
        for plan in plans:
            if plan.service != "legacy":  # which may hang up on anybody
                assert (await client.get(urls[plan] + "/health")).json() == {"status": "up"}
        account = await client.get(urls[Plan("accounts")] + "/accounts/7")
        assert account.json() == {"id": "7", "owner": "Customer 7", "balance": account.json()["balance"]}
        found = await client.get(urls[Plan("search", 2)] + "/search", params={"q": "relay"})
        assert found.json() == {"query": "relay", "hits": ["relay 0", "relay 1", "relay 2"], "instance": "search-2"}
        paid = await client.post(urls[Plan("payments")] + "/charges", json={"amount": 5})
        assert (paid.status_code, paid.json()["amount"], paid.json()["status"]) == (201, 5, "paid")
        bad = await client.post(urls[Plan("payments")] + "/charges", content=b"[]")
        assert bad.status_code == 400
    assert all(gone(process.pid) for process in processes)


async def test_partner_limits_with_both_forms_of_retry_after():
    async with running([Plan("partner")], seed=1, seconds=15) as (partner,), http() as client:
        answers = []

        async def ask():
            answers.append(await client.get(partner.url + "/quotes/ABC"))

        async with trio.open_nursery() as nursery:
            for _ in range(60):  # in two seconds at most 20 are answered
                nursery.start_soon(ask)
    limited = [answer.headers["retry-after"] for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert "1" in limited
    assert any(after.endswith(" GMT") for after in limited)


async def test_payments_fails_in_the_middle_and_recovers():
    async with running([Plan("payments")], seed=1, seconds=2.0) as (payments,), http() as client:
        seen = []
        while not seen or len(seen) < 3 or seen[-1] >= 500:
            status = (await client.post(payments.url + "/charges", json={"amount": 1})).status_code
            if not seen or (seen[-1] >= 500) != (status >= 500):
                seen.append(status)
    assert seen[0] == seen[2] == 201
    assert seen[1] in {500, 503}


async def test_legacy_drops_connections_without_an_answer_and_in_the_middle_of_one():
    outcomes = set()
    async with running([Plan("legacy")], seed=1, seconds=15) as (legacy,):
        while len(outcomes) < 3:
            outcomes.add(await one_raw_get(legacy.url))
    assert outcomes == {"nothing", "half", "whole"}


async def one_raw_get(url):
    host, _, port = url.removeprefix("http://").partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        try:
            await stream.send_all(b"GET /invoices/1 HTTP/1.1\r\nHost: legacy\r\nConnection: close\r\n\r\n")
            answer = b"".join([chunk async for chunk in stream])
        except trio.BrokenResourceError:
            return "nothing"
    if not answer:
        return "nothing"
    return "whole" if answer.endswith(b"}") else "half"


async def test_processes_are_reaped_when_the_demo_is_cancelled_or_fails():
    for error in (None, ValueError("the demo failed")):
        processes = []
        with trio.CancelScope() as scope:
            try:
                async with running([Plan("accounts"), Plan("search")], seed=0, seconds=1) as started:
                    processes = started
                    if error:
                        raise error
                    scope.cancel()
                    await trio.sleep_forever()
            except ValueError:
                pass
        assert len(processes) == 2
        assert all(gone(process.pid) for process in processes)


async def test_cancelled_while_starting(monkeypatch):
    started = []
    start = trio.lowlevel.open_process

    async def open_process(*args, **kwargs):
        started.append(await start(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(trio.lowlevel, "open_process", open_process)
    with trio.move_on_after(0.05):
        async with running([Plan("accounts")] * 3, seed=0, seconds=1):
            await trio.sleep_forever()
    assert started
    assert all(gone(process.pid) for process in started)


async def test_a_service_that_does_not_start_is_named(capfd):
    with pytest.raises(DemoError, match="nonsense did not start"):
        async with running([Plan("accounts"), Plan("nonsense")], seed=0, seconds=1):
            pass
    assert "invalid choice: 'nonsense'" in capfd.readouterr().err


@pytest.mark.parametrize("how", ["stdin", signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_with_its_stdin_or_by_a_signal(how):
    with serve_alone("accounts", "--port", "0", "--seed", "3") as process:
        line = process.stdout.readline()
        assert line.startswith(b'{"port": ')
        assert line.endswith(b"}\n")
        if how == "stdin":
            process.stdin.close()
        else:
            process.send_signal(how)
        assert process.wait(timeout=20) == 0
