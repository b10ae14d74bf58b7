"""An ``httpx.Auth`` as a kind of authentication: its flow of requests and answers, over the connections of a service.

Of the request that it authenticates the headers and the query are taken that it has added; method, path and body stay.
Other requests that it yields (for a token, say) are sent as they are. So digest works as it is, and most of what has
been written for httpx; or for httpx2, with requests of that library.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import trio

from ..config.check import OUR_HEADERS
from ..errors import AuthFailed
from ..transport.httpx_library import library_of
from .credentials import Credentials, checked
from .errands import failure_of
from .provider import AuthRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ..transport import Reply
    from .provider import Way

_log = logging.getLogger("switchgear.auth")

_MOST = 10  # requests of one flow: more than any challenge needs, and no loop
_CLOSING = 1.0  # seconds that a flow may take to clean up
_FRAMING = frozenset({"content-encoding", "content-length", "transfer-encoding"})  # of a body that is decoded by now
_WHAT = "the flow of the authentication"


class FlowSigner:
    """See `Signer`."""

    def __init__(self, auth: Any) -> None:
        self._auth = auth
        self._library = library_of(auth)

    async def exchange(self, request: AuthRequest, way: Way) -> Reply:
        """See `Signer`."""
        if request.body is None and getattr(self._auth, "requires_request_body", False):
            raise AuthFailed("the authentication has to see the body, and that of this request comes in pieces")
        original = _Original(self._request(request))
        flow = self._auth.async_auth_flow(original.request)
        try:
            return await self._follow(flow, original, way)
        finally:
            with trio.CancelScope(deadline=trio.current_time() + _CLOSING, shield=True):
                await _close(flow)

    async def _follow(self, flow: AsyncGenerator[Any, Any], original: _Original, way: Way) -> Reply:
        last: Reply | None = None
        response = None
        for _ in range(_MOST):
            yielded = await _next(flow, response, way)
            if yielded is None:
                if last is None:
                    raise AuthFailed(f"{_WHAT} sent nothing")
                return last
            if original.is_it(yielded):
                reply = last = await way.send(original.added(yielded))
                if way.over:  # nothing can come of what the flow would make of it
                    return last
            else:
                reply = await way.ask(await _plain(yielded))
            response = self._response(reply, yielded)
        raise AuthFailed(f"{_WHAT} did not end with {_MOST} requests")

    def _request(self, request: AuthRequest) -> Any:
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in request.headers]
        return self._library.request(request.method, request.url, headers=headers, content=request.body or None)

    def _response(self, reply: Reply, to: Any) -> Any:
        headers = [(name, value.encode("latin-1")) for name, value in reply.headers if name not in _FRAMING]
        return self._library.response(reply.status, headers=headers, content=reply.body, request=to)


class _Original:
    """The request that is to be authenticated, as it was before the flow had it: a flow may change it in place."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self._headers = frozenset(request.headers.raw)
        self._query = request.url.query.decode("ascii")
        self._place = _place(request)

    def is_it(self, yielded: Any) -> bool:
        """Or a copy of it. Raises AuthFailed if it is, and leads elsewhere."""
        if _place(yielded) == self._place:
            return True
        if yielded is self.request:
            raise AuthFailed(f"{_WHAT} changed the method, the host or the path of the request")
        return False

    def added(self, yielded: Any) -> Credentials:
        """What the flow has added to it. Raises AuthFailed for what cannot be added to a request."""
        query = yielded.url.query.decode("ascii")
        if not query.startswith(self._query):
            raise AuthFailed(f"{_WHAT} changed the query of the request: it may add to its end")
        pairs = [pair for pair in yielded.headers.raw if pair not in self._headers]
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)
        return checked(Credentials(headers, query[len(self._query) :].lstrip("&")))


def _place(request: Any) -> tuple[str, str, bytes, bytes]:
    url = request.url
    return request.method, url.scheme, url.netloc, url.raw_path.partition(b"?")[0]


async def _next(flow: AsyncGenerator[Any, Any], response: Any, way: Way) -> Any:
    """The next request of a flow that is told of an answer; None at its end."""
    with trio.move_on_at(way.deadline):
        try:
            return await flow.asend(response)
        except StopAsyncIteration:
            return None
        except Exception as error:  # noqa: BLE001 - whatever a user's flow raises
            raise failure_of(_WHAT, error) from None
    raise AuthFailed(f"{_WHAT} took longer than an attempt may", retryable=True)


async def _plain(yielded: Any) -> AuthRequest:
    try:
        body = await yielded.aread()
    except Exception as error:  # noqa: BLE001 - of a body that the flow made
        raise failure_of(_WHAT, error) from None
    raw = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in yielded.headers.raw)
    headers = tuple(pair for pair in raw if pair[0].lower() not in OUR_HEADERS)
    return AuthRequest(yielded.method, str(yielded.url), headers, body)


async def _close(flow: AsyncGenerator[Any, Any]) -> None:
    try:
        await flow.aclose()
    except Exception as error:  # noqa: BLE001 - the exchange has its outcome already
        _log.warning("%s raised %s when it was closed", _WHAT, type(error).__name__)
