"""Outlier ejection against a model that keeps all history and knows no shortcuts; and its rules one by one."""

from __future__ import annotations

import math
import random
from statistics import fmean, pstdev

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from switchgear.actors.config import OutlierConfig
from switchgear.actors.machines.outlier import OutlierDetector

IDS = "abcdefghijkl"


class Model:
    """Each outcome, ejection and return that ever was, in order; everything else is asked of them."""

    def __init__(self, config):
        self.config = config
        self.counting = set()
        self.outcomes = {}  # who -> [(n, when, failed)] since it was last in use
        self.asked = {}  # who -> how many of those had come when it was last found to have failed too often
        self.past = {}  # who -> [("out" | "failed" | "back", when)]
        self.out = {}  # who -> when its time is over, or "trial", or ("trying", until when)
        self.opened = None
        self.n = 0
        self.told = []

    def update(self, known, counting, now, least):
        for gone in set(self.past) - set(known):
            for each in (self.outcomes, self.asked, self.past, self.out):
                each.pop(gone, None)
        for who in known:
            self.past.setdefault(who, [])
            self.outcomes.setdefault(who, [])
        self.counting = set(counting)
        self.least = least
        while (out := self.counting & set(self.out)) and len(self.counting) - len(out) < least:
            self.back(min(out, key=lambda who: (self.past[who][-1][1], list(self.out).index(who))), now)

    def seconds(self, who):
        """Count all ejections up, and all intervals spent well down."""
        level, well = 0, None
        for what, when in self.past[who]:
            if what == "back":
                well = when
                continue
            while what == "out" and well is not None and well + self.config.interval <= when and level:
                well += self.config.interval
                level -= 1
            if level * self.config.ejection_time < self.config.max_ejection_time:
                level += 1
        return min(level * self.config.ejection_time, self.config.max_ejection_time)

    def may_eject(self, who):
        out, size = len(self.counting & set(self.out)) + 1, len(self.counting)
        room = size - out >= self.least and (out == 1 or out * 100 <= round(self.config.max_ejected * 100) * size)
        return room and who in self.counting and who not in self.out

    def eject(self, who, when, what="out"):
        if what == "failed" or self.may_eject(who):
            self.past[who].append((what, when))
            self.out[who] = when + self.seconds(who)
            self.told.append(("out", who, self.seconds(who)))

    def back(self, who, when):
        del self.out[who]
        self.past[who].append(("back", when))
        self.outcomes[who], self.asked[who] = [], 0
        self.told.append(("back", who))

    def record(self, who, failed, now):
        if self.opened is not None and now >= self.opened + self.config.interval:
            self.sweep(now)
        if who not in self.past:
            return
        state = self.out.get(who)
        if isinstance(state, tuple):
            if failed is None:
                self.out[who] = "trial"
            elif failed:
                self.eject(who, now, "failed")
            else:
                self.back(who, now)
        elif state is None and failed is not None:
            self.opened = now if self.opened is None else self.opened
            self.n += 1
            self.outcomes[who].append((self.n, now, failed))
            last = self.outcomes[who][self.asked.get(who, 0) :][-self.config.consecutive_failures :]
            if len(last) == self.config.consecutive_failures and all(bad for *_, bad in last):
                self.asked[who] = len(self.outcomes[who])
                self.eject(who, now)

    def sweep(self, now):
        if self.opened is not None and now >= self.opened + self.config.interval:
            self.judge(self.opened, self.opened + self.config.interval)
            self.opened = None
        for who, state in self.out.items():
            until = state[1] if isinstance(state, tuple) else state
            if until != "trial" and until <= now:
                self.out[who] = "trial"

    def judge(self, begun, at):
        lately = {who: [one for one in each if one[1] >= begun] for who, each in self.outcomes.items()}
        lately = {who: each for who, each in lately.items() if each and who in self.counting and who not in self.out}
        lately = dict(sorted(lately.items(), key=lambda item: item[1][0]))  # as their first calls came
        good = {who: [bad for *_, bad in each].count(False) / len(each) for who, each in lately.items()}
        many = {who: good[who] for who in good if len(lately[who]) >= self.config.success_rate_calls}
        some = {who: good[who] for who in good if len(lately[who]) >= self.config.failure_rate_calls}
        worst = sorted(good, key=good.__getitem__)
        if len(many) >= self.config.success_rate_hosts:
            mean, deviation = fmean(many.values()), pstdev(many.values())
            for who in worst:
                far = who in many and mean - many[who] - self.config.success_rate_factor * deviation > 1e-9
                if far and mean - many[who] - self.config.success_rate_margin > 1e-9:
                    self.eject(who, at)
        if len(some) >= self.config.failure_rate_hosts:
            for who in worst:
                if who in some and 1 - some[who] >= self.config.failure_rate - 1e-9:
                    self.eject(who, at)

    def begin(self, who, now):
        if self.out.get(who) == "trial":
            self.out[who] = ("trying", now + self.config.ejection_time)

    def pardon(self, who, now):
        if who in self.out:
            self.back(who, now)
        elif who in self.past:
            self.asked[who] = len(self.outcomes[who])


class OutlierMachine(RuleBasedStateMachine):
    @initialize(
        row=st.integers(2, 4), cap=st.sampled_from([0.1, 0.25, 0.5, 1.0]), interval=st.sampled_from([10, 25]),
        most=st.sampled_from([30, 75, 100]), hosts=st.integers(2, 4), calls=st.integers(2, 4), size=st.integers(1, 12),
        margin=st.sampled_from([0.0, 0.0, 0.25, 0.4]),
    )  # fmt: skip
    def start(self, row, cap, interval, most, hosts, calls, size, margin):
        self.config = OutlierConfig(
            consecutive_failures=row, failure_rate=0.5, failure_rate_hosts=hosts, failure_rate_calls=calls,
            success_rate_factor=1.25, success_rate_hosts=hosts + 1, success_rate_calls=calls + 1,
            success_rate_margin=margin,
            interval=interval, ejection_time=30, max_ejection_time=most, max_ejected=cap, jitter=0,
        )  # fmt: skip
        self.now = 1000.0
        self.told = []
        self.detector = OutlierDetector(
            self.config,
            random.Random(0),
            lambda host, why, seconds: self.told.append(("out", host.id, seconds)),
            lambda host, why: self.told.append(("back", host.id)),
        )
        self.model = Model(self.config)
        self.under_way = []
        self.instances_change(size, set())

    @rule(size=st.integers(0, 12), ill=st.sets(st.sampled_from(IDS), max_size=6), least=st.sampled_from([1, 1, 3]))
    def instances_change(self, size, ill, least=1):
        known = IDS[:size]
        counting = set(known) - ill
        self.detector.update(known, counting, self.now, least)
        self.model.update(known, counting, self.now, least)

    @rule(seconds=st.sampled_from([0.5, 1, 5, 10, 30, 45, 200]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def time_passes_until_something_is_due(self):
        if self.now < self.detector.due < math.inf:
            self.now = self.detector.due

    def look(self):
        """As whoever picks an instance does."""
        if self.now >= self.detector.due:
            self.detector.sweep(self.now)
            self.model.sweep(self.now)
            assert self.detector.due > self.now
        offered = [who for who, state in self.model.out.items() if state == "trial" and who in self.model.counting]
        assert self.detector.trial in offered or (not offered and self.detector.trial is None)

    @rule(who=st.sampled_from(IDS))
    def a_call_begins(self, who):
        self.look()
        self.begin(self.detector.trial or who)

    def begin(self, who):
        self.detector.begin(who, self.now)
        self.model.begin(who, self.now)
        self.under_way.append(who)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), how=st.sampled_from([True, True, False, None]))
    def a_call_ends(self, data, how):
        self.end(self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1))), how)

    def end(self, who, how):
        self.detector.record(who, how, self.now)
        self.model.record(who, how, self.now)

    @rule(who=st.sampled_from(IDS), n=st.integers(1, 6), how=st.sampled_from([True, True, False]))
    def quick_calls_come(self, who, n, how):
        for _ in range(n):
            self.look()
            self.begin(who)
            self.end(self.under_way.pop(), how)

    @rule(
        pattern=st.lists(st.sampled_from(["", "f", "ff", "fs", "sf", "ss", "sfsfs", "sffsf"]), min_size=12, max_size=12)
    )
    def all_are_called(self, pattern):
        for who, outcomes in zip(IDS, pattern, strict=True):
            for one in outcomes:
                self.look()
                self.begin(who)
                self.end(self.under_way.pop(), one == "f")

    @rule(who=st.sampled_from(IDS))
    def a_check_passes(self, who):
        self.detector.pardon(who, "a check has passed", self.now)
        self.model.pardon(who, self.now)

    @invariant()
    def they_agree(self):
        if hasattr(self, "model"):
            assert self.told == self.model.told
            assert set(self.detector.ejected) == set(self.model.out)

    @invariant()
    def enough_are_left(self):
        if hasattr(self, "model"):
            left = self.model.counting - set(self.detector.ejected)
            assert len(left) >= min(self.model.least, len(self.model.counting))


TestOutlierMachine = OutlierMachine.TestCase
TestOutlierMachine.settings = settings(max_examples=200, stateful_step_count=40)


CONFIG = OutlierConfig(jitter=0.0)


def watched(config=CONFIG, n=10, seed=0):
    """A detector of ``n`` instances, and what it tells."""
    told = []
    detector = OutlierDetector(
        config,
        random.Random(seed),
        lambda host, why, seconds: told.append((host.id, why, round(seconds, 6))),
        lambda host, why: told.append((host.id, why)),
    )
    names = [str(i) for i in range(n)]
    detector.update(names, set(names), 0.0)
    return detector, told


def fails(detector, who, now, n=5):
    for _ in range(n):
        detector.begin(who, now)
        detector.record(who, True, now)


def answers(detector, who, now, n=1):
    for _ in range(n):
        detector.begin(who, now)
        detector.record(who, False, now)


def test_five_failures_in_a_row_and_not_with_a_success_between_them():
    detector, told = watched()
    fails(detector, "0", 0.0, 4)
    answers(detector, "0", 0.0)
    fails(detector, "0", 1.0, 4)
    detector.record("0", None, 1.0)  # whose caller has gone: neither a failure nor a success
    assert not told
    fails(detector, "0", 2.0, 1)
    assert told == [("0", "5 failures in a row", 30.0)]
    assert list(detector.ejected) == ["0"]
    assert detector.due == 10.0  # the interval is still open


def test_one_call_is_its_trial_and_decides():
    detector, told = watched()
    fails(detector, "0", 0.0)
    detector.sweep(29.999)
    assert detector.trial is None
    detector.sweep(30.0)
    assert detector.trial == "0"
    detector.begin("0", 30.0)
    assert detector.trial is None  # one call only, as long as it is under way
    detector.record("0", True, 31.0)
    detector.sweep(91.0)
    detector.begin("0", 91.0)
    detector.record("0", False, 92.0)
    assert told[1:] == [("0", "its trial failed", 60.0), ("0", "its trial succeeded")]
    assert not detector.ejected


def test_a_trial_that_says_nothing_is_made_again_and_so_is_one_that_does_not_end():
    detector, told = watched()
    fails(detector, "0", 0.0)
    detector.sweep(30.0)
    detector.begin("0", 30.0)
    detector.record("0", None, 31.0)
    assert detector.trial == "0"
    detector.begin("0", 32.0)
    detector.sweep(62.0)  # the time of a first ejection later
    assert detector.trial == "0"
    detector.record("0", False, 63.0)  # too late: another one is due
    assert detector.trial == "0"
    assert len(told) == 1


def test_ejections_grow_to_a_most_and_shrink_with_each_interval_spent_well():
    detector, told = watched()
    now = 0.0
    fails(detector, "0", now)
    for _ in range(30):  # far more than the most needs: it must not have to come down from there
        now += told[-1][2]
        detector.sweep(now)
        fails(detector, "0", now, 1)
    assert [told[i][2] for i in range(12)] == [30.0, 60.0, 90.0, 120.0, 150.0, 180.0, 210.0, 240.0, 270.0, *[300.0] * 3]
    detector.sweep(now + 300.0)
    answers(detector, "0", now + 300.0)
    fails(detector, "0", now + 369.0)  # six whole intervals
    assert told[-1][2] == 150.0


CAPS = [
    *((1, 1.0, 0), (2, 0.1, 1), (3, 0.5, 1), (3, 0.67, 2), (3, 1.0, 2)),
    *((10, 0.1, 1), (19, 0.1, 1), (20, 0.1, 2), (30, 0.1, 3), (100, 0.29, 29)),
]


@pytest.mark.parametrize(("n", "cap", "most"), CAPS)
def test_the_cap_counts_the_new_one_too_but_one_may_always_go_and_the_last_never(n, cap, most):
    """Envoy once looked before the ejection: 67 % took all three (#27066), 50 % two of three (#26877)."""
    detector, told = watched(OutlierConfig(max_ejected=cap), n)
    for i in range(n):
        fails(detector, str(i), 0.0)
    assert len(detector.ejected) == len(told) == most


def interval(detector, rates, calls=100, now=0.0):
    for who, failures in rates.items():
        for n in range(calls):  # spread out, so that no five follow each other unless they must
            detector.record(who, (n + 1) * failures // calls > n * failures // calls, now)


def test_a_rate_of_failures_needs_hosts_and_calls():
    ten = {str(i): 0 for i in range(10)}
    config = OutlierConfig(consecutive_failures=None, success_rate_factor=None)
    for bad, calls, hosts, expected in ((85, 50, 5, 0), (86, 50, 5, 1), (86, 49, 5, 0), (86, 50, 4, 0)):
        detector, told = watched(config)
        some = dict(list(ten.items())[:hosts]) | {"0": bad * calls // 100}
        interval(detector, some, calls)
        detector.sweep(9.999)
        assert not told
        detector.sweep(10.0)
        assert len(told) == expected, (bad, calls, hosts)


@pytest.mark.parametrize(("n", "expected"), [(4, False), (5, True)])
def test_of_four_none_can_be_far_from_the_rest(n, expected):
    """One bad one of n is sqrt(n - 1) standard deviations from the mean: 1.73 of four, 2 of five."""
    config = OutlierConfig(consecutive_failures=None, failure_rate=None, success_rate_hosts=n)
    detector, told = watched(config, n)
    interval(detector, {str(i): 60 if i == 0 else 1 for i in range(n)})
    detector.sweep(10.0)
    assert bool(told) is expected


@pytest.mark.parametrize(
    ("failures", "margin", "expected"),
    [(2, 0.05, False), (2, 0.0, True), (10, 0.05, False), (12, 0.05, True), (12, 0.1, False)],
)
def test_where_hardly_any_call_fails_a_few_failures_are_no_reason(failures, margin, expected):
    """Of ten instances with 180 calls: 98.9 % where all others have 100 % is three deviations below the mean."""
    config = OutlierConfig(consecutive_failures=None, failure_rate=None, success_rate_margin=margin)
    detector, told = watched(config)
    interval(detector, {str(i): failures if i == 0 else 0 for i in range(10)}, calls=180)
    detector.sweep(10.0)
    assert bool(told) is expected


def test_three_bad_ones_of_ten_blind_the_success_rate_but_not_the_other_rules():
    rates = {str(i): 90 if i < 3 else 0 for i in range(10)}
    blind = OutlierConfig(consecutive_failures=None, failure_rate=None, max_ejected=1.0)
    for config, expected in ((blind, 0), (OutlierConfig(consecutive_failures=None, max_ejected=1.0), 3)):
        detector, told = watched(config)
        interval(detector, rates)
        detector.sweep(10.0)
        assert len(told) == expected


@pytest.mark.parametrize("failures", range(101))
def test_where_all_are_alike_nobody_stands_out(failures):
    config = OutlierConfig(consecutive_failures=None, failure_rate=None)
    detector, told = watched(config, 7)
    interval(detector, {str(i): failures for i in range(7)})
    detector.sweep(10.0)
    assert not told


@pytest.mark.parametrize("rule", ["failure_rate", "success_rate_factor"])
def test_the_worst_goes_first_if_there_is_no_room_for_all(rule):
    rules = dict.fromkeys(("consecutive_failures", "failure_rate", "success_rate_factor"))
    detector, told = watched(OutlierConfig(**{**rules, rule: getattr(CONFIG, rule)}), 15)
    interval(detector, {str(i): (0, 90, 99, *[0] * 12)[i] for i in range(15)})
    detector.sweep(10.0)
    assert [one[0] for one in told] == ["2"]


def test_an_interval_is_judged_as_of_its_end_however_late_somebody_looks():
    detector, told = watched(OutlierConfig(consecutive_failures=None, jitter=0.0))
    interval(detector, {str(i): 90 if i == 0 else 0 for i in range(10)})
    detector.record("1", False, 1000.0)
    assert [who for who, *_ in told] == ["0"]
    assert detector.trial == "0"  # its 30 seconds have passed since


def test_after_a_crowd_has_gone_the_last_one_is_taken_back():
    detector, told = watched(n=3)
    fails(detector, "0", 0.0)
    detector.update(["0", "1"], {"0", "1"}, 1.0)
    assert list(detector.ejected) == ["0"]
    detector.update(["0", "1"], {"0"}, 2.0)
    assert told[1:] == [("0", "too few others are left")]


def test_so_many_as_are_needed_are_never_out_and_who_was_out_longest_comes_back_first():
    detector, _ = watched(OutlierConfig(max_ejected=1.0, jitter=0.0), 6)
    everybody = [str(i) for i in range(6)]
    detector.update(everybody, set(everybody), 0.0, least=3)
    for i in range(6):
        fails(detector, str(i), float(i))
    assert list(detector.ejected) == ["0", "1", "2"]
    detector.update(everybody, {"0", "1", "2", "3"}, 10.0, least=3)
    assert list(detector.ejected) == ["2"]


def test_who_has_gone_is_forgotten_and_who_only_has_no_calls_now_is_not():
    detector, told = watched(n=3)
    fails(detector, "0", 0.0)
    detector.update(["0", "1", "2"], {"1", "2"}, 1.0)
    fails(detector, "1", 1.0)  # there is room: of those that count, none is out
    detector.update(["0", "1", "2"], {"0", "1", "2"}, 2.0)
    assert list(detector.ejected) == ["0", "1"]
    detector.update(["1", "2"], {"1", "2"}, 3.0)
    detector.update(["0", "1", "2"], {"0", "1", "2"}, 4.0)
    assert list(detector.ejected) == ["1"]
    detector.record("9", True, 5.0)  # of one that was deregistered while it was called
    assert len(told) == 2


def test_a_pardon_forgets_what_went_before():
    detector, told = watched()
    fails(detector, "0", 0.0, 4)
    detector.pardon("0", "a check has passed", 1.0)
    fails(detector, "0", 1.0, 4)
    assert not told
    fails(detector, "0", 1.0, 1)
    detector.pardon("0", "a check has passed", 2.0)
    detector.pardon("none of that name", "a check has passed", 2.0)
    assert told[1:] == [("0", "a check has passed")]


def test_other_rules_hold_from_now_on():
    detector, told = watched()
    fails(detector, "0", 0.0)
    detector.tune(OutlierConfig(consecutive_failures=2, max_ejected=0.5, ejection_time=1.0, jitter=0.0))
    fails(detector, "1", 0.0, 2)
    assert told == [("0", "5 failures in a row", 30.0), ("1", "2 failures in a row", 1.0)]


def test_jitter_makes_it_longer_by_a_share_at_most_and_a_seed_repeats_it():
    def seconds(seed):
        detector, told = watched(OutlierConfig(jitter=0.5, max_ejected=1.0), 50, seed)
        for i in range(49):
            fails(detector, str(i), 0.0)
        return [one[2] for one in told]

    assert seconds(1) == seconds(1) != seconds(2)
    assert all(30.0 <= one <= 45.0 for one in seconds(1))
    assert max(seconds(1)) - min(seconds(1)) > 10.0
