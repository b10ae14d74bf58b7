"""The examples of docs/discovery.rst, run as they stand there."""

from __future__ import annotations

import runpy
from pathlib import Path

import msgspec
import trio
from support.service import QUIET, Upstream
from support.sources import Scripted

import switchgear as sg

EXAMPLES = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "examples" / "discovery.py"))


def test_the_other_sources_are_valid_too() -> None:
    assert {type(one) for service in EXAMPLES["SHOP"].services for one in service.sources} == {
        sg.DnsSource,
        sg.SrvSource,
        sg.ConsulSource,
        sg.EtcdSource,
    }
    assert EXAMPLES["SHOP"].registry.advertise[0].ttl == 10


async def test_the_examples_do_what_the_page_says(monkeypatch, autojump_clock, capsys) -> None:
    Scripted(monkeypatch, first={"file": {"a": 1.0, "b": 0.0}})
    config = sg.RuntimeConfig((EXAMPLES["SEARCH"],), metrics=QUIET)
    async with sg.open_runtime(config, transport=Upstream(200)) as runtime, trio.open_nursery() as nursery:
        await EXAMPLES["report"](runtime)
        assert capsys.readouterr().out.splitlines() == [
            "file: 2 instances, confirmed 5 s ago; well",
            "machine: 0 instances, confirmed never; silent so far",
        ]
        nursery.start_soon(EXAMPLES["follow"], runtime)
        await trio.testing.wait_all_tasks_blocked()
        mine = sg.ServiceInstance("mine", "search", "1.5", "http://mine.test", metadata={"region": "eu"})
        async with trio.open_nursery() as keeping:
            keeping.start_soon(EXAMPLES["keep_registered"], runtime, mine)
            await trio.sleep(100)
            assert await EXAMPLES["newest_in_europe"](runtime) == ["http://mine.test"]
            await runtime.registry.register(msgspec.structs.replace(mine, version="2.0"), ttl=30)
            assert await EXAMPLES["newest_in_europe"](runtime) == []
            keeping.cancel_scope.cancel()
        await trio.sleep(32)
        assert len(await runtime.registry.discover("search")) == 3
        assert "2 of 3 get calls" in capsys.readouterr().out
        nursery.cancel_scope.cancel()
