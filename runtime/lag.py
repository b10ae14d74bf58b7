"""Who holds the event loop? A handler that blocks its thread delays every deadline of the program.

Measured from outside, by a thread that rings at the loop and looks at the main thread's stack when nobody answers.
A trio Instrument would see each step of each task, and cost 0.5 us for every one of them; this costs a few wake-ups a
second, whatever the load, and knows the very line. (A call into C that keeps the GIL hides from it until it is over.)
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import trio

from .events import LoopBlocked
from .life import Life

if TYPE_CHECKING:
    from types import FrameType

    from .events import EventBus


async def watch_for_blocking(events: EventBus, threshold: float) -> None:
    """Publish a `LoopBlocked` event whenever the loop stands still for longer than ``threshold`` seconds."""
    testing = sys.modules.get("trio.testing")  # not imported for this: it brings pytest along where that is installed
    if testing is not None and isinstance(trio.lowlevel.current_clock(), testing.MockClock):
        return  # virtual time stands still while code runs
    watchdog = _Watchdog(events, threshold)
    threading.Thread(target=watchdog.watch, name="switchgear watchdog", daemon=True).start()
    try:
        await trio.sleep_forever()
    finally:
        watchdog.stopped.set()


class _Watchdog:
    """The thread, and what it needs of the loop that it watches."""

    def __init__(self, events: EventBus, threshold: float) -> None:
        self.stopped = threading.Event()
        self._events = events
        self._threshold = threshold
        self._token = trio.lowlevel.current_trio_token()
        self._clock = trio.lowlevel.current_clock()
        self._loop_thread = threading.get_ident()

    def watch(self) -> None:
        try:
            while not self.stopped.wait(self._threshold):
                self._ring()
        except trio.RunFinishedError:
            return  # the program ended while we slept

    def _ring(self) -> None:
        answered = threading.Event()
        rung = self._clock.current_time()
        self._token.run_sync_soon(answered.set)
        if answered.wait(self._threshold):
            return
        path, where = _culprit(sys._current_frames().get(self._loop_thread))
        while not answered.wait(self._threshold):
            if self.stopped.is_set():
                return
        event = LoopBlocked(path=path, seconds=self._clock.current_time() - rung, where=where)
        self._token.run_sync_soon(self._events.publish, event)


def _culprit(frame: FrameType | None) -> tuple[str, str]:
    """The actor whose code is running, and the innermost line of it. ``/`` is code outside all actors."""
    where = "?" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Life):
            return owner.path, where
        frame = frame.f_back
    return "/", where
