"""Instances from a file: real files, a real clock, and what may become of a file while it is watched."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager

import pytest
import trio
from support.service import ONCE, QUIET, Upstream
from support.sources import until, until_known

import switchgear as sg
from switchgear.actors.events import SourceDown, SourceRecovered

TOML = """
[[instances]]
endpoint = "http://{0}.test"
id = "{0}"
weight = 2
metadata = {{ zone = "z1" }}
version = "1.2"
"""


def replace(path, text):
    """As it should be done: whole, and at once."""
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.replace(path)


@asynccontextmanager
async def following(path, **fields):
    source = sg.FileSource(str(path), interval=0.01)
    config = sg.RuntimeConfig((sg.ServiceConfig("svc", sources=[source], retry=ONCE, **fields),), metrics=QUIET)
    with trio.fail_after(30):
        async with sg.open_runtime(config, transport=Upstream(200)) as runtime, runtime.events() as events:
            yield runtime, events


async def known(runtime):
    return [one.id for one in await runtime.registry.discover("svc")]


async def test_a_toml_file_is_there_with_the_runtime_and_followed(tmp_path) -> None:
    path = tmp_path / "svc.toml"
    path.write_text(TOML.format("a"))
    async with following(path) as (runtime, _):
        (only,) = await runtime.registry.discover("svc")
        assert (only.id, only.endpoint, only.weight) == ("a", "http://a.test", 2.0)
        assert (only.metadata, only.version, only.sources) == ({"zone": "z1"}, "1.2", ("file",))
        replace(path, TOML.format("a") + TOML.format("b"))
        await until_known(runtime, "a", "b")
        replace(path, "instances = []")
        await until_known(runtime)


async def test_a_json_file_is_the_same(tmp_path) -> None:
    path = tmp_path / "svc.json"
    path.write_text(json.dumps({"instances": [{"endpoint": "http://a.test"}]}))
    async with following(path) as (runtime, _):
        assert await known(runtime) == ["http://a.test"]
        path.write_text(json.dumps({"instances": [{"endpoint": "http://b.test"}]}))  # in place
        await until_known(runtime, "http://b.test")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[instances]]\nendpoint = ", "cannot be read: Invalid value (at end of document)"),
        ("[[instances]]\nendpoint = 'http://b.test'\n]", "cannot be read: Invalid statement (at line 3, column 1)"),
        ("[[instances]]\nendpoint = 'b.test'", "instances[0].endpoint: must start with http:// or https://"),
        ("[[instances]]\nendpint = 'http://b.test'", "did you mean 'endpoint'? (and 1 more faults)"),
        ("instances = [{endpoint = 'http://b'}, {endpoint = 'http://b'}]", "there is an instance 'http://b' already"),
        ("", "instances: is missing"),
        ("\udcff", "cannot be read: 'utf-8' codec"),
    ],
)
async def test_a_file_that_is_not_valid_keeps_the_last_good_set_and_says_where(tmp_path, text, told) -> None:
    path = tmp_path / "svc.toml"
    path.write_text(TOML.format("a"))
    async with following(path) as (runtime, events):
        path.write_bytes(text.encode(errors="surrogateescape"))
        down = await until(events, SourceDown)
        assert down.error.startswith(f"{path}: ")
        assert told in down.error
        (status,) = await runtime.registry.sources("svc")
        assert (status.ok, status.error, status.instances) == (False, down.error, 1)
        assert await known(runtime) == ["a"]
        replace(path, TOML.format("b"))
        assert (await until(events, SourceRecovered)).instances == 1
        assert await known(runtime) == ["b"]


async def test_a_file_that_is_removed_is_an_outage_and_its_return_is_the_end_of_it(tmp_path) -> None:
    path = tmp_path / "svc.toml"
    path.write_text(TOML.format("a"))
    async with following(path) as (runtime, events):
        aside = path.rename(tmp_path / "aside")
        assert "No such file" in (await until(events, SourceDown)).error
        assert await known(runtime) == ["a"]
        aside.rename(path)
        await until(events, SourceRecovered)
        assert await known(runtime) == ["a"]


async def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path) -> None:
    path = tmp_path / "svc.toml"
    async with following(path) as (runtime, events):
        (status,) = await runtime.registry.sources("svc")
        assert not status.ok
        assert status.age is None
        path.write_text(TOML.format("a"))
        await until(events, SourceRecovered)
        assert await known(runtime) == ["a"]


async def test_a_huge_file_is_not_read(tmp_path) -> None:
    path = tmp_path / "svc.toml"
    path.write_text(TOML.format("a"))
    async with following(path) as (runtime, events):
        os.truncate(path, 1 << 40)  # sparse: it takes no room
        assert "is larger than" in (await until(events, SourceDown)).error
        assert await known(runtime) == ["a"]


async def test_a_look_that_finds_nothing_new_makes_it_young_again(tmp_path) -> None:
    path = tmp_path / "svc.toml"
    path.write_text(TOML.format("a"))
    async with following(path) as (runtime, _):
        ages = []
        while len(ages) < 3 or ages == sorted(ages):  # until it has become less
            ages.append((await runtime.registry.sources("svc"))[0].age)
            await trio.lowlevel.checkpoint()


async def test_a_file_being_written_is_never_taken_for_half_of_what_it_says(tmp_path) -> None:
    path = tmp_path / "svc.toml"
    ids = [f"i{number}" for number in range(200)]
    whole = "".join(TOML.format(one) for one in ids)
    path.write_text(whole)

    async def write():
        for _ in range(3):
            with path.open("w") as file:
                for one in ids:
                    file.write(TOML.format(one))
                    file.flush()
                    await trio.lowlevel.checkpoint()
        path.write_text(whole + TOML.format("last"))

    async with following(path) as (runtime, _), trio.open_nursery() as nursery:
        nursery.start_soon(write)
        seen = []
        async with runtime.registry.watch("svc") as changes:
            while 201 not in seen:
                seen.append(len((await anext(changes)).instances))
        assert set(seen) == {200, 201}
