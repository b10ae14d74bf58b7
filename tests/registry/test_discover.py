"""Discovering by range of versions and by tags."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from support.service import drain, running

import switchgear as sg
from switchgear.actors.events import VersionsUnreadable


@asynccontextmanager
async def fleet(**versions):
    async with running(200, instances=()) as (_, upstream):
        registry = upstream.runtime.registry
        for one, version in versions.items():
            tags = {"region": "eu" if one < "c" else "us", "tier": one}
            put = sg.ServiceInstance(one, "svc", version, f"http://{one}.test", metadata=tags)
            await registry.register(put)
        yield upstream.runtime


def ids(found):
    return "".join(one.id for one in found)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (">=1.2,<2", "bc"),
        ("==1.*", "abc"),
        ("~=1.2", "bc"),
        (">=1.2", "bcd"),
        ("<2", "abc"),  # and not e: who asks for less than 2 does not want its pre-release
        (">=2.0rc1", "de"),
        ("==1.10", "c"),
        ("", "abcd"),
        (">9", ""),
    ],
)
async def test_a_range_of_versions(version, expected) -> None:
    async with fleet(a="1.0", b="v1.2.3", c="1.10", d="2.0", e="2.0-rc.1") as runtime:
        assert ids(await runtime.registry.discover("svc", version=version)) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, "abc"),
        ({"region": "eu"}, "ab"),
        ({"region": "eu", "tier": "b"}, "b"),
        ({"region": "us", "tier": "b"}, ""),
        ({"x": ""}, ""),
    ],
)
async def test_tags(tags, expected) -> None:
    async with fleet(a="1", b="1", c="1") as runtime:
        assert ids(await runtime.registry.discover("svc", tags=tags)) == expected


async def test_both_at_once() -> None:
    async with fleet(a="1", b="2", c="2") as runtime:
        assert ids(await runtime.registry.discover("svc", version=">=2", tags={"region": "eu"})) == "b"


async def test_versions_that_cannot_be_compared_are_left_out_and_that_is_said_once() -> None:
    async with fleet(a="latest", b="1.0", c="") as runtime, runtime.events() as events:
        for _ in range(3):
            assert ids(await runtime.registry.discover("svc", version=">=1")) == "b"
        assert ids(await runtime.registry.discover("svc")) == "abc"
        told = [one for one in drain(events) if isinstance(one, VersionsUnreadable)]
        assert [(one.service, one.instances) for one in told] == [("svc", ("a", "c"))]
        await runtime.registry.deregister("svc", "a")
        await runtime.registry.discover("svc", version=">=1")
        assert [one.instances for one in drain(events) if isinstance(one, VersionsUnreadable)] == [("c",)]


@pytest.mark.parametrize(("version", "tags"), [("1.2", None), ("^1", None), (12, None), (None, ["eu"]), (None, "eu")])
async def test_what_is_no_range_and_no_tags_is_refused(version, tags) -> None:
    async with fleet() as runtime:
        with pytest.raises(sg.InvalidRequest, match="such as"):
            await runtime.registry.discover("svc", version=version, tags=tags)
