"""With a file, in real time: what is on the disk is what was promised, whatever happens to the disk or to us."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from support.queue import empty, runtime_with
from support.service import Upstream, after, hang, outcome_of

import switchgear as sg
from switchgear.actors.events import QueueFailed
from switchgear.actors.queue.records import Lease, Remove
from switchgear.actors.queue.sqlite import SQLiteStore
from switchgear.actors.queue.store import StoreError

SOON = sg.QueueFallback(base_delay=0.01, max_delay=0.02)
LATER = sg.QueueFallback(base_delay=3600, max_delay=3600)
OFF = sg.BreakerConfig(enabled=False)


@pytest.fixture
def file(tmp_path):
    return sg.QueueConfig(str(tmp_path / "queue.db"))


def kept_in(file):
    """What a process would find that is started now."""
    store = SQLiteStore(file.path)
    store.open(time.time())
    try:
        return store.list(None, dead=None, limit=10_000)
    finally:
        store.close()


async def test_what_was_not_delivered_is_delivered_by_the_next_runtime(file) -> None:
    async with runtime_with(Upstream(503), LATER, queue=file) as runtime:
        responses = [await runtime.service("svc").post("/x", json=n, idempotency_key=f"k{n}") for n in range(3)]
        assert {response.source for response in responses} == {"queued"}
    assert [item.request_id for item in kept_in(file)] == [response.request_id for response in responses]
    upstream = Upstream(200)
    async with runtime_with(upstream, LATER, queue=file, seed=2) as runtime:
        assert [await runtime.queue.retry(response.request_id) for response in responses] == [1, 1, 1]
        await empty(runtime, 0.01)
    assert upstream.header("idempotency-key") == ["k0", "k1", "k2"]
    assert upstream.header("x-request-id") == [response.request_id for response in responses]
    assert [request.content for request in upstream.requests] == [b"0", b"1", b"2"]


async def test_a_call_that_is_tried_when_we_are_stopped_is_tried_again(file) -> None:
    async with runtime_with(Upstream(503, hang), SOON, queue=file) as runtime:
        await runtime.service("svc").put("/x")
        while (await runtime.queue.list())[0].state != "leased":  # noqa: ASYNC110 - of a thread
            await trio.sleep(0.001)
    assert [item.state for item in kept_in(file)] == ["ready"]
    upstream = Upstream(200)
    async with runtime_with(upstream, SOON, queue=file) as runtime:
        await empty(runtime, 0.01)
    assert len(upstream.requests) == 1


@settings(max_examples=30)
@given(passes=st.integers(0, 400))
async def test_a_caller_who_is_cancelled_is_queued_or_not_and_never_half(passes, tmp_path_factory) -> None:
    file = sg.QueueConfig(str(tmp_path_factory.mktemp("queue") / "queue.db"))
    body = b"x" * 100_000
    ends = []
    async with runtime_with(Upstream(503), LATER, queue=file) as runtime:
        service = runtime.service("svc")
        await service.put("/first", content=b"")
        async with trio.open_nursery() as nursery:

            async def call(path):
                ends.append(await outcome_of(service.put(path, content=body)))

            for number in range(3):
                nursery.start_soon(call, f"/{number}")
            for _ in range(passes):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    kept = kept_in(file)
    assert len(ends) + 1 <= len(kept) <= 4
    assert {item.size for item in kept[1:]} <= {len(body) + 2}
    connection = sqlite3.connect(file.path)
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    assert connection.execute("select count(*) from bodies").fetchone() == (len(kept),)
    connection.close()


async def test_a_crash_of_the_actor_loses_nothing(file) -> None:
    upstream = Upstream(503, 503, after(0.2))
    async with runtime_with(upstream, SOON, queue=file, breaker=OFF) as runtime:
        service = runtime.service("svc")
        ids = [(await service.put(f"/{number}")).request_id for number in range(2)]
        runtime.queue._ref.tell_nowait("what it does not understand")
        await empty(runtime, 0.01)
        assert runtime.tree().find("/queue").restarts == 1
    delivered = {request.headers["x-request-id"] for request in upstream.requests[2:]}
    assert delivered == set(ids)


# ---- trouble with the file


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"no database" * 100)])
async def test_a_file_that_cannot_be_opened_fails_the_fallback_and_nothing_else(make, file) -> None:
    make(Path(file.path))
    fallbacks = (SOON, sg.DefaultFallback("sorry"))
    async with runtime_with(Upstream(503), *fallbacks, queue=file) as runtime:
        response = await runtime.service("svc").put("/x")
        assert (response.source, response.data) == ("default", "sorry")
        (note,) = response.error.__notes__
        assert note.startswith(f"fallback 'queue' failed: it could not be queued: the queue's file {file.path} cannot")
        with pytest.raises(sg.FallbackFailed, match=r"queue\.db cannot be opened"):
            await runtime.queue.list()
        assert runtime.tree().find("/queue").restarts == 0


async def test_it_says_so_as_an_event_and_goes_on_when_it_can(file, monkeypatch) -> None:
    """As when a new process is started before the old one has ended."""
    old = SQLiteStore(file.path)
    old.open(time.time())
    upstream = Upstream(503, 200)
    async with runtime_with(upstream, SOON, queue=file) as runtime, runtime.events() as events:
        with pytest.raises(sg.HTTPStatusError) as caught:
            await runtime.service("svc").put("/x", json=1)
        assert "another runtime has it open" in caught.value.__notes__[0]
        async for event in events:
            if isinstance(event, QueueFailed):
                assert "another runtime has it open" in event.error
                break
        old.close()
        assert (await runtime.service("svc").get("/")).source == "live"
        upstream.script = [503, 503, 503, 200]
        assert (await runtime.service("svc").put("/x", json=1)).source == "queued"
        await empty(runtime, 0.01)


@pytest.fixture
def told(monkeypatch):
    """Nobody can fill a disk in a test; but SQLite can be told, in its own words, that it is full."""
    stores = []

    class Known(SQLiteStore):
        def __init__(self, path):
            super().__init__(path)
            stores.append(self)

    monkeypatch.setattr("switchgear.actors.queue.sqlite.SQLiteStore", Known)
    return lambda pragma: stores[-1]._connection.execute(f"pragma {pragma}")


async def test_a_full_disk_fails_the_fallback_until_there_is_room(file, told) -> None:
    async with runtime_with(Upstream(503), LATER, sg.DefaultFallback("sorry"), queue=file, breaker=OFF) as runtime:
        service = runtime.service("svc")
        assert (await service.put("/x", content=b"1")).source == "queued"
        told("max_page_count = 10")
        response = await service.put("/x", content=b"x" * 1_000_000)
        assert response.source == "default"
        assert "cannot be written: database or disk is full" in response.error.__notes__[0]
        told("max_page_count = 1000000")
        assert (await service.put("/x", content=b"x" * 1_000_000)).source == "queued"
        assert len(await runtime.queue.list()) == 2


async def test_what_was_delivered_is_not_delivered_again_though_that_cannot_be_written(file, told) -> None:
    upstream = Upstream(503, lambda request: told("query_only = on") and 200)
    async with runtime_with(upstream, SOON, queue=file) as runtime, runtime.events() as events:
        await runtime.service("svc").put("/x")
        async for event in events:
            if isinstance(event, QueueFailed):
                assert "attempt to write a readonly database" in event.error
                break
        assert (await runtime.queue.stats())["svc"].leased == 1
        told("query_only = off")
        await empty(runtime, 0.01)
    assert len(upstream.requests) == 2
    assert kept_in(file) == []


async def test_what_cannot_be_written_as_begun_is_not_begun(file, told) -> None:
    upstream = Upstream(503, 200)
    policy = sg.QueueFallback(base_delay=0.3)
    async with runtime_with(upstream, policy, queue=file) as runtime, runtime.events() as events:
        await runtime.service("svc").put("/x")
        told("query_only = on")
        async for event in events:
            if isinstance(event, QueueFailed):
                break
        (item,) = await runtime.queue.list()
        assert (item.state, item.attempts) == ("ready", 0)
        assert len(upstream.requests) == 1
        told("query_only = off")
        await runtime.queue.retry(item.id)
        await empty(runtime, 0.01)
    assert len(upstream.requests) == 2


class Slow(SQLiteStore):
    """Its commits wait for a gate."""

    gate = None

    def write(self, changes):
        if self.gate is not None:
            assert self.gate.wait(30)
        return super().write(changes)


@pytest.fixture
def gated(monkeypatch):
    """Close the gate of all stores; the gate is given back."""
    monkeypatch.setattr("switchgear.actors.queue.sqlite.SQLiteStore", Slow)

    def close():
        Slow.gate = threading.Event()
        return Slow.gate

    yield close
    Slow.gate = None


async def test_a_disk_that_does_not_answer_is_not_waited_for(file, gated, autojump_clock) -> None:
    """The mock clock does not wait for the thread, so the patience of the caller is over at once."""
    async with runtime_with(Upstream(503), LATER, queue=file) as runtime:
        await runtime.queue.stats()
        gate = gated()
        with pytest.raises(sg.HTTPStatusError) as caught:
            await runtime.service("svc").put("/x")
        assert "the disk has not answered for 5 s; the call may be in the queue or not" in caught.value.__notes__[0]
        gate.set()


async def test_what_has_just_been_delivered_is_noted_though_we_are_being_cancelled(file, gated) -> None:
    async def deliver(request):
        gate = gated()
        nursery.start_soon(runtime.service("svc").put, "/writes")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(end, gate)
        return 200

    async def end(gate):
        await trio.testing.wait_all_tasks_blocked()  # one writes, and the other waits to
        threading.Timer(0.1, gate.set).start()
        outer.cancel()

    upstream = Upstream(503, deliver, 503)
    with trio.CancelScope() as outer:
        async with runtime_with(upstream, SOON, queue=file, breaker=OFF) as runtime, trio.open_nursery() as nursery:
            await runtime.service("svc").put("/delivered")
            await trio.sleep_forever()
    assert len(upstream.requests) == 3
    assert "/delivered" not in [item.path for item in kept_in(file)]


async def test_what_is_dropped_in_the_moment_of_its_turn_is_not_made(file, monkeypatch) -> None:
    class Quick(SQLiteStore):
        def write(self, changes):
            if isinstance(changes[0], Lease):
                super().write([Remove(changes[0].id)])
            return super().write(changes)

    monkeypatch.setattr("switchgear.actors.queue.sqlite.SQLiteStore", Quick)
    upstream = Upstream(503)
    async with runtime_with(upstream, SOON, queue=file) as runtime:
        await runtime.service("svc").put("/x")
        await empty(runtime, 0.01)
    assert len(upstream.requests) == 1


async def test_a_file_that_cannot_be_closed_stops_nobody(file, monkeypatch, caplog) -> None:
    class Stubborn(SQLiteStore):
        def close(self):
            super().close()
            raise StoreError("it does not close")

    monkeypatch.setattr("switchgear.actors.queue.sqlite.SQLiteStore", Stubborn)
    with caplog.at_level("INFO"):
        async with runtime_with(Upstream(200), queue=file):
            pass
    assert "/queue QueueFailed error='it does not close'" in caplog.text


# ---- secrets


async def test_no_credential_is_ever_in_the_file(file) -> None:
    canary = "canary-7f3a"
    auth = sg.ApiKeyAuth(sg.Secret(canary), name="api_key", location="query")
    headers = {"X-Service-Token": canary}
    upstream = Upstream(503)
    async with runtime_with(upstream, LATER, queue=file, auth=auth, headers=headers, breaker=OFF) as runtime:
        service = runtime.service("svc")
        assert (await service.put("/kept", json={"a": 1})).source == "queued"
        for given in (
            {"headers": {"Authorization": f"Bearer {canary}"}},
            {"headers": {"cookie": f"session={canary}"}},
            {"params": {"access_token": canary}},
        ):
            with pytest.raises(sg.HTTPStatusError) as caught:
                await service.put("/refused", **given)
            (note,) = caught.value.__notes__
            assert "looks like a credential, which is never written to disk: give it to the service's config" in note
            assert canary not in note
        assert all(canary in str(request.url) for request in upstream.requests)
        assert await runtime.queue.drop(99) == 0
        on_disk = b"".join(path.read_bytes() for path in Path(file.path).parent.iterdir())
        assert b"/kept" in on_disk
        assert canary.encode() not in on_disk
