"""Uvicorn's protocol for HTTP, with bounds that it lacks: of the bytes of a head, and of the seconds that one may take.

A head that never ends would be gathered for ever, and each byte of it cost more than the one before; so would trailers
behind a body. A connection that asks nothing, or half of something, is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

UNASKED_SECONDS = 60.0  # that a connection may be open without asking anything
HEADER_BYTES = 32 << 10  # that may come without an end of a head, a piece of a body or the end of a request
TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 28\r\nconnection: close\r\n\r\nThe head of it is too long.\n"
)


class BoundedProtocol(HttpToolsProtocol):
    """Closes what is too long, and what takes too long to ask."""

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._gathered = 0  # bytes since there was an end of something
        self._in_head = self._came_on = False
        self._silence: asyncio.TimerHandle | None = None
        self._listen()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._came_on = False
        super().data_received(data)
        self._gathered = 0 if self._came_on else self._gathered + len(data)
        if self._gathered > HEADER_BYTES and not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(TOO_LONG)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._listened()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = True
        if self._silence is None:
            self._listen()

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._in_head, self._came_on = False, True
        self._listened()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of its body is there."""
        self._came_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._came_on = True
        super().on_message_complete()

    def _listen(self) -> None:
        self._silence = asyncio.get_running_loop().call_later(UNASKED_SECONDS, self._close_silent)

    def _listened(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _close_silent(self) -> None:
        self._silence = None
        if (self._in_head or self.cycle is None) and not self.transport.is_closing():
            self.transport.close()
