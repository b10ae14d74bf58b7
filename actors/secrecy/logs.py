"""Log records without secrets: ours, and those of the libraries that see our requests, while a runtime runs.

A filter hangs on each logger, because one on a parent is not asked about the records of its children, and one on a
handler would be somebody else's handler. httpcore and hpack write at DEBUG what they send and receive.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .masked import MASK
from .named import without_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .known import Known

_HTTPCORE = ("connection", "http11", "http2", "proxy", "socks")
_OURS = ("switchgear", *(f"switchgear.{name}" for name in ("auth", "breaker", "metrics", "service")))
LOGGERS = (
    *_OURS,
    *("httpx", "httpx2", "hpack.hpack", "hpack.table", "trio-websocket"),
    *(f"{library}.{name}" for library in ("httpcore", "httpcore2") for name in _HTTPCORE),
)
"""All that are watched over. A test compares the list with the loggers that there are."""


@contextmanager
def discreet_logs(known: Known) -> Iterator[None]:
    """For the length of a block, nothing that is known comes into a log, nor what looks like a secret by its name."""
    guard = _Guard(known)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addFilter(guard)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(guard)


class _Guard(logging.Filter):
    """Rewrites records; lets all of them pass."""

    def __init__(self, known: Known) -> None:
        super().__init__()
        self._known = known

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("hpack"):  # it shows headers packed: no secret is to be seen in them, but there it is
            record.args = tuple(one if isinstance(one, (int, type(None))) else MASK for one in _arguments(record))
        text = record.getMessage()
        clean = self._known.scrub(text if record.name in _OURS else without_named(text))
        if clean != text:
            record.msg, record.args = clean, None
        if record.exc_info and record.exc_text is None:
            record.exc_text = self._known.scrub(_FORMATTER.formatException(record.exc_info))
        return True


_FORMATTER = logging.Formatter()


def _arguments(record: logging.LogRecord) -> tuple[object, ...]:
    return record.args if isinstance(record.args, tuple) else (record.args,)
