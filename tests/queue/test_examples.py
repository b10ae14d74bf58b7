"""The examples of docs/queue.rst, run as they stand there."""

import runpy
from pathlib import Path

from support.queue import MEMORY, runtime_with, seen
from support.service import Upstream

import switchgear as sg
from switchgear.actors.events import ItemDead

EXAMPLES = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "examples" / "queueing.py"))
test_that_orders_of_an_outage_arrive_in_order = EXAMPLES["test_that_orders_of_an_outage_arrive_in_order"]


async def test_dead_letters_are_looked_through(autojump_clock, capsys) -> None:
    policy = sg.QueueFallback(max_attempts=1)
    async with runtime_with(Upstream(503, 400), policy, queue=MEMORY) as runtime:
        response = await runtime.service("svc").put("/a")
        await seen(runtime, 1, ItemDead)
        await EXAMPLES["look_through"](runtime)
        assert await runtime.queue.stats() == {}
    assert capsys.readouterr().out.splitlines() == [
        "svc: 0 wait, 1 were given up",
        f"PUT /a of {response.request_id}: HTTP_STATUS: the service answered 400",
    ]
