"""Calls to an authorization server: attempts within their time, as its own retry policy and circuit breaker let them.

It is no service with a road of its own: there is one client and one kind of call, each attempt is another request
(an assertion is good for one), and what an error means is told by its body.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec
import trio

from switchgear.runtime.wall import wall_time

from ..config.tls import unverified_problem
from ..errors import AuthFailed, CallTimeout, HTTPStatusError, InvalidRequest, ServiceError
from ..machines import retry
from ..machines.budget import Budget
from ..secrecy import Masked
from ..service.outcome import FAILURE, SUCCESS, Classifier
from ..service.target import Target
from ..transport import Wire
from .oauth2_answer import MAX_BYTES, read_answer
from .oauth2_metadata import metadata_urls, token_endpoint

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from ..config.oauth2 import OAuth2Auth
    from ..machines.breaker import CircuitBreaker, Permit
    from ..transport import Door, Reply
    from .oauth2_answer import TokenAnswer
    from .oauth2_client import TokenRequest

T = TypeVar("T")

_LONGEST_PAUSE = 3600.0  # seconds that the server can ask for at a time: one absurd value must not lock us out for days
_AGENT = (("User-Agent", "switchgear token request"),)


class _Call(Masked, msgspec.Struct, Generic[T], frozen=True):
    """One request, and what its answer is read by."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    read: "Callable[[Reply], T]"


class _Failed(Exception):
    """An attempt failed: ``cause`` is for the policies, ``said`` for whoever wanted a token."""

    def __init__(self, cause: ServiceError, said: AuthFailed) -> None:
        self.cause = cause
        self.said = said


class TokenEndpoint:
    """The authorization server of one configuration. ``scrub`` takes secrets out of what it says."""

    def __init__(
        self, auth: OAuth2Auth, door: Door, breaker: CircuitBreaker, rng: random.Random, scrub: Callable[[str], str]
    ) -> None:
        self._auth = auth
        self._door = door
        self._breaker = breaker
        self._outcome = Classifier(auth.breaker)
        self._budget = None if auth.retry.budget is None else Budget(auth.retry.budget)
        self._rng = rng
        self._url = auth.token_url
        self._scrub = scrub

    async def ask(self, request: Callable[[str, float], TokenRequest], end: float) -> tuple[TokenAnswer, float]:
        """A token, and when it was asked for (trio time).

        Args:
            request: makes the request, anew for each attempt, of the endpoint's URL and the wall time.
            end: of all attempts (trio time).

        Raises:
            AuthFailed: there is none; GrantRefused, if that is the reason.
        """
        if self._url is None:
            self._url = await self._discovered(self._auth.issuer or "", end)
        url = self._url

        def call() -> _Call[tuple[TokenAnswer, float]]:
            sent, wanted = trio.current_time(), request(url, wall_time())

            def read(reply: Reply) -> tuple[TokenAnswer, float]:
                return read_answer(reply.status, reply.body, wanted.secrets, self._scrub), sent

            return _Call("POST", url, wanted.headers, wanted.body, read)

        try:
            return await self._attempts(call, end)
        except AuthFailed as error:
            if error.retryable:
                self._url = self._auth.token_url  # the issuer may have moved its endpoint, and is asked again
            raise

    async def aclose(self) -> None:
        """Close the connections."""
        await self._door.aclose()

    async def _discovered(self, issuer: str, end: float) -> str:
        mtls = self._auth.client_auth == "tls_client_auth"

        def read(reply: Reply) -> str | None:
            if reply.status == 200:
                url = token_endpoint(reply.body, issuer, mtls=mtls)
                if (problem := unverified_problem(self._auth.tls, url)) is not None:
                    raise AuthFailed(f"the issuer has its token endpoint on another machine: {problem}")
                return url
            if reply.status >= 500:
                raise AuthFailed(f"the issuer answered {reply.status} when asked for its metadata", retryable=True)
            return None

        for url in metadata_urls(issuer):
            call = partial(_Call, "GET", url, (("Accept", "application/json"),), b"", read)
            found = await self._attempts(call, end)
            if found is not None:
                return found
        raise AuthFailed("the issuer has no metadata where RFC 8414 would have them: give token_url", retryable=True)

    async def _attempts(self, call: Callable[[], _Call[T]], end: float) -> T:
        """The first answer that makes sense. Raises AuthFailed."""
        if self._budget is not None:
            self._budget.deposit(trio.current_time())
        failures, delay = 0, 0.0
        while True:
            try:
                return await self._attempt(call(), end)
            except _Failed as failed:
                failures += 1
                wait = self._delay(failed, failures, delay, end)
                if wait is None:
                    raise failed.said from None
                delay = wait
            await trio.sleep(delay)

    async def _attempt(self, call: _Call[T], end: float) -> T:
        now = trio.current_time()
        permit = self._breaker.try_acquire(now)
        if permit is None:
            text = "the token endpoint has failed too often, and is left alone for a while"
            raise AuthFailed(text, retryable=True, retry_at=self._breaker.retry_at(now))
        try:
            reply = await self._exchange(call, end)
            self._settle(permit, reply.status, None)
        except ServiceError as error:
            self._settle(permit, None, error)
            said = AuthFailed(f"no answer from the token endpoint: {error.message}", retryable=True)
            said.retryable = not isinstance(error, InvalidRequest)
            raise _Failed(error, said) from None
        finally:  # cancelled: that says nothing about the server
            permit.cancel(trio.current_time())
        return self._read(call, reply)

    async def _exchange(self, call: _Call[Any], end: float) -> Reply:
        parts = urlsplit(call.url)
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        timeout = self._auth.timeout
        if timeout.attempt is not None:
            end = min(end, trio.current_time() + timeout.attempt)
        # Never replayed by the door: it would send the same assertion again, and a server takes none twice.
        wire = Wire(call.method, target, (*_AGENT, *call.headers), call.body)
        to = Target.parse(f"{parts.scheme}://{parts.netloc}")
        try:
            return await self._door.exchange(to, wire, connect=timeout.connect, max_bytes=MAX_BYTES, deadline=end)
        except trio.TooSlowError:
            raise CallTimeout("not in time", retryable=True) from None

    def _settle(self, permit: Permit, status: int | None, error: ServiceError | None) -> None:
        outcome, now = self._outcome.of(status, error), trio.current_time()
        if outcome is FAILURE:
            permit.failure(now)
        elif outcome is SUCCESS:
            permit.success(now)

    def _read(self, call: _Call[T], reply: Reply) -> T:
        try:
            return call.read(reply)
        except AuthFailed as said:
            after = retry.parse_retry_after(
                reply.header("retry-after"), date=reply.header("date"), wall_now=wall_time()
            )
            if after is not None:
                said.retry_at = trio.current_time() + min(after, _LONGEST_PAUSE)
            cause = HTTPStatusError("", status=reply.status, retry_at=said.retry_at)
            raise _Failed(cause, said) from None

    def _delay(self, failed: _Failed, failures: int, waited: float, end: float) -> float | None:
        """Seconds until the next attempt; None if there is to be none.

        An answer may be lost after the server has worked on the request. To ask twice for a token harms nobody. It may
        cost us the refresh token, if the lost answer had the next one; but there is nothing else to go on with, and
        servers forgive its second use the more readily the sooner it comes.
        """
        policy, now = self._auth.retry, trio.current_time()
        if not failed.said.retryable or failures >= policy.max_attempts:
            return None
        if not retry.retryable(policy, failed.cause, "POST", keyed=True):
            return None
        at = failed.cause.retry_at
        delay = retry.delay(policy, failures, self._rng, waited) if at is None else max(0.0, at - now)
        if now + delay >= end or (self._budget is not None and not self._budget.try_withdraw(now)):
            return None
        return delay
