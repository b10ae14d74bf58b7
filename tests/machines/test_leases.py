"""Leases against a model that looks at all of them each time; and what a silence, a pause and a smaller fleet do."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from switchgear.actors.machines.leases import BEAT, PATIENCE, Leases

KEYS = st.integers(0, 12)


class LeasesModel(RuleBasedStateMachine):
    """Times are multiples of an eighth, so that sums are exact and both sides agree about who is at his limit."""

    @initialize(start=st.sampled_from([0.0, 1000.125]))
    def begin(self, start) -> None:
        self.leases = Leases()
        self.now = start
        self.asleep = 0.0  # seconds in which nobody looked
        self.looked = self.touched = start
        self.known = {}  # key -> ttl, when it was heard (of a clock that stands while we sleep), whether it is doubted

    @property
    def clock(self):
        return self.now - self.asleep

    def wake(self):
        if not self.known:
            self.looked = self.now
        if self.now - self.looked > 1.25:
            self.asleep += self.now - max(self.touched, self.looked + 1.0)
            self.looked = self.now
        self.touched = self.now

    @rule(key=KEYS, ttl=st.sampled_from([1.0, 2.0, 3.0, 10.0]))
    def grant(self, key, ttl) -> None:
        self.wake()
        self.leases.grant(key, ttl, self.now)
        self.known[key] = (ttl, self.clock, False)

    @rule(keys=st.sets(KEYS))
    def renew(self, keys) -> None:
        for key in keys:
            assert self.leases.renew(key, self.now) is (key in self.known)
            if key in self.known:
                self.wake()
                self.known[key] = (self.known[key][0], self.clock, False)

    @rule(key=KEYS)
    def drop(self, key) -> None:
        self.leases.drop(key)
        self.known.pop(key, None)

    @rule(beats=st.integers(1, 12))
    def time_passes(self, beats) -> None:
        for _ in range(beats):
            self.now = max(self.now, self.looked + 1.0)
            self.look()

    @rule(seconds=st.sampled_from([0.125, 0.25, 0.5, 2.0, 7.0, 1e6]))
    def nobody_looks(self, seconds) -> None:
        self.now += seconds

    def look(self):
        self.wake()
        self.looked = self.now
        ended = {
            key for key, (ttl, heard, doubted) in self.known.items() if doubted and self.clock >= heard + 5.0 * ttl
        }
        left = {key: one for key, one in self.known.items() if key not in ended}
        lapsed = {key for key, (ttl, heard, doubted) in left.items() if not doubted and self.clock >= heard + ttl}
        late = sum(doubted or self.clock >= heard + ttl / 2 for ttl, heard, doubted in left.values())
        if late >= 3 and late / len(left) > 0.15:
            left |= {key: (*left[key][:2], True) for key in lapsed}
        else:
            ended |= lapsed
            left = {key: one for key, one in left.items() if key not in lapsed}
        gone = self.leases.expire(self.now)
        assert len(gone) == len(set(gone))
        assert set(gone) == ended
        self.known = left
        self.late = sum(doubted or self.clock >= heard + ttl / 2 for ttl, heard, doubted in left.values())
        assert self.leases.late == self.late

    @invariant()
    def both_know_the_same(self) -> None:
        if hasattr(self, "leases"):
            assert len(self.leases) == len(self.known)
            assert self.leases.doubted == sum(doubted for _, _, doubted in self.known.values())


TestLeases = LeasesModel.TestCase
TestLeases.settings = settings(max_examples=300, stateful_step_count=40)


class Fleet:
    """Owners of leases who renew thrice in a ttl, each at a moment of his own, and somebody who looks each beat."""

    def __init__(self, number, ttl=30.0, start=100.0):
        self.leases = Leases()
        self.ttl = ttl
        self.now = start
        self.gone = {}  # id -> when
        self.alive = set(range(number))
        self.next = {one: start + (one + 0.5) / number * ttl / 3 for one in self.alive}
        for one in self.alive:
            self.leases.grant(one, ttl, start)

    def run(self, seconds, *, heard=True):
        end = self.now + seconds
        while self.now < end:
            self.now += BEAT
            for one in self.alive:
                while self.next[one] <= self.now:
                    if heard and not self.leases.renew(one, self.next[one]):
                        self.leases.grant(one, self.ttl, self.next[one])
                    self.next[one] += self.ttl / 3
            self.gone |= dict.fromkeys(self.leases.expire(self.now), self.now)


@pytest.mark.parametrize("number", [1, 2, 3, 10, 1000])
def test_who_renews_in_time_is_never_gone(number) -> None:
    fleet = Fleet(number)
    fleet.run(1000)
    assert fleet.gone == {}
    assert fleet.leases.late == fleet.leases.doubted == 0


@pytest.mark.parametrize(("number", "dead"), [(1, 1), (2, 1), (2, 2), (3, 2), (10, 1), (10, 2), (100, 15)])
def test_a_few_who_fall_silent_are_gone_after_their_ttl(number, dead) -> None:
    fleet = Fleet(number)
    fleet.run(100)
    fleet.alive -= set(range(dead))
    silent = fleet.now
    fleet.run(100)
    assert set(fleet.gone) == set(range(dead))
    assert all(at - silent <= fleet.ttl + BEAT for at in fleet.gone.values())


@pytest.mark.parametrize("number", [3, 10, 1000])
def test_a_silence_of_all_is_ours_and_nobody_is_gone_when_it_ends(number) -> None:
    fleet = Fleet(number)
    fleet.run(100)
    fleet.run(fleet.ttl * 4, heard=False)
    assert fleet.leases.doubted == number
    assert fleet.gone == {}
    fleet.run(fleet.ttl / 3)
    assert fleet.leases.doubted == fleet.leases.late == 0
    fleet.run(1000)
    assert fleet.gone == {}


def test_who_was_doubted_and_heard_again_and_dies_then_is_gone_after_his_ttl() -> None:
    fleet = Fleet(10)
    fleet.run(fleet.ttl * 2, heard=False)
    fleet.run(fleet.ttl / 3)
    assert fleet.leases.doubted == 0
    fleet.alive.remove(0)
    dead = fleet.now
    fleet.run(200)
    assert fleet.gone.keys() == {0}
    assert fleet.gone[0] - dead <= fleet.ttl + BEAT


def test_a_fleet_that_has_become_smaller_is_believed_in_the_end_and_doubted_no_more() -> None:
    fleet = Fleet(100)
    fleet.run(100)
    fleet.alive = set(range(30))
    silent = fleet.now
    fleet.run(fleet.ttl * 2)
    assert (fleet.leases.doubted, fleet.gone) == (70, {})
    fleet.run(fleet.ttl * 4)
    assert set(fleet.gone) == set(range(30, 100))
    assert all(at - silent <= (1 + PATIENCE) * fleet.ttl + BEAT for at in fleet.gone.values())
    assert (len(fleet.leases), fleet.leases.late, fleet.leases.doubted) == (30, 0, 0)
    fleet.alive.remove(0)  # and who dies now dies as ever
    dead = fleet.now
    fleet.run(100)
    assert fleet.gone[0] - dead <= fleet.ttl + BEAT


def test_all_gone_is_believed_in_the_end_too() -> None:
    fleet = Fleet(5)
    fleet.alive = set()
    fleet.run(fleet.ttl * (1 + PATIENCE) + 2)
    assert (len(fleet.gone), len(fleet.leases)) == (5, 0)


@pytest.mark.parametrize("number", [1, 2, 10])
@pytest.mark.parametrize("pause", [0.2, 1.0, 45.0, 1e6])
def test_a_pause_of_ours_is_nobodys_silence(number, pause) -> None:
    fleet = Fleet(number)
    fleet.run(95)
    fleet.now += pause
    fleet.next = {one: max(at, fleet.now + 0.5) for one, at in fleet.next.items()}  # heard when we are awake again
    fleet.run(1000)
    assert fleet.gone == {}


def test_who_is_always_late_to_look_still_sees_who_has_gone() -> None:
    leases = Leases()
    leases.grant("a", 10.0, 0.0)
    looks = [1.5 * (number + 1) for number in range(20)]
    assert [now for now in looks if leases.expire(now)] == [15.0]


def test_a_lease_that_is_granted_anew_has_its_new_length() -> None:
    leases = Leases()
    leases.grant("a", 100.0, 0.0)
    leases.grant("a", 2.0, 0.0)
    assert leases.expire(1.0) == []
    assert leases.expire(2.0) == ["a"]
    leases.grant("a", 2.0, 2.0)
    leases.grant("a", 100.0, 2.0)
    assert leases.expire(3.0) == []
    assert leases.expire(4.0) == []


def test_what_comes_and_goes_leaves_nothing_behind() -> None:
    leases = Leases()
    for number in range(10_000):
        leases.grant(number, 1e6, 0.0)
        leases.drop(number)
    assert len(leases._turns) < 200
