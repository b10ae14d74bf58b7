"""Whole runtimes under generated faults, in virtual time: every call ends exactly once and leaves nothing behind."""

from __future__ import annotations

from collections import Counter

import httpx
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from support.service import BASE, QUIET, drain, hang, outcome_of, respond

import switchgear as sg

faults = st.one_of(
    st.sampled_from([200, 200, 200, 204, 302, 400, 401, 404, 429, 500, 503]),
    st.sampled_from(
        [
            *(httpx.ConnectError("x"), httpx.ReadError("x"), httpx.RemoteProtocolError("x"), httpx.PoolTimeout("x")),
            *(OSError("x"), ValueError("x"), KeyError("x"), AssertionError(), RecursionError(), MemoryError()),
            *(
                StopAsyncIteration(),
                StopIteration(),
                trio.BrokenResourceError(),
                ExceptionGroup("x", [ValueError("y")]),
            ),
            sg.DecodeError("a transport of the user's raises what it likes"),
        ]
    ),
    st.sampled_from(["hang", "no response", (200, {}, b"{"), (200, {}, b"x" * 500), (503, {"Retry-After": "2"}, b"")]),
)
steps = st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.01, 0.5, 3.0]), faults), min_size=1, max_size=12)
calls = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.floats(0, 20).map(lambda at: round(at, 1)),
            "timeout": st.sampled_from([None, 0.001, 0.5, 4.0, 30.0]),
            "cancel": st.sampled_from([None, None, None, 0.0, 0.2, 2.0]),
            "method": st.sampled_from(["GET", "GET", "POST", "HEAD"]),
            "type": st.sampled_from([None, bytes, int]),
        }
    ),
    min_size=1,
    max_size=25,
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "rate_limit": st.sampled_from([sg.RateLimit(5, burst=2), sg.RateLimit(1, per=2, burst=1)]),
        "retry": st.sampled_from([sg.RetryPolicy(1), sg.RetryPolicy(4, 0.2), sg.RetryPolicy(3, 0.0)]),
        "breaker": st.sampled_from(
            [
                sg.BreakerConfig(1, 2.0),
                sg.BreakerConfig(2, 1.0, half_open_max_requests=2),
                sg.BreakerConfig(enabled=False),
            ]
        ),
        "bulkhead": st.sampled_from(
            [sg.BulkheadConfig(1, 0, "fail"), sg.BulkheadConfig(2, 3), sg.BulkheadConfig(1, 0)]
        ),
        "timeout": st.sampled_from([sg.TimeoutConfig(5.0, 1.0), sg.TimeoutConfig(8.0, None)]),
        "fallbacks": st.sampled_from([(sg.DefaultFallback(1, on=("TIMEOUT", "OVERLOADED")),), (sg.CacheFallback(),)]),
        "max_response_bytes": st.just(100),
    },
)


class Faulty(httpx.AsyncBaseTransport):
    """Does what the schedule says, over and over; keeps count of what is in it."""

    def __init__(self, script):
        self.script = script
        self.times = []
        self.inside = 0
        self.most = 0

    async def handle_async_request(self, request):
        delay, step = self.script[len(self.times) % len(self.script)]
        self.times.append(trio.current_time())
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            if delay:
                await trio.sleep(delay)
            if step == "hang":
                await hang(request)
            return None if step == "no response" else respond(step)
        finally:
            self.inside -= 1


async def caller(service, call, ends):
    await trio.sleep(call["at"])
    begun = trio.current_time()
    with trio.CancelScope() as scope:
        if call["cancel"] is not None:
            scope.deadline = begun + call["cancel"]
        end = await outcome_of(service.request(call["method"], "/", type=call["type"], timeout=call["timeout"]))
    if scope.cancelled_caught:
        end = "cancelled"
    ends.append((call, end, trio.current_time() - begun))


@given(script=steps, calls=calls, fields=configs, seed=st.integers(0, 3))
@settings(max_examples=150)
def test_every_call_ends_once_in_time_and_nothing_is_left(script, calls, fields, seed) -> None:
    config = sg.ServiceConfig("x", BASE, **fields)
    transport = Faulty(script)
    ends = []

    async def main():
        async with sg.open_runtime(
            sg.RuntimeConfig((config,), metrics=QUIET), transport=transport, seed=seed
        ) as runtime:
            service = runtime.service("x")
            async with runtime.events(10_000) as events:
                async with trio.open_nursery() as nursery:
                    for call in calls:
                        nursery.start_soon(caller, service, call, ends)
                await trio.testing.wait_all_tasks_blocked()
                nothing_is_left(runtime, transport)
                happened = drain(events)
            await the_next_call_works(service, transport)
        check_events(happened)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert len(ends) == len(calls)
    for call, end, took in ends:
        assert end == "cancelled" or isinstance(end, (sg.ServiceResponse, sg.ServiceError))
        timeout = config.timeout.total if call["timeout"] is None else call["timeout"]
        assert took <= min(timeout, call["cancel"] or timeout) + 1e-6
        if call["cancel"] is None:
            assert end != "cancelled"
    assert transport.most <= config.bulkhead.max_concurrent
    check_rate(config.rate_limit, transport.times)


def nothing_is_left(runtime, transport):
    info = runtime.tree().find("/services/x")
    assert (info.in_flight, info.mailbox.depth, info.mailbox.waiting) == (0, 0, 0)
    assert info.restarts == 0
    assert transport.inside == 0


async def the_next_call_works(service, transport):
    transport.script = [(0.0, 200)]
    await trio.sleep(1000)
    for _ in range(2):  # the breaker may want two trials
        assert (await service.get("/", fallback=False)).success
    assert service.breaker == "closed"


def check_rate(limit, times):
    if limit is None:
        return
    rate = limit.rate / limit.per
    for i, start in enumerate(times):
        for n, end in enumerate(times[i:], 1):
            assert n <= limit.burst + rate * (end - start) + 1e-6


def check_events(events):
    """The breaker only makes the steps that there are, each from where it was."""
    allowed = {("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("half_open", "closed")}
    state = "closed"
    for event in events:
        if type(event).__name__ == "BreakerChanged":
            assert event.old == state
            assert (event.old, event.new) in allowed
            state = event.new
    assert not Counter(type(event).__name__ for event in events)["ActorCrashed"]
