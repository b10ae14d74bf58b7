"""A service as its callers see it: checked requests go to the actor, answers and errors come back.

What runs here runs in the caller's task: the checks, the wait, and the fallbacks.
"""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, final, overload

import trio

from switchgear.actors import errors
from switchgear.actors.service import links
from switchgear.actors.service.abroad import Place
from switchgear.actors.service.arguments import Content, Priority
from switchgear.actors.service.build import build_request, refuse
from switchgear.actors.service.concurrency import BulkheadStatus
from switchgear.actors.service.fallback import fall_back, fresh_answer
from switchgear.actors.service.kernel import failure_of
from switchgear.actors.service.messages import Request, ServiceResponse
from switchgear.actors.service.stream import StreamResponse, held_open
from switchgear.actors.service.target import Headers
from switchgear.actors.service.template import PathValues
from switchgear.runtime import ActorError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from switchgear.actors.config import ServiceConfig
    from switchgear.actors.service.limits import LimiterStatus
    from switchgear.actors.service.roster import InstanceStatus
    from switchgear.actors.service.state import ServiceState
    from switchgear.runtime import Ref

T = TypeVar("T")
Call: TypeAlias = Coroutine[Any, Any, ServiceResponse[Any]]


@final
class Service:
    """One external service. Got from `Runtime.service`; valid for as long as the runtime.

    All times are seconds. Every call ends exactly once: with a response, with a `ServiceError`, or cancelled by your
    own cancel scope; in each case nothing of it is left running.
    """

    def __init__(
        self,
        ref: Ref,
        state: ServiceState,
        elsewhere: Callable[[str, Request], Awaitable[ServiceResponse[Any]]],
        rng: random.Random,
    ) -> None:
        self._ref = ref
        self._state = state
        self._elsewhere = elsewhere
        self._rng = rng

    def __repr__(self) -> str:
        return f"<Service {self.name!r} breaker {self.breaker}>"

    @property
    def name(self) -> str:
        """As in the configuration."""
        return self._state.name

    @property
    def config(self) -> ServiceConfig:
        """The configuration in force."""
        return self._state.config.value

    @property
    def breaker(self) -> str:
        """State of the circuit breaker: ``closed``, ``open``, ``half_open``, or what an operator has made of it
        (`force_breaker`): ``forced_open``, ``forced_closed``, ``observing``.
        """
        return self._state.breakers.state.value

    @property
    def breakers(self) -> dict[str, str]:
        """The same of each instance or operation that has been called, where these have breakers of their own."""
        return self._state.breakers.states()

    def force_breaker(self, to: Literal["open", "closed", "observing"] | None) -> None:
        """Take the circuit breaker into your own hands, or (None) give it back. It holds through crashes of the actor.

        Args:
            to: ``"open"`` lets no call through; ``"closed"`` lets all through, and counts nothing; ``"observing"`` lets
                all through, counts, and tells by an event each time that it would have opened. None leaves it to
                itself: what was open goes on half-open, by trials, and the others closed.
        """
        self._state.breakers.force(to, trio.current_time())

    @property
    def limiter(self) -> LimiterStatus:
        """What the rate limit does at this moment: how many wait, for how long it is paused, what it has learned."""
        return self._state.limits.status(trio.current_time())

    @property
    def instances(self) -> InstanceStatus:
        """Which instances get calls at this moment, and which do not, and why. (`Registry.discover`: all there are.)"""
        return self._state.roster.status(trio.current_time())

    @property
    def bulkhead(self) -> BulkheadStatus:
        """What the bulkhead does at this moment: its limit, learned or not, and how many are under way and wait."""
        actor, concurrency = self._ref.info(), self._state.concurrency
        mailbox = actor.mailbox
        assert mailbox is not None  # noqa: S101 - only supervisors have none
        return BulkheadStatus(
            limit=concurrency.limit,
            learned=concurrency.learner is not None,
            in_flight=actor.in_flight,
            queued=mailbox.depth,
            waiting=mailbox.waiting,
            shed=mailbox.shed,
        )

    @overload
    async def request(
        self,
        method: str,
        template: str | Place,
        /,
        *,
        type: type[T],
        path: PathValues | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: Content = None,
        headers: Headers | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        affinity: str | None = None,
        weight: float = 1.0,
        priority: Priority = "normal",
        fallback: bool = True,
    ) -> ServiceResponse[T]: ...

    @overload
    async def request(
        self,
        method: str,
        template: str | Place,
        /,
        *,
        type: None = None,
        path: PathValues | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: Content = None,
        headers: Headers | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        affinity: str | None = None,
        weight: float = 1.0,
        priority: Priority = "normal",
        fallback: bool = True,
    ) -> ServiceResponse[Any]: ...

    def request(
        self,
        method: str,
        template: str | Place,
        /,
        *,
        type: Any = None,
        path: PathValues | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: Content = None,
        headers: Headers | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        affinity: str | None = None,
        weight: float = 1.0,
        priority: Priority = "normal",
        fallback: bool = True,
    ) -> Call:
        """Call the service.

        Args:
            method: GET, POST, ...; any HTTP token.
            template: a path below the service's base URL, starting with a slash; it cannot leave the service. With
                names in braces for what varies, as ``"/users/{id}"``, and ``path`` for their values. Or what `link`
                gave.
            type: what to decode the JSON body into: a msgspec Struct, a dataclass, a builtin, or ``bytes`` for the
                body as it is. None guesses by content type.
            path: the values of those names: text, whole numbers or UUIDs, each quoted as one segment whatever is in it.
                The template is then the name of the operation, to breakers of ``scope="operation"`` and in the metrics.
            params: the query: text, numbers, booleans, lists of these; None values are left out.
            json: a body to encode as JSON. Not together with ``content``.
            content: a body as it is; an async iterator of bytes is sent piece by piece, as it gives them, and only
                once: a request whose pieces have been taken is not retried. (It runs in the service's task, and is
                closed there if it is a generator.)
            headers: more headers, in the place of the configuration's of the same name (but never of credentials). A
                valid ``X-Request-ID`` among them is used as this call's.
            timeout: for the whole call, retries and waits included; None takes ``timeout.total`` of the configuration.
                Your own cancel scope bounds the call as well.
            idempotency_key: sent as ``Idempotency-Key`` with each attempt; allows retries of any method.
            affinity: calls with the same value prefer the same instance, where the balancer can.
            weight: tokens that each attempt takes from ``rate_limit``; 0 for what the service does not count.
            priority: who is next among the calls that wait for ``rate_limit``: ``"high"`` before ``"normal"`` before
                ``"low"``. (One in ten goes to whoever has waited longest, so that ``"low"`` gets its turn.)
            fallback: False raises instead of trying the configured fallbacks.

        Raises:
            ServiceError: one subclass a code; see `switchgear.actors.errors`.
        """
        built = build_request(
            self._state,
            self._rng,
            method,
            template,
            type_=type,
            path=path,
            params=params,
            json=json,
            content=content,
            headers=headers,
            timeout=timeout,
            idempotency_key=idempotency_key,
            affinity=affinity,
            weight=weight,
            priority=priority,
        )
        # None of the frames that are left when something fails has what was passed here among its locals.
        if isinstance(built, Request):
            return self.send(built) if fallback and self.config.fallbacks else self._ask(built)
        return refuse(built)

    def try_request(self, method: str, template: str | Place, /, **options: Any) -> Call:
        """As `request`, but a `ServiceError` is returned, in ``response.error``, with ``success`` False."""
        return self._try(self.request(method, template, **options))

    async def _try(self, call: Call) -> ServiceResponse[Any]:
        started = trio.current_time()
        try:
            return await call
        except errors.ServiceError as error:
            return ServiceResponse(
                success=False,
                data=None,
                status=getattr(error, "status", None),
                request_id=error.request_id or "",
                attempts=error.attempts,
                elapsed=trio.current_time() - started,
                error=error,
            )

    @overload
    async def get(self, template: str | Place, /, *, type: type[T], **options: Any) -> ServiceResponse[T]: ...
    @overload
    async def get(self, template: str | Place, /, *, type: None = None, **options: Any) -> ServiceResponse[Any]: ...
    def get(self, template: str | Place, /, *, type: Any = None, **options: Any) -> Call:
        """`request` with GET."""
        return self.request("GET", template, type=type, **options)

    @overload
    async def post(self, template: str | Place, /, *, type: type[T], **options: Any) -> ServiceResponse[T]: ...
    @overload
    async def post(self, template: str | Place, /, *, type: None = None, **options: Any) -> ServiceResponse[Any]: ...
    def post(self, template: str | Place, /, *, type: Any = None, **options: Any) -> Call:
        """`request` with POST."""
        return self.request("POST", template, type=type, **options)

    @overload
    async def put(self, template: str | Place, /, *, type: type[T], **options: Any) -> ServiceResponse[T]: ...
    @overload
    async def put(self, template: str | Place, /, *, type: None = None, **options: Any) -> ServiceResponse[Any]: ...
    def put(self, template: str | Place, /, *, type: Any = None, **options: Any) -> Call:
        """`request` with PUT."""
        return self.request("PUT", template, type=type, **options)

    @overload
    async def patch(self, template: str | Place, /, *, type: type[T], **options: Any) -> ServiceResponse[T]: ...
    @overload
    async def patch(self, template: str | Place, /, *, type: None = None, **options: Any) -> ServiceResponse[Any]: ...
    def patch(self, template: str | Place, /, *, type: Any = None, **options: Any) -> Call:
        """`request` with PATCH."""
        return self.request("PATCH", template, type=type, **options)

    @overload
    async def delete(self, template: str | Place, /, *, type: type[T], **options: Any) -> ServiceResponse[T]: ...
    @overload
    async def delete(self, template: str | Place, /, *, type: None = None, **options: Any) -> ServiceResponse[Any]: ...
    def delete(self, template: str | Place, /, *, type: Any = None, **options: Any) -> Call:
        """`request` with DELETE."""
        return self.request("DELETE", template, type=type, **options)

    def stream(
        self,
        method: str,
        template: str | Place,
        /,
        *,
        path: PathValues | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: Content = None,
        headers: Headers | None = None,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        affinity: str | None = None,
        weight: float = 1.0,
        priority: Priority = "normal",
    ) -> AbstractAsyncContextManager[StreamResponse]:
        """Call the service and read the body of its answer as it comes.

            async with service.stream("GET", "/export.csv") as response:
                async for piece in response:
                    await file.write(piece)

        The call lasts for as long as the block: it holds its place in the bulkhead and the breaker's permit until then.
        It is retried, under the same rules as `request`, until the head of an answer has come. A stream left half-read
        closes its connection. Fallbacks are not tried: they answer with whole bodies.

        Args:
            method: as in `request`; so are those that are not listed here.
            timeout: for the whole block, None taking ``timeout.total`` of the configuration. `math.inf` is allowed, for
                a stream without an end: then bound it by cancel scopes of your own. ``timeout.attempt`` bounds the
                time to the head of the answer.

        Raises:
            ServiceError: as `request`, before the block is entered; or from reading (see `StreamResponse`).
        """
        response = StreamResponse()
        built = build_request(
            self._state,
            self._rng,
            method,
            template,
            type_=None,
            path=path,
            params=params,
            json=json,
            content=content,
            headers=headers,
            timeout=timeout,
            idempotency_key=idempotency_key,
            affinity=affinity,
            weight=weight,
            priority=priority,
            stream=response,
        )
        return held_open(response, partial(self._ask, built) if isinstance(built, Request) else partial(refuse, built))

    def head(self, template: str | Place, /, **options: Any) -> Coroutine[Any, Any, ServiceResponse[None]]:
        """`request` with HEAD; there is no body, so ``data`` is None."""
        return self.request("HEAD", template, **options)

    def link(self, url: str, *, base: str = "/") -> str | Place:
        """What to call for a URL that the service itself gave: in a Link header, a Location, a field of a body.

            page = await shop.get(shop.link(response.data["next"]))

        One of the service's own becomes a path. One of another host has to be of ``allowed_hosts``, and is then for
        GET and HEAD: without credentials, at public addresses only, and past the breaker and the rate limit, for it is
        not the service that is called.

        Args:
            url: absolute, or relative to ``base``.
            base: the path of the call that gave it.

        Raises:
            InvalidRequest: it leads anywhere else. Nothing is sent.
        """
        found = links.destination(self._state, url, base)
        if isinstance(found, errors.InvalidRequest):
            del url, base  # as above: not for who shows the locals of a traceback
            raise found
        return found

    async def send(self, request: Request) -> ServiceResponse[Any]:
        """Send a request that has been built already, with this service's fallbacks: how alternatives are asked."""
        if self._state.fresh_from is not None:
            fresh = await fresh_answer(request, self._state)
            if fresh is not None:
                return fresh
        try:
            return await self._ask(request)
        except errors.ServiceError as error:
            return await fall_back(request, error, self._state, self._elsewhere)

    async def _ask(self, request: Request) -> ServiceResponse[Any]:
        """One ask; the kernel's errors become the service's."""
        try:
            response: ServiceResponse[Any] = await self._ref.ask(request, until=request.deadline)
        except ActorError as error:
            failure = failure_of(error, request, self._state)
        else:
            return response
        try:
            raise failure
        finally:
            del failure  # else it knows itself, by its traceback, and with it the request, until a collection
