"""One commit of a collection as arrays: what a search reads.

A `Snapshot` never changes. A reader keeps the newest and brings it forward inside its read transaction: appended rows
go behind the visible part of shared buffers, and the mask of live rows is copied when something was removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from semsearch.errors import CollectionDamaged
from semsearch.store import registry
from semsearch.store.database import driver
from semsearch.store.registry import Registered
from semsearch.store.settings import read_settings
from semsearch.store.vector_file import map_rows, vector_path
from semsearch.types import Keys, Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All committed rows of one vector generation, in the order of their keys."""

    version: int
    generation: int
    dim: int
    keys: Keys  # (n,), ascending
    docs: NDArray[np.int64]  # (n,) the document of each row
    crcs: NDArray[np.uint32]  # (n,)
    live: NDArray[np.bool_]  # (n,) False where the passage is gone
    removed: int  # rows that are not live
    vectors: Vectors  # (n, dim), mapped
    index: Registered | None  # of vectors
    lexical: Registered | None  # of words
    settings: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.keys)

    def rows_of(self, keys: Keys) -> NDArray[np.intp]:
        """The rows that hold `keys`, all of which must be in this generation."""
        return np.searchsorted(self.keys, keys)


def take(connection: Connection, folder: Path, known: Snapshot | None) -> Snapshot:
    """The snapshot of the connection's read transaction, brought forward from `known` where possible."""
    state = driver(connection).execute("SELECT version, generation, rows, dim FROM state").fetchall()
    if len(state) != 1:
        raise CollectionDamaged(f"the database has {len(state)} states instead of one. Restore it from a backup.")
    version, generation, rows, dim = state[0]
    if known is not None and known.version == version:
        return known
    base = known if known is not None and known.generation == generation else None
    keys, docs, crcs = _columns(connection, generation, rows, base)
    live, removed = _live(connection, keys, rows, base)
    vectors = base.vectors if base is not None and len(base) == rows else _map(folder, generation, rows, dim)
    index = registry.current(connection, generation)
    lexical = registry.current(connection, generation, words=True)
    settings = read_settings(connection)
    return Snapshot(version, generation, dim or 0, keys, docs, crcs, live, removed, vectors, index, lexical, settings)


def _map(folder: Path, generation: int, rows: int, dim: int | None) -> Vectors:
    if not rows or dim is None:
        return np.empty((0, dim or 0), dtype=np.float32)
    return map_rows(vector_path(folder, generation), rows, dim)


def _columns(
    connection: Connection, generation: int, rows: int, base: Snapshot | None
) -> tuple[Keys, NDArray[np.int64], NDArray[np.uint32]]:
    known = len(base) if base is not None else 0
    new = connection.exec_driver_sql(
        "SELECT keys, docs, crcs FROM segments WHERE generation = ? AND first >= ? AND first < ? ORDER BY first",
        (generation, known, rows),
    ).all()
    keys = _extended(None if base is None else base.keys, np.frombuffer(b"".join(row[0] for row in new), "<i8"), rows)
    docs = _extended(None if base is None else base.docs, np.frombuffer(b"".join(row[1] for row in new), "<i8"), rows)
    crcs = _extended(None if base is None else base.crcs, np.frombuffer(b"".join(row[2] for row in new), "<u4"), rows)
    if not len(keys) == len(docs) == len(crcs) == rows:
        raise CollectionDamaged(
            f"the database records {rows} vectors in generation {generation}, but its segments list {len(keys)}. "
            "Restore the collection from a backup."
        )
    if not (np.diff(keys[max(known - 1, 0) :]) > 0).all():
        raise CollectionDamaged(
            f"the keys of vector generation {generation} are out of order in the database. Restore the collection from "
            "a backup."
        )
    return keys, docs, crcs


def _extended(column: NDArray[Any] | None, new: NDArray[Any], rows: int) -> NDArray[Any]:
    """`column` with `new` behind it, in the same buffer while its spare room lasts.

    Committed rows never change, so readers that fill the room behind a shared column write the same values.
    """
    known = 0 if column is None else len(column)
    if known + len(new) != rows:
        return new  # not what the database said; the caller notices
    if column is not None and not len(new):
        return column
    buffer = None if column is None else column.base
    if not isinstance(buffer, np.ndarray) or len(buffer) < rows:
        buffer = np.empty(rows + rows // 8 + 16, dtype=new.dtype)
        if column is not None:
            buffer[:known] = column
    buffer[known:rows] = new
    return buffer[:rows]


def _live(connection: Connection, keys: Keys, rows: int, base: Snapshot | None) -> tuple[NDArray[np.bool_], int]:
    since = base.version if base is not None else -1
    gone = connection.exec_driver_sql("SELECT key FROM removed WHERE version > ?", (since,)).scalars().all()
    live = np.ones(rows, dtype=np.bool_)
    if base is not None:
        live[: len(base)] = base.live
    if gone:
        wanted = np.asarray(gone, dtype=np.int64)
        places = np.searchsorted(keys, wanted)
        there = (places < rows) & (keys[np.minimum(places, rows - 1)] == wanted) if rows else np.zeros(0, np.bool_)
        live[places[there]] = False
    return live, int(rows - np.count_nonzero(live))
