"""The command line: ``switchgear demo``, ``switchgear check FILE``, ``switchgear run FILE``.

Exit codes: 0 done; 1 it could not be done; 2 wrong usage or a configuration with faults; 130 interrupted.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import random
import signal
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import msgspec
import trio

from switchgear.actors.config import check_config, load_config
from switchgear.actors.errors import ConfigError
from switchgear.runtime import ActorError

from .demo.processes import DemoError
from .demo.show import run_demo
from .demo.view import Nothing, best_view, describe_all
from .system import open_runtime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchgear.actors.config import RuntimeConfig

_DONE, _FAILED, _FAULTS, _INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the arguments are those of the process unless given. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code = options.command(options)
        sys.stdout.flush()  # here, where a closed pipe is still expected
    except ConfigError as error:
        print(error, file=sys.stderr)
        return _FAULTS
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough (`| head`). Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except (ActorError, DemoError, OSError) as error:
        print(f"switchgear: {error}{_because(error.__cause__)}", file=sys.stderr)
        return _FAILED
    return int(code)


def _because(cause: BaseException | None) -> str:
    """The first thing behind an error, such as a port that is taken behind an actor that did not start."""
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return "" if cause is None else f": {cause}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="switchgear", description="A supervised trio runtime for calling services.")
    parser.add_argument("--version", action="version", version=f"switchgear {version('switchgear')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="watch five real services fail and recover")
    demo.add_argument("--seconds", type=_seconds, default=15.0, help="how long (default: %(default)g)")
    demo.add_argument("--seed", type=int, help="of all randomness (default: another one each time)")
    demo.add_argument("--json", action="store_true", help="print only a summary, as one JSON object")
    demo.set_defaults(command=_demo)

    check = commands.add_parser("check", help="explain every fault of a configuration file")
    check.add_argument("file", metavar="FILE", help="a .toml or .json file")
    check.set_defaults(command=_check)

    run = commands.add_parser("run", help="run a configuration and stream its metrics until Ctrl-C")
    run.add_argument("file", metavar="FILE", help="a .toml or .json file")
    run.set_defaults(command=_run)
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(text)
    return seconds


_seconds.__name__ = "number of seconds"  # argparse puts it into "invalid ... value"


def _demo(options: argparse.Namespace) -> int:
    # Crashes of actors are shown as what they are; on the terminal of a demo, log lines would tear the table.
    logging.getLogger("switchgear").addHandler(logging.NullHandler())
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    view = Nothing() if options.json else best_view()
    outcome = trio.run(lambda: run_demo(view, seconds=options.seconds, seed=seed))
    if outcome.summary is not None and outcome.board is not None:
        print(msgspec.json.encode(outcome.summary).decode() if options.json else describe_all(outcome.board))
    return _INTERRUPTED if outcome.interrupted else _DONE


def _check(options: argparse.Namespace) -> int:
    faults = check_config(options.file)
    if faults:
        for fault in faults:
            print(fault, file=sys.stderr)
        print(f"{options.file}: {len(faults)} fault{'s' if len(faults) > 1 else ''}", file=sys.stderr)
        return _FAULTS
    config = load_config(options.file)
    names = ", ".join(service.name for service in config.services) or "none"
    count = len(config.services)
    print(f"{options.file}: no faults; {count} service{'' if count == 1 else 's'}: {names}")
    return _DONE


def _run(options: argparse.Namespace) -> int:
    config = load_config(options.file)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    trio.run(_serve, config)
    return _DONE


async def _serve(config: RuntimeConfig) -> None:
    """Run until a signal. One more while we stop ends the process as it would any other."""
    async with open_runtime(config) as runtime:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            print(f"metrics stream: {runtime.metrics.websocket_url or 'off'}", flush=True)
            async for _ in signals:
                break
        print("stopping", flush=True)
