"""The way to the store: what goes together, what is undone, and who may leave when. With real threads."""

import threading
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from switchgear.actors.queue.desk import Desk
from switchgear.actors.queue.records import Call, Put, Remove
from switchgear.actors.queue.sqlite import SQLiteStore
from switchgear.actors.queue.store import StoreError


def put(name="r", **fields):
    fields = {"body": b"", "affinity": None} | fields
    return Put(Call("svc", name, "POST", "/", (), idempotency_key=None, weight=1.0, queued_at=0.0, **fields), 0.0)


class Gated(SQLiteStore):
    """Takes threads as a disk does, and lets each commit pass when it is told to."""

    def __init__(self):
        super().__init__(":memory:")
        self.gate = threading.Event()
        self.begun = []  # how many changes each commit has
        self.threads = 0
        self.broken = None

    def write(self, changes):
        self.begun.append(len(changes))
        self.threads += 1
        assert self.gate.wait(30)
        self.threads -= 1
        if self.broken is not None:
            raise self.broken
        return super().write(changes)

    def names(self):
        return [one.request_id for one in self.list(None, dead=None, limit=10_000)]


@asynccontextmanager
async def desk_and_store():
    store, made = Gated(), []
    desk = Desk(store, lambda contents: None, lambda change, result: made.append((change.call.request_id, result)))
    desk.log = made
    await desk.open()
    store.in_memory = False  # as far as the desk can see
    try:
        yield desk, store
    finally:
        store.gate.set()
        await desk.close()


async def begun(store, commits):
    """Wait until the thread is in its n-th commit."""
    while len(store.begun) < commits:  # noqa: ASYNC110 - of a thread
        await trio.sleep(0.001)


async def test_what_waits_for_a_commit_goes_together_in_the_next() -> None:
    async with desk_and_store() as (desk, store):
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(desk.write, put(f"r{number}"))
                await wait_all_tasks_blocked()
            await begun(store, 1)
            store.gate.set()
        assert store.begun == [1, 49]
        assert desk.log == [(f"r{number}", number + 1) for number in range(50)]
        assert store.names() == [f"r{number}" for number in range(50)]


async def test_but_not_without_bound() -> None:
    async with desk_and_store() as (desk, store):
        store.gate.set()
        async with trio.open_nursery() as nursery:
            for _ in range(2500):
                nursery.start_soon(desk.write, put())
        assert max(store.begun) == 1000
        assert len(store.names()) == 2500


async def test_each_gets_the_result_of_his_own() -> None:
    async with desk_and_store() as (desk, store):
        store.gate.set()
        results = {}

        async def one(number):
            results[number] = await desk.write(put(f"r{number}"))

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(one, number)
        assert {f"r{number}": result for number, result in results.items()} == dict(desk.log)


async def test_one_that_cannot_be_kept_does_not_take_the_others_along() -> None:
    async with desk_and_store() as (desk, store):
        errors = []

        async def one(change):
            try:
                await desk.write(change)
            except StoreError as error:
                errors.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, put("first"))
            await wait_all_tasks_blocked()
            for change in (put("a"), put("b", affinity="\ud800"), put("c")):
                nursery.start_soon(one, change)
            await begun(store, 1)
            store.gate.set()
        assert sorted(store.names()) == ["a", "c", "first"]
        assert len(errors) == 1
        assert "surrogates not allowed" in errors[0]


async def test_who_is_cancelled_while_he_waits_has_written_nothing() -> None:
    async with desk_and_store() as (desk, store), trio.open_nursery() as nursery:
        nursery.start_soon(desk.write, put("first"))
        await begun(store, 1)
        with trio.CancelScope() as scope:
            nursery.start_soon(desk.write, put("other"))
            async with trio.open_nursery() as inner:
                inner.start_soon(desk.write, put("gone"))
                await wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
        store.gate.set()
        await desk.write(put("last"))
        assert sorted(store.names()) == ["first", "last", "other"]
        assert [name for name, _ in desk.log] == store.names()


async def test_who_writes_for_all_cannot_be_cancelled_out_of_it() -> None:
    async with desk_and_store() as (desk, store), trio.open_nursery() as nursery:
        ended = trio.Event()

        async def leads(scope):
            with scope:
                await desk.write(put("leader"))
            ended.set()

        scope = trio.CancelScope()
        nursery.start_soon(leads, scope)
        await begun(store, 1)
        nursery.start_soon(desk.write, put("other"))
        await wait_all_tasks_blocked()
        scope.cancel()
        await wait_all_tasks_blocked()
        assert not ended.is_set()  # its thread is at work, and is not left alone
        assert store.threads == 1
        store.gate.set()
        await ended.wait()
        await desk.write(put("last"))
        assert store.names() == ["leader", "other", "last"]


async def test_a_mistake_is_raised_by_all_who_wait_and_not_waited_for() -> None:
    async with desk_and_store() as (desk, store):
        store.broken = ZeroDivisionError("a bug")
        store.gate.set()
        ends = []

        async def one():
            try:
                await desk.write(put())
            except ZeroDivisionError as error:
                ends.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)
        assert len(ends) == 3
        store.broken = None
        await desk.write(put("works again"))


async def test_a_store_that_cannot_be_opened_is_tried_again_each_time(tmp_path) -> None:
    path = tmp_path / "later" / "queue.db"
    contents = []
    desk = Desk(SQLiteStore(str(path)), contents.append, lambda change, result: None)
    with pytest.raises(StoreError, match="No such file or directory"):
        await desk.open()
    with pytest.raises(StoreError, match="No such file or directory"):
        await desk.write(put())
    assert contents == []
    path.parent.mkdir()
    assert await desk.write(put()) == 1
    assert len(contents) == 1
    await desk.close()
    assert await desk.write(Remove(1)) != []
    await desk.close()
