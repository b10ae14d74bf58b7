"""Storms of lost answers, crashes and configurations around a refresh token that rotates, in virtual time.

The server keeps the books: whatever comes, it never sees a refresh token that it has seen before (but for one
whose answer was lost), never two requests at once, and never gets many; the service never sees an access token
past its end; and when all is well again, calls are.
"""

from __future__ import annotations

from urllib.parse import parse_qs

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from support.oauth2 import auth, oauth2, token
from support.service import ONCE, outcome_of
from trio.testing import MockClock

import switchgear as sg

PERSON = {"grant": "refresh_token", "refresh_token": sg.Secret("r0")}
LIVES = (1, 30, 100, 1000)

faults = st.sampled_from(["none", "keeps", "busy", "html", "cut off", "hangs", "lost", "lost in time"])
steps = st.one_of(
    st.tuples(st.just("call"), st.sampled_from([0, 1, 5])),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 1, 10, 40, 100, 1000])),
    st.tuples(st.just("server"), faults),
    st.tuples(st.just("lives"), st.sampled_from(LIVES)),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("scope"), st.sampled_from([(), ("a",), ("b",)])),
)


class Books:
    """The authorization server, and what it has seen."""

    def __init__(self):
        self.number = 0
        self.fault = "none"
        self.lives = 100
        self.forgivable = set()  # used, but its answer may never have come
        self.good_until = {}  # access token -> trio time
        self.times = []

    async def answer(self, request):
        (given_token,) = parse_qs(request.content.decode())["refresh_token"]
        self.times.append(trio.current_time())
        if self.fault == "busy":
            return 503
        if self.fault == "html":
            return (200, {}, b"<html>")
        if self.fault == "hangs":
            await trio.sleep_forever()
        assert given_token == f"r{self.number}" or given_token in self.forgivable
        said = self._issue()
        if self.fault.startswith("lost") or self.fault == "cut off":
            self.forgivable.add(given_token)
        if self.fault == "lost":
            await trio.sleep_forever()
        if self.fault == "lost in time":
            await trio.sleep(4)
        return (200, {}, said[2][:-3]) if self.fault == "cut off" else said

    def _issue(self):
        value = f"t{len(self.good_until) + 1}"
        self.good_until[value] = trio.current_time() + self.lives
        if self.fault == "keeps":
            return token(value, self.lives)
        self.number += 1
        return token(value, self.lives, refresh_token=f"r{self.number}")

    def api(self, request):
        """The service: it takes what is good."""
        shown = request.headers["authorization"].removeprefix("Bearer ")
        assert trio.current_time() < self.good_until[shown]
        return 200


async def storm(script):
    books = Books()
    async with oauth2(books.answer, api=books.api, **PERSON) as (service, peers), trio.open_nursery() as nursery:
        for what, how in script:
            if what == "call":
                for _ in range(how):
                    nursery.start_soon(outcome_of, service.get("/"))
                await trio.testing.wait_all_tasks_blocked()
            elif what == "wait":
                await trio.sleep(how)
            elif what == "server":
                books.fault = how
            elif what == "lives":
                books.lives = how
            elif what == "crash":
                await peers.runtime._services["svc"]._ref.tell(object())
            else:
                config = sg.ServiceConfig("svc", "https://svc.test", auth=auth(**PERSON, scope=how), retry=ONCE)
                await peers.runtime.reconfigure("svc", config)
        books.fault = "none"
        await trio.sleep(200)  # more than any wait between attempts, and a breaker's
        assert (await service.get("/")).success
    assert peers.server.most <= 1
    return books


@settings(max_examples=60)
@given(st.lists(steps, max_size=25))
def test_no_refresh_token_is_used_twice_and_none_is_lost(script):
    trio.run(storm, script, clock=MockClock(autojump_threshold=0))


def test_an_hour_of_faults_is_few_requests():
    calls = [step for _ in range(3600) for step in (("call", 1), ("wait", 1))]
    script = [("server", "busy"), *calls]
    books = trio.run(storm, script, clock=MockClock(autojump_threshold=0))
    assert len(books.times) < 200


def test_a_configuration_that_comes_while_the_actor_crashes():
    """Its tasks have ended, and it has not noticed yet."""
    trio.run(storm, [("crash", None), ("scope", ("a",))], clock=MockClock(autojump_threshold=0))
