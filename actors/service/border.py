"""The last look at where a request goes, before credentials are made for it.

What a caller passes has been checked as it came in (`target.py`). But a request also comes from the queue's file, from
another service's fallback, or to an instance that was found a moment ago; this is the one place that all of them pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.exposure import credential_in, exposure
from ..config.tls import unverified_problem
from ..errors import ConfigError, InvalidRequest
from .target import is_below

if TYPE_CHECKING:
    from ..config import ServiceConfig
    from .target import Target

_MOST = 1000  # instances that are known to be safe


class Border:
    """Of one service, under one configuration."""

    __slots__ = ("_config", "_known")

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        # Those that have been looked at, all of them, for to take URLs apart costs more than all guards together; and
        # whether everybody on the way there can read what is sent.
        self._known: dict[Target, bool] = {}

    def check(self, to: Target, target: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Look at a request that goes ``to`` an instance.

        Args:
            to: the instance.
            target: path and query.
            headers: the caller's own.

        Raises:
            ConfigError: credentials of the configuration would be exposed, or nobody would look who it is.
            InvalidRequest: credentials of the caller's would be, or the path leaves the origin or the prefix.
        """
        readable = self._known.get(to)
        if readable is None:
            readable = self._look(to)
        if readable and headers and (what := credential_in(None, dict(headers))) is not None:
            raise InvalidRequest(exposure(what))
        if not is_below(target):
            raise InvalidRequest(
                "the path could lead out of the service: segments after a slash, and none of them '..'"
            )

    def _look(self, to: Target) -> bool:
        url = to.url("")
        if (problem := self._config.exposes(url)) is not None:
            raise ConfigError(problem)
        if (problem := unverified_problem(self._config.tls, url)) is not None:  # it may be known from before
            raise ConfigError(f"tls.verify: {problem}")
        if len(self._known) == _MOST:
            self._known.clear()
        readable = self._known[to] = self._config.reads_plain(url)
        return readable
