"""Responses by h11, where there is no httptools."""

from __future__ import annotations

import h11

from ..errors import ResponseTooLarge, ServiceError, TransportError
from .parser import MAX_RAW, Parsed

_REQUEST = {False: b"GET", True: b"HEAD"}  # h11 wants to know what is being answered; the rest of it does not matter


class H11Parser(Parsed):
    """See `parser.ResponseParser`."""

    def begin(self, *, head: bool) -> None:
        """Expect a response."""
        super().begin(head=head)
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_RAW)
        self._connection.send(h11.Request(method=_REQUEST[head], target=b"/", headers=[(b"Host", b"x")]))
        self._connection.send(h11.EndOfMessage())

    def feed(self, data: bytes) -> None:
        """Take some bytes."""
        if self.complete:
            self.reusable = False  # more than was asked for
            return
        self.started = True
        pieces, body_size = len(self.chunks), self.body_size
        self._connection.receive_data(data)
        self._events()
        if not self.complete or len(self.chunks) > 1:
            self._fed(data, pieces, body_size)

    def end(self) -> None:
        """The peer has closed."""
        if not self.complete:
            self._connection.receive_data(b"")
            try:
                self._events()
            except TransportError:  # all that came before it was good
                raise self._truncated() from None
        self.reusable = False

    def _events(self) -> None:
        while not self.complete:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                raise _refusal(error) from None
            match event:
                case h11.NEED_DATA:
                    return
                case h11.PAUSED | h11.ConnectionClosed():
                    raise TransportError("it switches to another protocol, which nobody asked for")
                case h11.InformationalResponse():
                    self._head(event)
                    self.headers = []
                case h11.Response():
                    self._head(event)
                    self._framed()
                case h11.Data():
                    self.chunks.append(bytes(event.data))
                    self.body_size += len(event.data)
                case h11.EndOfMessage():
                    self._count(sum(len(name) + len(value) for name, value in event.headers))
                    self.complete = True
                    trailing, closed = self._connection.trailing_data
                    states = self._connection.states
                    self.reusable = (
                        states[h11.SERVER] is h11.DONE and not trailing and not closed and not self._until_close
                    )

    def _head(self, event: h11.Response | h11.InformationalResponse) -> None:
        self.status = event.status_code
        for name, value in event.headers.raw_items():
            self._header(bytes(name), bytes(value))
        self._count(sum(len(name) + len(value) for name, value in self.headers))


def _refusal(error: h11.RemoteProtocolError) -> ServiceError:
    if error.error_status_hint == 431:  # also for a line of the chunked coding that does not end
        return ResponseTooLarge(f"{MAX_RAW} bytes of it are neither its head nor its body")
    return TransportError(f"it is not HTTP: {error}")
