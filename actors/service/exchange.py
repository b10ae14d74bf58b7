"""One exchange of an attempt: behind the guards, before the wire. Redirects that stay on the origin, and streams.

Here, and nowhere else, a request goes on its way with credentials on it.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from ..errors import AuthFailed, CallTimeout, HTTPStatusError, ServiceError, TransportError
from ..secrecy import Masked, sealed
from ..transport import Reply, Wire
from ..transport.door import read_whole
from .signing import SignedWay, outline, with_query
from .upload import Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..auth import Credentials, Signer
    from ..config import ServiceConfig
    from ..secrecy.known import Known
    from ..transport import Answer, Door
    from .admission import Chosen
    from .fleet import Fleet
    from .gate import Gate
    from .messages import Request
    from .stream import StreamResponse
    from .target import Target

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


class Leg(Masked, msgspec.Struct, frozen=True):
    """What stays the same in one exchange, wherever it is redirected to."""

    request: Request
    chosen: Chosen
    began: float
    end: float
    """When the attempt's time is over (trio time)."""


class Exchange:
    """Makes exchanges, under one configuration."""

    def __init__(
        self,
        config: ServiceConfig,
        fleet: Fleet,
        door: Door,
        sign: Callable[..., ServiceError],
        *,
        gate: Gate | None,
        signer: Signer | None,
        known: Known,
    ) -> None:
        self._fleet = fleet
        self._door = door
        self._gate = gate
        self._signer = signer
        self._known = known
        self._last: Credentials | None = None  # that a signer gave
        self._sign = sign  # an error, with the names of a request
        self._attempt = config.timeout.attempt
        self._connect = config.timeout.connect
        self._max_bytes = config.max_response_bytes
        self._follows = config.follow_redirects
        self._exposes = config.exposes

    async def run(self, request: Request, wire: Wire, now: float, chosen: Chosen, credentials: Credentials) -> Reply:
        """One request on the wire, with the redirects that stay on its origin."""
        target = chosen[1]
        end = math.inf  # when the call's own time is over the ask ends, and we are cancelled: no need to watch it twice
        if self._attempt is not None and now + self._attempt < request.deadline:
            end = now + self._attempt
        for _ in range(_MAX_REDIRECTS + 1):
            sent = with_query(wire, credentials.query) if credentials.query else wire
            try:
                if request.stream is None and self._signer is None:
                    reply = await self._door.exchange(
                        target, sent, connect=self._connect, max_bytes=self._max_bytes, deadline=end
                    )
                else:
                    reply = await self._go(Leg(request, chosen, now, end), sent)
            except trio.TooSlowError:
                raise CallTimeout("no whole answer before the attempt's timeout", retryable=True) from None
            except Exception as error:  # noqa: BLE001 - it goes on, whatever it is
                raise sealed(error)  # noqa: B904 - it is the same error
            onward = self._redirect(wire, reply, target)
            if onward is None:
                return reply
            wire = onward
        raise TransportError(f"more than {_MAX_REDIRECTS} redirects", processed="maybe")

    async def _go(self, leg: Leg, wire: Wire) -> Reply:
        """As most requests do not go: as a stream, or signed."""
        if self._signer is None:
            return await self.send(leg, wire)
        return await self._signer.exchange(outline(wire, leg.chosen[1]), SignedWay(self, leg, wire))

    async def send(self, leg: Leg, wire: Wire) -> Reply:
        """With all that belongs on it."""
        stream = leg.request.stream
        if stream is not None:
            return await self._stream(leg, stream, wire)
        return await self._door.exchange(
            leg.chosen[1], wire, connect=self._connect, max_bytes=self._max_bytes, deadline=leg.end
        )

    async def ask(self, to: Target, wire: Wire, end: float) -> Reply:
        """Somebody else, for what the credentials need."""
        if (problem := self._exposes(to.url(""))) is not None:
            raise AuthFailed(f"{to.authority}, which the authentication asks: {problem}")
        try:
            return await self._door.exchange(to, wire, connect=self._connect, max_bytes=self._max_bytes, deadline=end)
        except (ServiceError, trio.TooSlowError) as error:
            what = type(error).__name__
        raise AuthFailed(f"{to.authority}, which the authentication asks, did not answer ({what})", retryable=True)

    def learn(self, credentials: Credentials) -> None:
        """They are secrets, if they are more than the signature of one request, which is of no use for another.

        Of signatures there is a new one with each request, and the others would be forgotten for them.
        """
        if self._last is None or credentials == self._last:
            self._known.learn_credentials(credentials)
        self._last = credentials

    async def turn(self, leg: Leg) -> None:
        """A request more than the attempt was let through with."""
        request, now = leg.request, trio.current_time()
        if self._gate is not None and not self._gate.limiter.admits(now, request.weight):
            await self._gate.enter(now, min(leg.end, request.deadline), request.weight, request.priority)

    async def _stream(self, leg: Leg, stream: StreamResponse, wire: Wire) -> Reply:
        """Open an exchange, and hold it open while the caller reads; what he did not ask for is read here."""
        endpoint, target = leg.chosen
        answer = await self._door.open(target, wire, connect=self._connect, deadline=leg.end)
        try:
            if not self._is_ours(answer):
                self._fleet.headed(endpoint, leg.began, trio.current_time())
                await stream.hold(answer, leg.request, partial(self._sign, request=leg.request))
                return Reply(answer.status, answer.headers, b"")
            return Reply(answer.status, answer.headers, await read_whole(answer, self._max_bytes))
        finally:
            await answer.aclose()

    def _is_ours(self, answer: Answer) -> bool:
        """An error, or a redirect that is to be followed: its body is no stream for the caller."""
        return answer.status >= 400 or (self._follows and answer.status in _REDIRECTS)

    def _redirect(self, wire: Wire, reply: Reply, target: Target) -> Wire | None:
        if not self._follows or reply.status not in _REDIRECTS or reply.header("location") is None:
            return None
        if isinstance(wire.body, Upload):
            raise HTTPStatusError("it redirects, and the body of this request can be sent only once", **seen(reply))
        onward = target.relative(reply.header("location") or "", wire.target)
        if onward is None:
            raise HTTPStatusError("it redirects to another origin, or above the prefix: not followed", **seen(reply))
        # RFC 9110, section 15.4: 303 is always to be fetched, 301 and 302 only in answer to a POST.
        if wire.method in ("GET", "HEAD") or (reply.status != 303 and (wire.method != "POST" or reply.status >= 307)):
            return msgspec.structs.replace(wire, target=onward)
        headers = tuple(pair for pair in wire.headers if pair[0].lower() != "content-type")
        return Wire("GET", onward, headers, constant=wire.constant, replayable=True)


def seen(reply: Reply) -> dict[str, Any]:
    """What an error says of an answer."""
    return {"status": reply.status, "headers": reply.headers, "body": reply.body}
