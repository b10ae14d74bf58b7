"""The token cache against the log of all that was ever told to it, from which everything is worked out anew."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from switchgear.actors.machines.tokens import TokenCache, TokenState

EMPTY, FRESH, STALE, EXPIRED = TokenState


class Issued:
    """One token, as the server sees it."""

    def __init__(self, value, generation, sent, life):
        self.value, self.generation, self.sent, self.life = value, generation, sent, life
        self.refused = False

    @property
    def used_until(self):
        return self.sent + self.life - min(30, self.life / 10) if self.life < math.inf else math.inf

    @property
    def refreshed_from(self):
        """The earliest and the latest: in between it is left to chance."""
        if self.life == math.inf:
            return math.inf, math.inf
        latest = self.sent + self.life - min(300, self.life / 5)
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
        assume(later)
        self.now = min(later)

    @rule()
    def a_call_asks_for_another(self):
        if not self.cache.should_refresh(self.now):
            return
        assert self.asked_at is None
        assert self.now >= self.earliest[self.usable()]
        self.asked_at, self.asked_while = self.now, self.cache.state(self.now)
        self.cache.begin()
        assert not self.cache.should_refresh(self.now)

    def settle(self):
        sent, self.asked_at = self.asked_at, None
        return sent

    @precondition(lambda self: self.asked_at is not None)
    @rule(life=st.one_of(st.none(), st.floats(0, 20), st.integers(1, 10_000)))
    def there_is_one(self, life):
        self._issue(self.settle(), life)

    @precondition(lambda self: self.asked_at is not None and self.current() is not None)
    @rule(off=st.floats(-0.5, 0.5))
    def it_is_the_one_we_had(self, off):
        one = self.current()
        assume(20 < one.life < math.inf)
        sent = self.settle()
        self._issue(sent, one.sent + one.life - sent + off)

    def _issue(self, sent, life):
        before, was = self.current(), self.asked_while
        token = self.cache.store(f"token {len(self.issued)}", life, sent)
        assert token.value == f"token {len(self.issued)}"
        assert all(token.generation > one.generation for one in self.issued)
        one = Issued(token.value, token.generation, sent, math.inf if life is None else max(0.0, life))
        self.issued.append(one)
        self.failures = 0
        again = before is not None and one.used_until <= before.used_until + min(
            5, 0.1 * (before.used_until - before.sent)
        )
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
        assert self.now < one.sent + one.life  # never past its end, as the server sees it

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
