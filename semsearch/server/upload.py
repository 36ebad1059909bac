"""A stream of documents, line by line, committed in batches and answered while it goes on, in bounded memory.

A client may send all before it reads an answer: answers that it does not read yet are put together, so that they wait
in bounded memory and neither side waits for the other for ever. A line that a client who left cut short is none.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from starlette.types import Send

from semsearch import wire
from semsearch.collection import Collection
from semsearch.errors import CollectionLocked, DataError
from semsearch.ingest.ingestion import IngestResult
from semsearch.server.batching import HungUp
from semsearch.server.failures import Refusal
from semsearch.server.json_bytes import json_bytes
from semsearch.server.operations import NDJSON
from semsearch.server.queued_model import check_encodes
from semsearch.server.service import Service
from semsearch.types import Document, Metric, Vectors
from semsearch.vectors import stored_form

BATCH_LINES = 512
STREAM_BATCH_BYTES = 1 << 20
LONGEST_PENDING = 1.0  # seconds that a line waits for company before it is committed
TOLD_ERRORS = 100  # of an answer; the others are counted
LOCKED_TRIES = 3  # of ten seconds each, while somebody else writes

NumberedLine = tuple[int, bytes]


class Upload:
    """One stream."""

    def __init__(self, service: Service, collection: str, send: Send) -> None:
        self.through = 0  # lines that are committed, or told as bad
        self.wrote = self.hung_up = False
        self._service = service
        self._name = collection
        self._answers = _Answers(send, service.options.idle_seconds)
        self._total = IngestResult()

    async def run(self, stream: AsyncIterator[bytes]) -> None:
        """Take the lines of a stream in.

        Raises:
            Refusal: Something was wrong before any answer was given; afterwards the last answer says it.
        """
        lease = self._service.collections.lease(self._name)  # one for all: a new collection of that name is another
        collection = await self._service.run("write", lease.__enter__)
        failure: BaseException | None = None
        try:
            async for batch in _batches(stream, self._service.options.max_body):
                await self._commit(collection, batch)
        except HungUp:
            self.hung_up = True
        except Exception as error:
            failure = error
        finally:
            with suppress(Exception):
                await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, _leave, lease, failure))
        if failure is not None and not self._answers.begun:
            raise failure
        if not self.hung_up:
            facts: dict[str, Any] = {"through": self.through, **wire.ingested(self._total)}
            if failure is None:
                await self._answers.end({"done": True, **facts})
            else:
                refusal = self._service.refusal(failure, "stream")
                if refusal.code == "internal_error":
                    self._service.log_fault("stream", failure)
                await self._answers.end({**refusal.body(), **facts})
        await self._answers.close()

    async def _commit(self, collection: Collection, lines: list[NumberedLine]) -> None:
        for left in range(LOCKED_TRIES - 1, -1, -1):
            try:
                changes, errors = await self._service.run("write", partial(_add, collection, lines))
            except CollectionLocked:
                if not left:
                    raise
            else:
                break
        self.wrote = True
        self.through = lines[-1][0]
        self._total += changes
        self._answers.add(self.through, changes, errors)


def _leave(lease: Any, failure: BaseException | None) -> None:
    with suppress(BaseException):
        lease.__exit__(type(failure) if failure else None, failure, None)


def _add(collection: Collection, lines: list[NumberedLine]) -> tuple[IngestResult, list[str]]:
    """Commit the documents of lines; what is wrong with the others."""
    errors: list[str] = []
    read: dict[str, tuple[Document, Vectors | None]] = {}  # by id: of lines with the same the last one counts
    bad = 0
    with collection.engine.view() as view:
        dim, metric = view.dim, Metric(view.settings["metric"])
    for number, line in lines:
        where = f"line {number}"
        try:
            document, vector = read_line(line, where)
            if vector is not None:
                dim = dim or len(vector)  # of the first where nobody knows yet
            read[document.id] = document, None if vector is None else _checked(vector, dim, metric, where)
        except DataError as error:
            bad += 1
            errors.append(str(error))
    changes = IngestResult(skipped=bad)

    def tell(error: DataError) -> None:
        errors.append(str(error))

    plain = [document for document, vector in read.values() if vector is None]
    given = [(document, vector) for document, vector in read.values() if vector is not None]
    if plain:
        check_encodes(collection)
        changes += collection.add(plain, on_error=tell, progress=False, maintain=False)
    if given:
        vectors = np.concatenate([vector for _, vector in given])
        documents = [document for document, _ in given]
        changes += collection.add(documents, vectors, on_error=tell, progress=False, maintain=False)
    return changes, errors


def _checked(vector: list[float], dim: int, metric: Metric, where: str) -> Vectors:
    """The vector of a line as it is stored, `(1, dim)`.

    Raises:
        DataError: It is none of the collection's.
    """
    if len(vector) != dim:
        raise DataError(f"{where}: the vector has {len(vector):,} components, and the collection's have {dim:,}.")
    try:
        return stored_form([vector], dim, metric, "the vector")
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def read_line(line: bytes, where: str) -> tuple[Document, list[float] | None]:
    """The document of a line, and its vector where it has one.

    Raises:
        DataError: It is none; begins with `where` it stands.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: it is no JSON: {error}.") from None
    vector = value.pop("vector", None) if isinstance(value, dict) else None
    if vector is not None and not (isinstance(vector, list) and all(type(one) in (int, float) for one in vector)):
        raise DataError(f"{where}: a vector is a list of numbers.")
    return wire.read_document(value, where), vector


async def _batches(stream: AsyncIterator[bytes], longest: int) -> AsyncIterator[list[NumberedLine]]:
    """Lines with their numbers, as many as are committed together; those that are there when nothing more comes."""
    rest, number, size = bytearray(), 0, 0
    batch: list[NumberedLine] = []
    coming: asyncio.Task[bytes] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(_next(stream))
            done, _ = await asyncio.wait({coming}, timeout=LONGEST_PENDING if batch else None)
            if not done:
                yield batch
                batch, size = [], 0
                continue
            chunk = coming.result()
            coming = None
            rest += chunk
            if not chunk:  # the end
                rest += b"\n"
            if chunk and b"\n" not in chunk:  # in the midst of a line
                _check_length(rest, number, longest)
                continue
            *lines, tail = bytes(rest).split(b"\n")
            rest = bytearray(tail)
            _check_length(rest, number + len(lines), longest)
            for line in lines:
                _check_length(line, number, longest)
                number += 1
                if line.strip():
                    batch.append((number, line))
                    size += len(line)
                if len(batch) >= BATCH_LINES or size >= STREAM_BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
            if not chunk:
                if batch:
                    yield batch
                return
    finally:
        if coming is not None:
            coming.cancel()


def _check_length(line: bytes | bytearray, before: int, longest: int) -> None:
    if len(line) > longest:
        raise Refusal(413, "line_too_long", f"line {before + 1} is longer than {longest:,} bytes (--max-body).")


async def _next(stream: AsyncIterator[bytes]) -> bytes:
    """The next chunk; none at the end."""
    return await anext(stream, b"")


class _Answers:
    """Lines of answers, put together while the client does not read them."""

    def __init__(self, send: Send, seconds: float) -> None:
        self.begun = False  # there is something to say
        self._started = False  # and it was begun to be said
        self._send = send
        self._seconds = seconds
        self._pending: dict[str, Any] | None = None
        self._changes = IngestResult()
        self._writing: asyncio.Task[None] | None = None

    def add(self, through: int, changes: IngestResult, errors: list[str]) -> None:
        """Say that lines were taken in."""
        self.begun = True
        before = self._pending or {"errors": [], "left_out": 0}
        self._changes = changes if self._pending is None else self._changes + changes
        told = [*before["errors"], *errors]
        left_out = before["left_out"] + max(len(told) - TOLD_ERRORS, 0)
        self._pending = {
            "through": through,
            **wire.ingested(self._changes),
            "errors": told[:TOLD_ERRORS],
            "left_out": left_out,
        }
        if self._writing is None:
            self._writing = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        await self._begin()
        while self._pending is not None:
            line, self._pending = self._pending, None
            await self._send_line(line)
        self._writing = None

    async def _begin(self) -> None:
        if self._started:
            return
        self._started = True
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", NDJSON.encode()), (b"cache-control", b"no-store")],
            }
        )

    async def _send_line(self, line: dict[str, Any]) -> None:
        content = json_bytes(line) + b"\n"
        await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def end(self, line: dict[str, Any]) -> None:
        """Say the last."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                if self._writing is not None:
                    await self._writing
                await self._begin()
                await self._send_line(line)
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def close(self) -> None:
        """Say no more."""
        if self._writing is not None:
            self._writing.cancel()
            with suppress(BaseException):
                await self._writing
