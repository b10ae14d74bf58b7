"""A trio program that a synchronous test plays move by move: the rules of a Hypothesis state machine cannot await."""

from __future__ import annotations

import math
import queue
import threading

import trio
import trio.testing


class Stepwise:
    """Runs in a thread of its own, on a clock that stands still between two moves, and while nobody asks it to go on.

    Args:
        main: an async function of this object, which calls `serve` once it has built what there is to play with.
    """

    def __init__(self, main):
        self._clock = trio.testing.MockClock()
        self._over = trio.Event()
        self._begun = queue.SimpleQueue()
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(main,))
        self._thread.start()
        self._token = self._begun.get()
        if self._token is None:
            self.end()

    def _run(self, main):
        try:
            trio.run(main, self, clock=self._clock)
        except BaseException as error:  # noqa: BLE001 (raised again where the test is)
            self._error = error
        finally:
            self._begun.put(None)

    async def serve(self):
        """Until the end of the test."""
        self._begun.put(trio.lowlevel.current_trio_token())
        await self._over.wait()

    def run(self, function, *args):
        """A move: await this function in the program, and then all that comes of it at this time."""

        async def move():
            await function(*args)
            await trio.testing.wait_all_tasks_blocked()

        trio.from_thread.run(move, trio_token=self._token)

    def look(self, function, *args):
        """What this synchronous function says in the program. Nothing is to come of it."""
        return trio.from_thread.run_sync(function, *args, trio_token=self._token)

    async def sleep(self, seconds):
        """Let time pass, stopping wherever something is due. (A part of a move.)"""
        self._clock.autojump_threshold = 0
        try:
            await trio.sleep(seconds)
        finally:
            self._clock.autojump_threshold = math.inf

    def end(self):
        """The program comes to its end; raises what it has raised."""
        if self._token is not None:
            trio.from_thread.run_sync(self._over.set, trio_token=self._token)
        self._thread.join()
        if self._error is not None:
            raise self._error
