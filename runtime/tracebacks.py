"""What is in an error: as text, for events and logs, and without what trio put there."""

from __future__ import annotations

import traceback

import trio

_LIMIT = 20_000  # characters: an exception group of a thousand leaves must not fill a log


def describe(error: BaseException) -> str:
    """The traceback of an error with its causes, all leaves of a group included, cut to a bounded length."""
    text = "".join(traceback.format_exception(error))
    return text if len(text) <= _LIMIT else text[:_LIMIT] + f"\n... ({len(text) - _LIMIT} characters more)"


def without_cancelled(error: BaseException) -> BaseException | None:
    """What is wrong: an error less the Cancelled in it, which are trio's and mean nothing to anybody else."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1]
    return None if isinstance(error, trio.Cancelled) else error
