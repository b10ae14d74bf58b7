"""The pool against a naive model: lists of pairs, searched each time."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from switchgear.actors.service.target import Target
from switchgear.actors.transport.connection import Connection
from switchgear.actors.transport.pool import Pool, PoolCounts

EXPIRY, EACH, TOTAL = 10.0, 2, 3
TARGETS = [Target("http", f"{letter}.test", 80, "") for letter in "abc"]


class FakeLink:
    """A link that knows whether it is closed."""

    def __init__(self):
        self.closed = self.stale = False

    def is_stale(self):
        assert not self.closed
        return self.stale

    def close(self):
        self.closed = True


def new_pool(**options):
    return Pool(PoolCounts(), **{"expiry": EXPIRY, "per_instance": EACH, "total": TOTAL, **options})


def used(pool):
    """A connection that has just done an exchange."""
    connection = Connection(FakeLink())
    pool.connected()
    connection.usable = True
    return connection


class PoolModel(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.pool = new_pool()
        self.now = 1000.0
        self.idle = {to: [] for to in TARGETS}  # (connection, since), the last is the top
        self.busy = []  # (to, connection)
        self.gone = []
        self.kept = set(TARGETS)
        self.connected = self.reused = self.stale = self.expired = 0

    @rule(to=st.sampled_from(TARGETS))
    def call(self, to):
        self.one_call(to)

    def one_call(self, to):
        expected = None
        while self.idle[to] and expected is None:
            connection, since = self.idle[to].pop()
            if self.now - since >= EXPIRY:
                self.expired += 1
                self.gone.append(connection)
            elif connection.link.stale:
                self.stale += 1
                self.gone.append(connection)
            else:
                self.reused += 1
                expected = connection
        found = self.pool.take(to, self.now)
        assert found is expected
        if found is None:
            found = Connection(FakeLink())
            self.pool.connected()
            self.connected += 1
        found.usable = False
        self.busy.append((to, found))

    @rule(to=st.sampled_from(TARGETS), whole=st.booleans())
    def many_at_once(self, to, whole):
        for _ in range(EACH + 1):
            self.one_call(to)
        for _ in range(EACH + 1):
            self.end(len(self.busy) - 1, whole=whole)

    @precondition(lambda self: self.busy)
    @rule(data=st.data(), whole=st.booleans())
    def ends(self, data, whole):
        self.end(data.draw(st.integers(0, len(self.busy) - 1)), whole=whole)

    def end(self, place, *, whole):
        to, connection = self.busy.pop(place)
        connection.usable = whole
        self.pool.give_back(to, connection, self.now)
        if not whole or to not in self.kept:
            self.gone.append(connection)
        elif len(self.idle[to]) >= EACH or sum(map(len, self.idle.values())) >= TOTAL:
            self.expired += 1
            self.gone.append(connection)
        else:
            self.idle[to].append((connection, self.now))

    @rule(data=st.data())
    def peer_closes(self, data):
        all_idle = [connection for stack in self.idle.values() for connection, _ in stack]
        if all_idle:
            data.draw(st.sampled_from(all_idle)).link.stale = True

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 9.0, 10.0, 11.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def looks(self):
        due = self.pool.expire(self.now)
        for stack in self.idle.values():
            old = [connection for connection, since in stack if self.now - since >= EXPIRY]
            self.expired += len(old)
            self.gone += old
            stack[:] = [pair for pair in stack if pair[0] not in old]
        ages = [since for stack in self.idle.values() for _, since in stack]
        assert due == (min(ages) + EXPIRY if ages else None)

    @rule(left=st.sets(st.sampled_from(TARGETS), min_size=2))
    def instances_change(self, left):
        self.kept = left
        self.pool.keep_only(left)
        for to in set(TARGETS) - left:
            self.gone += [connection for connection, _ in self.idle[to]]
            self.idle[to].clear()

    @precondition(lambda self: self.connected > 12)  # or it would hardly ever fill
    @rule()
    def closes(self):
        self.pool.close()
        self.kept = set()
        for stack in self.idle.values():
            self.gone += [connection for connection, _ in stack]
            stack.clear()

    @invariant()
    def nothing_is_lost_or_doubled(self):
        resting = [connection for stack in self.idle.values() for connection, _ in stack]
        working = [connection for _, connection in self.busy]
        assert len({id(connection) for connection in resting + working}) == len(resting) + len(working)
        assert not any(connection.link.closed for connection in resting + working)
        assert all(connection.link.closed for connection in self.gone)
        figures = self.pool.counts.statistics()
        assert (figures.idle, figures.open) == (len(resting), len(resting) + len(working))
        assert (figures.connected, figures.reused) == (self.connected, self.reused)
        assert (figures.stale, figures.expired) == (self.stale, self.expired)
        assert len(resting) <= TOTAL
        assert all(len(stack) <= EACH for stack in self.idle.values())


PoolModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestPool = PoolModel.TestCase


def test_the_last_one_used_is_the_next_one_used() -> None:
    pool = new_pool()
    first, second = used(pool), used(pool)
    pool.give_back(TARGETS[0], first, 0.0)
    pool.give_back(TARGETS[0], second, 1.0)
    assert [pool.take(TARGETS[0], 2.0), pool.take(TARGETS[0], 2.0), pool.take(TARGETS[0], 2.0)] == [second, first, None]


def test_a_connection_in_use_when_its_instance_goes_is_closed_when_it_comes_back() -> None:
    pool = new_pool()
    connection = used(pool)
    pool.keep_only({TARGETS[1]})
    assert not connection.link.closed
    pool.give_back(TARGETS[0], connection, 0.0)
    assert connection.link.closed
    assert pool.counts.statistics().open == 0


def test_an_instance_that_comes_back_keeps_its_connections_again() -> None:
    pool = new_pool()
    connection = used(pool)
    pool.keep_only(set())
    pool.keep_only({TARGETS[0]})
    pool.give_back(TARGETS[0], connection, 0.0)
    assert pool.take(TARGETS[0], 0.0) is connection


def test_the_same_origin_under_two_prefixes_is_two_instances() -> None:
    pool = new_pool()
    connection = used(pool)
    pool.give_back(TARGETS[0], connection, 0.0)
    assert pool.take(Target("http", "a.test", 80, "/v2"), 0.0) is None
    assert pool.take(Target("https", "a.test", 80, ""), 0.0) is None
    assert pool.take(TARGETS[0], 0.0) is connection


def test_one_too_many_for_an_instance_and_in_all_is_closed() -> None:
    pool = new_pool(per_instance=2, total=3)
    for to, kept in [(0, True), (0, True), (0, False), (1, True), (1, False), (2, False)]:
        connection = used(pool)
        pool.give_back(TARGETS[to], connection, 0.0)
        assert connection.link.closed is not kept
    figures = pool.counts.statistics()
    assert (figures.idle, figures.open, figures.expired) == (3, 3, 3)
