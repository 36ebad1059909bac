"""Files sent to clients, bit by bit: to be saved, or shown as nothing but text."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.types import Send

from semsearch.plain_files import open_plain
from semsearch.server.failures import Refusal
from semsearch.server.operations import JSON, Streamed

SENT_AT_ONCE = 1 << 20  # bytes
SANDBOX = "sandbox; default-src 'none'"  # whatever it is: it runs nothing


def saved_as(name: str) -> str:
    """The Content-Disposition of a file that is to be saved."""
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def served_file(path: Path, media_type: str, disposition: str) -> Streamed:
    """A file as it is.

    Raises:
        Refusal: It is not there, or is no plain file.
    """
    file = opened_plain(path)
    return Streamed(_sending(file, media_type, disposition, os.fstat(file.fileno()).st_size, _chunks))


def served_lines_as_array(path: Path, name: str) -> Streamed:
    """A file of JSON lines as one JSON array.

    Raises:
        Refusal: It is not there, or is no plain file.
    """
    return Streamed(_sending(opened_plain(path), JSON, saved_as(name), None, _array))


def opened_plain(path: Path) -> IO[bytes]:
    """A file that is no link and no device.

    Raises:
        Refusal: It is not there, or is no plain file.
    """
    try:
        return open_plain(path)
    except OSError:
        raise Refusal(404, "file_not_found", "there is no such file.", "file") from None


def _sending(
    file: IO[bytes],
    media_type: str,
    disposition: str,
    size: int | None,
    parts: Callable[[IO[bytes], int | None], Iterator[bytes]],
) -> Callable[[Send], Awaitable[None]]:
    async def send(out: Send) -> None:
        with file:
            headers = {
                "content-type": media_type,
                "cache-control": "no-store",
                "content-disposition": disposition,
                "content-security-policy": SANDBOX,
                **({} if size is None else {"content-length": str(size)}),
            }
            named = [(name.encode(), value.encode()) for name, value in headers.items()]
            await out({"type": "http.response.start", "status": 200, "headers": named})
            content = parts(file, size)
            while part := await run_in_threadpool(next, content, b""):
                await out({"type": "http.response.body", "body": part, "more_body": True})
            await out({"type": "http.response.body", "body": b"", "more_body": False})

    return send


def _chunks(file: IO[bytes], size: int | None) -> Iterator[bytes]:
    left = size or 0
    while left and (content := file.read(min(left, SENT_AT_ONCE))):
        left -= len(content)
        yield content


def _array(file: IO[bytes], size: int | None) -> Iterator[bytes]:
    before = b"["
    while lines := file.readlines(SENT_AT_ONCE):
        yield before + b",".join(line.rstrip(b"\n") for line in lines)
        before = b","
    yield b"[]" if before == b"[" else b"]"
