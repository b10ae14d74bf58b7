"""What a call costs: ours with all its guards, beside the bare clients.

    python -m benchmarks call
    python -m benchmarks call --only "plain, 64" --rounds 3

A server runs on one core (nginx where it is installed, one of ours where it has to wait 20 ms), all contenders take
turns on the other, each sample in a process of its own. A sample: so many callers, who each call again as soon as they
have an answer of 200 bytes of JSON, for 0.7 s, which begin when all have had one: connections are opened before.

* switchgear, guarded: circuit breaker, limiter (that lets everything through), retry policy, bearer token, histogram,
  power of two choices over two instances, the answer decoded into a Struct.
* httpx, httpx2, aiohttp, pyreqwest: a bare GET with the library's default limits, the body left as it is. The first
  two run on trio, as ours does, the others on asyncio, which is all they know.
* limit: a trio socket for each caller (over TLS an SSLStream), a request made in advance, llhttp. Nothing is safe here;
  what is left is what trio and the machine take.

"CPU" is of the client's process, with all of its threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..harness import Scenario


def scenarios(*, quick: bool) -> Iterator[Scenario]:
    """See `plan.py`. (Imported here, since the processes of servers and contenders need no plan.)"""
    from . import plan

    return plan.scenarios(quick=quick)
