"""The examples of docs/balancing.rst, run as they stand there."""

from __future__ import annotations

import runpy
from pathlib import Path

from support.service import QUIET, Upstream, reply_json

import switchgear as sg

EXAMPLES = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "examples" / "balancing.py"))


def hosts(upstream):
    return {request.url.host for request in upstream.requests if request.url.path != "/health"}


async def test_zones_and_priorities(autojump_clock) -> None:
    upstream = Upstream(200)
    config = sg.RuntimeConfig(services=(EXAMPLES["SEARCH"],), metrics=QUIET)
    async with sg.open_runtime(config, transport=upstream, seed=1) as runtime:
        for _ in range(30):
            await runtime.service("search").get("/")
    assert hosts(upstream) == {"10.1.0.1", "10.1.0.2"}


async def test_affinity(autojump_clock) -> None:
    upstream = Upstream(reply_json(b'["tea"]'))
    config = sg.RuntimeConfig(services=(EXAMPLES["BASKETS"],), metrics=QUIET)
    async with sg.open_runtime(config, transport=upstream, seed=1) as runtime:
        for _ in range(5):
            assert await EXAMPLES["basket"](runtime, "user-42") == ["tea"]
    assert len(hosts(upstream)) == 1
