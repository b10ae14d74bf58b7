"""The limiter: in order, as fast as its buckets allow and no faster, and nobody is lost."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from switchgear.actors.machines.bucket import TokenBucket
from switchgear.actors.machines.limiter import HIGH, LOW, NORMAL, PATIENCE, Limiter

# Rates, weights and times are exact in binary: what the model says can be asked for equality.
RATES = st.sampled_from([0.5, 1.0, 4.0])
WEIGHTS = st.sampled_from([0.5, 1.0, 2.0])


class Guest:
    """Somebody who waits, as the model sees him."""

    def __init__(self, waiter, weight, priority, deadline):
        self.waiter, self.weight, self.priority, self.deadline = waiter, weight, priority, deadline


class Tank:
    """A bucket, as the model sees it: all that is out of it, piece by piece, in the order in which it flows back."""

    def __init__(self, rate, burst):
        self.rate, self.burst = rate, burst
        self.out = []  # [whose, how much]

    def flow(self, seconds):
        back = seconds * self.rate
        while self.out and back:
            part = min(back, self.out[0][1])
            back -= part
            self.out[0][1] -= part
            if not self.out[0][1]:
                del self.out[0]

    def room(self, later=0.0):
        """What is there, or will be."""
        return self.burst - max(0.0, sum(part for _, part in self.out) - later * self.rate)

    def forget(self, whose):
        self.out = [piece for piece in self.out if piece[0] is not whose]


class LimiterMachine(RuleBasedStateMachine):
    """Against a list of who waits, in order of arrival, and tanks."""

    @initialize(buckets=st.lists(st.tuples(RATES, st.integers(2, 5)), min_size=1, max_size=3))
    def begin(self, buckets):
        self.tanks = [Tank(*bucket) for bucket in buckets]
        self.limiter = Limiter(*(TokenBucket(*bucket) for bucket in buckets))
        self.now = self.opens = 1000.0
        self.waiting = []
        self.used = []  # all that was granted and not given back: (when, weight, guest)
        self.passed = 0

    def wait(self, weight):
        """Seconds until so much is there, when it is open."""
        start = max(self.now, self.opens)
        waits = ((weight - tank.room(start - self.now)) / tank.rate for tank in self.tanks)
        return start - self.now + max(0.0, *waits)

    def next(self):
        if self.passed >= PATIENCE:
            return self.waiting[0]
        return min(self.waiting, key=lambda one: one.priority)  # the first of those, as they came

    def use(self, weight, guest):
        for tank in self.tanks:
            tank.out.append([guest, weight])
        self.used.append((self.now, weight, guest))

    def serve(self):
        """What a pump has to grant."""
        served = []
        while self.waiting and not self.wait(self.next().weight):
            one = self.next()
            self.passed = 0 if one is self.waiting[0] else self.passed + 1
            self.waiting.remove(one)
            self.use(one.weight, one)
            served.append(one)
        return served

    @rule(seconds=st.one_of(st.integers(0, 40), st.just(1600)))
    def time_passes_or_the_loop_stalls(self, seconds):
        self.now += seconds / 16
        for tank in self.tanks:
            tank.flow(seconds / 16)

    @rule(weight=WEIGHTS, priority=st.sampled_from([HIGH, NORMAL, LOW]), patience=st.sampled_from([0.5, 20, math.inf]))
    def somebody_comes(self, weight, priority, patience):
        at_once = not self.waiting and not self.wait(weight)
        behind = sum(one.weight for one in self.waiting if one.priority <= priority)
        assert self.limiter.wait_time(self.now, weight, priority) == self.wait(weight + behind)
        waiter = self.limiter.enter(self.now, weight, priority, self.now + patience)
        assert (waiter is None) == at_once
        if at_once:
            self.use(weight, None)
        else:
            self.waiting.append(Guest(waiter, weight, priority, self.now + patience))

    @rule()
    def the_pump_runs(self):
        granted = self.limiter.pump(self.now)
        assert granted == [one.waiter for one in self.serve()]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def somebody_leaves_the_queue(self, data):
        one = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        one.waiter.cancel(self.now)
        one.waiter.cancel(self.now)

    @precondition(lambda self: any(guest for _, _, guest in self.used))
    @rule(data=st.data())
    def somebody_who_was_granted_goes_at_once_or_any_time_later(self, data):
        number = data.draw(st.sampled_from([n for n, (_, _, guest) in enumerate(self.used) if guest]))
        _, _, guest = self.used.pop(number)
        guest.waiter.cancel(self.now)
        guest.waiter.cancel(self.now)
        for tank in self.tanks:
            tank.forget(guest)

    @rule(seconds=st.integers(1, 64))
    def the_service_wants_a_pause(self, seconds):
        self.opens = self.limiter.opens = max(self.opens, self.now + seconds / 16)
        stay = []
        for one in self.waiting:
            before = sum(other.weight for other in stay if other.priority <= one.priority)
            if self.now + self.wait(before + one.weight) <= one.deadline:
                stay.append(one)
        assert {*self.limiter.expel(self.now)} == {one.waiter for one in self.waiting if one not in stay}
        self.waiting = stay

    @invariant()
    def nobody_is_forgotten(self):
        if hasattr(self, "limiter"):
            assert len(self.limiter) == self.limiter.waiting == len(self.waiting)
            due = self.now + self.wait(self.next().weight) if self.waiting else None
            assert self.limiter.due(self.now) == due

    @invariant()
    def what_is_there_is_there(self):
        if hasattr(self, "limiter"):
            most = min(tank.burst for tank in self.tanks)
            waits = ((most - tank.room()) / tank.rate for tank in self.tanks)
            assert self.limiter.bucket.wait(self.now, most) == max(0.0, *waits)

    def teardown(self):
        """Whatever happened: from here on all who wait are served, in order, each when it is due."""
        if not hasattr(self, "limiter"):
            return
        while (due := self.limiter.due(self.now)) is not None:
            self.time_passes_or_the_loop_stalls((due - self.now) * 16)
            granted = self.limiter.pump(self.now)
            assert granted
            assert granted == [one.waiter for one in self.serve()]
        assert self.waiting == []
        for tank in self.tanks:
            assert_no_window_exceeds([use[:2] for use in self.used], tank.rate, tank.burst)


TestLimiterMachine = LimiterMachine.TestCase
TestLimiterMachine.settings = settings(max_examples=150, stateful_step_count=40)


@pytest.mark.parametrize("buckets", [[(1.0, 2)], [(1.0, 2), (8.0, 8)]])
def test_what_is_given_back_late_is_no_more_than_has_not_flowed_back(buckets):
    """The bucket was full again in between: who comes afterwards must not find more in it than that."""
    limiter = Limiter(*(TokenBucket(*bucket) for bucket in buckets))
    limiter.enter(0.0, 2)
    waiter = limiter.enter(0.0)
    assert limiter.pump(1.0) == [waiter]
    assert limiter.admits(3.5)
    waiter.cancel(3.5)
    assert [limiter.admits(3.5) for _ in range(2)] == [True, False]


def test_a_turn_is_given_back_once():
    limiter = Limiter(TokenBucket(1.0, 4))
    limiter.enter(0.0, 4)
    waiter, other = limiter.enter(0.0), limiter.enter(0.0, 3)
    assert limiter.pump(4.0) == [waiter, other]
    for _ in range(3):
        waiter.cancel(4.0)
    assert [limiter.admits(4.0) for _ in range(2)] == [True, False]


def assert_no_window_exceeds(grants, rate, burst, clock=0.0):
    """``grants`` are (when, weight), in order. ``clock``: what the clock cannot tell apart, in seconds."""
    for i, (first, _) in enumerate(grants):
        total = 0
        for when, weight in grants[i:]:
            total += weight
            assert total <= (burst + rate * (when - first)) * (1 + 1e-6) + 4 * clock * rate * len(grants)


@given(
    buckets=st.lists(st.tuples(st.floats(1e-2, 1e6), st.integers(5, 50)), min_size=1, max_size=3),
    start=st.floats(0, 1e9),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["come", "come", "pump", "leave", "repent", "stall"]),
            st.floats(0, 20),
            st.floats(0, 5),
            st.sampled_from([HIGH, NORMAL, LOW]),
        ),
        max_size=80,
    ),
)
def test_a_late_pump_never_exceeds_any_rate_whatever_is_given_back_later(buckets, start, steps):
    """Here with numbers as they come, and tokens that are given back any time after the grant."""
    limiter = Limiter(*(TokenBucket(*bucket) for bucket in buckets))
    now, waiting, grants = start, set(), []
    for what, units, weight, priority in steps:
        if what == "come":
            waiter = limiter.enter(now, weight, priority)
            if waiter is None:
                grants.append((now, weight, None))
            else:
                waiting.add(waiter)
        elif what == "pump":
            for waiter in limiter.pump(now):
                waiting.remove(waiter)
                grants.append((now, waiter.weight, waiter))
        elif what == "leave" and waiting:
            waiting.pop().cancel(now)
        elif what == "repent":  # some time after the grant
            for grant in [grant for grant in grants if grant[2] is not None][:1]:
                grant[2].cancel(now)
                grants.remove(grant)
        else:
            now += units / buckets[0][0]
        assert len(limiter) == len(waiting)
    for rate, burst in buckets:
        assert_no_window_exceeds([grant[:2] for grant in grants], rate, burst, math.ulp(now))


@given(rate=st.floats(1e-2, 1e6), burst=st.integers(1, 20), start=st.floats(0, 1e9), n=st.integers(1, 50))
@settings(max_examples=200)
def test_whoever_sleeps_until_it_is_due_gets_on(rate, burst, start, n):
    """In a clock that jumps to the deadline, a due time of now with nothing to grant would be an endless loop."""
    limiter = Limiter(TokenBucket(rate, burst), TokenBucket(rate / 3, 2 * burst))
    now = start
    waiters = [waiter for _ in range(2 * burst + n) if (waiter := limiter.enter(now))]
    served, rounds = [], 0
    while (due := limiter.due(now)) is not None:
        rounds += 1
        granted = limiter.pump(due)
        assert granted or due > now
        served += granted
        now = due
    assert served == waiters
    assert rounds <= 4 * (2 * burst + n)


@given(
    rate=st.sampled_from([0.5, 1.0, 4.0]),
    burst=st.integers(2, 5),
    pause=st.integers(0, 10),
    queue=st.lists(st.tuples(WEIGHTS, st.sampled_from([HIGH, NORMAL, LOW])), min_size=1, max_size=8),
)
def test_the_estimate_is_never_too_long_and_with_one_priority_it_is_right(rate, burst, pause, queue):
    limiter = Limiter(TokenBucket(rate, burst))
    limiter.enter(0.0, burst)
    limiter.opens = pause
    told, served, now = {}, {}, 0.0
    for weight, priority in queue:
        wait = limiter.wait_time(0.0, weight, priority)
        if (waiter := limiter.enter(0.0, weight, priority)) is not None:
            told[waiter] = wait
    while (due := limiter.due(now)) is not None:
        now = due
        served |= dict.fromkeys(limiter.pump(now), now)
    assert served.keys() == told.keys()
    assert all(served[waiter] >= told[waiter] for waiter in served)
    if len({priority for _, priority in queue}) == 1:
        assert served == told


@given(
    rate=st.sampled_from([0.5, 1.0, 4.0]),
    pause=st.integers(0, 10),
    queue=st.lists(
        st.tuples(WEIGHTS, st.sampled_from([HIGH, NORMAL, LOW]), st.integers(1, 40)), min_size=1, max_size=25
    ),
)
def test_nobody_is_sent_away_who_would_have_been_in_time(rate, pause, queue):
    def filled():
        limiter = Limiter(TokenBucket(rate, 2))
        limiter.enter(0.0, 2)
        waiters = [limiter.join(*guest) for guest in queue]
        limiter.opens = pause
        return limiter, waiters

    limiter, waiters = filled()
    out = {waiters.index(waiter) for waiter in limiter.expel(0.0)}
    limiter, waiters = filled()  # the same, but all may stay
    now, late = 0.0, set()
    while (due := limiter.due(now)) is not None:
        now = due
        late |= {waiters.index(waiter) for waiter in limiter.pump(now) if now > waiter.deadline}
    assert out <= late
    if len({priority for _, priority, _ in queue}) == 1 and late:
        assert min(out) == min(late)


def test_those_are_sent_away_who_are_too_late_behind_the_others():
    limiter = Limiter(TokenBucket(1.0, 1))
    limiter.enter(0.0)
    waiters = [limiter.enter(0.0, priority=priority, deadline=2.5) for priority in (NORMAL, LOW, HIGH, NORMAL, LOW)]
    # Surely before each, with its turn: nobody (1 s), the first (2 s), nobody (1 s), two (3 s), four (but one is gone).
    assert limiter.expel(0.0) == waiters[3:]


def test_the_estimate_counts_tokens_that_wait_to_be_pumped():
    """A pump that is late must not make a newcomer believe that its turn comes after its deadline."""
    limiter = Limiter(TokenBucket(1.0, 10))
    for _ in range(13):
        limiter.enter(0.0)
    assert len(limiter) == 3
    assert limiter.wait_time(0.0) == 4.0
    assert limiter.wait_time(10.0) == 0.0


def test_a_cancelled_waiter_costs_nobody_a_turn():
    limiter = Limiter(TokenBucket(1.0, 1))
    assert limiter.enter(0.0) is None
    first, second, third = (limiter.enter(0.0) for _ in range(3))
    first.cancel(0.5)
    assert limiter.due(0.5) == 1.0
    assert limiter.pump(1.0) == [second]
    second.cancel(1.0)
    assert limiter.due(1.0) == 1.0
    assert limiter.pump(1.0) == [third]
    assert limiter.due(1.0) is None


def test_thousands_that_leave_are_swept():
    limiter = Limiter(TokenBucket(1.0, 1))
    limiter.enter(0.0)
    waiters = [limiter.enter(0.0) for _ in range(5000)]
    for waiter in waiters[1:]:
        waiter.cancel(0.0)
    assert len(limiter) == 1
    assert len(limiter._lines[NORMAL]._queue) <= 2
    assert limiter.pump(1.0) == [waiters[0]]


def test_in_a_queue_where_many_come_and_go_the_estimate_stays_right():
    limiter = Limiter(TokenBucket(1.0, 1))
    limiter.enter(0.0)
    waiting = []
    for n in range(1000):
        waiting.append(limiter.enter(0.0))
        if n % 3:
            waiting.pop(n * 7 % len(waiting)).cancel(0.0)
        assert limiter.wait_time(0.0) == len(waiting) + 1
        assert len(limiter._lines[NORMAL]._queue) <= 2 * len(waiting) + 1
    second = 0
    while waiting:
        second += 1
        assert limiter.pump(second) == [waiting.pop(0)]
        if len(waiting) > 1 and second % 2:
            waiting.pop(0).cancel(second)
        assert limiter.wait_time(second) == len(waiting) + 1


def test_newcomers_do_not_overtake():
    limiter = Limiter(TokenBucket(1.0, 1))
    limiter.enter(0.0)
    waiter = limiter.enter(0.0)
    late = limiter.enter(100.0)  # a token is there, but it is not this one's
    assert late is not None
    assert limiter.pump(100.0) == [waiter]


def test_light_calls_do_not_overtake_a_heavy_one():
    """Or it would wait for ever among them (rustcommon#129, node-rate-limiter#56)."""
    limiter = Limiter(TokenBucket(1.0, 5))
    limiter.enter(0.0, 5)
    heavy, light = limiter.enter(0.0, 5), limiter.enter(0.0)
    assert limiter.pump(4.0) == []
    assert limiter.pump(5.0) == [heavy]
    assert limiter.due(5.0) == 6.0
    assert limiter.pump(6.0) == [light]


def test_all_buckets_or_none():
    """Ten a second and fifteen a minute: refused by the second, it must not have taken from the first."""
    limiter = Limiter(second := TokenBucket(10.0, 10), minute := TokenBucket(0.25, 15))
    assert [limiter.admits(0.0, 5) for _ in range(3)] == [True, True, False]
    assert limiter.admits(1.0, 5)
    assert not limiter.admits(10.0, 5)
    assert second.wait(10.0, 10) == 0  # all ten are there
    assert minute.wait(10.0, 5) == pytest.approx(10.0)
    assert limiter.wait_time(10.0, 5) == pytest.approx(10.0)


def test_a_higher_priority_goes_first_and_the_lowest_gets_its_tenth():
    limiter = Limiter(TokenBucket(1.0, 1))
    limiter.enter(0.0)
    low = [limiter.enter(0.0, priority=LOW) for _ in range(2)]
    served = []
    for second in range(1, 25):
        limiter.enter(second - 0.5, priority=HIGH)  # as many as are served: there is always one
        served += limiter.pump(second)
    assert [served.index(waiter) for waiter in low] == [PATIENCE, 2 * PATIENCE + 1]


def test_nobody_who_waits_at_all_is_gone_past_more_than_so_often():
    limiter = Limiter(TokenBucket(1.0, 1))
    limiter.enter(0.0)
    normal = limiter.enter(0.0, priority=NORMAL)
    low = limiter.enter(0.0, priority=LOW)
    high = [limiter.enter(0.0, priority=HIGH) for _ in range(30)]
    served = [waiter for second in range(1, 40) for waiter in limiter.pump(second)]
    assert served.index(normal) == PATIENCE
    assert served.index(low) == 2 * PATIENCE + 1
    assert [waiter for waiter in served if waiter in high] == high


def test_a_pause_holds_everybody_and_sends_away_whom_it_would_make_late():
    limiter = Limiter(TokenBucket(1.0, 5))
    limiter.enter(0.0, 5)
    patient, hasty = limiter.enter(0.0, deadline=100.0), limiter.enter(0.0, deadline=9.0)
    limiter.opens = 10.0
    assert limiter.expel(0.0) == [hasty]
    assert limiter.wait_time(2.0) == 8.0
    assert limiter.due(2.0) == 10.0
    assert limiter.pump(9.9) == []
    assert not limiter.admits(9.9, 0)
    assert limiter.pump(10.0) == [patient]


def test_who_wants_more_than_another_bucket_gives_is_sent_away():
    limiter = Limiter(TokenBucket(1.0, 5))
    limiter.enter(0.0, 5)
    heavy, light = limiter.enter(0.0, 4), limiter.enter(0.0, 3)
    limiter.bucket = TokenBucket(1.0, 3)
    assert limiter.expel(0.0) == [heavy]
    assert limiter.pump(0.0) == [light]
    heavy.cancel(0.0)
    assert limiter.bucket.wait(0.0, 3) == 3.0  # it had taken nothing


def test_without_a_bucket_there_is_no_limit_but_a_pause():
    limiter = Limiter()
    assert limiter.enter(0.0, 1e9) is None
    limiter.opens = 5.0
    waiter = limiter.enter(0.0, 1e9)
    assert limiter.due(0.0) == 5.0
    assert limiter.pump(5.0) == [waiter]


@pytest.mark.parametrize("weight", [-1, math.nan])
def test_a_weight_must_make_sense(weight):
    limiter = Limiter(TokenBucket(1.0, 2))
    with pytest.raises(ValueError, match="0 or more"):
        limiter.enter(0.0, weight)


def test_a_weight_above_the_burst_is_refused_at_once_and_takes_nothing():
    limiter = Limiter(TokenBucket(1.0, 5), TokenBucket(1.0, 2))
    with pytest.raises(ValueError, match="3 tokens can never"):
        limiter.enter(0.0, 3)
    assert limiter.waiting == 0
    assert limiter.enter(0.0, 2) is None
