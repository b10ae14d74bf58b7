"""Thousands of calls, half of them cancelled somewhere: no answer to the wrong caller, and nothing left open."""

from __future__ import annotations

import random
from pathlib import Path

import trio
from support.service import ONCE, QUIET
from support.wire import Answer, http_server

import switchgear as sg

CALLERS, CALLS = 20, 150


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_calls_cancelled_anywhere_leave_nothing_behind() -> None:
    rng = random.Random(1)
    patience = [0.0, 0.0001, 0.0003, 0.001, 0.003, 0.01, 1.0, 1.0, 1.0, 1.0]
    done = {"answered": 0, "cancelled": 0, "failed": 0}

    def echo(received):
        who = received.path.removeprefix("/")
        if who.endswith("7"):
            return None  # hangs up
        size = rng.choice([0, 1, 10_000])
        headers = (("Content-Type", "application/json"), *((("Connection", "close"),) if who.endswith("3") else ()))
        return Answer(200, headers, b'"%b:%b"' % (who.encode(), b"x" * size))

    async def caller(number):
        for call in range(CALLS):
            who = f"{number}-{call}-{rng.randrange(10)}"
            with trio.move_on_after(rng.choice(patience)) as scope:
                try:
                    response = await service.post(f"/{who}", json=who)
                except sg.TransportError:
                    assert who.endswith("7")
                    done["failed"] += 1
                else:
                    assert response.data.partition(":")[0] == who
                    done["answered"] += 1
            done["cancelled"] += scope.cancelled_caught

    async with http_server(echo) as one, http_server(echo) as two:
        before = descriptors()
        config = sg.ServiceConfig(
            "svc",
            instances=(sg.InstanceConfig(one.url), sg.InstanceConfig(two.url)),
            retry=ONCE,
            breaker=sg.BreakerConfig(enabled=False),
            bulkhead=sg.BulkheadConfig(max_concurrent=8),
        )
        with trio.fail_after(10):
            async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET), seed=1) as runtime:
                service = runtime.service("svc")
                async with trio.open_nursery() as nursery:
                    for number in range(CALLERS):
                        nursery.start_soon(caller, number)
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert runtime.tree().find("/services/svc").in_flight == 0
                assert descriptors() <= before + 2 * 8 + 2 * 8 + 4  # both ends of the idle ones, and the runtime's own
                for call in range(20):  # no slot is lost: as many at once as ever
                    assert (await service.get(f"/again-{call}-1")).data.startswith(f"again-{call}-1:")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (one.open, two.open) == (0, 0)
        assert descriptors() <= before
    assert all(count > 50 for count in done.values()), done
    assert sum(done.values()) == CALLERS * CALLS
