"""Requests to servers that are not trusted: an answer has so many bytes, unpacked, and so many seconds in all.

A time-out of the HTTP client starts anew with every byte that comes. So a clock runs beside it, and shuts the line when
the time is up, whatever is being waited for.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl

    import httpx

MAX_HEADERS = 100_000  # bytes, as httpcore has it for those of one answer
HEADERS_LIMIT = f"{MAX_HEADERS // 1000} kB of headers"
MAX_ERROR_BYTES = 1 << 16  # of what a server says of a failure
DOWNLOAD_PATIENCE = 60.0  # seconds for a download to begin, and to go on
LEAST_RATE = 10_000  # bytes a second, on average, of a download that goes on


class Unanswered(Exception):
    """There is no answer that could be used; the message says why. Asked again, there may be one."""


class Overlong(Exception):
    """The answer is longer than what was asked for can need."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    reason: str
    retry_after: str | None
    content: bytes
    delimited: bool  # whether it says where it ends: else what is cut off looks like all of it


class Connections:
    """Asks one server. Threads may share it: each has a line of its own, which is kept for the next request."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds  # that an answer may take, from the first byte sent to the last one read
        self._pid = os.getpid()
        self._idle: list[_Line] = []  # taken and given back without a lock, which a fork could leave locked
        weakref.finalize(self, _close, self._idle)

    def post(self, body: bytes, headers: Mapping[str, str], most: int) -> Reply:
        """What the server answers; of a failure the first bytes, of a success not more than `most` bytes.

        No redirection is followed: what the headers hold is for this address alone.

        Raises:
            Unanswered: It can't be reached, breaks off, or takes too long.
            Overlong: It answers with more bytes, unpacked or not.
            httpx.InvalidURL: The address is none.
        """
        line = self._line()
        try:
            answer = line.post(self._url, body, headers, most, self._seconds)
        except BaseException:
            line.close()
            raise
        if line.sound:
            self._idle.append(line)
        else:
            line.close()
        return answer

    def _line(self) -> _Line:
        if self._pid != os.getpid():  # a forked child speaks on lines of its own
            self._pid = os.getpid()
            self._idle.clear()
        try:
            return self._idle.pop()
        except IndexError:
            return _Line(self._trust, self._seconds)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """Who is trusted to say whose a server is: read once for all lines, and nobody where no TLS is spoken."""
        import ssl

        import httpx

        https = self._url.startswith("https:")
        return httpx.create_ssl_context() if https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def download(url: str, file: IO[bytes], most: int) -> None:
    """Write what lies at an address, at most so many bytes, to a file.

    Raises:
        Unanswered: It can't be had, or comes too slowly.
        Overlong: It is longer.
        httpx.InvalidURL: The address is none.
    """
    import httpx

    with closing(_Line(httpx.create_ssl_context(), DOWNLOAD_PATIENCE)) as line, closing(line.get(url)) as answer:
        if url.startswith("https:") and answer.url.scheme != "https":
            raise Unanswered("it leads from https to an address that anybody on the way can change")
        if not answer.is_success:
            raise Unanswered(f"it answered {answer.status_code} {answer.reason_phrase}".rstrip())
        began, size = time.monotonic(), 0
        try:
            for chunk in answer.iter_raw():
                size += len(chunk)
                if size > most:
                    raise Overlong(f"{most:,} bytes")
                if time.monotonic() - began > DOWNLOAD_PATIENCE + size / LEAST_RATE:
                    raise Unanswered(f"it comes at less than {LEAST_RATE:,} bytes a second")
                file.write(chunk)
        except httpx.HTTPError as error:
            raise Unanswered(str(error) or type(error).__name__) from error


class _Line:
    """A connection, made anew when it is gone; for one request at a time."""

    def __init__(self, trust: ssl.SSLContext, seconds: float) -> None:
        import httpx

        one = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        self._client = httpx.Client(verify=trust, timeout=seconds, limits=one)
        self._stream: Any = None
        self._awaiting_headers = False
        self.sound = True

    def close(self) -> None:
        self._client.close()

    def post(self, url: str, body: bytes, headers: Mapping[str, str], most: int, seconds: float) -> Reply:
        sent = {"Content-Type": "application/json", "Accept-Encoding": "gzip", **headers}
        with (
            self._limited(seconds),
            self._client.stream("POST", url, content=body, headers=sent, extensions={"trace": self._trace}) as answer,
        ):
            content = _read(answer, most if answer.is_success else MAX_ERROR_BYTES)
        delimited = not answer.headers.keys().isdisjoint({"content-length", "transfer-encoding"})
        retry_after = answer.headers.get("Retry-After")
        return Reply(answer.status_code, answer.reason_phrase, retry_after, content, delimited)

    def get(self, url: str) -> httpx.Response:
        """The beginning of what lies there, wherever one is sent to; to be closed by who reads it."""
        request = self._client.build_request(
            "GET", url, headers={"Accept-Encoding": "identity"}, extensions={"trace": self._trace}
        )
        with self._limited(DOWNLOAD_PATIENCE):
            return self._client.send(request, stream=True, follow_redirects=True)

    @contextmanager
    def _limited(self, seconds: float) -> Iterator[None]:
        """What is done within takes no longer."""
        import httpx

        clock = threading.Timer(seconds, self._shut)
        clock.daemon = True
        clock.start()
        try:
            yield
        except (httpx.HTTPError, zlib.error) as error:
            if _of_long_headers(error):
                raise Overlong(HEADERS_LIMIT) from error
            late = not self.sound or isinstance(error, httpx.TimeoutException)
            why = f"no whole answer in {seconds:g} seconds" if late else str(error) or type(error).__name__
            raise Unanswered(why) from error
        finally:
            clock.cancel()

    def _trace(self, event: str, facts: Mapping[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._stream = facts["return_value"]
            self._stream.read = self._counted(self._stream.read)
        elif ".receive_response_headers." in event:
            self._awaiting_headers = event.endswith(".started")

    def _counted(self, read: Callable[..., bytes]) -> Callable[..., bytes]:
        """What reads, and stops where headers don't end: of answers like "100 Continue" any number may come first."""
        size = 0

        def counted(max_bytes: int, timeout: float | None = None) -> bytes:
            nonlocal size
            if not self._awaiting_headers:
                size = 0
            elif size > MAX_HEADERS:
                raise Overlong(HEADERS_LIMIT)
            data = read(max_bytes, timeout)
            size += len(data)
            return data

        return counted

    def _shut(self) -> None:
        """Wake up who waits for bytes. It is shut and not closed: the one who reads closes it."""
        self.sound = False
        line = None if self._stream is None else self._stream.get_extra_info("socket")
        if line is not None:
            with suppress(OSError):  # it is gone already
                socket.socket.shutdown(line, socket.SHUT_RDWR)  # beneath TLS, which would have to be asked politely


def _of_long_headers(error: BaseException | None) -> bool:
    """Whether h11, at the end of the chain, says so by the status that a server would answer it with."""
    while error is not None and not hasattr(error, "error_status_hint"):
        error = error.__cause__ or error.__context__
    return getattr(error, "error_status_hint", None) == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


def _close(lines: list[_Line]) -> None:
    for line in lines:
        line.close()


def _read(answer: httpx.Response, most: int) -> bytes:
    """The content, at most so long, unpacked step by step; of a failure what comes first."""
    packing = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip", ""):
        raise Unanswered(f"the answer is packed as '{packing[:40]}', which was not asked for")
    unpack = zlib.decompressobj(wbits=31) if packing == "gzip" else None
    content = bytearray()
    for chunk in answer.iter_raw():
        room = most + 1 - len(content)
        content += unpack.decompress(chunk, room) if unpack else chunk[:room]
        if len(content) > most:
            if answer.is_success:
                raise Overlong(f"{most:,} bytes")
            break
    else:
        if unpack and content and not unpack.eof:
            raise Unanswered("the answer is cut off")
    return bytes(content[:most])
