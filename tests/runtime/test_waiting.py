"""How long messages may wait: told in time, and by a rule. Where each stands at any moment: test_waiting_model.py."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from support.kernel import appends, ask_soon, crash, doer, forever, sleeps, system_and_events

from switchgear.runtime import ActorCrashed, MailboxOverdue, WhenFull, open_system


def impatient(max_wait, rule=None, **options):
    """An actor whose messages wait that long at the most."""

    async def setup(actor):
        actor.ctx.limit_waiting(max_wait, rule)

    return doer(setup=setup, **options)


class Strict:
    """Nobody may have waited, once it is said so."""

    def __init__(self):
        self.terms = 100.0, False

    def began(self, now):
        pass

    def rule(self, now):
        return self.terms


async def test_who_has_waited_too_long_is_told_in_that_moment(autojump_clock):
    done = []
    async with system_and_events() as (system, log):
        ref = await system.start(impatient(2.0), "a", capacity=2)
        async with trio.open_nursery() as nursery:
            await ask_soon(nursery, ref, sleeps(10))
            queued = await ask_soon(nursery, ref, appends(done, "queued"))
            await ref.tell(appends(done, "told"))
            await trio.sleep(1)
            for_room = await ask_soon(nursery, ref, appends(done, "for room"))
            nursery.start_soon(ref.tell, appends(done, "told, for room"))
        assert [(type(one.end), one.end.waited, one.at) for one in (queued, for_room)] == [
            (MailboxOverdue, 2.0, 2.0),
            (MailboxOverdue, 2.0, 3.0),
        ]
        assert str(queued.end) == "/a: it waited for 2 s, and longer than 2 s is not allowed"
        letters = log.all("DeadLetter")
        assert [(letter.at, "waited for 2 s" in letter.reason) for letter in letters] == [(2.0, True), (3.0, True)]
        assert done == []
        seen = system.tree().find("/a")
        assert (seen.mailbox.shed, seen.mailbox.depth, seen.mailbox.waiting, seen.handled) == (4, 0, 0, 1)
        assert await ref.ask("x") == "x"
        assert len(system.expiries) <= 1


async def test_the_callers_timeout_is_told_as_such_if_it_comes_first(autojump_clock):
    async with open_system() as system:
        ref = await system.start(impatient(2.0), "a")
        async with trio.open_nursery() as nursery:
            await ask_soon(nursery, ref, sleeps(10))
            sooner = await ask_soon(nursery, ref, "x", timeout=1)
            later = await ask_soon(nursery, ref, "y", timeout=3)
        assert [type(one.end).__name__ for one in (sooner, later)] == ["AskTimeout", "MailboxOverdue"]
        assert (sooner.at, later.at) == (1, 2)


async def test_a_place_in_the_queue_is_free_as_soon_as_its_caller_has_gone(autojump_clock):
    async with open_system() as system:
        ref = await system.start(doer(), "a", capacity=1, when_full=WhenFull.FAIL)
        async with trio.open_nursery() as nursery:
            busy = await ask_soon(nursery, ref, forever)
            for timeout in (None, 3.0):
                gone = await ask_soon(nursery, ref, "gone", timeout)
                if timeout is None:
                    gone.scope.cancel()
                await gone.done.wait()
            queued = await ask_soon(nursery, ref, "queued")
            busy.scope.cancel()
        assert queued.end == "queued"


async def test_what_waits_between_two_lives_is_told_in_time_too(autojump_clock):
    async def setup(actor):
        if actor.ctx.restarts:
            await trio.sleep(9)
        actor.ctx.limit_waiting(2.0)

    async with open_system() as system:
        ref = await system.start(doer(setup=setup), "a")
        async with trio.open_nursery() as nursery:
            with pytest.raises(ActorCrashed):
                await ref.ask(crash)
            begun = trio.current_time()
            queued = await ask_soon(nursery, ref, "x")
        assert isinstance(queued.end, MailboxOverdue)
        assert queued.at == begun + 2


async def test_a_rule_that_becomes_stricter_holds_for_the_next_that_is_taken(autojump_clock):
    rule, done = Strict(), []
    async with open_system() as system:
        ref = await system.start(impatient(50.0, rule), "a")
        async with trio.open_nursery() as nursery:
            await ask_soon(nursery, ref, sleeps(10))
            early = await ask_soon(nursery, ref, appends(done, "early"))
            await trio.sleep(8)
            late = [await ask_soon(nursery, ref, appends(done, number, 1.5)) for number in range(3)]
            rule.terms = 3.0, True
        assert isinstance(early.end, MailboxOverdue)
        assert early.at == 10  # when there was a look: nobody asks the rule in between
        assert done[0] == 2  # who came last
        assert [type(one.end) for one in late] == [MailboxOverdue, MailboxOverdue, int]
        assert [one.at for one in late[:2]] == [11, 11]  # and from then on, in time


async def test_without_a_limit_everybody_waits_again(autojump_clock):
    async def unlimited(actor):
        actor.ctx.limit_waiting()
        await trio.sleep(10)

    async with open_system() as system:
        ref = await system.start(impatient(2.0), "a")
        async with trio.open_nursery() as nursery:
            await ask_soon(nursery, ref, unlimited)
            assert await ref.ask("x") == "x"
        assert trio.current_time() == 10


async def test_nobody_waits_for_room_any_more_where_the_oldest_makes_it(autojump_clock):
    """Found by the model: the newest passed those who waited for room, and they went on waiting."""
    async with open_system() as system:
        ref = await system.start(doer(), "a", capacity=1)
        done = []

        async def drop(actor):
            await trio.sleep(1)
            actor.ctx.resize(1, when_full=WhenFull.DROP_OLDEST)

        async with trio.open_nursery() as nursery:
            await ask_soon(nursery, ref, drop)
            for number in range(4):
                nursery.start_soon(ref.tell, appends(done, number))
                await trio.testing.wait_all_tasks_blocked()
        await ref.ask("x")
        assert done == [3]
        assert system.dead_letters == 3


async def test_who_is_let_in_for_the_oldest_has_waited_since_he_came(autojump_clock):
    async with open_system() as system:
        ref = await system.start(impatient(10.0), "a", capacity=1)
        async with trio.open_nursery() as nursery:

            async def drop(actor):
                await trio.sleep(4)
                actor.ctx.resize(1, when_full=WhenFull.DROP_OLDEST)
                await trio.sleep(20)

            await ask_soon(nursery, ref, drop)
            oldest, for_room = [await ask_soon(nursery, ref, name) for name in "xy"]
        assert (type(oldest.end).__name__, oldest.at) == ("ActorStopped", 4)
        assert (type(for_room.end), for_room.end.waited, for_room.at) == (MailboxOverdue, 10, 10)


async def test_who_tells_and_finds_no_room_goes_on_when_he_has_waited_too_long(autojump_clock):
    async with system_and_events() as (system, log):
        ref = await system.start(impatient(2.0), "a", capacity=0)
        async with trio.open_nursery() as nursery:
            await ask_soon(nursery, ref, sleeps(10))
            with trio.move_on_after(1) as scope:
                await ref.tell("cancelled")
            assert scope.cancelled_caught
            await ref.tell("told")
            assert trio.current_time() == 3
        assert len(log.all("DeadLetter")) == 1
        seen = system.tree().find("/a").mailbox
        assert (seen.shed, seen.refused, seen.accepted) == (1, 1, 1)


async def test_a_worker_that_finds_nobody_in_time_waits_for_the_next(autojump_clock):
    rule = Strict()
    async with open_system() as system:
        ref = await system.start(impatient(50.0, rule), "a")
        async with trio.open_nursery() as nursery:
            await ask_soon(nursery, ref, sleeps(10))
            late = await ask_soon(nursery, ref, "x")
            rule.terms = 3.0, True
        assert (type(late.end), late.at) == (MailboxOverdue, 10)
        assert await ref.ask("y") == "y"
