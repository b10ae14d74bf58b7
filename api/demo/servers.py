"""One service of the demo as a process: ``python -m switchgear.demo.servers NAME --port 0 --seed N``.

It prints one line of JSON with its port on stdout and serves until its stdin ends, so that it cannot outlive a parent
that was killed, or until SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from typing import TYPE_CHECKING

import trio

from .http import converse
from .services import SERVICES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .services import Demonstrator

HOST = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one service until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m switchgear.demo.servers", description=__doc__)
    parser.add_argument("name", choices=sorted(SERVICES))
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long the demo takes")
    parser.add_argument("--instance", type=int, default=1, help="which instance of the service this is")
    options = parser.parse_args(arguments)
    service = SERVICES[options.name](seed=options.seed, seconds=options.seconds, instance=options.instance)
    trio.run(_run, service, options.port)
    return 0


async def _run(service: Demonstrator, port: int) -> None:
    async def connection(stream: trio.SocketStream) -> None:
        if service.takes():
            await converse(stream, service.answer)
        else:
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        # Before the port is told: whoever knows it may already end us.
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            nursery.start_soon(_until_stdin_ends, nursery.cancel_scope)
            listeners = await trio.open_tcp_listeners(port, host=HOST)
            print(json.dumps({"port": listeners[0].socket.getsockname()[1]}), flush=True)
            nursery.start_soon(trio.serve_listeners, connection, listeners)
            async for _ in signals:
                break
        nursery.cancel_scope.cancel()


async def _until_stdin_ends(everything: trio.CancelScope) -> None:
    async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
        while await stdin.receive_some(1024):
            pass
    everything.cancel()


if __name__ == "__main__":
    raise SystemExit(main())
