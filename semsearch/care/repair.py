"""Mending what `check` finds, from what is whole: vectors from the stored text, words and fields from the documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from semsearch.care.check import broken_tables, damaged_rows, fulltext_fits
from semsearch.care.compaction import compact
from semsearch.errors import CollectionDamaged
from semsearch.ingestion import BATCH_DOCUMENTS
from semsearch.store import documents, platform, segments
from semsearch.store.documents import Entry, Record
from semsearch.store.failpoints import failpoint
from semsearch.store.snapshot import Snapshot
from semsearch.store.store import Store
from semsearch.store.vector_file import vector_path

Encode = Callable[[Sequence[Record]], list[Entry]]


def repair(store: Store, encode: Encode | None) -> list[str]:
    """Mend vectors, full text and the index of fields; what was done, in sentences.

    Args:
        store: The collection's.
        encode: Makes entries of records; None where vectors were given and can't be made again.

    Raises:
        CollectionDamaged: SQLite finds its tables broken: mending by what can be read of them would lose the rest.
    """
    done = []
    with store.write():
        _refuse_unsound(store)
        _lengthen(store)
        with store.read() as view:
            snapshot = view.snapshot
        done += _mask_anew(store, snapshot)
        broken = damaged_rows(snapshot)
        done += _agree(store, snapshot, broken)
        if len(broken):
            docs = _documents_of(store, snapshot, broken)
            if encode is not None:
                compact(store, without=docs)
                done.append(f"took out {len(broken):,} damaged vectors")
            else:
                done.append(
                    f"{len(docs):,} documents have damaged vectors that were given and can't be made again: add them "
                    f"again with their vectors ({', '.join(repr(i) for i in _ids(store, docs.tolist()))})"
                )
        with store.database.write() as connection:
            if not fulltext_fits(connection):
                failpoint("rebuild full text")
                connection.exec_driver_sql("INSERT INTO fulltext (fulltext) VALUES ('rebuild')")
                done.append("built the full text anew from the documents")
            if documents.rebuild_fields(connection):
                done.append("built the index of metadata anew from the documents")
    if encode is not None:
        count = 0
        while records := _without_passages(store):
            count += len(records)
            store.put(encode(records), again=True)
        if count:
            done.append(f"encoded {count:,} documents again from the stored text")
    return done


def _refuse_unsound(store: Store) -> None:
    with store.database.read() as connection:
        broken = broken_tables(connection)  # only they: a broken full text can be built anew
    if broken:
        raise CollectionDamaged(
            f"the database of collection '{store.name}' is damaged ({broken[0]}), which can't be mended "
            "from the rest. Restore it from a backup with 'semsearch restore', or index the sources anew under another "
            "name; nothing was changed."
        )


def _lengthen(store: Store) -> None:
    """Give a vector file that was cut short its committed length again; the new bytes fail their checksums."""
    with store.database.read() as connection:
        generation, rows, dim = connection.exec_driver_sql("SELECT generation, rows, dim FROM state").one()
    path = vector_path(store.folder, generation)
    if rows and (not path.exists() or path.stat().st_size < rows * dim * 4):
        with path.open("ab") as file:
            file.truncate(rows * dim * 4)
            platform.fsync_file(file)


def _mask_anew(store: Store, snapshot: Snapshot) -> list[str]:
    """Note again which rows are removed, where that was damaged; the passages told it."""
    if snapshot.masked is not None:
        return []
    with store.database.write() as connection:
        segments.unmask_all(connection)
        failpoint("mask anew")
        segments.mask(connection, store.advance(connection), snapshot.keys[~snapshot.live].tolist())
    return [f"made the list of {snapshot.removed:,} removed passages anew"]


def _agree(store: Store, snapshot: Snapshot, broken: NDArray[np.intp]) -> list[str]:
    """Passages as the rows of the vector file have them, and no others: a row that is not `broken` is as committed."""
    with store.read() as view:
        stored = documents.places(view.connection)
        there = view.connection.exec_driver_sql("SELECT doc FROM documents ORDER BY doc").scalars().all()
    live = snapshot.keys[snapshot.live]
    sound = snapshot.places(np.setdiff1d(np.flatnonzero(snapshot.live), broken, assume_unique=True))
    owned = np.isin(sound["doc"], there)
    at = np.searchsorted(stored["key"], sound["key"])
    as_stored = at < len(stored)
    as_stored[as_stored] = stored[at[as_stored]] == sound[as_stored]
    displaced, stray = sound[owned & ~as_stored], sound["key"][~owned]
    surplus = np.setdiff1d(stored["key"], live, assume_unique=True)
    lost = np.intersect1d(surplus, snapshot.keys)  # it had a row: its document is encoded again
    if not len(displaced) and not len(stray) and not len(surplus):
        return []
    with store.database.write() as connection:
        version = store.advance(connection)
        connection.exec_driver_sql("INSERT INTO fulltext (fulltext) VALUES ('delete-all')")
        if len(displaced):
            connection.exec_driver_sql("INSERT OR REPLACE INTO passages VALUES (?, ?, ?, ?)", displaced.tolist())
        segments.mask(connection, version, stray.tolist())
        documents.remove_passages(connection, _owners(connection, lost), version)
        connection.exec_driver_sql(
            "DELETE FROM passages WHERE key IN (SELECT value FROM json_each(?))",
            (json.dumps([*surplus.tolist(), *stray.tolist()]),),
        )
        failpoint("put passages back")
        connection.exec_driver_sql("INSERT INTO fulltext (fulltext) VALUES ('rebuild')")
    return [
        f"put {len(displaced):,} passages back, took out {len(surplus):,} passages without a vector and "
        f"{len(stray):,} vectors without a document"
    ]


def _documents_of(store: Store, snapshot: Snapshot, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """The documents of damaged rows, by the rows and by the passages: either may be wrong."""
    with store.read() as view:
        return np.union1d(snapshot.docs[rows], _owners(view.connection, snapshot.keys[rows]))


def _owners(connection: Connection, keys: NDArray[np.int64]) -> list[int]:
    """The documents of passages."""
    found = connection.exec_driver_sql(
        "SELECT DISTINCT doc FROM passages WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(keys.tolist()),)
    )
    return list(found.scalars())


def _without_passages(store: Store) -> list[Record]:
    """Some of the documents that lost their passages, as records."""
    with store.read() as view:
        ids = view.connection.exec_driver_sql(
            "SELECT id FROM documents WHERE doc NOT IN (SELECT doc FROM passages) ORDER BY doc LIMIT ?",
            (BATCH_DOCUMENTS,),
        ).scalars()
        return [documents.record(document) for document in documents.get(view.connection, list(ids)).values()]


def _ids(store: Store, docs: list[int]) -> list[str]:
    """The ids of the first of `docs`."""
    with store.read() as view:
        found = view.connection.exec_driver_sql(
            "SELECT id FROM documents WHERE doc IN (SELECT value FROM json_each(?)) LIMIT 10", (json.dumps(docs),)
        )
        return list(found.scalars())
