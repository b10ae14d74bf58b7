"""The last look at where a request goes, before credentials are made for it.

What a caller passes has been checked as it came in (`target.py`). But a request also comes from the queue's file, from
another service's fallback, or to an instance that was found a moment ago; this is the one place that all of them pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigError, InvalidRequest
from .target import is_below

if TYPE_CHECKING:
    from ..config import ServiceConfig
    from .target import Target


class Border:
    """Of one service, under one configuration."""

    __slots__ = ("_config", "_safe")

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._safe: Target | None = None  # the last one that was looked at: most services have one

    def check(self, to: Target, target: str) -> None:
        """Raises InvalidRequest if it leaves the origin or the prefix; ConfigError if credentials would be exposed."""
        if to is not self._safe:
            if (problem := self._config.exposes(to.url(""))) is not None:
                raise ConfigError(problem)
            self._safe = to
        if not is_below(target):
            raise InvalidRequest(
                "the path could lead out of the service: segments after a slash, and none of them '..'"
            )
