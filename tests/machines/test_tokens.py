"""The token cache against the log of all that was ever told to it, from which everything is worked out anew."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from switchgear.actors.machines.tokens import TokenCache, TokenState

EMPTY, FRESH, STALE, EXPIRED = TokenState


LIVES = st.one_of(st.none(), st.floats(0, 20), st.integers(1, 10_000), st.sampled_from([0.5, 10, 100, 3600]))


class Issued:
    """One token, as the server sees it."""

    def __init__(self, value, generation, sent, life):
        self.value, self.generation, self.sent, self.life = value, generation, sent, life
        self.refused = False

    @property
    def ends(self):
        return self.sent + self.life

    @property
    def used_until(self):
        return self.ends - min(30, self.life / 10)

    @property
    def refreshed_from(self):
        """The earliest and the latest: in between it is left to chance."""
        if self.life == math.inf:
            return math.inf, math.inf
        latest = self.ends - min(300, self.life / 5)
        return latest - min(60, self.life / 20), latest


class TokenMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.cache = TokenCache(random.Random(3))
        self.now = 1000.0
        self.issued = []
        self.asked_at = None  # when the request that is under way was sent
        self.asked_while = None
        self.failures = 0
        self.useless = 0
        self.earliest = {True: -math.inf, False: -math.inf}  # by whether there is a token to use
        self.latest = {True: -math.inf, False: -math.inf}

    def current(self):
        return self.issued[-1] if self.issued and not self.issued[-1].refused else None

    def usable(self):
        one = self.current()
        return one is not None and self.now < one.used_until

    def wait(self, usable, least, most):
        """No attempt before the first, and no refusal to attempt after the second."""
        self.earliest[usable], self.latest[usable] = least, most

    @rule(seconds=st.one_of(st.floats(0, 5), st.integers(0, 4000)))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def to_the_next_change(self):
        one = self.current()
        until = self.cache.blocked_until(self.now)
        times = [] if one is None else [*one.refreshed_from, one.used_until]
        later = [at for at in (*times, until) if at is not None and self.now < at < math.inf]
        self.now = min(later, default=self.now)

    @rule(life=LIVES, off=st.floats(-0.5, 0.5), outcome=st.sampled_from(["one", "one", "one", "again", "failed"]))
    def a_call_asks_and_is_answered(self, life, off, outcome):
        if self._ask():
            if outcome == "one":
                self.there_is_one(life)
            elif outcome == "failed":
                self.there_is_none_for_now(None)
            else:
                self.it_is_the_one_we_had(off)

    @rule()
    def a_call_asks_for_another(self):
        self._ask()

    def _ask(self):
        if not self.cache.should_refresh(self.now):
            return False
        assert self.asked_at is None
        assert self.now >= self.earliest[self.usable()]
        self.asked_at, self.asked_while = self.now, self.cache.state(self.now)
        self.cache.begin()
        assert not self.cache.should_refresh(self.now)
        return True

    def settle(self):
        sent, self.asked_at = self.asked_at, None
        return sent

    @precondition(lambda self: self.asked_at is not None)
    @rule(life=LIVES)
    def there_is_one(self, life):
        self._issue(self.settle(), life)

    @precondition(lambda self: self.asked_at is not None)
    @rule(off=st.floats(-0.5, 0.5))
    def it_is_the_one_we_had(self, off):
        one, sent = self.current(), self.settle()
        end = sent + 100 if one is None or one.life == math.inf else one.ends
        self._issue(sent, end - sent + off)

    def _issue(self, sent, life):
        before, was = self.current(), self.asked_while
        token = self.cache.store(f"token {len(self.issued)}", life, sent)
        assert token.value == f"token {len(self.issued)}"
        assert all(token.generation > one.generation for one in self.issued)
        one = Issued(token.value, token.generation, sent, math.inf if life is None else max(0.0, life))
        self.issued.append(one)
        self.failures = 0
        again = before is not None and one.ends <= before.ends + min(5, before.life / 10)
        self.wait(True, -math.inf, -math.inf)
        if was is STALE and again:
            self.wait(True, sent + 30, sent + 36)
        elif one.used_until - sent < 1 or (was is EXPIRED and again):
            self.useless += 1
        elif before is not None:
            self.useless = 0
        self._useless_wait(sent)
        for bounds in (self.earliest, self.latest):
            bounds[True] = max(bounds.values())

    def _useless_wait(self, since):
        seconds = min(30, 2 ** (self.useless - 2)) if self.useless > 1 else 0
        self.wait(False, since + seconds, since + 1.2 * seconds)

    @precondition(lambda self: self.asked_at is not None)
    @rule(retry_after=st.one_of(st.none(), st.integers(0, 600)))
    def there_is_none_for_now(self, retry_after):
        self.settle()
        self.cache.failed(self.now, retry_after)
        self.failures += 1
        asked = retry_after or 0
        for usable, first, most in ((True, 30, 300), (False, 1, 60)):
            seconds = min(most, first * 2 ** (self.failures - 1))
            self.wait(usable, self.now + max(asked, seconds), self.now + max(asked, 1.2 * seconds))

    @precondition(lambda self: self.asked_at is not None)
    @rule()
    def there_is_none_for_good(self):
        self.settle()
        self.cache.failed(self.now, permanent=True)
        for usable in (True, False):
            self.wait(usable, math.inf, math.inf)
        assert self.cache.state(self.now) is FRESH or self.cache.blocked_until(self.now) == math.inf

    @precondition(lambda self: self.earliest[False] == math.inf)
    @rule()
    def somebody_else_has_another_cache(self):
        self.__init__()

    @precondition(lambda self: self.asked_at is not None)
    @rule()
    def nobody_waits_any_more(self):
        self.settle()
        self.cache.abandon()

    @precondition(lambda self: self.issued)
    @rule(data=st.data())
    def the_service_refuses_one(self, data):
        """Any that was ever in force: fifty calls may have used an old one."""
        one = data.draw(st.sampled_from([None, *self.issued]))
        was = self.cache.get(self.now), self.cache.blocked_until(self.now)
        now_in_force = self.current()
        token = self.cache.get(self.now)
        stale = token is not None and self.now >= token.refresh_at
        self.cache.invalidate(0 if one is None else one.generation, self.now)
        if one is None or one is not now_in_force:
            assert (self.cache.get(self.now), self.cache.blocked_until(self.now)) == was
            return
        one.refused = True
        soon = self.now < one.sent + 60 and not stale and self.usable_then(one)
        self.useless = self.useless + 1 if soon else 0
        least, most = self.earliest[False], self.latest[False]
        self._useless_wait(one.sent)
        self.wait(False, max(least, self.earliest[False]), max(most, self.latest[False]))

    def usable_then(self, one):
        return self.now < one.used_until

    @invariant()
    def the_latest_is_in_force_until_it_expires_or_is_refused(self):
        token = self.cache.get(self.now)
        if not self.usable():
            assert token is None
            return
        one = self.issued[-1]
        assert (token.value, token.generation) == (one.value, one.generation)
        assert self.now < one.ends  # never past its end, as the server sees it

    @invariant()
    def its_state_is_that_of_the_latest(self):
        state, one = self.cache.state(self.now), self.current()
        if one is None:
            assert state is EMPTY
        elif not self.usable():
            assert state is EXPIRED
        else:
            earliest, latest = one.refreshed_from
            assert state in (FRESH, STALE)
            assert state is FRESH or self.now >= earliest
            assert state is STALE or self.now < latest

    @invariant()
    def another_is_asked_for_when_it_makes_sense_and_not_before(self):
        now, cache = self.now, self.cache
        until = cache.blocked_until(now)
        if self.asked_at is not None or cache.state(now) is FRESH:
            assert (cache.should_refresh(now), until) == (False, None)
            return
        assert cache.should_refresh(now) is (until is None)
        if now < self.earliest[self.usable()]:
            assert until is not None
        if now >= self.latest[self.usable()]:
            assert until is None


TestTokenMachine = TokenMachine.TestCase


class Fixed(random.Random):
    """Chance that is always the same."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def random(self):
        return self.value


@pytest.mark.parametrize(
    ("life", "earliest", "latest", "until"),
    [
        (36_000, 35_640, 35_700, 35_970),
        (3600, 3240, 3300, 3570),
        (1000, 750, 800, 970),
        (100, 75, 80, 90),
        (10, 7.5, 8, 9),
        (0, 0, 0, 0),
        (-5, 0, 0, 0),
        (math.inf, math.inf, math.inf, math.inf),
        (None, math.inf, math.inf, math.inf),
    ],
)
def test_a_lifetime_is_used_but_for_its_end_and_refreshed_before_that(life, earliest, latest, until):
    for chance, refresh_at in ((1.0, earliest), (0.0, latest)):
        token = TokenCache(Fixed(chance)).store("one", life, 1000.0)
        assert (token.refresh_at, token.expires_at) == (1000 + refresh_at, 1000 + until)


def waits(cache, now, settle, times):
    """How long another attempt is not allowed, after each that ends in that."""
    for _ in range(times):
        assert cache.should_refresh(now)
        cache.begin()
        settle(cache, now)
        until = cache.blocked_until(now)
        yield 0 if until is None else until - now
        now = now if until is None else until


def fails(cache, now):
    cache.failed(now)


@pytest.mark.parametrize(("chance", "factor"), [(0.0, 1.0), (1.0, 1.2)])
def test_waits_double_up_to_a_minute_or_five(chance, factor):
    without = waits(TokenCache(Fixed(chance)), 0.0, fails, 9)
    assert list(without) == pytest.approx([factor * wait for wait in (1, 2, 4, 8, 16, 32, 60, 60, 60)])
    cache = TokenCache(Fixed(chance))
    token = cache.store("one", 10**6, 0.0)
    stale = waits(cache, token.refresh_at, fails, 1)
    assert list(stale) == pytest.approx([factor * 30])
    cache = TokenCache(Fixed(chance))
    cache.store("one", 1e9, 0.0)
    cache.failed(0.0)
    cache.failed(0.0)
    for wait in (120, 240, 300, 300):
        cache.failed(0.0)
        cache.invalidate(99, 0.0)  # another one's: changes nothing
        assert cache._stale_block == pytest.approx(factor * wait)


def test_an_endpoint_that_says_when_is_believed_if_that_is_later():
    cache = TokenCache(Fixed(0.0))
    cache.failed(0.0, 0.5)
    assert cache.blocked_until(0.0) == 1
    cache.failed(0.0, 500)
    assert cache.blocked_until(0.0) == 500
    cache.store("one", 1000, 0.0)
    cache.failed(0.0, 10)
    assert cache.blocked_until(800.0) is None
    cache.failed(800.0, 10)
    assert cache.blocked_until(800.0) == 860  # the second in a row, while there is one to use


def test_what_the_service_refuses_at_once_comes_at_longer_and_longer_intervals():
    def refused(cache, now):
        cache.invalidate(cache.store("one", 3600, now).generation, now)

    cache = TokenCache(Fixed(0.0))
    assert list(waits(cache, 0.0, refused, 9)) == [0, 1, 2, 4, 8, 16, 30, 30, 30]
    good = cache.store("good", 3600, 1000.0)
    cache.invalidate(good.generation, 1060.0)  # it was good for a minute
    assert cache.blocked_until(1060.0) is None


def test_a_refusal_does_not_shorten_what_a_failure_has_to_wait():
    cache = TokenCache(Fixed(0.0))
    token = cache.store("one", 100, 0.0)
    cache.failed(85.0, 50)
    cache.invalidate(token.generation, 86.0)
    assert cache.blocked_until(86.0) == 135


def test_the_token_that_we_had_is_not_asked_for_again_before_half_a_minute():
    cache = TokenCache(Fixed(0.0))
    cache.store("one", 100, 0.0)
    assert cache.state(80.0) is STALE
    cache.store("one", 20, 80.0)
    assert cache.state(96.0) is STALE  # a fifth of the twenty seconds is left
    assert cache.blocked_until(96.0) == 110
    assert cache.blocked_until(98.0) is None  # it has expired: that is worth a look
    cache.store("new", 100, 98.0)
    assert cache.state(178.0) is STALE
    assert cache.blocked_until(178.0) is None


def test_one_that_is_as_old_when_it_has_expired_is_of_no_use():
    cache = TokenCache(Fixed(0.0))
    cache.store("one", 100, 0.0)
    cache.store("one", 10, 90.0)  # as old, and all but over
    assert (cache.state(99.0), cache.blocked_until(99.0)) == (EXPIRED, None)  # once may be an accident
    cache.store("one", 1, 99.0)
    assert (cache.state(99.9), cache.blocked_until(99.9)) == (EXPIRED, 100.0)
    cache.store("new", 100, 100.0)
    assert (cache.state(190.0), cache.blocked_until(190.0)) == (EXPIRED, None)


def test_fifty_refusals_of_an_old_one_leave_the_new_one_in_force():
    cache = TokenCache(random.Random(1))
    old = cache.store("old", None, 0.0)
    new = cache.store("new", None, 1.0)
    for _ in range(50):
        cache.invalidate(old.generation, 2.0)
    assert cache.get(2.0) is new


def test_it_does_not_show_its_value():
    cache = TokenCache(random.Random(1))
    token = cache.store("canary", 10, 0.0)
    assert "canary" not in f"{token!r} {token} {cache!r}"


class Server:
    """What may go wrong with tokens, and callers who want one ten times a second for an hour."""

    def __init__(self):
        self.cache = TokenCache(random.Random(1))
        self.asked = []
        self.without = 0

    def run(self, answer, seconds=3600, refuses=False):
        cache = self.cache
        for tenth in range(seconds * 10):
            now = tenth / 10
            if cache.should_refresh(now):
                cache.begin()
                self.asked.append(now)
                answer(cache, now)
            token = cache.get(now)
            self.without += token is None
            if refuses and token is not None:
                cache.invalidate(token.generation, now)
        return self


def expires(period):
    """A server that has one token at a time, and hands it out until its end, as a metadata server does."""
    return lambda cache, now: cache.store("token", period - now % period, now)


@pytest.mark.parametrize(
    ("answer", "refuses", "most"),
    [
        (lambda cache, now: cache.failed(now), False, 70),
        (lambda cache, now: cache.failed(now, 600), False, 7),
        (lambda cache, now: cache.failed(now, permanent=True), False, 1),
        (lambda cache, now: cache.store("token", 3600, now), False, 2),
        (lambda cache, now: cache.store("token", 3600, now), True, 130),
        (lambda cache, now: cache.store("token", None, now), True, 130),
        (lambda cache, now: cache.store("token", 0.5, now), False, 130),
        (lambda cache, now: cache.store("token", 0, now), False, 130),
        (expires(1800), False, 45),
    ],
    ids=["down", "busy", "wrong", "well", "refused", "refused, no end", "half a second", "no life", "the same again"],
)
def test_no_endpoint_is_hammered_whatever_it_says(answer, refuses, most):
    assert 1 <= len(Server().run(answer, refuses=refuses).asked) <= most


def test_a_server_with_one_token_at_a_time_leaves_nobody_long_without():
    """google-auth's trap: asked early, it hands back the token that we have."""
    server = Server().run(expires(600))
    assert server.without <= 6 * 60  # tenths of a second: half a minute for each of its six changes would be 1800


@pytest.mark.parametrize("after", [math.nan, -5.0, 0.0])
def test_a_wait_that_is_none_is_not_one_for_ever(after):
    cache = TokenCache(random.Random(1))
    cache.begin()
    cache.failed(10.0, after)
    until = cache.blocked_until(10.0)
    assert until is not None
    assert 11.0 <= until <= 12.0
