"""One exchange over a transport of httpx's, as far as the transport tells of it, and what its failure then means.

httpcore, which is below `httpx.AsyncHTTPTransport`, tells of each step by the extension ``trace``. From that we know
what its errors do not say: whether any of the request was sent, and as which stream of an HTTP/2 connection. It also
shows us the socket of a connection that is being made, which httpcore leaves open when that is cancelled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from ..errors import TransportError
from .httpx_writes import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..service.target import Target
    from .httpx_library import Library

_CONNECTING = ("connect_tcp", "setup_socks5_connection", "start_tls")
_REFUSED_STREAM = 7  # RFC 9113, section 8.7: "no processing has occurred"


class Trip:
    """What a transport tells; it is the value of the extension ``trace``.

    Args:
        to: the instance.
        connect: seconds that connecting may take, through a proxy and with TLS.
        opened: told of each new socket.
    """

    def __init__(self, to: Target, connect: float, opened: Callable[[Any], None]) -> None:
        self.connecting = trio.CancelScope()
        """To be put around the sending: its deadline is there only while a connection is made."""
        self.unfinished = False
        """A connection was being made, and the request is not on it yet."""
        self.stream: int | None = None
        """On HTTP/2: the number of the stream."""
        self._to = to
        self._connect = connect
        self._opened = opened
        self._heard = False
        self._sent = False
        self._socket: Any = None
        self._making = False  # a step of it has begun, and not ended well
        self._shared = False  # others may be on it before us

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        """One step: ``http11.send_request_headers.started``, say."""
        self._heard = True
        step, _, state = event.partition(".")[2].partition(".")
        if step in _CONNECTING:
            self._connection(step, state, info)
        elif step == "send_connection_init":
            # From here to our own head httpcore waits for nobody; and if it is cancelled here, it leaves a connection
            # that fails each of those who wait for it.
            self.connecting.shield = True
        elif step == "send_request_headers":
            self._head(state, info)

    def _connection(self, step: str, state: str, info: dict[str, Any]) -> None:
        self._sent = False  # also if it was: it is sent again only if the peer has said that it did not look at it
        self.unfinished, self._making = True, state != "complete"
        if self.connecting.deadline == math.inf:
            self.connecting.deadline = trio.current_time() + self._connect
        if step == "connect_tcp" and state == "complete":
            self._socket = info["return_value"]
            self._opened(self._socket)
        elif step == "start_tls" and state == "complete":
            tls = info["return_value"].get_extra_info("ssl_object")
            self._shared = tls is not None and tls.selected_alpn_protocol() == "h2"
            if self._shared:
                write_whole(info["return_value"])

    def _head(self, state: str, info: dict[str, Any]) -> None:
        if state == "failed":
            # A head that is no head, or a connection that is closed already: refused before anything was written.
            names = {cls.__name__ for cls in type(info["exception"]).__mro__}
            self._sent = self._sent and "ProtocolError" not in names
        elif state == "started" and info["request"].method != b"CONNECT":  # which is the proxy's
            self.connecting.deadline, self.connecting.shield = math.inf, False
            self.unfinished, self._sent = False, True
            self.stream = info.get("stream_id")

    async def hang_up(self, *, shared: bool) -> None:
        """Close the socket of a connection that was made for us and has not been used; ``shared``: by others perhaps.

        Twice is once.
        """
        if self.unfinished and self._socket is not None and (self._making or not (shared or self._shared)):
            await self._socket.aclose()

    def too_slow(self) -> TransportError:
        """The deadline of `connecting` has passed."""
        text = f"no connection to {self._to.authority} within {self._connect:g} s"
        return TransportError(text, processed="no")

    def failure(self, error: Exception, library: Library, scrub: Callable[[str], str]) -> TransportError:
        """What a transport's error says, without what it may quote: a URL can hold a secret."""
        there, name = self._to.authority, type(error).__name__
        if isinstance(error, library.proxy_error):
            said = scrub(str(error))  # before it is cut, or half a secret would be left
            return TransportError(f"the proxy leads to no connection to {there}: {said:.80}", processed="no")
        if isinstance(error, library.not_sent):
            return TransportError(f"no connection to {there}: {name}", processed="no")
        for event in getattr(error.__cause__, "args", ()):  # of h2, where it was the peer who ended it
            if hasattr(event, "last_stream_id"):
                return self._gone(event.last_stream_id)
            if getattr(event, "error_code", None) == _REFUSED_STREAM:
                return TransportError(f"{there} refused the request before it looked at it", processed="no")
        if self._heard and not self._sent:
            return TransportError(f"the request was not sent to {there}: {name}", processed="no")
        return TransportError(f"no whole answer from {there}: {name}")

    def _gone(self, last: int) -> TransportError:
        """RFC 9113, section 6.8: no stream above the last one has been, or will be, looked at."""
        text = f"{self._to.authority} ended the connection (GOAWAY)"
        if self.stream is not None and self.stream > last:
            return TransportError(f"{text} before it looked at the request", processed="no")
        return TransportError(f"{text} with the request under way")
