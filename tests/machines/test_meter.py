"""The meter: whatever is taken, given back, lost on the way or looked at in between, all is counted once."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from switchgear.actors.machines.meter import Meter, add, empty

CODES = st.sampled_from([None, "TIMEOUT", "TRANSPORT"])


def plain(deltas):
    """The sum of some deltas, in plain values."""
    total = empty()
    for delta in deltas:
        add(total, delta)
    return {
        "count": total.histogram.count,
        "sum": total.histogram.sum,
        "attempts": total.attempts,
        "retries": total.retries,
        "errors": Counter(total.errors),
        "refused": Counter(total.refused),
        "fallbacks": Counter(total.fallbacks),
        "last_error": total.last_error,
        "operations": {
            key: (one.count, one.seconds, one.longest, Counter(one.errors)) for key, one in total.operations.items()
        },
    }


class MeterMachine(RuleBasedStateMachine):
    """Against totals that are simply counted up; latencies are whole seconds, so that their sums are exact."""

    def __init__(self):
        super().__init__()
        self.meter = Meter()
        self.now = 0.0
        self.under_way = []
        self.booked = []
        self.fresh = False
        self.truth = {
            "count": 0,
            "sum": 0.0,
            "attempts": 0,
            "retries": 0,
            "errors": Counter(),
            "refused": Counter(),
            "fallbacks": Counter(),
            "last_error": None,
            "operations": {},
        }

    def tick(self):
        self.now += 1
        self.fresh = True
        return self.now

    @rule(code=CODES, seconds=st.integers(0, 9), attempts=st.integers(0, 4))
    def a_call_ends(self, code, seconds, attempts):
        now = self.tick()
        self.meter.record(code, float(seconds), attempts=attempts, now=now)
        self.truth["count"] += 1
        self.truth["sum"] += seconds
        self.truth["attempts"] += attempts
        self.truth["retries"] += max(0, attempts - 1)
        if code:
            self.truth["errors"][code] += 1
            self.truth["last_error"] = (code, now)

    @rule(
        method=st.sampled_from(["GET", "PUT"]),
        template=st.sampled_from(["/a/{id}", "/b"]),
        code=CODES,
        seconds=st.integers(0, 9),
    )
    def a_call_by_a_template_ends(self, method, template, code, seconds):
        self.tick()
        self.meter.operated((method, template), code, float(seconds))
        count, total, longest, errors = self.truth["operations"].get((method, template), (0, 0.0, 0.0, Counter()))
        ended = Counter() if code is None else Counter([code])
        one = (count + 1, total + seconds, max(longest, float(seconds)), errors + ended)
        self.truth["operations"][method, template] = one

    @rule(code=st.sampled_from(["OVERLOADED", "TIMEOUT"]))
    def a_call_is_refused(self, code):
        now = self.tick()
        self.meter.refused(code, now)
        self.truth["refused"][code] += 1
        self.truth["last_error"] = (code, now)

    @rule(source=st.sampled_from(["cache", "default"]))
    def a_fallback_answers(self, source):
        self.tick()
        self.meter.fell_back(source)
        self.truth["fallbacks"][source] += 1

    @rule()
    def a_report_goes_off(self):
        self.under_way.append(self.meter.take())
        self.fresh = False

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def a_report_arrives(self, data):
        delta = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        delta.booked = True
        self.booked.append(delta)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def a_report_finds_no_room(self, data):
        self.meter.give_back(self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1))))
        self.fresh = True

    @invariant()
    def all_is_counted_once(self):
        assert plain([*self.booked, *self.meter.unbooked()]) == self.truth
        assert self.meter.dirty == self.fresh


TestMeterMachine = MeterMachine.TestCase


def test_a_delta_that_was_taken_changes_no_more():
    meter = Meter()
    meter.record("TIMEOUT", 1.0, attempts=1, now=1.0)
    before = plain([delta := meter.take()])
    meter.record("DECODE", 1.0, attempts=1, now=2.0)
    meter.refused("OVERLOADED", 3.0)
    meter.fell_back("cache")
    meter.operated(("GET", "/a"), None, 1.0)
    assert plain([delta]) == before
    assert plain([meter.take()])["last_error"] == ("OVERLOADED", 3.0)


def test_nothing_has_happened():
    meter = Meter()
    assert not meter.dirty
    assert plain(meter.unbooked()) == plain([]) == plain([meter.take()])
