"""The bulkhead: so many calls under way, so many waiting, and what the next one meets."""

from __future__ import annotations

import pytest
import trio
from support.service import after, hang, in_background, outcome_of, running

import switchgear as sg
from switchgear.actors.service.road import Road


def bulkhead(concurrent, queue, when_full="wait"):
    return sg.BulkheadConfig(concurrent, queue, when_full)


async def test_no_more_are_under_way_than_allowed(autojump_clock) -> None:
    async with running(after(1), bulkhead=bulkhead(3, 100)) as (service, upstream):
        begun = trio.current_time()
        async with in_background(service, *[f"/{n}" for n in range(10)]) as ends:
            await trio.testing.wait_all_tasks_blocked()
            info = upstream.runtime.tree().find("/services/svc")
            assert (info.in_flight, info.mailbox.depth) == (3, 7)
        assert all(end.success for end in ends)
        assert upstream.most == 3
        assert trio.current_time() == pytest.approx(begun + 4)
    assert [request.url.path for request in upstream.requests] == [f"/{n}" for n in range(10)]


@pytest.mark.parametrize(("concurrent", "queue"), [(1, 0), (1, 2), (3, 0), (2, 5)])
async def test_full_is_full_exactly_and_said_at_once(concurrent, queue, autojump_clock) -> None:
    async with running(after(1), bulkhead=bulkhead(concurrent, queue, "fail")) as (service, upstream):
        async with in_background(service, *["/"] * (concurrent + queue)) as ends:
            begun = trio.current_time()
            for _ in range(3):
                with pytest.raises(sg.Overloaded) as caught:
                    await service.get("/")
            assert trio.current_time() == begun
            assert (caught.value.service, caught.value.attempts, caught.value.retryable) == ("svc", 0, True)
        assert [end.success for end in ends] == [True] * (concurrent + queue)
        assert (await service.get("/")).success
        assert len(upstream.requests) == concurrent + queue + 1


async def test_a_call_that_finds_no_room_waits_for_it(autojump_clock) -> None:
    async with running(after(1), bulkhead=bulkhead(1, 0)) as (service, upstream):
        async with in_background(service, "/1", "/2", "/3") as ends:
            pass
        assert [end.elapsed for end in ends] == pytest.approx([1, 2, 3])
    assert upstream.most == 1


@pytest.mark.parametrize("queue", [0, 10])
async def test_a_call_that_never_gets_its_turn_ends_at_its_deadline(queue, autojump_clock) -> None:
    async with running(hang, 200, bulkhead=bulkhead(1, queue)) as (service, upstream):
        async with in_background(service, "/hangs", timeout=10) as ends:
            begun = trio.current_time()
            with pytest.raises(sg.CallTimeout) as caught:
                await service.get("/late", timeout=3)
            assert trio.current_time() == pytest.approx(begun + 3)
            assert caught.value.attempts == 0
        assert isinstance(ends[0], sg.CallTimeout)
        assert (await service.get("/")).success
        assert service.breaker == "closed"
    assert [request.url.path for request in upstream.requests] == ["/hangs", "/"]


async def test_a_cancelled_call_makes_room(autojump_clock) -> None:
    async with running(hang, 200, bulkhead=bulkhead(1, 0, "fail")) as (service, upstream):
        with trio.move_on_after(1):
            await service.get("/")
        await trio.testing.wait_all_tasks_blocked()
        assert (await service.get("/")).success
        assert upstream.runtime.tree().find("/services/svc").in_flight == 0


async def test_waiting_calls_that_are_cancelled_are_never_sent(autojump_clock) -> None:
    async with (
        running(after(5), 200, bulkhead=bulkhead(1, 5)) as (service, upstream),
        in_background(service, "/first"),
    ):
        for _ in range(4):
            with trio.move_on_after(1):
                await service.get("/cancelled")
        assert (await service.get("/last")).success
    assert [request.url.path for request in upstream.requests] == ["/first", "/last"]


@pytest.mark.parametrize("when_full", ["wait", "fail"])
async def test_a_cancelled_call_leaves_its_place_in_the_queue_at_once(when_full, autojump_clock) -> None:
    async with (
        running(after(5), bulkhead=bulkhead(1, 1, when_full)) as (service, upstream),
        in_background(service, "/first"),
    ):
        for _ in range(3):
            with trio.move_on_after(1):
                await service.get("/cancelled")
            assert service.bulkhead.queued == 0
        async with in_background(service, "/last") as ends:
            assert service.bulkhead.queued == 1
        assert ends[0].elapsed == pytest.approx(7)
    assert [request.url.path for request in upstream.requests] == ["/first", "/last"]


# ---- waiting too long


@pytest.mark.parametrize("queue", [0, 10])
async def test_who_has_waited_too_long_is_told_in_that_moment(queue, autojump_clock) -> None:
    config = sg.BulkheadConfig(1, queue, max_wait=2.0)
    async with running(after(5), bulkhead=config) as (service, upstream):
        async with in_background(service, "/first"):
            begun = trio.current_time()
            with pytest.raises(sg.Overloaded, match="waited for 2 s, and longer than 2 s is not allowed") as caught:
                await service.get("/late")
            assert trio.current_time() == pytest.approx(begun + 2)
            assert (caught.value.service, caught.value.attempts, caught.value.retryable) == ("svc", 0, True)
            with pytest.raises(sg.CallTimeout):
                await service.get("/its own deadline is earlier".replace(" ", "-"), timeout=1)
        assert service.bulkhead == sg.BulkheadStatus(1, learned=False, in_flight=0, queued=0, waiting=0, shed=1)
        await trio.sleep(10)  # a tick
        assert upstream.runtime.metrics.get("svc").errors_by_code["OVERLOADED"] == 1
    assert len(upstream.requests) == 1


async def test_the_fallbacks_answer_for_who_has_waited_too_long(autojump_clock) -> None:
    config = sg.BulkheadConfig(1, max_wait=2.0)
    async with running(after(5), bulkhead=config, fallbacks=(sg.DefaultFallback("none"),)) as (service, _):
        async with in_background(service, "/first"):
            response = await service.get("/late")
        assert (response.data, response.source, response.error.code) == ("none", "default", sg.ErrorCode.OVERLOADED)


async def overload(codel, *, seconds=10.0):
    """Twice as many calls as there are places for; how long those waited that were served, by when they began."""
    waits, refused = [], []

    async def call(service):
        begun = trio.current_time()
        end = await outcome_of(service.get("/"))
        if isinstance(end, sg.Overloaded):
            refused.append(trio.current_time() - begun)
        else:
            waits.append((begun, end.elapsed - 0.1))

    async with running(after(0.1), bulkhead=sg.BulkheadConfig(10, codel=codel)) as (service, _):
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            while trio.current_time() < started + seconds:
                nursery.start_soon(call, service)
                await trio.sleep(1 / 200)
    return [(begun - started, wait) for begun, wait in waits], refused


async def test_under_overload_codel_serves_quickly_whom_it_serves(autojump_clock) -> None:
    codel = sg.CoDelConfig(target=0.12, interval=0.5)
    waits, refused = await overload(codel)
    assert max(wait for _, wait in waits) <= 0.5
    assert max(wait for begun, wait in waits if begun > 1.0) <= 0.12
    assert max(refused) <= 0.5 + 1e-9
    assert len(waits) >= 0.95 * 10 * 100  # and no place was ever idle for that


async def test_without_codel_all_wait_the_longer_the_later_they_come(autojump_clock) -> None:
    waits, refused = await overload(None)
    assert waits[-1][1] == pytest.approx(10, rel=0.1)
    assert refused == []


async def test_a_burst_is_no_overload_for_codel(autojump_clock) -> None:
    config = sg.BulkheadConfig(10, codel=sg.CoDelConfig(target=0.005, interval=0.5))
    async with running(after(0.1), bulkhead=config) as (service, _):
        for _ in range(3):
            async with in_background(service, *["/"] * 40) as ends:
                pass
            assert all(end.success for end in ends)


async def test_codel_knows_after_another_configuration_since_when_there_is_a_queue(autojump_clock) -> None:
    config = sg.BulkheadConfig(1, codel=sg.CoDelConfig(1.5, 9.0))
    async with running(after(1), bulkhead=config) as (service, upstream), trio.open_nursery() as nursery:
        ends = []

        async def call():
            ends.append(await outcome_of(service.get("/")))

        nursery.start_soon(call)
        for _ in range(4):
            nursery.start_soon(call)  # from now on, there is always one that waits
            await trio.sleep(0.9)
        new = sg.BulkheadConfig(1, codel=sg.CoDelConfig(0.5, 3.9))
        await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", "http://svc.test", bulkhead=new))
        nursery.start_soon(call)
    # At 4 s the queue is older than 3.9 s: the fifth, of 2.7 s, is too late, and the last, of 3.6 s, is not.
    late = [end for end in ends if isinstance(end, sg.Overloaded)]
    assert (len(ends), len(late)) == (6, 1)
    assert "waited for 1.3 s, and longer than 0.5 s" in str(late[0])


# ---- other configurations


async def test_a_configuration_that_comes_between_two_lives_holds_for_the_next(autojump_clock, monkeypatch) -> None:
    """Found by reading: the mailbox kept the bounds of the life before."""
    async with running(after(1), bulkhead=bulkhead(3, 10)) as (service, upstream):
        with monkeypatch.context() as bug:
            bug.setattr(Road, "call", lambda *_: 1 / 0)
            assert isinstance(await outcome_of(service.get("/")), sg.ActorCrashed)
        await trio.sleep(0.01)
        assert upstream.runtime.tree().find("/services/svc").state.value == "waiting"
        new = sg.BulkheadConfig(1, 1, "fail", max_wait=0.5)
        await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", "http://svc.test", bulkhead=new))
        assert (await service.get("/")).success
        async with in_background(service, "/1", "/2", "/3") as ends:
            pass
        texts = [str(end) for end in ends if isinstance(end, sg.Overloaded)]
        assert ["full" in text for text in texts] == [True, False]
        assert len(ends) == 3


async def test_more_room_is_used_as_soon_as_it_is_configured(autojump_clock) -> None:
    async with running(hang, 200, bulkhead=bulkhead(1, 10)) as (service, upstream), trio.open_nursery() as nursery:
        nursery.start_soon(outcome_of, service.get("/hangs"))
        await trio.testing.wait_all_tasks_blocked()
        async with in_background(service, "/waits") as ends:
            assert not ends
            await upstream.runtime.reconfigure(
                "svc", sg.ServiceConfig("svc", "http://svc.test", bulkhead=bulkhead(2, 10))
            )
        assert ends[0].elapsed == 0
        nursery.cancel_scope.cancel()


async def test_less_room_holds_from_the_next_call_on(autojump_clock) -> None:
    async with running(after(1), bulkhead=bulkhead(3, 10)) as (service, upstream):
        async with in_background(service, "/1", "/2", "/3"):
            await upstream.runtime.reconfigure(
                "svc", sg.ServiceConfig("svc", "http://svc.test", bulkhead=bulkhead(1, 10))
            )
        upstream.most = 0
        async with in_background(service, "/4", "/5", "/6"):
            pass
        assert upstream.most == 1


async def test_the_queue_and_what_it_does_when_full_change_too(autojump_clock) -> None:
    async with running(after(1), bulkhead=bulkhead(1, 10)) as (service, upstream):
        await upstream.runtime.reconfigure(
            "svc", sg.ServiceConfig("svc", "http://svc.test", bulkhead=bulkhead(1, 0, "fail"))
        )
        async with in_background(service, "/1"):
            with pytest.raises(sg.Overloaded):
                await service.get("/2")


async def test_a_transport_that_calls_its_own_service_is_told_not_to(autojump_clock) -> None:
    async def again(request):
        return (await held[0].get("/again")).status

    async with running(again, bulkhead=bulkhead(2, 10)) as (service, upstream):
        held = [service]
        begun = trio.current_time()
        with pytest.raises(sg.TransportError) as caught:
            await service.get("/")
        assert trio.current_time() == begun
        assert len(upstream.requests) == 2
        causes = [caught.value]
        while causes[-1].__cause__ is not None:
            causes.append(causes[-1].__cause__)
        assert isinstance(causes[-1], sg.InvalidRequest)
        assert "own actor" in str(causes[-1])
