"""Responses by llhttp, through httptools."""

from __future__ import annotations

import httptools

from ..errors import ServiceError, TransportError
from .parser import Parsed


class HttptoolsParser(Parsed):
    """See `parser.ResponseParser`. The ``on_`` methods are llhttp's callbacks."""

    def begin(self, *, head: bool) -> None:
        """Expect a response. The C parser goes on with the next one, unless it has not seen the end of the last."""
        fresh = not getattr(self, "reusable", False) or self._to_head
        super().begin(head=head)
        if fresh:
            self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take some bytes."""
        if self.complete:
            self.reusable = False  # more than was asked for
            return
        self.started = True
        pieces, body_size = len(self.chunks), self.body_size
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if not self.complete:
                raise TransportError("it switches to another protocol, which nobody asked for") from None
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, ServiceError):
                raise error.__context__ from None
            raise
        except httptools.HttpParserError as error:
            if not self.complete:
                raise TransportError(f"it is not HTTP: {error}") from None
            self.reusable = False  # what came behind a whole answer is nobody's
        if not self.complete or len(self.chunks) > 1:
            self._fed(data, pieces, body_size)

    def end(self) -> None:
        """The peer has closed."""
        if not self.complete:
            if not (self.headed and self._until_close):
                raise self._truncated()
            self.complete = True
        self.reusable = False

    # ---- callbacks. Those that come when the response is complete are about bytes that are nobody's.

    def on_message_begin(self) -> None:
        """A response begins."""
        if self.complete:  # a second response to one request
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or trailer."""
        if self.complete:
            return
        if not self.headed:  # else it is a trailer
            self._header(name, value)  # which strips it: llhttp leaves what stands behind a value
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self.complete:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers.clear()
            return
        if self._framed() and self._to_head:
            # llhttp does not know that it answers a HEAD, and would wait for the body that the headers announce.
            self.complete = True
            self.reusable = self._keeps_alive(self._parser.get_http_version())

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self.complete:  # of an answer to HEAD, which has none
            self.reusable = False
        else:
            self.chunks.append(data)
            self.body_size += len(data)

    def on_message_complete(self) -> None:
        """The response is whole."""
        if self.status < 200:
            return  # 1xx: the response proper is still to come
        if not self.complete:
            self.complete = True
            self.reusable = self._parser.should_keep_alive() and not self._until_close
