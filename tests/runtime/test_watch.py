"""A watch: the latest value, and nobody is woken without reason."""

from __future__ import annotations

import trio
import trio.testing

from switchgear.runtime import Watch


async def test_who_waits_sees_the_latest_value_only(autojump_clock):
    watch = Watch("first")
    seen = []

    async def reader():
        version = watch.version
        while True:
            version = await watch.changed(version)
            seen.append((version, watch.value))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(reader)
        await trio.testing.wait_all_tasks_blocked()
        watch.set("second")
        await trio.testing.wait_all_tasks_blocked()
        for value in ("third", "fourth", "fifth"):
            watch.set(value)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == [(1, "second")] * 3 + [(4, "fifth")] * 3
    with trio.testing.assert_checkpoints():
        assert await watch.changed(0) == 4  # at once, for it is past already
    with trio.move_on_after(1) as scope:
        await watch.changed(4)
    assert scope.cancelled_caught
