"""A function that gives tokens to order, for `BearerAuth(token_from=...)`.

Each call takes the next step of the script; the last one serves all that come after. A step is a token, a pair of a
token and its seconds, an exception (raised), or an async function that gives any of these.
"""

from __future__ import annotations

import inspect

import trio


class Mint:
    def __init__(self, *script):
        self.script = script
        self.times = []
        """When it was asked."""
        self.running = 0
        self.most = 0

    async def __call__(self):
        step = self.script[min(len(self.times), len(self.script) - 1)]
        self.times.append(trio.current_time())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            while callable(step):
                step = step()
                if inspect.isawaitable(step):
                    step = await step
        finally:
            self.running -= 1
        if isinstance(step, BaseException):
            raise step
        return step


def after(seconds, step):
    """The step, that many seconds later."""

    async def later():
        await trio.sleep(seconds)
        return step

    return later
