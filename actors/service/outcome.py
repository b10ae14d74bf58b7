"""What the end of a call says about the service: failure, success, or nothing."""

from __future__ import annotations

import enum
import logging
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config import BreakerConfig
    from ..errors import ErrorCode, ServiceError

_logger = logging.getLogger("switchgear.breaker")


class Outcome(enum.StrEnum):
    """For the circuit breaker."""

    FAILURE = "failure"
    SUCCESS = "success"
    IGNORE = "ignore"


FAILURE, SUCCESS, IGNORE = Outcome


class Classifier:
    """Made of a configuration once, so that it costs a call next to nothing."""

    __slots__ = ("_errors", "_function", "_statuses")

    def __init__(self, config: BreakerConfig) -> None:
        self._function = config.classify
        self._errors = _set_of(tuple(config.failure_errors))
        self._statuses = _table(tuple(config.failure_statuses), tuple(config.ignored_statuses))

    @property
    def trusts_success(self) -> bool:
        """An answer below 400 is a success without a further look, which is on the road of nearly every call."""
        return self._function is None and not any(status < 400 for status in self._statuses)

    def of(self, status: int | None, error: ServiceError | None) -> Outcome:
        """Of a call that ended with this status, if there was an answer, and this error, if it is one."""
        if self._function is not None:
            said = self._ask(status, error)
            if said is not None:
                return said
        if status is not None:
            return self._statuses.get(status, SUCCESS)
        if error is None:
            return SUCCESS
        return FAILURE if error.code in self._errors else IGNORE

    def _ask(self, status: int | None, error: ServiceError | None) -> Outcome | None:
        """What the function says. One that fails must not fail the call: the lists decide, and the log tells."""
        try:
            said = self._function(status, error)  # type: ignore[misc]
            return None if said is None else Outcome(said)
        except Exception as failed:  # noqa: BLE001 - whatever a user's function raises
            _logger.warning("breaker.classify failed, and the lists decide: %s", type(failed).__name__)
            return None


# Services with the same lists share these: a table has a number for each status of a class, and weighs 8 kB.


@lru_cache(maxsize=128)
def _set_of(errors: tuple[ErrorCode, ...]) -> frozenset[ErrorCode]:
    return frozenset(errors)


@lru_cache(maxsize=128)
def _table(failures: tuple[int | str, ...], ignored: tuple[int | str, ...]) -> Mapping[int, Outcome]:
    table: dict[int, Outcome] = {}
    for kind in (str, int):  # a number counts for more than a class: 503 may be ignored where "5xx" are failures
        for listed, outcome in ((failures, FAILURE), (ignored, IGNORE)):
            for status in listed:
                if isinstance(status, kind):
                    table.update(dict.fromkeys(_numbers(status), outcome))
    return table


def _numbers(status: int | str) -> range:
    first = int(status[0]) * 100 if isinstance(status, str) else status
    return range(first, first + 100 if isinstance(status, str) else first + 1)
