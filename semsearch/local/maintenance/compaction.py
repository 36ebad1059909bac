"""Giving back what removed documents left behind, and really erasing them from every file.

The live rows are copied into the next vector generation, same keys and checksums, and one commit switches over. Until
it, everything is as before; after it, the old files belong to nobody and are unlinked. Words are erased from the full
text (which keeps removed ones until its segments are merged), from free pages and from the write-ahead log.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from semsearch.engine import Compacted
from semsearch.errors import CollectionDamaged, SemsearchError, StorageError
from semsearch.local.store import document_rows as documents
from semsearch.local.store import platform, registry, segments, terms, vector_file
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store
from semsearch.local.store.vector_file import vector_path

COPIED_ROWS = 1 << 15  # copied at a time


def compact(store: Store, without: NDArray[np.int64] | None = None) -> Compacted:
    """Rewrite the collection without what was removed. Readers go on meanwhile; writers wait.

    Args:
        store: The collection's.
        without: Documents whose passages and vectors are left out too, because their vectors are damaged.

    Raises:
        StorageError: The disk has not twice the room that the collection takes.
        CollectionDamaged: A live row's bytes are not those that were committed.
    """
    with store.write():
        before = store.bytes()
        _check_room(store.folder, before)
        generation = store.new_generation()
        with store.read() as view:
            snapshot = view.snapshot
        live = np.flatnonzero(snapshot.live if without is None else snapshot.live & ~np.isin(snapshot.docs, without))
        with _removed_unless_committed(store, generation):
            _copy(store, snapshot, live, vector_path(store.folder, generation))
            with store.database.write() as connection:
                version = store.advance(connection)
                if without is not None:
                    documents.remove_passages(connection, without.tolist(), version)
                _switch(connection, snapshot, live, generation)
        erased = _scrub(store) & store.sweep()
        return Compacted(snapshot.removed, before, store.bytes(), erased)


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < 2 * size:
        raise StorageError(
            f"compacting {folder} needs {2 * size:,} bytes free for a while, twice what it takes now, and there are "
            f"{free:,}. Free some space and try again; nothing was changed."
        )


@contextmanager
def _removed_unless_committed(store: Store, generation: int) -> Iterator[None]:
    """Whatever ends it, no file stays that nothing refers to: on a full disk nobody could take it away."""
    try:
        yield
    except BaseException:
        with suppress(SemsearchError), store.database.read() as connection:  # it may have ended behind the commit
            if connection.exec_driver_sql("SELECT generation FROM state").scalar_one() != generation:
                platform.remove(vector_path(store.folder, generation))
        raise


def _copy(store: Store, snapshot: Snapshot, live: NDArray[np.intp], path: Path) -> None:
    """Write the live rows as a vector file of their own, each checked on the way."""
    try:
        with vector_file.opened(path, store.check_location) as file:
            file.truncate(0)
            for rows in _portions(live):
                vectors = snapshot.vectors[rows]
                if not np.array_equal(segments.checksums(vectors, snapshot.places(rows)), snapshot.crcs[rows]):
                    raise CollectionDamaged(
                        f"stored vectors in {path.parent} are damaged: run 'semsearch repair {path.parent.name}', then "
                        "compact again. Nothing was changed."
                    )
                failpoint("write compacted vectors")
                file.write(vectors.data)
            file.flush()
            platform.fsync_file(file)
        platform.fsync_folder(path.parent)
    except OSError as error:
        raise platform.storage_error(error, "writing", path) from error


def _switch(connection: Connection, snapshot: Snapshot, live: NDArray[np.intp], generation: int) -> None:
    """Make the copied rows the collection's, in the caller's transaction."""
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    connection.exec_driver_sql("DELETE FROM segments WHERE generation = ?", (snapshot.generation,))
    first = 0
    for rows in _portions(live):
        segments.write(connection, generation, first, snapshot.places(rows), snapshot.crcs[rows])
        first += len(rows)
    segments.unmask_all(connection)
    registry.retire_all(connection)
    failpoint("optimize full text")
    terms.optimize(connection)
    connection.exec_driver_sql("UPDATE state SET generation = ?, rows = ?", (generation, len(live)))


def _scrub(store: Store) -> bool:
    """Rewrite the database without free pages and empty its log; False while a reader holds on to the old state."""
    with store.database.plain() as connection:
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
        failpoint("vacuum")
        connection.exec_driver_sql("VACUUM")
        failpoint("checkpoint")
        busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return not busy


def _portions(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(rows), COPIED_ROWS):
        yield rows[start : start + COPIED_ROWS]
