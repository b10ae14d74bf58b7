"""kill -9 of real processes that queue and deliver, at random moments, round after round on the same file.

What callers were told is queued is in the file, and is delivered after a restart: every one of it. Delivery is at
least once; a service that knows an idempotency key when it sees it again, as the one here, does each of them once.
"""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import trio
from support.queue import empty
from support.service import QUIET
from support.wire import http_server

import switchgear as sg
from switchgear.actors.queue.sqlite import SQLiteStore

CHILD = Path(__file__).with_name("enqueue_until_killed.py")
ROUNDS = 6


class Shop:
    """A service that is down for a while and up for a while, and does nothing twice."""

    def __init__(self, rng):
        self.rng = rng
        self.down = 0  # for so many requests
        self.seen = {}  # how often each order came

    def __call__(self, request):
        if self.down > 0:
            self.down -= 1
            if not self.down:
                self.down = -self.rng.randrange(1, 10)
            return (503, {}, b"")
        self.down += 1
        if not self.down:
            self.down = self.rng.randrange(1, 10)
        key = request.header("idempotency-key")
        self.seen[key] = self.seen.get(key, 0) + 1
        return (200, {}, b"")


async def lines_before_death(rng, *args):
    """What a child printed until it was killed in the middle of its work."""
    command = [sys.executable, "-W", "error", str(CHILD), *args]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    try:
        data = bytearray()
        wanted = rng.randrange(1, 100)
        while data.count(b"\n") < wanted:
            received = await process.stdout.receive_some()
            assert received, "the child ended by itself"
            data += received
        process.send_signal(signal.SIGKILL)
        async for rest in process.stdout:  # what was on its way
            data += rest
        assert await process.wait() == -signal.SIGKILL
    finally:
        process.kill()
    return [line.split() for line in data.decode().splitlines(keepends=True) if line.endswith("\n")]


def keys_in(file):
    store = SQLiteStore(file)
    store.open(time.time())
    items = store.list(None, dead=None, limit=10**6)
    store.close()
    return {item.idempotency_key for item in items}


async def test_what_was_said_to_be_queued_survives_kill_9_and_is_delivered(tmp_path) -> None:
    seed = time.time_ns()
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    with trio.fail_after(60):
        await rounds_of_killing(random.Random(seed), str(tmp_path / "queue.db"))


async def rounds_of_killing(rng, file):
    shop, told = Shop(rng), []
    async with http_server(shop) as server:
        for number in range(ROUNDS):
            shop.down = rng.randrange(1, 200)
            told += await lines_before_death(rng, file, server.url, f"round{number}")
            kept = keys_in(file)
            queued = {key for source, key in told if source == "queued"}
            assert queued <= kept | shop.seen.keys()
        assert queued - shop.seen.keys()  # something is left to do
        shop.down = -(10**9)
        service = sg.ServiceConfig("orders", server.url, fallbacks=[sg.QueueFallback()])
        config = sg.RuntimeConfig([service], QUIET, queue=sg.QueueConfig(file))
        async with sg.open_runtime(config) as runtime:
            await empty(runtime, 0.05)
    assert {source for source, _ in told} <= {"live", "queued"}
    assert {key for _, key in told} <= shop.seen.keys()
    again = sum(count - 1 for count in shop.seen.values())
    assert again <= ROUNDS  # no more than what was under way when a process was killed
