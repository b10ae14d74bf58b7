"""The demo as a whole: processes, runtime, callers and view, for so many seconds or until a signal."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from switchgear.actors.events import BreakerChanged

from ..system import open_runtime
from .board import Board
from .processes import running
from .settings import PLANS, runtime_config
from .tally import Summary, Tally, Transition
from .traffic import ERRANDS, drive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .view import View


@dataclass
class Outcome:
    """How the demo ended."""

    board: Board | None = None
    """None: it was interrupted before the services were there."""
    summary: Summary | None = None
    interrupted: bool = False


async def run_demo(view: View, *, seconds: float, seed: int) -> Outcome:
    """Run the demo: everything that it has started has ended when this returns.

    Args:
        view: shows it; entered and left here.
        seconds: how long the traffic lasts.
        seed: of all randomness on both sides.

    Raises:
        DemoError: a service did not start.
    """
    outcome = Outcome()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_on_signal, signals, nursery.cancel_scope, outcome)
            await _run(outcome, view, seconds, seed)
            nursery.cancel_scope.cancel()
    return outcome


async def _end_on_signal(signals: AsyncIterator[int], demo: trio.CancelScope, outcome: Outcome) -> None:
    async for _ in signals:
        outcome.interrupted = True
        demo.cancel()


async def _run(outcome: Outcome, view: View, seconds: float, seed: int) -> None:
    async with (
        running(PLANS, seed=seed, seconds=seconds) as serving,
        open_runtime(runtime_config(serving, seconds), seed=seed) as runtime,
    ):
        tallies = {errand.service: Tally() for errand in ERRANDS}
        outcome.board = board = Board(runtime, seconds, seed, trio.current_time(), tallies)
        try:
            await _perform(board, view)
        finally:  # also what an interrupted demo has seen
            outcome.summary = board.summary()


async def _perform(board: Board, view: View) -> None:
    with view:
        async with trio.open_nursery() as nursery:
            await nursery.start(_watch_breakers, board, view)
            nursery.start_soon(drive, board.runtime.services, board.tallies, board.seed)
            nursery.start_soon(_refresh, board, view)
            await trio.sleep_until(board.begun + board.seconds)
            nursery.cancel_scope.cancel()


async def _watch_breakers(board: Board, view: View, task_status: trio.TaskStatus[None]) -> None:
    async with board.runtime.events() as events:
        task_status.started()
        async for event in events:
            if isinstance(event, BreakerChanged):
                at = round(event.at - board.begun, 3)
                transition = Transition(at, event.service, event.old, event.new, event.reason)
                board.transitions.append(transition)
                board.tallies[event.service].transitions.append(transition)
                view.changed(transition)


async def _refresh(board: Board, view: View) -> None:
    while True:
        view.show(board)
        await trio.sleep(view.every)
