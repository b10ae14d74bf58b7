"""The source of OAuth2 tokens: which grant to ask with, and what becomes of the refresh tokens that come back.

A rotated refresh token is safe before the access token that came with it is used, and they are used strictly one after
the other: a server that sees a used one again revokes them all (RFC 9700, section 4.14).
"""

from __future__ import annotations

import hashlib
import math
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from ..errors import AuthFailed
from ..events import breaker_changed
from ..machines.breaker import CircuitBreaker
from ..secrecy import sealed
from .credentials import Credentials
from .oauth2_answer import GrantRefused
from .oauth2_client import Client
from .oauth2_endpoint import TokenEndpoint
from .source import Grant
from .token_store import EncryptedFileStore, Kept, MemoryStore

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from switchgear.runtime import Event

    from ..config.oauth2 import OAuth2Auth
    from ..machines.breaker import BreakerState
    from ..secrecy.known import Known
    from ..transport import Door
    from .oauth2_answer import TokenAnswer
    from .oauth2_client import TokenRequest
    from .token_store import TokenStore

_T = TypeVar("_T")

_LANDING = 2.0  # seconds that an answer with a refresh token may still take when its actor has ended


class OAuth2Memory:
    """What a service keeps of OAuth2 through the lives of its actor, and through changes of its configuration."""

    def __init__(self, service: str, path: str, emit: Callable[[Event], None], known: Known) -> None:
        self.service = service
        self.known = known
        """Learns all that is asked with, and all that is given."""
        self._path = path
        self._emit = emit
        self.lock = trio.Lock()
        """Of whoever uses refresh tokens: the source of the old configuration may be at it when the new one begins."""
        self.tokens = MemoryStore()
        self.unsaved: Kept | None = None
        """What is in no file yet, and is worth more than what is in one."""
        self._breaker: tuple[object, CircuitBreaker] | None = None

    def breaker(self, auth: OAuth2Auth, rng: random.Random) -> CircuitBreaker:
        """That of the server: an actor that crashes must not close it."""
        of = (auth.breaker, auth.token_url, auth.issuer)
        if self._breaker is None or self._breaker[0] != of:
            if self._breaker is not None:
                self._breaker[1].retire()
            self._breaker = of, CircuitBreaker(auth.breaker, on_change=self._changed, rng=rng)
        return self._breaker[1]

    def _changed(self, old: BreakerState, new: BreakerState, reason: str, _now: float) -> None:
        assert self._breaker is not None  # noqa: S101 - it is what has changed
        change = old, new, reason
        self._emit(
            breaker_changed(self._breaker[1], change, path=self._path, service=self.service, scope="token endpoint")
        )


class OAuth2Source:
    """See `Source`.

    Args:
        auth: the configuration.
        door: the way to the server.
        memory: what others before it have kept.
        rng: of the jitter.
    """

    every = math.inf

    def __init__(self, auth: OAuth2Auth, *, door: Door, memory: OAuth2Memory, rng: random.Random) -> None:
        self._auth = auth
        self._client = Client(auth)
        self._endpoint = TokenEndpoint(auth, door, memory.breaker(auth, rng), rng, memory.known.scrub)
        self._memory = memory
        self._file: TokenStore | None = None
        if auth.store is not None:
            self._file = EncryptedFileStore(auth.store.folder, auth.store.keys)
        self._key = "\n".join((memory.service, auth.token_url or auth.issuer or "", auth.client_id))
        configured = auth.refresh_token
        self._origin = "" if configured is None else hashlib.sha256(configured.reveal().encode()).hexdigest()

    async def fetch(self, previous: Grant | None) -> Grant:
        """See `Source.fetch`."""
        began = trio.current_time()
        try:
            async with self._memory.lock:
                answer, sent = await self._answer()
        except AuthFailed as error:
            raise sealed(error) from None
        lifetime = self._auth.default_lifetime if answer.expires_in is None else answer.expires_in
        credentials = Credentials((("Authorization", f"Bearer {answer.access_token}"),))
        return Grant(credentials, None if lifetime is None else lifetime + (sent - began))

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        await self._endpoint.aclose()

    async def _answer(self) -> tuple[TokenAnswer, float]:
        """A token, and when it was asked for; its refresh token is safe."""
        end = trio.current_time() + self._auth.timeout.total
        refresh_token = await self._refresh_token()
        grace = 0.0 if refresh_token is None else _LANDING
        return await _to_its_end(partial(self._asked, refresh_token, end), grace)

    async def _asked(self, refresh_token: str | None, end: float) -> tuple[TokenAnswer, float]:
        try:
            answer, sent = await self._ask(refresh_token, end)
        except GrantRefused as refused:
            if refresh_token is None:
                raise
            await self._keep(None)
            if self._auth.grant == "refresh_token":
                raise _reauthorize(refused.message) from None
            answer, sent = await self._ask(None, end)
        if answer.refresh_token not in (None, refresh_token):
            await self._keep(answer.refresh_token)
        return answer, sent

    async def _ask(self, refresh_token: str | None, end: float) -> tuple[TokenAnswer, float]:
        answer, sent = await self._endpoint.ask(partial(self._request, refresh_token), end)
        self._memory.known.learn(answer.access_token, answer.refresh_token or "")
        return answer, sent

    def _request(self, refresh_token: str | None, url: str, wall_now: float) -> TokenRequest:
        request = self._client.request(refresh_token, url, wall_now)
        self._memory.known.learn(*request.secrets, *(value.partition(" ")[2] for _, value in request.headers))
        return request

    async def _refresh_token(self) -> str | None:
        """The one to ask with; None: we ask with being who we are."""
        await self._save()
        kept = await self._memory.tokens.load(self._key)
        if kept is None and self._file is not None:
            kept = await self._file.load(self._key)
        configured = self._auth.refresh_token
        if kept is None or (configured is not None and kept.origin != self._origin):
            token = None if configured is None else configured.reveal()
        else:
            token = kept.token
            self._origin = kept.origin  # also where it is not configured any more, and may be again
        if token is None and self._auth.grant == "refresh_token":
            raise _reauthorize("there is no refresh token that the server still takes")
        return token

    async def _keep(self, token: str | None) -> None:
        kept = Kept(self._key, token, self._origin)
        await self._memory.tokens.save(kept)
        self._memory.unsaved = kept
        await self._save()

    async def _save(self) -> None:
        """Shielded: what the server has given us once, it will not give us again.

        Without a deadline: it is a thread that writes, which none cuts short; and what is not known to be safe is not.
        """
        kept = self._memory.unsaved
        if kept is not None and self._file is not None:
            with trio.CancelScope(shield=True):
                await self._file.save(kept)
            self._memory.unsaved = None


async def _to_its_end(ask: Callable[[], Awaitable[_T]], grace: float) -> _T:
    """What ``ask`` gives; cancelled, it has ``grace`` seconds more: the next refresh token is in that answer alone.

    Raises AuthFailed, as ``ask`` does.
    """
    answer: list[_T] = []
    failure: AuthFailed | None = None
    async with trio.open_nursery() as nursery:
        shield = trio.CancelScope(shield=True)
        nursery.start_soon(_hurry, shield, grace)
        with shield:
            try:
                answer.append(await ask())
            except AuthFailed as error:
                failure = error
        nursery.cancel_scope.cancel(reason="the answer is here, or will not come")
    if failure is not None:
        raise failure
    return answer[0]


async def _hurry(shield: trio.CancelScope, grace: float) -> None:
    try:
        await trio.sleep_forever()
    finally:
        shield.deadline = trio.current_time() + grace


def _reauthorize(reason: str) -> AuthFailed:
    return AuthFailed(f"{reason}; the program has to be authorized again: configure a new refresh_token")
