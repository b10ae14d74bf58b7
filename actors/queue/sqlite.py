"""The embedded store: one SQLite file. What is written here has been synced to the disk when `write` returns.

WAL with synchronous=FULL: each commit is one append and one fsync. (NORMAL would lose what was committed last when the
power fails; the rollback journal syncs twice.) The file is locked for as long as it is open, so that no two processes
deliver the same calls, and it needs no shared memory. Numbers are given by AUTOINCREMENT, which never gives one twice.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .records import Bury, Call, Contents, Entry, Lease, Postpone, Put, QueuedCall, Remove, Removed, Revive
from .store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .records import Change, Handle

MEMORY = ":memory:"
_OURS = 0x53574751  # application_id: "SWGQ"
_VERSION = 1
_LONGEST = 86_400.0  # seconds that anything may be put off: a clock that was set back must not make it years
_MOST_WAL = 4_000_000  # bytes that the log may keep when all of it is in the file

# Bodies are apart: what changes with each attempt is a short row, and rewriting it does not copy megabytes.
_SCHEMA = """
create table items (
    id integer primary key autoincrement,
    service text not null,
    request_id text not null,
    method text not null,
    target text not null,
    headers blob not null,
    idempotency_key text,
    affinity text,
    weight real not null,
    size integer not null,
    queued_at real not null,
    since real not null,
    due real not null,
    attempts integer not null default 0,
    leased integer not null default 0,
    dead integer not null default 0,
    error text
);
create table bodies (id integer primary key references items on delete cascade, body blob not null);
"""
_MARKS = (f"pragma application_id = {_OURS}", f"pragma user_version = {_VERSION}")
_ENTRY = "id, service, size, since, due, attempts"


class SQLiteStore:
    """A `Store` in a file.

    Args:
        path: of the file, which is made if there is none, for its owner's eyes only (mode 0600): bodies of calls are
            in it. ``":memory:"`` keeps nothing beyond the process; for tests.
    """

    def __init__(self, path: str) -> None:
        self.in_memory = path == MEMORY
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def open(self, now: float) -> Contents:
        """Take the file over. Raises StoreError."""
        self.close()
        with self._explained("cannot be opened"):
            # Only where there is none: to close a file gives back all locks that this process has on it (POSIX), those
            # of another runtime of ours among them.
            if not self.in_memory and not Path(self._path).exists():
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            # Any thread, but one at a time. No waiting for locks: who holds one keeps it for his life.
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(connection)
                contents = _contents(connection, now)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            return contents

    def write(self, changes: Sequence[Change]) -> list[Any]:
        """One transaction. Raises StoreError."""
        with self._explained("cannot be written"):
            connection = self._opened()
            connection.execute("begin immediate")
            try:
                results = [_MAKE[type(change)](connection, change) for change in changes]
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:  # a full disk, say, has rolled it back already
                    connection.execute("rollback")
                raise
            return results

    def list(self, service: str | None, *, dead: bool | None, limit: int) -> list[QueuedCall]:
        """By id. Raises StoreError."""
        wanted = [("service = ?", service), ("dead = ?", dead)]
        given = [(text, value) for text, value in wanted if value is not None]
        where = " and ".join(text for text, _ in given) or "true"
        query = f"select * from items where {where} order by id limit ?"  # noqa: S608 - of the texts above
        with self._explained("cannot be read"):
            cursor = self._opened().execute(query, (*(value for _, value in given), limit))
            names = [name for name, *_ in cursor.description]
            return [_shown(dict(zip(names, row, strict=True))) for row in cursor]

    def close(self) -> None:
        """What is in the log goes into the file, and the lock is given back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with self._explained("cannot be closed"):
                connection.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"the queue's file {self._path} is not open")
        return self._connection

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        # Unicode, Overflow: of what it cannot hold. Msgspec: of headers that are none any more.
        except (sqlite3.Error, OSError, UnicodeError, OverflowError, msgspec.MsgspecError) as error:
            raise StoreError(f"the queue's file {self._path} {what}: {_reason(error)}") from error

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Lock it, see whose it is, and make the tables if it is new."""
        connection.execute("pragma locking_mode = exclusive")  # before the first look at the file
        connection.execute("pragma auto_vacuum = full")  # of a new one: after an outage it becomes small again
        is_new = self._is_new(connection)
        connection.execute("pragma secure_delete = on")  # a body that was delivered is not to lie in a free page
        mode = _value(connection, "pragma journal_mode = wal")
        if mode != "wal" and not self.in_memory:
            raise sqlite3.OperationalError(f"it cannot have a write-ahead log there (it got {mode!r})")
        connection.execute(f"pragma journal_size_limit = {_MOST_WAL}")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma foreign_keys = on")
        connection.execute("begin immediate")
        for statement in (*_SCHEMA.split(";\n"), *_MARKS) if is_new else ():
            connection.execute(statement)
        connection.execute("commit")

    def _is_new(self, connection: sqlite3.Connection) -> bool:
        """Whether there is nothing in it yet. Takes the lock, and changes nothing: it may be somebody else's."""
        connection.execute("begin exclusive")  # the lock stays when it is given back
        version = _value(connection, "pragma user_version")
        owner = _value(connection, "pragma application_id")
        tables = _value(connection, "select count(*) from sqlite_schema")
        connection.execute("commit")
        if not owner and not version and not tables:
            return True
        if owner != _OURS:
            raise sqlite3.DatabaseError("it is a database of another program: give the queue a file of its own")
        if version != _VERSION:
            raise sqlite3.DatabaseError(f"it was written by a newer Switchgear (version {version} of its tables)")
        return False


def _contents(connection: sqlite3.Connection, now: float) -> Contents:
    # Nobody else can have it, so whoever held these leases is dead. What he began to try counts as tried.
    connection.execute("update items set leased = 0, due = ? where leased", (now,))
    latest = now + _LONGEST
    connection.execute(
        "update items set due = min(due, ?), since = min(since, ?) where due > ? or since > ?",
        (latest, now, latest, now),
    )
    waiting = [Entry(*row) for row in connection.execute(f"select {_ENTRY} from items where not dead order by id")]  # noqa: S608
    dead = connection.execute("select service, count(*), sum(size) from items where dead group by service")
    return Contents(waiting, {service: (count, size) for service, count, size in dead})


# ---- the changes


def _put(connection: sqlite3.Connection, put: Put) -> int:
    call = put.call
    row = {name: getattr(call, name) for name in call.__struct_fields__ if name not in {"body", "headers"}}
    row |= {"headers": msgspec.json.encode(call.headers), "size": call.size, "since": call.queued_at, "due": put.due}
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    cursor = connection.execute(f"insert into items ({names}) values ({marks})", tuple(row.values()))  # noqa: S608
    assert cursor.lastrowid is not None  # noqa: S101 - an insert gives one
    connection.execute("insert into bodies values (?, ?)", (cursor.lastrowid, call.body))
    return cursor.lastrowid


def _lease(connection: sqlite3.Connection, lease: Lease) -> Call | None:
    query = (
        "select service, request_id, method, target, headers, body, idempotency_key, affinity, weight, queued_at"
        " from items join bodies using (id) where id = ? and not dead"
    )
    row = connection.execute(query, (lease.id,)).fetchone()
    if row is None:
        return None
    connection.execute(
        "update items set leased = 1, attempts = ?, due = ? where id = ?", (lease.attempts, lease.until, lease.id)
    )
    service, request_id, method, target, headers, *others = row
    return Call(
        service, request_id, method, target, msgspec.json.decode(headers, type=tuple[tuple[str, str], ...]), *others
    )


def _postpone(connection: sqlite3.Connection, one: Postpone) -> None:
    connection.execute(
        "update items set leased = 0, attempts = ?, due = ?, error = ? where id = ? and not dead",
        (one.attempts, one.due, one.error, one.id),
    )


def _bury(connection: sqlite3.Connection, one: Bury) -> None:
    connection.execute(
        "update items set leased = 0, dead = 1, attempts = ?, error = ? where id = ?",
        (one.attempts, one.error, one.id),
    )


def _revive(connection: sqlite3.Connection, revive: Revive) -> list[tuple[Entry, bool]]:
    """With each entry: whether it was dead."""
    where, now = _where(revive.handle), revive.now
    query = f"select id from items where {where} and dead"  # noqa: S608
    dead = {row[0] for row in connection.execute(query, (revive.handle,))}
    connection.execute(
        f"update items set due = ? where {where} and not dead and not leased",  # noqa: S608
        (now, revive.handle),
    )
    connection.execute(
        f"update items set dead = 0, attempts = 0, since = ?, due = ? where {where} and dead",  # noqa: S608
        (now, now, revive.handle),
    )
    query = f"select {_ENTRY} from items where {where} and not leased order by id"  # noqa: S608
    entries = [Entry(*row) for row in connection.execute(query, (revive.handle,))]
    return [(entry, entry.id in dead) for entry in entries]


def _remove(connection: sqlite3.Connection, remove: Remove) -> list[Removed]:
    query = f"select id, service, size, dead from items where {_where(remove.handle)}"  # noqa: S608 - one of two
    rows = connection.execute(query, (remove.handle,))
    gone = [Removed(number, service, size, bool(dead)) for number, service, size, dead in rows]
    connection.executemany("delete from items where id = ?", [(one.id,) for one in gone])
    return gone


_MAKE: dict[type[Change], Callable[[sqlite3.Connection, Any], Any]] = {
    Put: _put,
    Lease: _lease,
    Postpone: _postpone,
    Bury: _bury,
    Revive: _revive,
    Remove: _remove,
}


def _where(handle: Handle) -> str:
    return "id = ?" if isinstance(handle, int) else "request_id = ?"


def _shown(row: dict[str, Any]) -> QueuedCall:
    dead = bool(row["dead"])
    same = ("id", "service", "request_id", "method", "attempts", "queued_at", "error", "idempotency_key", "size")
    return QueuedCall(
        **{name: row[name] for name in same},
        path=row["target"],
        state="dead" if dead else "leased" if row["leased"] else "ready",
        due=None if dead else row["due"],
    )


def _value(connection: sqlite3.Connection, query: str) -> Any:
    with closing(connection.execute(query)) as cursor:
        row = cursor.fetchone()
    return None if row is None else row[0]


def _reason(error: Exception) -> str:
    """In words that say what to do, where SQLite's do not."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    text = str(error)
    if "locked" in text:
        return "another runtime has it open: give each process a file of its own"
    if "not a database" in text or "malformed" in text:
        return f"it is damaged ({text}): move it away while nobody uses it, and a new one is made"
    return text
