"""What can be seen of a runtime from outside."""

from __future__ import annotations

import pytest
import trio
from support.kernel import ask_soon, crash, doer, forever

from switchgear.runtime import ActorCrashed, ActorInfo, State, open_system


async def test_the_tree(autojump_clock):
    async with open_system() as system:
        await system.supervise("services")
        a = await system.start(doer(concurrency=2), "a", under="/services")
        await system.start(doer(), "b")
        await trio.sleep(5)
        tree = system.tree()
        assert (tree.path, tree.kind, tree.state, tree.uptime) == ("/", "supervisor", State.RUNNING, 5)
        assert [child.path for child in tree.children] == ["/services", "/b"]
        assert tree.find("/services/a") is tree.children[0].children[0]
        assert tree.find("/nowhere") is None
        assert tree.find("/b").kind == "actor"
        async with trio.open_nursery() as nursery:
            asked = [await ask_soon(nursery, a, forever) for _ in range(5)]
            seen = system.tree().find("/services/a")
            assert (seen.in_flight, seen.mailbox.depth, seen.uptime) == (2, 3, 5)
            for one in asked:
                one.scope.cancel()
        with pytest.raises(ActorCrashed):
            await a.ask(crash)
        await a.ask("x")
        seen = system.tree().find("/services/a")
        assert (seen.restarts, seen.in_flight, seen.state) == (1, 0, State.RUNNING)
        with pytest.raises(AttributeError):
            seen.restarts = 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.tell, forever)
            await trio.sleep(1)
            nursery.start_soon(system.stop, "/services")
            await trio.sleep(1)
            tree = system.tree()
            assert tree.find("/services").state is State.STOPPING
            assert tree.find("/services/a").state is State.STOPPED  # takes no messages any more
    assert system.tree().state is State.STOPPED


def test_info_is_plain_data():
    info = ActorInfo(path="/", kind="supervisor", state=State.WAITING, restarts=0, uptime=0.0)
    assert info == ActorInfo(path="/", kind="supervisor", state=State.WAITING, restarts=0, uptime=0.0)
