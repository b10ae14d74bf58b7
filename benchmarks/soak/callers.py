"""Those who call, and those who cancel: each call ends once, with its own answer, a typed error, or a cancellation."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

import switchgear as sg

from .peer import KINDS, WRONG
from .scene import CUT

SLACK = 2.0  # seconds that a call may last beyond its timeout: the machine may have other work
MOST_STEPS = (
    800  # of all tasks, of which forty call: a call that is answered at once has had some twenty of its own by then
)


@dataclass
class Tally:
    """What has happened so far."""

    outcomes: Counter[str] = field(default_factory=Counter)
    steps: Counter[int] = field(default_factory=Counter)
    """Cancellations, by the task step at which they came."""
    broken: list[str] = field(default_factory=list)
    """What must not be."""
    overrun: float = 0.0
    """The longest that a call lasted beyond its timeout."""

    @property
    def calls(self) -> int:
        """All that have ended."""
        return self.outcomes.total()


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when so many steps of any task have gone by since it was set."""

    def __init__(self) -> None:
        self._at: dict[int, list[trio.CancelScope]] = {}
        self._step = 0

    def after(self, steps: int, scope: trio.CancelScope) -> None:
        """Cancel it ``steps`` task steps from now."""
        self._at.setdefault(self._step + steps, []).append(scope)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """One step more."""
        self._step += 1
        for scope in self._at.pop(self._step, ()):
            scope.cancel()


@dataclass
class Caller:
    """One of many."""

    runtime: sg.Runtime
    services: Sequence[str]
    rng: random.Random
    tally: Tally
    knife: CancelAtStep

    async def call_until(self, end: float) -> None:
        """Call until the time is up."""
        while trio.current_time() < end:
            await self.call()

    async def call(self) -> None:
        """One call, counted by how it ended."""
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        timeout = self.rng.choice((0.005, 0.05, 0.5, 0.5))
        started = trio.current_time()
        how = await self._until_cut(kind, timeout)
        over = trio.current_time() - started - timeout
        self.tally.outcomes[how] += 1
        self.tally.overrun = max(self.tally.overrun, over)
        if over > SLACK:
            self.tally.broken.append(f"{kind}: it lasted {over:.2f} s longer than its {timeout} s ({how})")

    async def _until_cut(self, kind: str, timeout: float) -> str:
        """One call; half of them are cancelled some steps from now, unless they end before that."""
        steps = self.rng.randrange(1, MOST_STEPS) if self.rng.random() < 0.5 else 0
        with trio.CancelScope() as scope:
            if steps:
                self.knife.after(steps, scope)
            try:
                return await self._call(kind, timeout)
            except sg.ServiceError as error:
                if kind not in WRONG and isinstance(error, (sg.DecodeError, sg.ResponseTooLarge, sg.InvalidRequest)):
                    self.tally.broken.append(f"{kind}: {error}")
                return error.code.value
        self.tally.steps[steps // 100 * 100] += 1
        return "cancelled"

    async def _call(self, kind: str, timeout: float) -> str:
        """In one of three ways: read as it comes, with a body, without one."""
        name = self.rng.choice(self.services)
        service = self.runtime.service(name)
        path, way = f"/{kind}/{self.rng.choice((0, 10, 200, 20_000))}", self.rng.randrange(4)
        if way == 0:
            async with service.stream("GET", path, timeout=timeout) as stream:
                body, most = b"", self.rng.choice((1, 10**9))
                async for piece in stream:
                    body += piece
                    if len(body) >= most:
                        return "half-read"
                who = stream.request_id
        else:
            options = {"content": b"y" * self.rng.choice((1, 100_000)), "idempotency_key": "k"} if way == 1 else {}
            method = "POST" if way == 1 else "GET"
            response = await service.request(method, path, type=bytes, timeout=timeout, **options)
            body, who = response.data, response.request_id
        untold = kind == "empty" or (kind == "until-close" and name in CUT)
        if not untold and body.rpartition(b"\n")[2] != who.encode():
            self.tally.broken.append(f"{kind}: {who} was given {body[-60:]!r}")
        return "answered"
