"""What a request looks like on the wire: the service's constant headers, the credentials, the caller's, and ours.

What is the same for all requests is checked and joined once for each credential, so that a call adds two lines to it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..transport import Wire
from ..transport.head import Block

if TYPE_CHECKING:
    from ..auth import Credentials
    from ..config import TimeoutConfig
    from ..machines.tokens import Token
    from ..secrecy.known import Known
    from .messages import Request

_LONGEST = 86_400.0  # seconds: a call without an end says a day


class Wires:
    """Makes the requests of one service, under one configuration.

    Args:
        headers: of every request.
        timeout: what the service may be told of the time that is left.
        known: learns each new credential, before it is sent anywhere.
    """

    def __init__(self, headers: tuple[tuple[str, str], ...], timeout: TimeoutConfig, known: Known) -> None:
        self._headers = headers
        self._known = known
        self._timeout = timeout
        self._token: Token[Credentials] | None = None
        self._block = Block()  # the constant headers, with the credentials of `_token`

    def wire(self, request: Request, token: Token[Credentials], now: float, deadline: float) -> Wire:
        """One attempt, which begins at ``now``; nobody waits for it after ``deadline``."""
        if token is not self._token:
            self._known.learn_credentials(token.value)
            self._token, self._block = token, self._with_credentials(token.value)
        block, headers = self._block, request.headers
        if headers or request.idempotency_key is not None:
            headers = _theirs(request, token.value)
            block = block.without({name.lower() for name, _ in headers})  # what is for this request counts for more
        if self._timeout.header is not None:
            headers = (*headers, (self._timeout.header, self._time_left(request, now, deadline)))
        return Wire(
            request.method,
            request.target,
            (
                *headers,
                ("X-Request-ID", request.request_id),
                ("X-Retry-Attempt", str(request.progress.attempts - 1)),
            ),
            request.body,
            block,
            request.harmless,
        )

    def _with_credentials(self, credentials: Credentials) -> Block:
        names = {name.lower() for name, _ in credentials.headers}
        return Block((*(pair for pair in self._headers if pair[0].lower() not in names), *credentials.headers))

    def _time_left(self, request: Request, now: float, deadline: float) -> str:
        """Of this attempt, in whole milliseconds: relative, since the service's clock is not ours."""
        attempt = self._timeout.attempt
        end = min(deadline, request.deadline, now + (math.inf if attempt is None else attempt))
        return str(int(max(0.0, min(end - now - self._timeout.margin, _LONGEST)) * 1000))


def _theirs(request: Request, credentials: Credentials) -> tuple[tuple[str, str], ...]:
    """The caller's own headers, but none in the place of credentials: two of Authorization are a trap."""
    key = request.idempotency_key
    names = {name.lower() for name, _ in credentials.headers}
    if key is None:
        return tuple(pair for pair in request.headers if pair[0].lower() not in names)
    names.add("idempotency-key")
    return (*(pair for pair in request.headers if pair[0].lower() not in names), ("Idempotency-Key", key))
