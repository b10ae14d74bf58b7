"""The token cache against a list of everything that was ever stored."""

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from switchgear.actors.machines.tokens import TokenCache


class TokenMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.cache = TokenCache()
        self.now = 100.0
        self.stored = []  # [value, generation, good until, refused]

    @rule(seconds=st.integers(0, 30))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(expires_in=st.one_of(st.none(), st.integers(-1, 50)))
    def store(self, expires_in):
        value = f"token {len(self.stored)}"
        token = self.cache.store(value, expires_in, self.now)
        assert token.value == value
        assert all(token.generation > other[1] for other in self.stored)
        until = math.inf if expires_in is None else self.now + expires_in
        self.stored.append([value, token.generation, until, False])

    @rule(data=st.data())
    def the_service_refuses_one(self, data):
        """Any that was ever in force: fifty calls may have used an old one."""
        generation = data.draw(st.sampled_from([0, *[one[1] for one in self.stored]]))
        self.cache.invalidate(generation)
        for one in self.stored:
            one[3] |= one[1] == generation

    @invariant()
    def the_latest_is_in_force_until_it_expires_or_is_refused(self):
        token = self.cache.get(self.now)
        latest = self.stored[-1] if self.stored else None
        if latest is None or latest[3] or self.now >= latest[2]:
            assert token is None
        else:
            assert (token.value, token.generation) == (latest[0], latest[1])


TestTokenMachine = TokenMachine.TestCase


def test_fifty_refusals_of_an_old_one_leave_the_new_one_in_force():
    cache = TokenCache()
    old = cache.store("old", None, 0.0)
    new = cache.store("new", None, 1.0)
    for _ in range(50):
        cache.invalidate(old.generation)
    assert cache.get(2.0) is new


def test_it_does_not_show_its_value():
    cache = TokenCache()
    token = cache.store("canary", 10, 0.0)
    assert "canary" not in f"{token!r} {token} {cache!r}"
