"""The credentials of one service as its road asks for them: from the cache, and if they have to be fetched, by flights.

A flight fetches once for all who wait, one at a time, in the actor's nursery. So no caller owns it: whoever is
cancelled leaves alone, also the first, whose call began it. When to fly is the cache's to say (`machines/tokens.py`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from ..errors import AuthFailed
from ..events import TokenRefreshed, TokenRefreshFailed
from ..machines.challenge import new_token_may_help
from ..machines.tokens import TokenState
from .errands import failure_of
from .provider import is_valid

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear.runtime import Event

    from ..machines.tokens import Token
    from ..transport import Reply
    from .credentials import Credentials
    from .identity import Identity
    from .make import Means
    from .source import Grant

_LONGEST = 60.0  # seconds for a flight: a source that hangs would keep all callers waiting, each to his deadline
_CLOSING = 2.0  # seconds that a source may take to give back what it has
_REASONS = {TokenState.EXPIRED: "they had expired", TokenState.STALE: "they expire soon"}


class _Flight:
    """One errand for new credentials, and how it ended."""

    __slots__ = ("failure", "landed", "token")

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.token: Token[Credentials] | None = None
        self.failure: AuthFailed | None = None


class Authenticator:
    """Gives the credentials of one service, in one life of its actor.

    Args:
        identity: what outlives it.
        means: what its kind works with.
        start_soon: starts a task of the actor's.
        emit: publishes an event.
        path: of the actor.
        service: its name.
    """

    def __init__(
        self,
        identity: Identity,
        means: Means,
        *,
        start_soon: Callable[..., None],
        emit: Callable[[Event], None],
        path: str,
        service: str,
    ) -> None:
        self.identity = identity
        self.fixed = means.fixed if means.validate is None else None
        """What is added to every request; None: ask `ready`."""
        self.signer = means.signer
        """Who adds more to each, if anybody."""
        self.renewable = means.source is not None
        """Where a service refuses these credentials, there may be others."""
        self._means = means
        self._source = means.source
        self._start_soon = start_soon
        self._emit = emit
        self._path = path
        self._service = service
        self._flight: _Flight | None = None
        self._look_again = math.inf  # when the source is asked although nothing has expired
        self._look_later(trio.current_time())

    def ready(self, now: float) -> Token[Credentials] | None:
        """Those in force, if there are any; begins to fetch others when it is time for that."""
        return self._in_force(now) if self._means.validate is None else None

    async def obtain(self) -> Token[Credentials]:
        """Those in force, or the next ones: wait for the flight.

        Raises:
            AuthFailed: there are none to be had. Said at once where that is known, with ``retry_at``.
        """
        token = self._means.fixed or self._in_force(trio.current_time())
        if token is not None and not await self._is_valid(token):
            token = self._in_force(trio.current_time())  # which somebody may have fetched while we asked
        if token is not None:
            return token
        flight = self._flight
        if flight is None:
            raise self._blocked(trio.current_time())
        await flight.landed.wait()
        if flight.token is None:
            assert flight.failure is not None  # noqa: S101 - it ends in one of the two
            raise _copy(flight.failure)
        return flight.token

    async def _is_valid(self, token: Token[Credentials]) -> bool:
        validate = self._means.validate
        if validate is None or await is_valid(validate):
            return True
        if self._source is None:
            raise AuthFailed("the authentication says that it is not valid, and it has no `refresh`", retryable=True)
        self.identity.tokens.invalidate(token.generation, trio.current_time())
        return False

    def _in_force(self, now: float) -> Token[Credentials] | None:
        tokens = self.identity.tokens
        if self._flight is None and (tokens.should_refresh(now) or now >= self._look_again):
            self._take_off()
        return tokens.get(now)

    def refused(self, token: Token[Credentials], reply: Reply, now: float) -> bool:
        """The service has answered 401 to these.

        Returns:
            Whether others may help. Then these, and only these, are not used again.
        """
        if self._source is None:
            return False
        values = (value for name, value in reply.headers if name == "www-authenticate")
        if not self._means.any_challenge and not new_token_may_help(values):
            return False
        self.identity.tokens.invalidate(token.generation, now)
        return True

    async def aclose(self) -> None:
        """Wait for the flight that is under way, and give back what the source has."""
        if self._source is None:
            return
        try:
            if self._flight is not None:
                await self._flight.landed.wait()
        finally:
            with trio.CancelScope(deadline=trio.current_time() + _CLOSING, shield=True):
                await self._source.aclose()

    def _take_off(self) -> None:
        flight = _Flight()
        self._start_soon(self._fly, flight)
        self._flight = flight
        self.identity.tokens.begin()

    async def _fly(self, flight: _Flight) -> None:
        identity, began = self.identity, trio.current_time()
        before = identity.tokens.state(began)
        try:
            try:
                grant = await self._fetch()
            except AuthFailed as error:
                flight.failure = self._failed(error, before)
            else:
                flight.token = self._landed(grant, began, before)
            flight.landed.set()
        finally:  # also when this life ends: the next one flies for itself. Who waited is settled with it
            self._flight = None
            identity.tokens.abandon()

    async def _fetch(self) -> Grant:
        assert self._source is not None  # noqa: S101 - else the credentials are fixed
        with trio.move_on_after(_LONGEST):
            try:
                return await self._source.fetch(self.identity.grant)
            except AuthFailed:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a source raises must not be a crash of the actor
                raise failure_of("where the credentials come from", error) from None
        raise AuthFailed(f"no credentials came within {_LONGEST:g} s", retryable=True)

    def _landed(self, grant: Grant, began: float, before: TokenState) -> Token[Credentials]:
        identity, now = self.identity, trio.current_time()
        self._look_later(now)
        identity.trouble = ""
        in_force = identity.tokens.get(now)
        if grant is identity.grant and in_force is not None:
            return in_force  # there is nothing new
        if before is TokenState.FRESH:
            reason = "they have changed"
        elif identity.grant is None:
            reason = "there were none"
        else:
            reason = _REASONS.get(before, "the service refused them")
        identity.grant = grant
        token = identity.tokens.store(grant.credentials, grant.expires_in, began)
        self._emit(
            TokenRefreshed(
                path=self._path,
                service=self._service,
                generation=token.generation,
                expires_in=grant.expires_in,
                reason=reason,
            )
        )
        return token

    def _failed(self, error: AuthFailed, before: TokenState) -> AuthFailed:
        identity, now = self.identity, trio.current_time()
        tokens = identity.tokens
        self._look_later(now)
        if before is not TokenState.FRESH:  # else it was only to look for something new: what there is stays good
            after = None if error.retry_at is None else error.retry_at - now
            tokens.failed(now, after, permanent=not error.retryable)
        if before is not TokenState.FRESH or error.message != identity.trouble:  # which is looked for often
            token = tokens.get(now)
            self._emit(
                TokenRefreshFailed(
                    path=self._path,
                    service=self._service,
                    generation=0 if token is None else token.generation,
                    reason=error.message,
                )
            )
        identity.trouble = error.message
        return AuthFailed(error.message, retryable=error.retryable, retry_at=self._next_flight(now))

    def _look_later(self, now: float) -> None:
        if self._source is not None:
            self._look_again = now + self._source.every

    def _blocked(self, now: float) -> AuthFailed:
        at = self._next_flight(now)
        why = self.identity.trouble or "one after the other was refused"
        when = "" if at is None else f" (they are fetched again in {at - now:.3g} s)"
        return AuthFailed(f"there are no credentials: {why}{when}", retryable=at is not None, retry_at=at)

    def _next_flight(self, now: float) -> float | None:
        until = self.identity.tokens.blocked_until(now)
        if until is None:
            return None
        at = min(until, self._look_again)
        return None if at == math.inf else at


def _copy(error: AuthFailed) -> AuthFailed:
    """One for each who waited: an error is signed with the call that it ends."""
    return AuthFailed(error.message, retryable=error.retryable, retry_at=error.retry_at)
