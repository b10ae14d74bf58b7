"""The store against a dict that is told the same; what it does with files that are not its own; and what it leaves."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from switchgear.actors.queue.records import Bury, Call, Entry, Lease, Postpone, Put, Remove, Removed, Revive
from switchgear.actors.queue.sqlite import SQLiteStore
from switchgear.actors.queue.store import StoreError

DAY = 86_400.0


def call(service="svc", request_id="r", *, body=b"body", at=100.0, **fields):
    fields = {"method": "POST", "target": "/x?y=1", "headers": (("Content-Type", "text/plain"),)} | fields
    fields = {"idempotency_key": "k", "affinity": None, "weight": 1.0} | fields
    return Call(service=service, request_id=request_id, body=body, queued_at=at, **fields)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "queue.db")


def opened(path, now=100.0):
    store = SQLiteStore(path)
    store.open(now)
    return store


# ---- against a model


class Row:
    """What the model knows of one item."""

    def __init__(self, id, put):
        self.id, self.call = id, put.call
        self.since, self.due = put.call.queued_at, put.due
        self.attempts, self.leased, self.dead, self.error = 0, False, False, None

    def entry(self):
        return Entry(self.id, self.call.service, self.call.size, self.since, self.due, self.attempts)

    @property
    def state(self):
        return "dead" if self.dead else "leased" if self.leased else "ready"


class StoreMachine(RuleBasedStateMachine):
    """Ids of rows that have gone are used as well, for outcomes may come late."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.now = 1000.0
        self.store = SQLiteStore(str(Path(self.folder.name) / "queue.db"))
        self.store.open(self.now)
        self.rows = {}
        self.last = 0

    def teardown(self):
        self.store.close()
        self.folder.cleanup()

    @rule()
    def its_process_is_killed(self):
        """What is on the disk at that moment is all there is."""
        copy = tempfile.TemporaryDirectory()
        shutil.copytree(self.folder.name, copy.name, dirs_exist_ok=True)
        self.teardown()
        self.folder, self.store = copy, SQLiteStore(str(Path(copy.name) / "queue.db"))
        self.it_is_opened_again()

    def some_id(self, data):
        return data.draw(st.integers(1, max(self.last, 1) + 1))

    def some_handle(self, data):
        return data.draw(st.one_of(st.just(self.some_id(data)), st.sampled_from(["r0", "r1", "r2"])))

    def meant(self, handle):
        rows = sorted(self.rows.items())
        return [row for number, row in rows if handle in {number, row.call.request_id}]

    def change(self, data):
        """A change, and the result that the model expects of it."""
        kind = data.draw(st.sampled_from([Put, Put, Put, Lease, Postpone, Bury, Revive, Remove]))
        return getattr(self, f"change_{kind.__name__.lower()}")(data)

    def change_put(self, data):
        body = data.draw(st.binary(max_size=20) | st.just(b"x" * 20_000))
        queued = call(data.draw(st.sampled_from("ab")), f"r{self.last % 3}", body=body, at=self.now)
        put = Put(queued, self.now + data.draw(st.sampled_from([0.0, 5.0, 2 * DAY])))
        self.last += 1
        self.rows[self.last] = Row(self.last, put)
        return put, self.last

    def change_lease(self, data):
        lease = Lease(self.some_id(data), data.draw(st.integers(1, 9)), self.now + 30)
        row = self.rows.get(lease.id)
        if row is None or row.dead:
            return lease, None
        row.leased, row.attempts, row.due = True, lease.attempts, lease.until
        return lease, row.call

    def change_postpone(self, data):
        change = Postpone(self.some_id(data), data.draw(st.integers(0, 9)), self.now + 7, "503")
        row = self.rows.get(change.id)
        if row is not None and not row.dead:
            row.leased, row.attempts, row.due, row.error = False, change.attempts, change.due, "503"
        return change, None

    def change_bury(self, data):
        change = Bury(self.some_id(data), data.draw(st.integers(0, 9)), "400")
        row = self.rows.get(change.id)
        if row is not None:
            row.leased, row.dead, row.attempts, row.error = False, True, change.attempts, "400"
        return change, None

    def change_revive(self, data):
        change = Revive(self.some_handle(data), self.now)
        expected = []
        for row in self.meant(change.handle):
            if row.leased:
                continue
            was_dead, row.due, row.dead = row.dead, self.now, False
            if was_dead:
                row.attempts, row.since = 0, self.now
            expected.append((row.entry(), was_dead))
        return change, expected

    def change_remove(self, data):
        change = Remove(self.some_handle(data))
        gone = self.meant(change.handle)
        for row in gone:
            del self.rows[row.id]
        return change, [Removed(row.id, row.call.service, row.call.size, row.dead) for row in gone]

    @rule(data=st.data(), many=st.integers(1, 4))
    def changes_are_made(self, data, many):
        changes, expected = zip(*[self.change(data) for _ in range(many)], strict=True)
        assert self.store.write(changes) == list(expected)

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def changes_of_which_one_fails_are_not_made(self, data):
        changes = [Remove(number) for number in self.rows] + [Put(call(affinity="\ud800"), 0.0)]
        with pytest.raises(StoreError, match="cannot be written"):
            self.store.write(data.draw(st.permutations(changes)))

    @rule(seconds=st.sampled_from([1.0, 10.0, -50.0]))
    def time_passes_or_the_clock_is_set_back(self, seconds):
        self.now += seconds

    @rule()
    def it_is_opened_again(self):
        self.store.close()
        contents = self.store.open(self.now)
        dead = {}
        for row in self.rows.values():
            if row.leased:
                row.leased, row.due = False, self.now
            row.due, row.since = min(row.due, self.now + DAY), min(row.since, self.now)
            if row.dead:
                count, size = dead.get(row.call.service, (0, 0))
                dead[row.call.service] = (count + 1, size + row.call.size)
        assert contents.waiting == [row.entry() for row in self.rows.values() if not row.dead]
        assert contents.dead == dead

    @rule(service=st.sampled_from([None, "a", "b"]), dead=st.sampled_from([None, True, False]), limit=st.integers(1, 9))
    def it_is_listed(self, service, dead, limit):
        wanted = [row for row in self.rows.values() if service in (None, row.call.service) and dead in (None, row.dead)]
        listed = self.store.list(service, dead=dead, limit=limit)
        assert [(one.id, one.state, one.attempts, one.error) for one in listed] == [
            (row.id, row.state, row.attempts, row.error) for row in wanted[:limit]
        ]


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=40, stateful_step_count=30)


# ---- one by one


def test_all_of_a_call_comes_back(path, tmp_path) -> None:
    kept = call(body=bytes(range(256)) * 100, affinity="é", idempotency_key=None, weight=0.5, headers=(("X", "\xff"),))
    store = opened(path)
    store.write([Put(kept, 0.0)])
    copy = shutil.copytree(tmp_path, tmp_path / "copy")  # not closed: what is committed is there
    store.close()
    store = opened(str(copy / "queue.db"))
    assert store.write([Lease(1, 1, 130.0)]) == [kept]
    (shown,) = store.list(None, dead=None, limit=10)
    assert msgspec.structs.asdict(shown) == {
        "id": 1, "service": "svc", "request_id": "r", "method": "POST", "path": "/x?y=1", "state": "leased",
        "attempts": 1, "queued_at": 100.0, "due": 130.0, "error": None, "idempotency_key": None, "size": kept.size,
    }  # fmt: skip
    store.close()


def test_an_id_is_never_used_twice(path) -> None:
    store = opened(path)
    assert store.write([Put(call(), 0.0), Remove(1), Put(call(), 0.0), Remove(2)])[2] == 2
    store.close()
    store.open(100.0)
    assert store.write([Put(call(), 0.0)]) == [3]
    store.close()


def test_the_file_is_for_its_owner_alone_and_small_again_after_an_outage(path, tmp_path) -> None:
    old = os.umask(0)
    try:
        store = opened(path)
        store.write([Put(call(body=b"secret diary " * 10_000), 0.0) for _ in range(20)])
        files = sorted(tmp_path.iterdir())
        assert [file.name for file in files] == ["queue.db", "queue.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    finally:
        os.umask(old)
    store.write([Remove("r")])
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["queue.db"]
    assert Path(path).stat().st_size < 50_000
    assert b"diary" not in Path(path).read_bytes()


def test_what_a_commit_costs_is_as_documented(path) -> None:
    store = opened(path)
    modes = ("journal_mode", "synchronous", "locking_mode", "secure_delete", "foreign_keys", "auto_vacuum")
    found = [store._connection.execute(f"pragma {mode}").fetchone()[0] for mode in modes]
    assert found == ["wal", 2, "exclusive", 1, 1, 1]
    store.close()


def test_a_second_user_is_refused_until_the_first_has_closed(path) -> None:
    first, second = opened(path), SQLiteStore(path)
    with pytest.raises(StoreError, match=r"queue\.db cannot be opened: another runtime has it open: give each process"):
        second.open(100.0)
    elsewhere = (
        "from switchgear.actors.queue.sqlite import SQLiteStore\n"
        "from switchgear.actors.queue.store import StoreError\n"
        "try:\n"
        f"    SQLiteStore({path!r}).open(100.0)\n"
        "except StoreError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", elsewhere], capture_output=True, text=True, timeout=60, check=True)
    assert "another runtime has it open" in done.stdout
    first.write([Put(call(), 0.0)])
    first.close()
    assert [entry.id for entry in second.open(100.0).waiting] == [1]
    second.close()


def test_what_is_not_open_is_not_used(path) -> None:
    store = SQLiteStore(path)
    store.close()
    with pytest.raises(StoreError, match="is not open"):
        store.write([Remove(1)])
    with pytest.raises(StoreError, match="is not open"):
        store.list(None, dead=None, limit=1)


def test_memory_is_a_store_like_any_other_and_forgets(path) -> None:
    store = opened(":memory:")
    assert store.in_memory
    assert store.write([Put(call(), 0.0)]) == [1]
    store.close()
    assert store.open(100.0).waiting == []
    store.close()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda file: file.mkdir(), "unable to open database file"),
        (lambda file: file.write_bytes(b"no database at all" * 100), r"it is damaged \(file is not a database\): move"),
        (lambda file: file.symlink_to("/proc/no/such/place"), "No such file or directory"),
        (lambda file: sqlite3.connect(file).execute("create table users (id)").connection.close(), "another program"),
        (lambda file: sqlite3.connect(file).execute("pragma user_version = 7").connection.close(), "another program"),
    ],
)
def test_a_file_that_is_not_ours_is_left_as_it_is(make, why, path) -> None:
    make(Path(path))
    before = Path(path).read_bytes() if Path(path).is_file() else None
    store = SQLiteStore(path)
    with pytest.raises(StoreError, match=f"the queue's file .*queue.db cannot be opened: .*{why}"):
        store.open(100.0)
    assert before is None or Path(path).read_bytes() == before


def test_tables_of_the_future_are_not_touched(path) -> None:
    opened(path).close()
    connection = sqlite3.connect(path)
    connection.execute("pragma user_version = 2")
    connection.close()
    with pytest.raises(StoreError, match=r"newer Switchgear \(version 2 of its tables\)"):
        SQLiteStore(path).open(100.0)


def test_a_full_disk_undoes_a_change_and_is_said_and_passes(path) -> None:
    store = opened(path)
    store.write([Put(call(), 0.0)])
    pages = store._connection.execute("pragma page_count").fetchone()[0]
    store._connection.execute(f"pragma max_page_count = {pages + 3}")
    with pytest.raises(StoreError, match="cannot be written: database or disk is full"):
        store.write([Put(call(), 0.0), Put(call(body=b"x" * 1_000_000), 0.0)])
    assert [one.id for one in store.list(None, dead=None, limit=9)] == [1]
    store._connection.execute("pragma max_page_count = 1000000")
    assert store.write([Put(call(body=b"x" * 1_000_000), 0.0)]) == [2]
    store.close()


def test_a_file_that_cannot_be_written_any_more_says_so(path) -> None:
    store = opened(path)
    store._connection.execute("pragma query_only = on")
    with pytest.raises(StoreError, match="attempt to write a readonly database"):
        store.write([Put(call(), 0.0)])
    store.close()


def test_a_file_that_rots_says_so(path) -> None:
    store = opened(path)
    store.write([Put(call(body=b"x" * 100_000), 0.0)])
    store.close()
    Path(path).write_bytes(Path(path).read_bytes()[:4096] + os.urandom(200_000))
    with pytest.raises(StoreError, match="it is damaged"):
        SQLiteStore(path).open(100.0)


def test_headers_that_rot_say_so(path) -> None:
    store = opened(path)
    store.write([Put(call(), 0.0)])
    store._connection.execute("update items set headers = x'00'")
    with pytest.raises(StoreError, match=r"cannot be written: it is damaged \(JSON is malformed"):
        store.write([Lease(1, 1, 0.0)])
    store.close()


def test_a_place_where_there_can_be_no_log_is_refused(path, monkeypatch) -> None:
    """As on some file systems of networks."""
    store = SQLiteStore(path)
    store.in_memory, store._path = False, ":memory:"
    monkeypatch.chdir(Path(path).parent)
    with pytest.raises(StoreError, match=r"it cannot have a write-ahead log there \(it got 'memory'\)"):
        store.open(0.0)
