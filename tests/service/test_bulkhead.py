"""The bulkhead: so many calls under way, so many waiting, and what the next one meets."""

from __future__ import annotations

import pytest
import trio
from support.service import after, hang, in_background, outcome_of, running

import switchgear as sg


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
