"""What stands in for the rest of the road where a stretch of it is measured: it has its answer ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from switchgear.actors.service.messages import Request, ServiceResponse
    from switchgear.actors.transport import Reply, Wire


class ReadyRef:
    """The reply without an actor."""

    def __init__(self, response: ServiceResponse[Any]) -> None:
        self._response = response
        self.request: Any = None

    async def ask(self, message: Request, **_: object) -> ServiceResponse[Any]:
        """As `Ref.ask`."""
        self.request = message
        return self._response


class ReadyRoad:
    """Past all guards at once."""

    def __init__(self, response: ServiceResponse[Any]) -> None:
        self._response = response

    async def call(self, request: Request, now: float, deadline: float) -> ServiceResponse[Any]:
        """As `Road.call`."""
        return self._response


class ReadyDoor:
    """The answer without a connection."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.wire: Wire | None = None

    async def exchange(self, to: object, wire: Wire, **_: object) -> Reply:
        """As `Door.exchange`."""
        self.wire = wire
        return self._reply


class ReadyLink:
    """The bytes without a socket."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def send_nowait(self, data: bytes) -> int:
        """As `Link.send_nowait`."""
        return len(data)

    async def send_all(self, data: bytes | memoryview) -> bool:
        """As `Link.send_all`."""
        return True

    async def receive_some(self) -> bytes:
        """As `Link.receive_some`."""
        return self._raw

    def is_stale(self) -> bool:
        """As `Link.is_stale`."""
        return False

    def close(self) -> None:
        """As `Link.close`."""


class Brief:
    """Over before its time, as nearly all things are that have a timeout."""

    __slots__ = ("expiry", "over")

    def __init__(self, expiry: float) -> None:
        self.expiry = expiry
        self.over = False

    def expire(self) -> None:
        """As `Expiring.expire`."""
        raise AssertionError("it was over")
