"""The yardstick of the ask benchmark is correct: else to be as fast as it would mean nothing."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.yardstick import Yardstick


@pytest.fixture
def log():
    return []


@pytest.fixture
async def pool(log, nursery):
    async def handler(message):
        log.append(f"begin {message}")
        if message == "fail":
            raise ValueError(message)
        try:
            if message == "slow":
                await trio.sleep_forever()
        except trio.Cancelled:
            log.append(f"cancelled {message}")
            raise
        return message

    pool = Yardstick(handler, capacity=10)
    nursery.start_soon(pool.work)
    return pool


async def test_replies_and_errors_reach_the_caller_and_the_worker_lives(pool):
    assert await pool.ask("one") == "one"
    with pytest.raises(ValueError, match="fail"):
        await pool.ask("fail")
    assert await pool.ask("two") == "two"


async def test_a_cancelled_caller_cancels_his_work_and_the_worker_lives(pool, log):
    async with trio.open_nursery() as callers:
        callers.start_soon(pool.ask, "slow")
        await wait_all_tasks_blocked()
        callers.cancel_scope.cancel()
    assert await pool.ask("next") == "next"
    assert log == ["begin slow", "cancelled slow", "begin next"]


async def test_a_message_whose_caller_has_gone_is_never_begun(pool, log):
    async with trio.open_nursery() as callers:
        callers.start_soon(pool.ask, "slow")
        await wait_all_tasks_blocked()
        callers.start_soon(pool.ask, "queued")
        await wait_all_tasks_blocked()
        callers.cancel_scope.cancel()
    assert await pool.ask("next") == "next"
    assert "begin queued" not in log
