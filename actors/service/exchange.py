"""One exchange of an attempt: behind the guards, before the wire. Redirects that stay on the origin, and streams.

Here, and nowhere else, a request goes on its way with credentials on it.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from ..errors import AuthFailed, CallTimeout, HTTPStatusError, InvalidRequest, ServiceError, TransportError
from ..secrecy import Masked
from ..transport import Reply, Wire
from ..transport.door import read_whole
from .abroad import Place
from .signing import SignedWay, outline, with_query
from .upload import Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..auth import Credentials, Signer
    from ..config import ServiceConfig
    from ..secrecy.known import Known
    from ..transport import Answer, Door
    from .abroad import Abroad
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
    chosen: Chosen | None
    """The instance; None if it is another host's affair from the beginning."""
    began: float
    end: float
    """When the attempt's time is over (trio time)."""

    @property
    def target(self) -> Target:
        """The instance's."""
        assert self.chosen is not None  # noqa: S101 - only `Exchange.beyond` goes without one
        return self.chosen[1]


class Elsewhere(Reply, frozen=True, gc=False, kw_only=True):
    """The service's last word, and it leads to another host: what comes of that is not the service's any more."""

    there: Place


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
        abroad: Abroad | None,
        known: Known,
    ) -> None:
        self._fleet = fleet
        self._door = door
        self._abroad = abroad
        self._gate = gate
        self._signer = signer
        self._known = known
        self._last: Credentials | None = None  # that a signer gave
        self._learned: Credentials | None = None
        self._sign = sign  # an error, with the names of a request
        self._attempt = config.timeout.attempt
        self._connect = config.timeout.connect
        self._max_bytes = config.max_response_bytes
        self._follows = config.follow_redirects
        self._exposes = config.exposes

    async def run(self, request: Request, wire: Wire, now: float, chosen: Chosen, credentials: Credentials) -> Reply:
        """One request on the wire, with its redirects on the origin. See `Elsewhere` for others."""
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
            onward = self._redirect(wire, reply, target)
            if onward is None:
                return reply
            if isinstance(onward, Place):
                request.progress.done = True
                return Elsewhere(reply.status, reply.headers, reply.body, reply.ended, there=onward)
            if onward.method != wire.method:
                request.progress.done = True
            wire = onward
        raise TransportError(f"more than {_MAX_REDIRECTS} redirects", processed="maybe")

    async def beyond(self, request: Request, there: Place, method: str, now: float) -> Reply:
        """A request to another host, without credentials.

        An error over there is no word of the service's: not to its limits, nor of credentials it was not given.
        """
        if self._abroad is None:
            raise InvalidRequest(f"{there.to.host} is not one of allowed_hosts: there are none")
        end = request.deadline if self._attempt is None else min(request.deadline, now + self._attempt)
        leg = Leg(request, None, now, end)
        for _ in range(_MAX_REDIRECTS + 1):
            reply = await self._at(leg, there.to, self._abroad.wire(there, method, leg.request.headers))
            if reply.status >= 400:
                raise HTTPStatusError(f"{there.to.host}, another host, answered {reply.status}", **seen(reply))
            location = reply.header("location")
            if not self._follows or reply.status not in _REDIRECTS or location is None:
                return reply
            onward = self._abroad.place(location, there.url)
            if onward is None:
                raise HTTPStatusError("another host redirects to one that is not of allowed_hosts", **seen(reply))
            there = onward
        raise TransportError(f"more than {_MAX_REDIRECTS} redirects at other hosts", processed="maybe")

    async def _at(self, leg: Leg, to: Target, wire: Wire) -> Reply:
        assert self._abroad is not None  # noqa: S101 - see above
        door, stream = self._abroad.door, leg.request.stream
        try:
            if stream is not None:
                return await self._stream(leg, stream, door, to, wire)
            return await door.exchange(to, wire, connect=self._connect, max_bytes=self._max_bytes, deadline=leg.end)
        except trio.TooSlowError:
            raise CallTimeout("no whole answer before the attempt's timeout", retryable=True) from None

    async def _go(self, leg: Leg, wire: Wire) -> Reply:
        """As most requests do not go: as a stream, or signed."""
        if self._signer is None:
            return await self.send(leg, wire)
        return await self._signer.exchange(outline(wire, leg.target), SignedWay(self, leg, wire))

    async def send(self, leg: Leg, wire: Wire) -> Reply:
        """With all that belongs on it."""
        stream = leg.request.stream
        if stream is not None:
            return await self._stream(leg, stream, self._door, leg.target, wire)
        return await self._door.exchange(
            leg.target, wire, connect=self._connect, max_bytes=self._max_bytes, deadline=leg.end
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

        Of signatures there is a new one with each request, and the others would be forgotten for them. So the first
        ones are learned, and what is used twice in a row.
        """
        if credentials != self._learned:
            if self._learned is None or credentials == self._last:
                self._known.learn_credentials(credentials)
                self._learned = credentials
            self._last = credentials

    async def turn(self, leg: Leg) -> None:
        """A request more than the attempt was let through with."""
        request, now = leg.request, trio.current_time()
        if self._gate is not None and not self._gate.limiter.admits(now, request.weight):
            await self._gate.enter(now, min(leg.end, request.deadline), request.weight, request.priority)

    async def _stream(self, leg: Leg, stream: StreamResponse, door: Door, to: Target, wire: Wire) -> Reply:
        """Open an exchange, and hold it open while the caller reads; what he did not ask for is read here."""
        answer = await door.open(to, wire, connect=self._connect, deadline=leg.end)
        try:
            if not self._is_ours(answer):
                if leg.chosen is not None:
                    self._fleet.headed(leg.chosen[0], leg.began, trio.current_time())
                await stream.hold(answer, leg.request, partial(self._sign, request=leg.request))
                return Reply(answer.status, answer.headers, b"")
            with trio.fail_at(leg.end):  # nobody else bounds it, if the stream may last for ever
                body = await read_whole(answer, self._max_bytes)
            return Reply(answer.status, answer.headers, body)
        finally:
            await answer.aclose()

    def _is_ours(self, answer: Answer) -> bool:
        """An error, or a redirect that is to be followed: its body is no stream for the caller."""
        return answer.status >= 400 or (self._follows and answer.status in _REDIRECTS)

    def _redirect(self, wire: Wire, reply: Reply, target: Target) -> Wire | Place | None:
        if not self._follows or reply.status not in _REDIRECTS:
            return None  # before the header is looked for: this is on the road of every call
        location = reply.header("location")
        if location is None:
            return None
        if isinstance(wire.body, Upload):
            raise HTTPStatusError("it redirects, and the body of this request can be sent only once", **seen(reply))
        onward = target.relative(location, wire.target)
        if onward is None:
            there = None if self._abroad is None else self._abroad.place(location, target.url(wire.target))
            if there is None or not (reply.status == 303 or wire.method in ("GET", "HEAD")):
                text = "it redirects to another origin, or above the prefix: not followed"
                raise HTTPStatusError(text, **seen(reply))
            return there
        # RFC 9110, section 15.4: 303 is always to be fetched, 301 and 302 only in answer to a POST.
        if wire.method in ("GET", "HEAD") or (reply.status != 303 and (wire.method != "POST" or reply.status >= 307)):
            return msgspec.structs.replace(wire, target=onward)
        headers = tuple(pair for pair in wire.headers if pair[0].lower() != "content-type")
        return Wire("GET", onward, headers, constant=wire.constant, replayable=True)


def seen(reply: Reply) -> dict[str, Any]:
    """What an error says of an answer."""
    return {"status": reply.status, "headers": reply.headers, "body": reply.body}
