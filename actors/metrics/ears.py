"""Where the metrics stream listens: opened before its actor is there, and the same for all of the actor's lives."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..config import MetricsConfig

_AGAIN = 1.0  # seconds between two attempts to listen

_logger = logging.getLogger("switchgear.metrics")


class Ears:
    """Where the stream listens; the same for all lives of its actor."""

    def __init__(self, listeners: list[trio.SocketListener], host: str | None = None) -> None:
        self.address: tuple[str, int] = listeners[0].socket.getsockname()[:2]
        self._host = host or self.address[0]  # a name may have more addresses than the first
        self._listeners = listeners

    async def take(self) -> list[trio.SocketListener]:
        """The listeners: those opened at the start, or for a later life new ones on the same port."""
        while not self._listeners:
            host, port = self._host, self.address[1]
            try:
                self._listeners = await trio.open_tcp_listeners(port, host=host)
            except OSError as error:  # somebody was quicker; a stream that cannot be had is no reason to end a runtime
                _logger.warning("the metrics stream cannot listen on %s port %d again: %s", host, port, error)
                await trio.sleep(_AGAIN)
        taken, self._listeners = self._listeners, []
        return taken

    def close(self) -> None:
        """Close what nobody has taken."""
        for listener in self._listeners:
            listener.socket.close()


@asynccontextmanager
async def listening(config: MetricsConfig) -> AsyncIterator[Ears]:
    """Listen as configured, before the actor is there: a port that is taken is a fault of the configuration.

    Raises ConfigError.
    """
    try:
        listeners = await trio.open_tcp_listeners(config.port, host=config.host)
    except OSError as error:
        raise ConfigError(
            f"metrics.port: cannot listen on {config.host} port {config.port} ({error.strerror or error}): take "
            "another port, 0 for any free one, or websocket = false for no stream"
        ) from error
    if config.port == 0:  # a host of two addresses has got two ports, and there is one URL
        for other in listeners[1:]:
            other.socket.close()
        del listeners[1:]
    ears = Ears(listeners, config.host if config.port else None)
    try:
        yield ears
    except BaseException:
        ears.close()
        raise
