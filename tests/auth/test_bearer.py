"""Bearer tokens from a file and from a function, on a real clock: files and functions that block are in threads."""

from __future__ import annotations

import functools
import os
import threading
import traceback

import pytest
import trio
from support.service import drain, outcome_of, running

import switchgear as sg
from switchgear.actors.auth.bearer import FileSource, FunctionSource
from switchgear.actors.events import TokenRefreshed, TokenRefreshFailed

CANARY = "canary-7be2a0"


def sent(upstream):
    return upstream.header("authorization")


async def test_a_file_is_read_when_the_first_call_comes_and_blanks_are_no_part_of_it(tmp_path) -> None:
    path = tmp_path / "token"
    path.write_text("  one\n\n")
    async with running(auth=sg.BearerAuth(token_file=str(path))) as (service, upstream):
        await service.get("/")
    assert sent(upstream) == ["Bearer one"]


@pytest.fixture
def looks_often(monkeypatch):
    fetch = FileSource.fetch

    async def counted(self, previous):
        looks.append(previous)
        return await fetch(self, previous)

    monkeypatch.setattr(FileSource, "every", 0.0)
    monkeypatch.setattr(FileSource, "fetch", counted)


looks = []


async def settled(service):
    """A call that lets a look begin, and the time for it to end: another one begins when it has."""
    looks.clear()
    with trio.fail_after(5):
        while len(looks) < 3:
            await service.get("/")
            await trio.sleep(0.005)


@pytest.mark.parametrize("by", ["writing", "replacing", "a link"])
async def test_it_is_read_again_when_it_changes(by, tmp_path, looks_often) -> None:
    path = tmp_path / "token"
    if by == "a link":  # as Kubernetes does it
        (tmp_path / "v1").write_text("one")
        path.symlink_to(tmp_path / "v1")
    else:
        path.write_text("one")
    async with running(auth=sg.BearerAuth(token_file=str(path))) as (service, upstream):
        await settled(service)
        if by == "writing":
            path.write_text("two")
        elif by == "replacing":
            (tmp_path / "new").write_text("two")
            (tmp_path / "new").rename(path)
        else:
            (tmp_path / "v2").write_text("two")
            (tmp_path / "link").symlink_to(tmp_path / "v2")
            (tmp_path / "link").rename(path)
        await settled(service)
        await service.get("/")
    assert sent(upstream)[0] == "Bearer one"
    assert sent(upstream)[-1] == "Bearer two"


async def test_a_change_that_neither_time_nor_size_tells_of_is_seen(tmp_path, looks_often) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    before = path.stat()
    async with running(auth=sg.BearerAuth(token_file=str(path))) as (service, upstream):
        await settled(service)
        path.write_text("two")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        await settled(service)
        await service.get("/")
    assert sent(upstream)[-1] == "Bearer two"


@pytest.mark.parametrize("broken", ["gone", "empty", "binary", "a folder"])
async def test_while_the_file_is_broken_the_old_token_is_used(broken, tmp_path, looks_often) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    async with running(auth=sg.BearerAuth(token_file=str(path))) as (service, upstream):
        await settled(service)
        path.unlink()
        if broken == "empty":
            path.touch()
        elif broken == "binary":
            path.write_bytes(b"\xff\xfe\0")
        elif broken == "a folder":
            path.mkdir()
        async with upstream.runtime.events() as events:
            await settled(service)
            told = [one for one in drain(events) if isinstance(one, (TokenRefreshed, TokenRefreshFailed))]
        assert set(sent(upstream)) == {"Bearer one"}
        assert [(type(one), one.generation) for one in told] == [(TokenRefreshFailed, 1)]  # once for many looks


async def test_looks_at_a_file_that_stays_as_it_is_are_no_news(tmp_path, looks_often) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    async with (
        running(auth=sg.BearerAuth(token_file=str(path))) as (service, upstream),
        upstream.runtime.events() as events,
    ):
        await settled(service)
        told = [one for one in drain(events) if isinstance(one, (TokenRefreshed, TokenRefreshFailed))]
    assert [one.reason for one in told] == ["there were none"]


async def test_a_look_that_failed_does_not_delay_what_a_401_asks_for(tmp_path, looks_often, monkeypatch) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    good = ["Bearer one", "Bearer two"]

    def takes(request):
        return 200 if request.headers["authorization"] in good else 401

    async with running(takes, auth=sg.BearerAuth(token_file=str(path))) as (service, upstream):
        await settled(service)
        path.unlink()
        monkeypatch.setattr(FileSource, "every", 1000.0)
        async with upstream.runtime.events() as events:
            await service.get("/")
            with trio.fail_after(5):
                while not isinstance(await events.receive(), TokenRefreshFailed):
                    pass
        good.remove("Bearer one")
        path.write_text("two")
        assert (await service.get("/")).success


async def test_a_file_with_the_token_that_was_refused_is_no_reason_to_send_it_again_at_once(tmp_path) -> None:
    path = tmp_path / "token"
    path.write_text("one")
    async with running(401, auth=sg.BearerAuth(token_file=str(path))) as (service, upstream):
        end = await outcome_of(service.get("/"))
        assert "no others yet" in str(end)
    assert sent(upstream) == ["Bearer one"]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"", "is empty"), (b"\xff", "UTF-8"), (b"a\nb", "control"), (b"x" * 70_000, "too long")],
)
async def test_what_is_wrong_with_the_file_is_said_with_its_name(content, said, tmp_path) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    async with running(auth=sg.BearerAuth(token_file=str(path))) as (service, upstream):
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert str(path) in str(end)
        assert said in str(end)
        assert end.retry_at is not None
    assert not upstream.requests


async def test_a_file_that_comes_late_is_found_at_the_next_look(tmp_path, looks_often) -> None:
    path = tmp_path / "token"
    async with running(auth=sg.BearerAuth(token_file=str(path))) as (service, _):
        for _ in range(5):  # so often that a token endpoint would be left alone for a while
            end = await outcome_of(service.get("/"))
            assert end.retry_at <= trio.current_time()
        path.write_text("one")
        assert (await service.get("/")).success


async def test_after_a_401_the_file_is_read_at_once(tmp_path) -> None:
    path = tmp_path / "token"
    path.write_text("one")

    def rotated(request):
        path.write_text("two")
        return 401 if request.headers["authorization"] == "Bearer one" else 200

    async with running(rotated, auth=sg.BearerAuth(token_file=str(path))) as (service, upstream):
        assert (await service.get("/")).success
    assert sent(upstream) == ["Bearer one", "Bearer two"]


async def test_a_function_that_is_not_async_may_block() -> None:
    started, release = trio.Event(), threading.Event()

    def blocks():
        trio.from_thread.run_sync(started.set)
        assert release.wait(10)
        return "one", 60

    async with running(auth=sg.BearerAuth(token_from=blocks)) as (service, upstream), trio.open_nursery() as nursery:
        nursery.start_soon(service.get, "/")
        await started.wait()  # we run while it blocks
        assert not upstream.requests
        release.set()
    assert sent(upstream) == ["Bearer one"]


async def test_what_counts_as_async() -> None:
    async def plain():
        return sg.Secret("one")

    class Callable:
        async def __call__(self, extra=""):
            return "one"

    def gives_an_awaitable():
        return plain()

    for function in (
        plain,
        functools.partial(plain),
        Callable(),
        functools.partial(Callable(), "x"),
        gives_an_awaitable,
    ):
        async with running(auth=sg.BearerAuth(token_from=function)) as (service, upstream):
            await service.get("/")
        assert sent(upstream) == ["Bearer one"]


async def test_a_function_may_ask_another_service_whose_errors_are_told() -> None:
    async def ask():
        raise sg.CircuitOpen(CANARY, retry_at=trio.current_time() + 50)

    async with running(auth=sg.BearerAuth(token_from=ask)) as (service, _):
        end = await outcome_of(service.get("/"))
    assert "CIRCUIT_OPEN" in str(end)
    assert end.retry_at >= trio.current_time() + 40
    assert CANARY not in "".join(traceback.format_exception(end))


async def test_a_function_that_hangs_keeps_one_thread_and_no_more() -> None:
    started, release = trio.Event(), threading.Event()
    calls = []

    def hangs():
        calls.append(1)
        trio.from_thread.run_sync(started.set)
        assert release.wait(10)
        return "one"

    source = FunctionSource(hangs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.fetch, None)
        await started.wait()
        nursery.cancel_scope.cancel()
    with trio.move_on_after(0):
        await source.fetch(None)
    assert len(calls) == 1
    release.set()
    with trio.fail_after(5):
        await source.fetch(None)
    assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0


async def test_an_error_out_of_a_nursery_is_told_like_any_other(autojump_clock) -> None:
    async def in_a_nursery():
        async with trio.open_nursery():
            raise sg.AuthFailed("the vault is sealed")

    async with running(auth=sg.BearerAuth(token_from=in_a_nursery)) as (service, _):
        assert "the vault is sealed" in str(await outcome_of(service.get("/")))


def a_token():
    return "from a name"


async def test_in_a_file_the_function_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "my_tokens.py").write_text("def current():\n    return 'from a name'\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = sg.load_config(
        {"services": [{"name": "svc", "auth": {"type": "bearer", "token_from": "my_tokens:current"}}]}
    )
    async with running(auth=config.services[0].auth) as (service, upstream):
        await service.get("/")
    assert sent(upstream) == ["Bearer from a name"]


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({}, "token"),
        ({"token": sg.Secret("x"), "token_file": "y"}, "token_file"),
        ({"token_file": "y", "token_from": a_token}, "token_from"),
    ],
)
def test_one_of_the_three_is_given(fields, key) -> None:
    with pytest.raises(sg.ConfigError, match=f"{key}: give one of token, token_file and token_from"):
        sg.BearerAuth(**fields)


def test_in_a_file_as_well() -> None:
    table = {"type": "bearer", "token_file": "x", "token": {"env": "HOME"}}
    with pytest.raises(sg.ConfigError, match=r"services\[0\].auth.token_file: give one of"):
        sg.load_config({"services": [{"name": "svc", "auth": table}]})


def test_what_a_function_is_bound_to_is_not_shown() -> None:
    def vault(password):
        return password

    auth = sg.BearerAuth(token_from=functools.partial(vault, CANARY))
    config = sg.ServiceConfig("svc", "https://svc.test", auth=auth)
    assert CANARY not in repr(auth) + repr(config) + repr(config.__rich_repr__())
