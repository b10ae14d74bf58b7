"""The token cache: a credential, how long it is good for, which one a request has used, and when to ask for another.

=========  ==========================================  =================  ======================================
state      when                                        a call             another is asked for
=========  ==========================================  =================  ======================================
EMPTY      none yet, or the service refused it         waits              now, unless that is blocked
FRESH      until ``refresh_at``                        uses it            no
STALE      from then on, until ``expires_at``          uses it            in the background, unless blocked
EXPIRED    after that                                  waits              now, unless that is blocked
=========  ==========================================  =================  ======================================

What blocks it: an attempt that failed, for a while that doubles each time, or for as long as the endpoint says; for
good, if it failed for a reason that no wait mends. And success that is of no use, for that is how clients come to
hammer an endpoint that works: google-auth once refreshed with every call, since the server handed back the token it
already had; and a service that refuses every token would cost a token for every call.

Pure: ``now`` is in seconds of a clock that never goes back. A lifetime is counted from before the request for it was
sent, so that the time on the way is ours to lose. (AUTH_HTTP.md, section 1.1: botocore, azure-core, google-auth, msal.)
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    import random

T = TypeVar("T")

_SKEW = (30.0, 0.1)  # seconds, and share of the lifetime, before its expiry that it is not used any more
_WINDOW = (300.0, 0.2)  # the same: before its expiry that it is stale
_JITTER = (60.0, 0.05)  # the same: earlier than that by chance
_STALE_WAIT = (30.0, 300.0)  # the shortest and the longest between attempts, while there is a token to use
_WAIT = (1.0, 60.0)  # the same, while there is none
_DUD_WAIT = (1.0, 30.0)  # the same, between tokens that are of no use
_SPREAD = 0.2  # waits are up to this share longer by chance (never shorter: they are a promise to the endpoint)
_LASTING = 60.0  # seconds: refused sooner than that, it was never good
_NO_USE = 1.0  # seconds: a life that short is of no use


class TokenState(enum.Enum):
    """See the table above."""

    EMPTY = "empty"
    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


EMPTY, FRESH, STALE, EXPIRED = TokenState


class Token(msgspec.Struct, Generic[T], frozen=True):
    """One credential. ``generation`` tells it from those before and after it."""

    value: T
    generation: int
    expires_at: float
    """It is not used from then on: a little before the end that the server named."""
    refresh_at: float = math.inf
    """It is stale from then on."""
    sent_at: float = -math.inf
    """When it was asked for."""
    ends_at: float = math.inf
    """Its end as the server named it."""

    def __repr__(self) -> str:
        return f"<Token generation {self.generation}>"  # never its value


class TokenCache(Generic[T]):
    """Holds the credential in force, and the times at which another may be asked for.

    Who asks says so: `begin`, and then one of `store`, `failed` and, if it was cancelled, `abandon`.
    """

    __slots__ = ("_block", "_duds", "_failures", "_generation", "_rng", "_stale_block", "_token", "_under_way")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._generation = 0
        self._token: Token[T] | None = None
        self._under_way = False
        self._failures = 0  # in a row
        self._duds = 0  # tokens in a row that were of no use
        self._block = -math.inf  # no attempt before, while there is no token to use
        self._stale_block = -math.inf  # no attempt before, while there is

    def get(self, now: float) -> Token[T] | None:
        """The credential, or None if there is none or it has expired."""
        token = self._token
        return token if token is not None and now < token.expires_at else None

    def state(self, now: float) -> TokenState:
        """Where it is in the table above."""
        token = self._token
        if token is None:
            return EMPTY
        if now >= token.expires_at:
            return EXPIRED
        return FRESH if now < token.refresh_at else STALE

    def should_refresh(self, now: float) -> bool:
        """Whether somebody should ask for another one now."""
        return not self._under_way and self.state(now) is not FRESH and now >= self._blocked(now)

    def blocked_until(self, now: float) -> float | None:
        """From when on another one may be asked for (infinity: never, as things are); None if it may be now."""
        if self._under_way or self.state(now) is FRESH:
            return None
        until = self._blocked(now)
        return until if until > now else None

    def begin(self) -> None:
        """Another one is being asked for."""
        self._under_way = True

    def abandon(self) -> None:
        """Nobody waits for the answer any more. Nothing if there has been one."""
        self._under_way = False

    def store(self, value: T, expires_in: float | None, sent_at: float) -> Token[T]:
        """Put a new credential in force for ``expires_in`` seconds from ``sent_at`` (None: until it is refused)."""
        old, before = self._token, self.state(sent_at)
        self._generation += 1
        token = self._token = self._made(value, expires_in, sent_at)
        as_old = old is not None and token.ends_at <= old.ends_at + _tolerance(old)
        self._under_way, self._failures = False, 0
        self._stale_block = -math.inf
        if before is STALE and as_old:
            self._stale_block = sent_at + self._spread(_STALE_WAIT[0])
        elif (before is EXPIRED and as_old) or token.expires_at - sent_at < _NO_USE:
            self._duds += 1
        elif old is not None:  # which had its time
            self._duds = 0
        self._block = sent_at + self._dud_wait()
        self._stale_block = max(self._stale_block, self._block)
        return token

    def failed(self, now: float, retry_after: float | None = None, *, permanent: bool = False) -> None:
        """There was none to be had.

        Args:
            now: when that was known.
            retry_after: for so many seconds there will be none, says the endpoint.
            permanent: there will be none for those who we are now. Who asks as somebody else has another cache.
        """
        self._under_way = False
        if permanent:
            self._block = self._stale_block = math.inf
            return
        self._failures += 1
        at_least = retry_after if retry_after is not None and retry_after > 0 else 0.0  # NaN is no word to go by
        self._block = now + max(at_least, self._spread(_doubled(_WAIT, self._failures)))
        self._stale_block = now + max(at_least, self._spread(_doubled(_STALE_WAIT, self._failures)))

    def invalidate(self, generation: int, now: float) -> None:
        """The service refused this one. Only it is dropped: fifty refusals of an old one cost one refresh."""
        token = self._token
        if token is None or token.generation != generation:
            return
        self._token = None
        young = now < min(token.sent_at + _LASTING, token.refresh_at)
        self._duds = self._duds + 1 if young else 0
        self._block = max(self._block, token.sent_at + self._dud_wait())

    def _blocked(self, now: float) -> float:
        return self._stale_block if self.state(now) is STALE else self._block

    def _made(self, value: T, expires_in: float | None, sent_at: float) -> Token[T]:
        if expires_in is None:
            return Token(value, self._generation, math.inf, sent_at=sent_at)
        lifetime = max(0.0, expires_in)
        ends_at = sent_at + lifetime
        refresh_at = ends_at - _part(_WINDOW, lifetime) - self._rng.random() * _part(_JITTER, lifetime)
        return Token(value, self._generation, ends_at - _part(_SKEW, lifetime), refresh_at, sent_at, ends_at)

    def _dud_wait(self) -> float:
        """The first one may be an accident: it costs no wait."""
        return self._spread(_doubled(_DUD_WAIT, self._duds - 1)) if self._duds > 1 else 0.0

    def _spread(self, wait: float) -> float:
        return wait * (1.0 + _SPREAD * self._rng.random())


def _part(bounds: tuple[float, float], lifetime: float) -> float:
    most, share = bounds
    return min(most, share * lifetime)


def _doubled(bounds: tuple[float, float], times: int) -> float:
    """The first, doubled each time, but never more than the last."""
    least, most = bounds
    return min(most, least * 2.0 ** min(times - 1, 60))


def _tolerance(token: Token[T]) -> float:
    """Seconds by which the ends of a token that is handed out twice can differ: they come in whole seconds."""
    return min(5.0, 0.1 * (token.ends_at - token.sent_at))
