"""One commit of a collection as arrays: what a search reads.

A `Snapshot` never changes. A reader keeps the newest and brings it forward inside its read transaction: appended rows
go behind the visible part of shared buffers, and the mask of live rows is copied when something was removed.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from semsearch.errors import CollectionDamaged
from semsearch.local.store import document_rows as documents
from semsearch.local.store import migrations, registry, segments
from semsearch.local.store.database import driver
from semsearch.local.store.database_errors import decoding
from semsearch.local.store.registry import Registered
from semsearch.local.store.segments import PLACE_DTYPE, Checksums, Places, checksums
from semsearch.local.store.settings import read_settings
from semsearch.local.store.vector_file import map_rows, vector_path
from semsearch.search.languages import Languages, languages_of
from semsearch.types import Keys, Vectors

log = logging.getLogger("semsearch")

SNAPSHOT_COLUMNS = {
    "keys": np.int64,
    "docs": np.int64,
    "starts": np.int32,
    "ends": np.int32,
    "crcs": np.uint32,
}  # as in `Places`


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All committed rows of one vector generation, in the order of their keys."""

    version: int
    generation: int
    dim: int
    keys: Keys  # (n,), ascending
    docs: NDArray[np.int64]  # (n,) the document of each row
    starts: NDArray[np.int32]  # (n,) where its passage begins in the document's text
    ends: NDArray[np.int32]  # (n,)
    crcs: Checksums  # (n,) of its vector and all of the above
    live: NDArray[np.bool_]  # (n,) False where the passage is gone
    removed: int  # rows that are not live
    masked: tuple[int, int] | None  # passages noted as removed, and the sum that is kept; None if the list is damaged
    vectors: Vectors  # (n, dim), mapped
    index: Registered | None  # of vectors
    lexical: Registered | None  # of words
    settings: Mapping[str, Any]
    gapless: bool = field(init=False)  # whether the keys are consecutive

    def __post_init__(self) -> None:
        """Look once, since each search asks three times."""
        count = len(self.keys)
        object.__setattr__(self, "gapless", count > 0 and int(self.keys[-1] - self.keys[0]) == count - 1)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def languages(self) -> Languages:
        """Those that its words are analysed by."""
        return languages_of(self.settings)

    def rows_of(self, keys: Keys) -> NDArray[np.intp]:
        """The rows that hold `keys`, all of which must be in this generation; else where they would be put in."""
        if self.gapless:  # there is nothing to search for
            rows: NDArray[np.intp] = np.minimum(np.maximum(keys - self.keys[0], 0), len(self))  # half as long as clip
            return rows
        return np.searchsorted(self.keys, keys)

    def places(self, rows: NDArray[np.intp]) -> Places:
        """The passages of `rows`."""
        places: Places = np.empty(len(rows), dtype=PLACE_DTYPE)
        places["key"], places["doc"] = self.keys[rows], self.docs[rows]
        places["start"], places["end"] = self.starts[rows], self.ends[rows]
        return places

    def sound(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of `rows` are what was committed: their vectors and where their passages lie."""
        sound: NDArray[np.bool_] = checksums(self.vectors, self.places(rows), rows) == self.crcs[rows]
        return sound


@decoding()
def take(connection: Connection, folder: Path, known: Snapshot | None) -> Snapshot:
    """The snapshot of the connection's read transaction, brought forward from `known` where possible.

    What a newer semsearch made is refused: whatever it does to a collection is a commit of another version.
    """
    direct = driver(connection)  # past SQLAlchemy: each search asks, and mostly learns that nothing is new
    try:
        state = direct.execute("SELECT version, generation, rows, dim, masked, masked_sum FROM state").fetchall()
    except sqlite3.OperationalError:
        migrations.check(direct, folder.name)  # a newer one may have another table
        raise
    if len(state) != 1:
        raise CollectionDamaged(f"the database has {len(state)} states instead of one. Restore it from a backup.")
    version, generation, rows, dim, *noted = state[0]
    if known is not None and known.version == version:
        return known
    migrations.check(direct, folder.name)
    # one that another thread has taken meanwhile may be newer than this transaction
    base = known if known is not None and known.generation == generation and known.version < version else None
    columns = _columns(connection, generation, rows, base)
    live, masked = _live(connection, columns[0], tuple(noted), base)
    if masked is None:
        live = segments.among(segments.read(connection, generation)[0], documents.places(connection))
        log.warning(
            "the list of removed passages of collection '%s' is damaged: the passages tell what was removed; "
            "'semsearch repair %s' makes it anew.",
            folder.name,
            folder.name,
        )
    vectors = base.vectors if base is not None and len(base) == rows else _map(folder, generation, rows, dim)
    index = registry.current(connection, generation)
    lexical = registry.current(connection, generation, words=True)
    settings = read_settings(connection)
    return Snapshot(
        version,
        generation,
        dim or 0,
        *columns,
        live,
        int(rows - np.count_nonzero(live)),
        masked,
        vectors,
        index,
        lexical,
        settings,
    )


def _map(folder: Path, generation: int, rows: int, dim: int | None) -> Vectors:
    if not rows or dim is None:
        return np.empty((0, dim or 0), dtype=np.float32)
    return map_rows(vector_path(folder, generation), rows, dim)


def _columns(
    connection: Connection, generation: int, rows: int, base: Snapshot | None
) -> tuple[Keys, NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], Checksums]:
    """Keys, documents, starts, ends and checksums of all rows, those of `base` taken over."""
    known = len(base) if base is not None else 0
    listed = known + segments.count(connection, generation, known)
    if listed == rows:  # else whoever wrote the database may have written any number
        columns = [
            _with_room(None if base is None else getattr(base, name), rows, dtype)
            for name, dtype in SNAPSHOT_COLUMNS.items()
        ]
        listed = known
        for places, new_crcs in segments.each(connection, generation, known):
            if len(places) != len(new_crcs):
                break
            part = slice(listed, listed + len(places))
            for column, new in zip(
                columns, (*(places[field] for field in PLACE_DTYPE.names or ()), new_crcs), strict=True
            ):
                column[part] = new
            listed = part.stop
    if listed != rows:
        raise CollectionDamaged(
            f"the database records {rows} vectors in generation {generation}, but its segments list {listed}. Restore "
            "the collection from a backup."
        )
    keys, docs, starts, ends, crcs = columns
    new_keys = keys[max(known - 1, 0) :]
    if not (new_keys[1:] > new_keys[:-1]).all():
        raise CollectionDamaged(
            f"the keys of vector generation {generation} are out of order in the database. Restore the collection from "
            "a backup."
        )
    return keys, docs, starts, ends, crcs


def _with_room(column: NDArray[Any] | None, rows: int, dtype: type) -> NDArray[Any]:
    """`column` with room for new rows behind it, in the same buffer while its spare room lasts.

    Committed rows never change, so readers that fill the room behind a shared column write the same values.
    """
    known = 0 if column is None else len(column)
    if column is not None and known == rows:
        return column
    buffer = None if column is None else column.base
    if not isinstance(buffer, np.ndarray) or len(buffer) < rows:
        buffer = np.empty(rows + rows // 8 + 16, dtype=dtype)
        if column is not None:
            buffer[:known] = column
    return buffer[:rows]


def _live(
    connection: Connection, keys: Keys, noted: tuple[int, ...], base: Snapshot | None
) -> tuple[NDArray[np.bool_], tuple[int, int] | None]:
    """Which rows are live, and what `Snapshot.masked` holds; `noted` is what it should be."""
    count = total = 0
    since, live = -1, np.ones(len(keys), dtype=np.bool_)
    if base is not None and base.masked is not None:
        since, (count, total) = base.version, base.masked
        live[: len(base)] = base.live
    gone = connection.exec_driver_sql(
        "SELECT key, version FROM removed WHERE version > ? AND typeof(key) || typeof(version) = 'integerinteger'",
        (since,),
    ).all()
    masked = count + len(gone), total + sum(key + version for key, version in gone)
    if masked != noted:
        return live, None
    if gone and len(keys):
        wanted = np.asarray([key for key, _ in gone], dtype=np.int64)
        rows = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        live[rows[keys[rows] == wanted]] = False
    return live, masked
