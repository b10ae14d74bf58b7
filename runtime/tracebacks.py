"""Errors as text, for events and logs."""

from __future__ import annotations

import traceback

_LIMIT = 20_000  # characters: an exception group of a thousand leaves must not fill a log


def describe(error: BaseException) -> str:
    """The traceback of an error with its causes, all leaves of a group included, cut to a bounded length."""
    text = "".join(traceback.format_exception(error))
    return text if len(text) <= _LIMIT else text[:_LIMIT] + f"\n... ({len(text) - _LIMIT} characters more)"
