"""Answers that have to be there as a whole in the time that a request may take, however slowly they drip.

The clients' own timeout is of each byte that is waited for: what sends one now and then would be waited for forever.
"""

from __future__ import annotations

import io
import socket
import time
from http.client import HTTPResponse
from typing import Any

from urllib3.connectionpool import HTTPConnectionPool


class _BoundedBody(io.RawIOBase):
    """The bytes of one answer, up to a deadline."""

    def __init__(self, received: io.RawIOBase, connection: socket.socket, seconds: float) -> None:
        self._received = received
        self._connection = connection
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        """They are."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """As `RawIOBase.readinto`.

        Raises:
            TimeoutError: Behind the deadline.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer was not all there in time")
        self._connection.settimeout(left)
        return self._received.readinto(buffer)

    def close(self) -> None:
        """Let go of the connection."""
        self._received.close()
        super().close()


class _BoundedResponse(HTTPResponse):
    """One whose header and body have together the time that the connection has for its first byte."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        seconds = sock.gettimeout()
        if seconds is not None:
            self.fp = io.BufferedReader(_BoundedBody(self.fp.detach(), sock, seconds))


def bound(pool: HTTPConnectionPool) -> None:
    """Have all connections that a pool makes from now on take bounded answers."""

    class Bounded(pool.ConnectionCls):  # type: ignore[name-defined, misc]
        response_class = _BoundedResponse

    Bounded.__name__ = pool.ConnectionCls.__name__  # people read it in errors
    pool.ConnectionCls = Bounded
