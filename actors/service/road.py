"""The road of one call: what happens to a request, in which order, under one configuration.

For each attempt: deadline, breaker, limiter, balancer, credentials, transport, decode, and the outcome told to
everybody who learns from it. Around the attempts: the retry policy. The order is fixed and each part can be switched
off; each attempt counts for the breaker and takes a token. Fallbacks are the caller's side (`fallback.py`): they must
also work when this actor is full, or down.

A road is made from a configuration and thrown away with it: calls under way keep theirs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import trio

from switchgear.runtime.wall import wall_time

from ..auth import NOTHING
from ..errors import (
    AuthFailed,
    CallTimeout,
    CircuitOpen,
    HTTPStatusError,
    RateLimited,
    ServiceError,
    TransportError,
)
from ..machines import retry
from ..secrecy import sealed
from ..transport import Reply
from .admission import Admission
from .border import Border
from .decode import decode
from .exchange import Elsewhere, Exchange, seen
from .hedge import hedged
from .messages import ServiceResponse
from .outcome import FAILURE, SUCCESS
from .wires import Wires

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable

    from ..auth import Authenticator, Credentials
    from ..config import HedgeConfig, ServiceConfig
    from ..machines.breaker import Permit
    from ..machines.tokens import Token
    from ..transport import Door
    from .abroad import Abroad
    from .admission import Chosen
    from .fleet import Fleet
    from .gate import Gate
    from .messages import Request
    from .state import ServiceState

_REFUSED = "the service answered 401: it does not take our credentials"


class _Refused(AuthFailed):
    """These credentials were not taken, and others may be."""

    def __init__(self, message: str, token: Token[Credentials]) -> None:
        super().__init__(message)
        self.token = token


class Road:
    """Takes calls to one service, under one configuration."""

    def __init__(
        self,
        config: ServiceConfig,
        state: ServiceState,
        *,
        fleet: Fleet,
        gate: Gate | None,
        auth: Authenticator,
        door: Door,
        abroad: Abroad | None,
        headers: tuple[tuple[str, str], ...],
        rng: random.Random,
    ) -> None:
        self.config = config
        self._state = state
        self._fleet = fleet
        self._gate = gate
        self._limits = state.limits
        self._listens = state.limits.listens
        self._admission = Admission(state.breakers, fleet)
        self._outcome = state.outcome
        self._trusts_success = state.outcome.trusts_success
        self._border = Border(config)
        self._auth = auth
        self._fixed = auth.fixed
        self._renews = auth.renewable
        self._signed = partial(_signed, state)
        self._exchange = Exchange(
            config, fleet, door, self._signed, gate=gate, signer=auth.signer, abroad=abroad, known=state.known
        )
        self._run = state.concurrency.watch(self._exchange.run)
        self._wires = Wires(headers, config.timeout, state.known)
        self._rng = rng

    async def call(self, request: Request, now: float, deadline: float) -> ServiceResponse[Any]:
        """Attempts until one succeeds or no other is allowed.

        Args:
            request: the call.
            now: trio time. (Asking what time it is costs as much as a balancer; here it is asked once a leg.)
            deadline: when nobody will wait for it any more (trio time): no sleep goes past it.

        Raises:
            ServiceError: of the last attempt.
        """
        tried_at: list[str] = []
        waited = 0.0
        while True:
            try:
                hedge = self.config.hedge
                if request.beyond is not None:
                    self._count(request, now)
                    reply = await self._exchange.beyond(request, request.beyond, request.method, now)
                elif hedge is None or request.stream is not None or not request.harmless:
                    if self._renews:
                        reply = await self._renewing(request, now, deadline, tried_at)
                    else:
                        reply = await self._attempt(request, now, deadline, tried_at)
                else:
                    reply = await self._hedged(hedge, request, now, deadline, tried_at)
                if isinstance(reply, Elsewhere):  # past the guards, which have nothing to say of another host
                    method = "HEAD" if request.method == "HEAD" else "GET"
                    reply = await self._exchange.beyond(request, reply.there, method, trio.current_time())
                response = self._response(request, reply)
                request.progress.last_error = None
                return response
            except ServiceError as error:
                self._signed(error, request)
                if request.progress.done and isinstance(error, TransportError):
                    error.processed = "maybe"  # that a redirect led nowhere says nothing of what was asked first
                if isinstance(error, CircuitOpen) and request.progress.last_error is not None:
                    break  # the breaker has opened meanwhile: what went wrong first says more than that
                delay = self._retry_delay(error, request, deadline, waited)
                if delay is None:
                    request.progress.last_error = None
                    raise
                request.progress.last_error = error
            await trio.sleep(delay)
            now, waited = trio.current_time(), delay
        raise cast("ServiceError", request.progress.take())

    async def _hedged(
        self, hedge: HedgeConfig, request: Request, now: float, deadline: float, tried_at: list[str]
    ) -> Reply:
        """An attempt, and a second one if it has become a slow one."""
        recent, progress = self._state.recent, request.progress
        before = progress.attempts - progress.aside
        after = hedge.delay if recent is None else recent.value(now)  # what is slow, unless that is configured

        def attempt(now: float) -> Awaitable[Reply]:
            attempt = self._renewing if self._renews else self._attempt
            return attempt(request, now, deadline, tried_at)

        try:
            if after is None:  # too few calls yet to tell what is slow
                return await attempt(now)
            return await hedged(attempt, now, after, self._may_repeat)
        finally:  # also of an attempt that lost: it took that long at least, and leaving it out would call fast slow
            progress.aside += max(0, progress.attempts - progress.aside - before - 1)
            if recent is not None:
                ended = trio.current_time()
                recent.record(ended - now, ended)

    def _may_repeat(self, now: float) -> bool:
        budget = self._state.budget
        return budget is None or budget.try_withdraw(now)

    async def _renewing(self, request: Request, now: float, deadline: float, tried_at: list[str]) -> Reply:
        """An attempt, and another one with new credentials if the service refuses those of the first.

        To all guards that is one more attempt: it needs a permit of its own, takes a token from the limit, and is in
        ``attempts``, for the service sees it like any other. Only the retry policy and its budget do not count it: they
        are there for a service that fails, and this one has done nothing wrong.
        """
        try:
            return await self._attempt(request, now, deadline, tried_at)
        except _Refused as refused:
            used = refused.token
        if not request.repeatable:
            raise AuthFailed(f"{_REFUSED}; the request cannot be sent again with others")
        if (await self._auth.obtain()).value == used.value != NOTHING:
            raise AuthFailed(f"{_REFUSED}, and there are no others yet")
        request.progress.aside += 1
        try:
            return await self._attempt(request, trio.current_time(), deadline, tried_at)
        except _Refused:
            pass
        raise AuthFailed(f"{_REFUSED}, and neither the new ones that were fetched then")

    async def _attempt(self, request: Request, now: float, deadline: float, tried_at: list[str]) -> Reply:
        if now >= request.deadline:
            raise CallTimeout("its time was over before it could be tried")
        permit, chosen = self._admission.admit(request, tried_at, now)
        tried = settled = False
        failed: bool | None = None
        reply: Reply | None = None
        try:
            token = self._fixed or self._auth.ready(now)
            if token is None:
                token, now, permit, chosen = await self._await_credentials(request, tried_at, permit)
            gate = self._gate
            if gate is not None and not gate.limiter.admits(now, request.weight):
                now, permit, chosen = await self._await_turn(
                    request, tried_at, permit, gate, now=now, deadline=deadline
                )
                token = self._fixed or self._auth.ready(now) or token  # the newest
            chosen = chosen or self._fleet.pick(now, tried_at, request.affinity)
            endpoint = chosen[0]
            tried_at.append(endpoint.id)  # another attempt prefers another instance
            self._border.check(chosen[1], request.target, request.headers)
            self._count(request, now)
            wire = self._wires.wire(request, token, now, deadline)
            sent = now
            self._fleet.begin(endpoint, sent)
            tried = True
            reply = await self._run(request, wire, sent, chosen, token.value)
            if reply.status < 400:
                now, settled = reply.ended, True
                if self._trusts_success:
                    permit.success(now)
                    failed = False
                else:
                    failed = self._settle(permit, reply.status, None, now)
                if self._listens:
                    self._limits.answered(reply.headers, request.weight, reply.ended)
                return reply
            raise self._refusal(request, reply, token, sent)
        except ServiceError as error:
            if tried and not settled:
                now, settled = trio.current_time(), True
                failed = self._settle(permit, None if reply is None else reply.status, error, now)
            raise
        finally:
            if not settled:
                now = trio.current_time()
                failed = self._unsettled(permit, request, now, tried=tried)
            if tried:
                headed = request.stream is not None and request.stream.handed
                self._fleet.end(endpoint, None if headed else sent, now, failed=failed)

    def _settle(self, permit: Permit, status: int | None, error: ServiceError | None, now: float) -> bool | None:
        """Tell the breaker how it ended. Returns whether it failed, for the balancer; None: that says nothing."""
        outcome = self._outcome.of(status, error)
        if outcome is FAILURE:
            permit.failure(now)
            return True
        if outcome is SUCCESS:
            permit.success(now)
            return False
        permit.cancel(now)
        return None

    def _unsettled(self, permit: Permit, request: Request, now: float, *, tried: bool) -> bool | None:
        """A refusal on our own side, or the caller has gone. The service is not to blame for either, unless the call's
        own time is over, which is the slowness that a breaker is there for.
        """
        if tried and now >= request.deadline:
            return self._settle(permit, None, CallTimeout("the call's own time is over"), now)
        permit.cancel(now)
        return None

    def _count(self, request: Request, now: float) -> None:
        """One attempt more; the first of a call is what the retry budget is a share of."""
        budget = self._state.budget
        if budget is not None and not request.progress.attempts:
            budget.deposit(now)
        request.progress.attempts += 1

    async def _await_credentials(
        self, request: Request, tried_at: list[str], permit: Permit
    ) -> tuple[Token[Credentials], float, Permit, Chosen | None]:
        """Before the limit, which paces who passes it: those who then wait together would go on all at once.

        The permit is exchanged, as after the wait for a turn.
        """
        token = await self._auth.obtain()
        now = trio.current_time()
        permit.cancel(now)
        return token, now, *self._admission.admit(request, tried_at, now)

    async def _await_turn(
        self, request: Request, tried_at: list[str], permit: Permit, gate: Gate, *, now: float, deadline: float
    ) -> tuple[float, Permit, Chosen | None]:
        """Hundreds may have queued while the breaker was closed, and it may have opened since.

        They would all be sent to a service that is known to be down. So the permit is exchanged, which also makes sure
        that a trial counts from when it is made.
        """
        turn = await gate.enter(now, deadline, request.weight, request.priority)
        now = trio.current_time()
        permit.cancel(now)
        try:
            return now, *self._admission.admit(request, tried_at, now)
        except ServiceError:
            gate.give_back(turn)
            raise

    def _refusal(self, request: Request, reply: Reply, token: Token[Credentials], sent: float) -> ServiceError:
        """What an error status means: to the limits, to the token cache, and to the caller."""
        now = trio.current_time()
        after = self._limits.refused(reply.status, reply.headers, sent=sent, weight=request.weight, now=now)
        if reply.status == 401:
            return _Refused(_REFUSED, token) if self._auth.refused(token, reply, now) else AuthFailed(_REFUSED)
        error = RateLimited if reply.status == 429 else HTTPStatusError
        return error(
            f"the service answered {reply.status}", **seen(reply), retry_at=None if after is None else now + after
        )

    def _retry_delay(self, failure: ServiceError, request: Request, deadline: float, waited: float) -> float | None:
        """Seconds until the next attempt; None if there is to be none."""
        policy = self.config.retry
        attempts = request.progress.attempts - request.progress.aside
        if not request.repeatable:
            return None
        keyed = request.idempotency_key is not None
        if attempts >= policy.max_attempts or not retry.retryable(policy, failure, request.method, keyed=keyed):
            return None
        now = trio.current_time()
        # The service's own word counts for more than our arithmetic, also when it asks for a shorter wait.
        delay = retry.delay(policy, attempts, self._rng, waited) if failure.retry_at is None else failure.retry_at - now
        if now + delay >= min(deadline, request.deadline):
            return None
        if not self._may_repeat(now):
            failure.add_note("not tried again: the retry budget is spent")
            return None
        return max(0.0, delay)

    def _response(self, request: Request, reply: Reply) -> ServiceResponse[Any]:
        try:
            data = None if request.method == "HEAD" or request.stream is not None else decode(reply, request.type)
        except ServiceError as error:
            raise self._signed(error, request) from error.__cause__
        # Only what could be decoded: else it would push out what could.
        if self._state.cache is not None and request.stream is None:
            self._state.cache.put(request, reply, reply.ended, wall_time())
        return ServiceResponse(
            success=True,
            data=data,
            status=reply.status,
            headers=reply.headers,
            request_id=request.request_id,
            attempts=request.progress.attempts,
            elapsed=reply.ended - request.started,
        )


def _signed(state: ServiceState, error: ServiceError, request: Request) -> ServiceError:
    """With the names that a reader of the error wants, and without secrets: in its text, and in the frames below."""
    error.service, error.request_id = state.name, request.request_id
    error.attempts = request.progress.attempts
    state.known.clean(error)
    return sealed(error)
