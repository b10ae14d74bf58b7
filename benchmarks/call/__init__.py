"""What a call costs: ours with all its guards, beside the bare clients.

    python -m benchmarks call
    python -m benchmarks call --only "plain, 64" --rounds 3

A server runs on one core (nginx where it is installed, one of ours where it has to wait 20 ms), all contenders take
turns on the other, each in a process of its own. A sample: so many callers, who each call again as soon as they have
an answer of 200 bytes of JSON, for 0.7 s, from when all have had one (so connections have been opened before).

* switchgear, guarded: circuit breaker, limiter (that lets everything through), retry policy, bearer token, histogram,
  power of two choices over two instances, the answer decoded into a Struct.
* httpx, httpx2, aiohttp, pyreqwest: a bare GET with the library's default limits, undecoded. Where the former run on
  asyncio, so do these; ours and httpx are on trio.
* limit: a trio socket for each caller, a request made in advance, llhttp. Nothing is safe here, and nothing can be
  faster that is written in Python on trio.

"CPU" is of the client's process, with all of its threads.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..harness import Scenario

BODY = b'{"id":"c_0123456789","amount":250,"currency":"EUR","paid":true,"lines":["%s"]}' % (b"x" * 124)


def scenarios(*, quick: bool) -> Iterator[Scenario]:
    """Servers and contenders live while these are measured."""
    from .crew import Crew
    from .plan import plan

    with Crew() as crew:
        yield from plan(crew, quick=quick)
