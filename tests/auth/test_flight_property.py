"""Tokens under generated mishaps, in virtual time: one flight at a time, nobody waits in vain, nobody hammers."""

from __future__ import annotations

import itertools

import httpx
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from support.service import QUIET, outcome_of

import switchgear as sg

fetches = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.1, 2.0, 100.0]),  # seconds on the way
        st.one_of(
            st.sampled_from([None, 0.5, 5.0, 100.0, 3600.0]),  # seconds that it is good for
            st.sampled_from([OSError("x"), sg.AuthFailed("x"), ExceptionGroup("x", [ValueError("y")]), "no token"]),
        ),
    ),
    min_size=1,
    max_size=8,
)
calls = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.floats(0, 200).map(lambda at: round(at, 1)),
            "timeout": st.sampled_from([1.0, 20.0]),
            "cancel": st.sampled_from([None, None, 0.0, 0.05, 3.0]),
        }
    ),
    min_size=1,
    max_size=30,
)
events = st.lists(st.tuples(st.floats(0, 200), st.sampled_from(["crash", "revoke", "revoke", "retune"])), max_size=6)


class World:
    """A service that takes the tokens which have not been revoked, and their issuer."""

    def __init__(self, script):
        self.script = itertools.cycle(script)
        self.numbers = itertools.count()
        self.revoked_below = 0
        self.running = self.most = 0
        self.asked = []
        self.failures = []
        self.given = []

    async def issue(self):
        seconds, outcome = next(self.script)
        self.asked.append(trio.current_time())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await trio.sleep(seconds)
        finally:
            self.running -= 1
        if isinstance(outcome, Exception) or outcome == "no token":
            self.failures.append((len(self.asked), trio.current_time()))
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == "no token":
            return None
        self.given.append(next(self.numbers))
        return str(self.given[-1]), outcome

    async def answer(self, request):
        await trio.sleep(0.01)
        number = int(request.headers["authorization"].removeprefix("Bearer "))
        assert number in self.given
        return httpx.Response(401 if number < self.revoked_below else 200)

    def config(self, total):
        return sg.ServiceConfig(
            "x",
            "https://x.test",
            auth=sg.BearerAuth(token_from=self.issue),
            timeout=sg.TimeoutConfig(total=total),
            bulkhead=sg.BulkheadConfig(100),
            retry=sg.RetryPolicy(max_attempts=1),
        )

    async def happens(self, runtime, at, what):
        await trio.sleep(at)
        if what == "crash":
            await runtime._services["x"]._ref.tell(object())
        elif what == "revoke":
            self.revoked_below = len(self.given)
        else:
            await runtime.reconfigure("x", runtime.service("x").config)


@given(script=fetches, calls=calls, happenings=events, seed=st.integers(0, 3))
@settings(max_examples=60)
def test_one_flight_at_a_time_and_every_call_ends(script, calls, happenings, seed) -> None:
    world = World(script)
    ends = []

    async def main():
        config = sg.RuntimeConfig((world.config(20.0),), metrics=QUIET)
        async with sg.open_runtime(config, transport=httpx.MockTransport(world.answer), seed=seed) as runtime:
            service = runtime.service("x")

            async def one(call):
                await trio.sleep(call["at"])
                began = trio.current_time()
                with trio.CancelScope() as scope:
                    if call["cancel"] is not None:
                        scope.deadline = began + call["cancel"]
                    end = await outcome_of(service.get("/", timeout=call["timeout"]))
                    ends.append((call, end, trio.current_time() - began))
                if scope.cancelled_caught:
                    ends.append((call, None, trio.current_time() - began))

            async with trio.open_nursery() as nursery:
                for call in calls:
                    nursery.start_soon(one, call)
                for at, what in happenings:
                    nursery.start_soon(world.happens, runtime, at, what)
            world.script = itertools.repeat((0.0, 3600.0))  # all is well again
            await trio.sleep(1000)
            assert (await service.get("/")).success

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert world.running == 0
    assert world.most <= 1
    assert len(ends) == len(calls)
    for call, end, took in ends:
        assert took <= min(call["timeout"], call["cancel"] or call["timeout"]) + 1e-6
        assert end is None or isinstance(end, (sg.ServiceResponse, sg.AuthFailed, sg.CallTimeout, sg.ActorCrashed)), end
        if isinstance(end, sg.AuthFailed) and end.retry_at is not None:
            assert end.retryable
    for asked, failed_at in world.failures:  # which a crash does not make forgotten
        assert all(at >= failed_at + 1.0 for at in world.asked[asked:])
