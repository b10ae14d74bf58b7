"""Refresh tokens: each is used once, the next is safe before its access token is used, and none is lost."""

from __future__ import annotations

import itertools
import os
import stat
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from cryptography.fernet import Fernet
from support.leaks import leaks, told
from support.oauth2 import URL, auth, oauth2, refusal, token
from support.service import ONCE, after, hang, in_background, outcome_of

import switchgear as sg
from switchgear.actors.auth.token_store import EncryptedFileStore, Kept

R0 = sg.Secret("r0-canary")
PERSON = {"grant": "refresh_token", "refresh_token": R0}
KEY, OTHER = (sg.Secret(Fernet.generate_key().decode()) for _ in range(2))


def rotating(expires_in=100):
    """Takes only the refresh token that it gave last; the first is r0-canary."""
    numbers = itertools.count(1)

    def answer(request):
        number = next(numbers)
        last = "r0-canary" if number == 1 else f"r{number - 1}-canary"
        if f"refresh_token={last}" not in request.content.decode():
            return refusal("invalid_grant")
        return token(f"t{number}", expires_in, refresh_token=f"r{number}-canary")

    return answer


def used(peers):
    return [form.get("refresh_token") for form in peers.forms]


async def test_each_is_used_once_and_in_turn(autojump_clock):
    async with oauth2(rotating(), **PERSON) as (service, peers):
        for _ in range(4):
            await service.get("/")
            await trio.sleep(100)
    assert used(peers) == ["r0-canary", "r1-canary", "r2-canary", "r3-canary"]
    assert peers.sent == ["Bearer t1", "Bearer t2", "Bearer t3", "Bearer t4"]


async def test_an_answer_without_one_keeps_the_old(autojump_clock):
    async with oauth2(token("t1", 100), token("t2", 100, refresh_token=""), token("t3"), **PERSON) as (service, peers):
        for _ in range(3):
            await service.get("/")
            await trio.sleep(100)
    assert used(peers) == ["r0-canary"] * 3


async def test_one_that_is_not_taken_needs_a_person(autojump_clock):
    async with oauth2(refusal("invalid_grant", error_description="expired"), **PERSON) as (service, peers):
        for _ in range(10):
            end = await outcome_of(service.get("/"))
            assert isinstance(end, sg.AuthFailed)
            assert "has to be authorized again: configure a new refresh_token" in end.message
            assert not end.retryable
            await trio.sleep(100)
        assert len(peers.asked) == 1
        peers.server.script = [token("t1", refresh_token="r9")]
        await reconfigure(peers, refresh_token=sg.Secret("new"))
        assert (await service.get("/")).success
    assert used(peers) == ["r0-canary", "new"]


async def test_or_the_primary_grant(autojump_clock):
    script = [token("t1", 100, refresh_token="r1"), refusal("invalid_grant"), token("t2", 100), token("t3")]
    async with oauth2(*script) as (service, peers):
        for _ in range(3):
            await service.get("/")
            await trio.sleep(100)
    assert [form["grant_type"] for form in peers.forms] == [
        "client_credentials",
        "refresh_token",
        "client_credentials",
        "client_credentials",
    ]
    assert peers.sent == ["Bearer t1", "Bearer t2", "Bearer t3"]


async def test_a_primary_grant_that_is_not_taken_is_for_good(autojump_clock):
    async with oauth2(refusal("invalid_grant")) as (service, peers):
        ends = [await outcome_of(service.get("/")) for _ in range(3)]
    assert {end.retryable for end in ends} == {False}
    assert len(peers.asked) == 1


async def reconfigure(peers, **fields):
    config = sg.ServiceConfig("svc", "https://svc.test", auth=auth(**(PERSON | fields)), retry=ONCE)
    await peers.runtime.reconfigure("svc", config)


async def crash(peers):
    """The actor meets a message that it cannot handle, which is a crash by the kernel's rules."""
    await peers.runtime._services["svc"]._ref.tell(object())
    await trio.testing.wait_all_tasks_blocked()


async def test_it_survives_a_crash_and_another_configuration(autojump_clock):
    async with oauth2(rotating(), **PERSON) as (service, peers):
        await service.get("/")
        await crash(peers)
        await trio.sleep(100)
        await service.get("/")
        await reconfigure(peers, scope=["read"])
        await service.get("/")
    assert used(peers) == ["r0-canary", "r1-canary", "r2-canary"]


async def test_a_lost_answer_is_asked_for_again_at_once(autojump_clock):
    """Nothing else is left to do, and servers forgive a second use that comes soon."""
    async with oauth2(503, token("t1", refresh_token="r1"), **PERSON) as (service, peers):
        assert (await service.get("/")).success
    assert used(peers) == ["r0-canary", "r0-canary"]


async def test_a_crash_loses_none_that_is_on_its_way(autojump_clock):
    async with oauth2(after(2, rotating()), **PERSON) as (service, peers):
        async with in_background(service, "/") as ends:
            await trio.sleep(1)
            await crash(peers)
        assert isinstance(ends[0], sg.ActorCrashed)
        await service.get("/")
    assert used(peers) == ["r0-canary", "r1-canary"]
    assert peers.sent == ["Bearer t2"]


@pytest.mark.parametrize(("fields", "seconds"), [(PERSON, 3), ({}, 1)])
async def test_one_that_does_not_come_keeps_nobody_for_long(fields, seconds, autojump_clock):
    """Two seconds, though the endpoint has ten; none where there is no refresh token to lose."""
    began = trio.current_time()
    with trio.move_on_after(1):
        async with oauth2(hang, **fields) as (service, _):
            await service.get("/")
    assert trio.current_time() - began == seconds


async def test_two_configurations_do_not_use_one_at_once(autojump_clock):
    """The flight of the old one is under way when the new one begins its own."""
    slow = after(3, rotating())
    async with oauth2(slow, **PERSON) as (service, peers):
        async with in_background(service, "/") as ends:
            await reconfigure(peers, scope=["read"])
            async with in_background(service, "/") as more:
                await trio.sleep(1)
                assert len(peers.asked) == 1
        assert [end.status for end in ends + more] == [200, 200]
    assert peers.server.most == 1
    assert used(peers) == ["r0-canary", "r1-canary"]


# ---- on disk


@contextmanager
def kept_in(folder):
    """What is in the folder, read with the key."""
    (path,) = Path(folder).iterdir()
    yield path, Fernet(KEY.reveal()).decrypt(path.read_bytes()).decode()


def stored(folder, *keys):
    return {**PERSON, "store": sg.TokenFile(str(folder), keys or (KEY,))}


async def test_it_is_on_disk_before_its_access_token_is_used(tmp_path):
    seen = []

    def api(request):
        with kept_in(tmp_path / "new" / "tokens") as (path, text):
            seen.append((request.headers["authorization"], "r1-canary" in text, stat.S_IMODE(path.stat().st_mode)))
        return 200

    async with oauth2(rotating(), api=api, **stored(tmp_path / "new" / "tokens")) as (service, _):
        await service.get("/")
    assert seen == [("Bearer t1", True, 0o600)]
    assert stat.S_IMODE((tmp_path / "new" / "tokens").stat().st_mode) == 0o700


async def test_its_file_its_folder_and_what_is_above_are_on_the_disk_when_it_is_saved(tmp_path, monkeypatch):
    synced = []

    def fsync(handle):
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        return real(handle)

    real = os.fsync
    monkeypatch.setattr(os, "fsync", fsync)
    store = EncryptedFileStore(str(tmp_path / "new" / "tokens"), [KEY])
    await store.save(Kept("one", "a", ""))
    *above, file, last = synced
    assert above == [tmp_path, tmp_path / "new"]
    assert (file.parent, last) == (tmp_path / "new" / "tokens", tmp_path / "new" / "tokens")
    await store.save(Kept("one", "b", ""))
    assert len(synced) == 6  # what is there already is not looked at again


async def test_nothing_of_it_is_there_in_clear(tmp_path):
    async with oauth2(rotating(), **stored(tmp_path)) as (service, _):
        await service.get("/")
    (path,) = tmp_path.iterdir()
    assert not leaks([path.read_bytes().decode("latin-1"), path.name], "canary")


async def test_the_next_process_goes_on_with_it(tmp_path):
    server = rotating()
    for _ in range(3):
        async with oauth2(server, **stored(tmp_path)) as (service, peers):
            assert (await service.get("/")).success
    assert used(peers) == ["r2-canary"]


async def test_one_that_is_configured_anew_counts_more_than_the_stored_one(tmp_path):
    async with oauth2(rotating(), **stored(tmp_path)) as (service, _):
        await service.get("/")
    fields = stored(tmp_path) | {"refresh_token": sg.Secret("new")}
    async with oauth2(token("t9", refresh_token="n1"), **fields) as (service, peers):
        await service.get("/")
    assert used(peers) == ["new"]
    async with oauth2(token("t9"), **fields) as (service, peers):
        await service.get("/")
    assert used(peers) == ["n1"]


async def test_without_a_configured_one_the_stored_one_is_used(tmp_path):
    async with oauth2(rotating(), **stored(tmp_path)) as (service, _):
        await service.get("/")
    async with oauth2(token("t2"), **stored(tmp_path) | {"refresh_token": None}) as (service, peers):
        await service.get("/")
    assert used(peers) == ["r1-canary"]


async def test_a_configured_one_that_comes_and_goes_is_the_same_old_one(tmp_path):
    """It was needed once, is left out when the store has another, and comes back with an old file of configuration."""
    server = rotating()
    for configured in (R0, None, R0):
        async with oauth2(server, **stored(tmp_path) | {"refresh_token": configured}) as (service, peers):
            assert (await service.get("/")).success
    assert used(peers) == ["r2-canary"]


async def test_an_empty_store_and_none_configured_says_so(tmp_path):
    async with oauth2(token("t2"), **stored(tmp_path) | {"refresh_token": None}) as (service, peers):
        end = await outcome_of(service.get("/"))
    assert "there is no refresh token" in end.message
    assert not end.retryable
    assert not peers.asked


async def test_that_one_is_used_up_is_remembered_too(tmp_path):
    async with oauth2(refusal("invalid_grant"), **stored(tmp_path)) as (service, _):
        await outcome_of(service.get("/"))
    async with oauth2(token("t1"), **stored(tmp_path)) as (service, peers):
        end = await outcome_of(service.get("/"))
    assert "authorized again" in end.message
    assert not peers.asked


async def test_a_new_key_takes_over_from_the_old_one(tmp_path):
    server = rotating()
    for keys in ((KEY,), (OTHER, KEY), (OTHER,)):
        async with oauth2(server, **stored(tmp_path, *keys)) as (service, peers):
            assert (await service.get("/")).success
    assert used(peers) == ["r2-canary"]


def wrong_key(path):
    return OTHER


def damaged(path):
    path.write_bytes(path.read_bytes()[:-7])
    return KEY


def emptied(path):
    path.write_bytes(b"")
    return KEY


def of_somebody_else(path):
    path.write_bytes(Fernet(KEY.reveal()).encrypt(b'{"key": "other", "token": "x", "origin": ""}'))
    return KEY


def no_record(path):
    path.write_bytes(Fernet(KEY.reveal()).encrypt(b"[]"))
    return KEY


@pytest.mark.parametrize("spoil", [wrong_key, damaged, emptied, of_somebody_else, no_record])
async def test_what_cannot_be_decrypted_is_told_and_left_alone(spoil, tmp_path):
    async with oauth2(rotating(), **stored(tmp_path)) as (service, _):
        await service.get("/")
    (path,) = tmp_path.iterdir()
    key = spoil(path)
    before = path.read_bytes()
    async with oauth2(token("t2"), **stored(tmp_path, key)) as (service, peers):
        end = await outcome_of(service.get("/"))
    assert isinstance(end, sg.AuthFailed)
    assert not end.retryable
    assert str(path) in end.message
    assert "Add that key, or move the file away" in end.message
    assert not peers.asked
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [before]


async def test_what_cannot_be_written_is_not_lost_and_its_token_not_used(tmp_path):
    folder = tmp_path / "tokens"
    async with oauth2(token("t1", refresh_token="r1"), token("t2", refresh_token="r2"), **stored(folder)) as (
        service,
        peers,
    ):
        folder.write_text("a file is in the way")
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert (end.retryable, "cannot be read" in end.message) == (True, True)
        folder.unlink()
        await trio.sleep_until(end.retry_at)

        def full(handle):
            raise OSError(28, os.strerror(28))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", full)
            end = await outcome_of(service.get("/"))
            assert "cannot be written" in end.message
            assert "No space left" in end.message
            assert list(folder.iterdir()) == []  # nothing half written
        await trio.sleep_until(end.retry_at)
        assert (await service.get("/")).success
        with kept_in(folder) as (_, text):
            assert '"r2"' in text
    assert used(peers) == ["r0-canary", "r1"]
    assert peers.sent == ["Bearer t2"]


async def test_it_is_safe_also_when_the_program_has_all_its_threads_at_work(tmp_path):
    threads, work = trio.to_thread.current_default_thread_limiter(), [object() for _ in range(1000)]

    def at_work(request):
        for one in work[: int(threads.available_tokens)]:
            threads.acquire_on_behalf_of_nowait(one)
        return rotating()(request)

    async with oauth2(at_work, **stored(tmp_path)) as (service, peers):
        try:
            await service.get("/")
        finally:
            for one in work[: threads.borrowed_tokens]:
                threads.release_on_behalf_of(one)
    assert peers.sent == ["Bearer t1"]
    kept = await EncryptedFileStore(str(tmp_path), [KEY]).load(f"svc\n{URL}\nme")
    assert kept is not None
    assert kept.token == "r1-canary"


async def test_a_store_that_is_configured_later_gets_what_there_is(tmp_path):
    async with oauth2(rotating(), **PERSON) as (service, peers):
        await service.get("/")
        await reconfigure(peers, store=sg.TokenFile(str(tmp_path), [KEY]))
        peers.server.script = [hang]
        with trio.move_on_after(0.2):
            await service.get("/")
        with kept_in(tmp_path) as (_, text):
            assert "r1-canary" in text


async def test_no_error_of_it_shows_a_token(tmp_path, caplog):
    async with oauth2(refusal("invalid_grant", error_description="r0-canary"), **stored(tmp_path)) as (service, peers):
        end = await outcome_of(service.get("/"))
        shown = [*told(end), repr(service.config), repr(peers.runtime.tree()), caplog.text]
    assert not leaks(shown, "canary", "s3cret", KEY.reveal())


async def test_a_store_saves_and_loads_by_key(tmp_path):
    store = EncryptedFileStore(str(tmp_path), [KEY])
    one, two = Kept("one", "a", ""), Kept("two", None, "x")
    await store.save(one)
    await store.save(two)
    await store.save(Kept("one", "b", ""))
    assert await store.load("one") == Kept("one", "b", "")
    assert await store.load("two") == two
    assert await store.load("three") is None
    assert "'a'" not in repr(one)
