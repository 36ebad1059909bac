"""The rows of a vector file as the database lists them: where the passage of each lies, and a checksum of both.

A commit writes one segment, packed arrays that a reader takes over whole: a million rows of a table would take a second
to read one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from semsearch.errors import CollectionDamaged
from semsearch.local.store.checksum import crc32
from semsearch.local.store.database import driver
from semsearch.local.store.database_errors import decoding
from semsearch.types import Vectors

PLACE_DTYPE = np.dtype([("key", "<i8"), ("doc", "<i8"), ("start", "<i4"), ("end", "<i4")])
"""A passage: its key, the number of its document, and `text[start:end]` there."""

Places: TypeAlias = NDArray[np.void]  # (n,) of PLACE_DTYPE
Checksums: TypeAlias = NDArray[np.uint32]  # (n,)

READ_SEGMENTS = 64  # read together: they are of one commit each, often of a document or two
CHECKSUM_ROWS = 256  # rows looked at together: they stay in cache


def checksums(vectors: Vectors, places: Places, rows: NDArray[np.intp] | None = None) -> Checksums:
    """The crc32 of each row of `vectors` `(n, dim)`, or of each of `rows`: of its bytes and its place behind them."""
    count, dim = len(places), vectors.shape[1]
    found = np.empty(count, dtype=np.uint32)
    block = np.empty((min(CHECKSUM_ROWS, count), dim), dtype="<f4")
    room = np.empty((len(block), 4 * dim + PLACE_DTYPE.itemsize), dtype=np.uint8)
    behind = np.ascontiguousarray(places).view(np.uint8).reshape(count, PLACE_DTYPE.itemsize)
    for start in range(0, count, CHECKSUM_ROWS):
        some = slice(start, min(start + CHECKSUM_ROWS, count))
        size = some.stop - start
        if rows is not None:
            np.take(vectors, rows[some], axis=0, out=block[:size], mode="clip")
        room[:size, : 4 * dim].view("<f4")[:] = vectors[some] if rows is None else block[:size]
        room[:size, 4 * dim :] = behind[some]
        found[some] = np.fromiter(map(crc32, room[:size]), np.uint32, size)
    return found


def write(connection: Connection, generation: int, first: int, places: Places, crcs: Checksums) -> None:
    """Note the rows from `first` on of a generation, inside the caller's transaction."""
    connection.exec_driver_sql(
        "INSERT INTO segments VALUES (?, ?, ?, ?)",
        (generation, first, places.astype(PLACE_DTYPE).tobytes(), crcs.astype("<u4").tobytes()),
    )


def read(connection: Connection, generation: int, first: int = 0) -> tuple[Places, Checksums]:
    """The rows of a generation from `first` on, where a segment must begin."""
    parts = [(np.empty(0, PLACE_DTYPE), np.empty(0, "<u4")), *each(connection, generation, first)]
    places, crcs = (np.concatenate(column) for column in zip(*parts, strict=True))
    return places, crcs


def each(connection: Connection, generation: int, first: int = 0) -> Iterator[tuple[Places, Checksums]]:
    """As `read`, some segments at a time: of many rows only what is looked at is held beside what is made of it."""
    with decoding():
        found = driver(connection).execute(
            "SELECT places, crcs FROM segments WHERE generation = ? AND first >= ? ORDER BY first", (generation, first)
        )
        while some := found.fetchmany(READ_SEGMENTS):
            places, crcs = (b"".join(blobs) for blobs in zip(*some, strict=True))
            if len(places) % PLACE_DTYPE.itemsize or len(crcs) % 4:
                raise CollectionDamaged(
                    f"the segments of vector generation {generation} are damaged in the database. Restore the "
                    "collection from a backup."
                )
            yield np.frombuffer(places, PLACE_DTYPE), np.frombuffer(crcs, "<u4")


def count(connection: Connection, generation: int, first: int = 0) -> int:
    """The rows of a generation from `first` on, without reading them."""
    size = connection.exec_driver_sql(
        "SELECT sum(length(places)) FROM segments WHERE generation = ? AND first >= ?", (generation, first)
    )
    return int(size.scalar() or 0) // PLACE_DTYPE.itemsize


def among(some: Places, others: Places) -> NDArray[np.bool_]:
    """Which of `some` are in `others`, whose keys ascend, in the very same place."""
    found = np.zeros(len(some), dtype=np.bool_)
    at = np.searchsorted(others["key"], some["key"])
    inside = at < len(others)
    found[inside] = others[at[inside]] == some[inside]
    return found


def mask(connection: Connection, version: int, keys: Sequence[int]) -> None:
    """Note that passages are gone as of commit `version`, inside the caller's transaction: nobody finds their rows."""
    connection.exec_driver_sql("INSERT INTO removed SELECT ?, value FROM json_each(?)", (version, json.dumps(keys)))
    connection.exec_driver_sql(
        "UPDATE state SET masked = masked + ?, masked_sum = masked_sum + ?",
        (len(keys), sum(keys) + version * len(keys)),
    )


def unmask_all(connection: Connection) -> None:
    """Forget what `mask` noted, inside the transaction that takes the rows away."""
    connection.exec_driver_sql("DELETE FROM removed")
    connection.exec_driver_sql("UPDATE state SET masked = 0, masked_sum = 0")
