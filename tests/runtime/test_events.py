"""The event stream: stamped, in order, never slower for a slow reader, and in the log at a limited rate."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from support.kernel import doer, sleeps

from switchgear.runtime import Event, EventBus, open_system
from switchgear.runtime.events import EventsLost
from switchgear.runtime.log import RateLimit


class Noted(Event, frozen=True, kw_only=True, tag=True):
    number: int = 0


def drain(receive):
    events = []
    while True:
        try:
            events.append(receive.receive_nowait())
        except trio.WouldBlock:
            return events


async def test_stamped_and_in_order_for_every_subscriber(autojump_clock):
    bus = EventBus()
    bus.publish(Noted(path="/a"))  # nobody is there
    async with bus.subscribe() as one, bus.subscribe() as two:
        await trio.sleep(3)
        for number in range(3):
            bus.publish(Noted(path="/a", number=number))
        for receive in (one, two):
            events = drain(receive)
            assert [(event.seq, event.at, event.number) for event in events] == [(2, 3, 0), (3, 3, 1), (4, 3, 2)]
        one.close()
        for number in range(3000):
            bus.publish(Noted(path="/a", number=number))  # one that closed its end early is in nobody's way
    assert drain_closed(two)
    assert not bus._subscribers


def drain_closed(receive):
    with pytest.raises(trio.ClosedResourceError):
        receive.receive_nowait()
    return True


async def test_an_actor_can_publish_and_reading_ends_with_the_block(autojump_clock):
    async def emit(actor):
        actor.ctx.emit(Noted(path=actor.ctx.path, number=7))

    async with open_system() as system:
        ref = await system.start(doer(), "a")
        async with system.events.subscribe() as receive:
            await ref.ask(emit)
            event = await receive.receive()
            assert (event.path, event.number) == ("/a", 7)


@given(capacity=st.integers(2, 12), bursts=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=10))
def test_a_slow_reader_loses_its_oldest_and_is_told_how_many(capacity, bursts):
    async def main():
        bus = EventBus()
        seen = 0  # the number that must come next
        published = 0
        async with bus.subscribe(capacity) as receive:
            for publish, read in [*bursts, (0, capacity)]:
                for _ in range(publish):
                    bus.publish(Noted(path="/", number=published))
                    published += 1
                for _ in range(read):
                    try:
                        event = receive.receive_nowait()
                    except trio.WouldBlock:
                        break
                    if isinstance(event, EventsLost):
                        assert event.count > 0
                        seen += event.count
                        assert event.seq == seen  # stands where the gap is
                    else:
                        assert event.number == seen
                        seen += 1
        assert seen == published

    trio.run(main)


async def test_the_newer_half_is_kept(autojump_clock):
    bus = EventBus()
    async with bus.subscribe(10) as receive:
        for number in range(11):
            bus.publish(Noted(path="/", number=number))
        lost, *kept = drain(receive)
    assert (lost.count, lost.path) == (6, "/")
    assert [event.number for event in kept] == [6, 7, 8, 9, 10]


@pytest.mark.parametrize("capacity", [0, 1, float("inf")])
async def test_impossible_capacities_are_refused(capacity):
    with pytest.raises(ValueError, match="capacity"):
        async with EventBus().subscribe(capacity):
            pass  # pragma: no cover


async def test_events_are_logged_at_their_level(autojump_clock, caplog):
    caplog.set_level(logging.INFO, logger="switchgear")
    async with open_system() as system:
        await system.start(doer(), "a")

        async def bad(actor):
            raise ValueError("x")

        ref = await system.start(doer(), "b")
        await ref.tell(bad)
        await trio.sleep(1)
        await system.stop("/a")
    lines = [(record.levelname, record.message.split()[:2]) for record in caplog.records]
    assert lines[0] == ("INFO", ["/a", "ActorStarted"])
    assert ("ERROR", ["/b", "ActorCrashed"]) in lines
    assert ("WARNING", ["/b", "ActorRestarting"]) in lines
    crash = next(record.message for record in caplog.records if "Crashed" in record.message)
    assert "error='ValueError: x'\n" in crash
    assert "Traceback" in crash


async def test_dead_letters_are_logged_at_a_limited_rate(autojump_clock, caplog):
    async with open_system() as system:
        ref = await system.start(doer(), "limited")
        await ref.tell(sleeps(1))
        await system.stop("/limited")
        for _ in range(100):
            await ref.tell("x")
        await trio.sleep(10)
        await ref.tell("x")
        assert system.dead_letters == 101
    lines = [record.message for record in caplog.records if "DeadLetter" in record.message]
    assert len(lines) == 6
    assert lines[0] == "/limited DeadLetter message='str' reason='it has stopped'"
    assert lines[-1].endswith("(95 more held back)")


def test_the_limit_forgets_and_is_bounded():
    limit = RateLimit()
    for number in range(3000):
        assert limit.admit(number, 0.0) == (True, 0)
    assert len(limit._periods) <= 1000
    for _ in range(5):
        limit.admit("x", 5.0)
    assert limit.admit("x", 6.0) == (False, 0)
    assert limit.admit("x", 1.0) == (True, 1)  # another clock


async def test_what_is_not_logged_costs_no_text(autojump_clock, caplog):
    caplog.set_level(logging.CRITICAL, logger="switchgear")

    class Unprintable(Event, frozen=True, kw_only=True, tag=True):
        thing: object = None

    class Broken:
        def __repr__(self):
            raise AssertionError("nobody reads it")

    EventBus().publish(Unprintable(path="/", thing=Broken()))
    assert not caplog.records
