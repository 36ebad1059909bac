"""Mending what `check` finds, from what is whole: vectors from the stored text, words and fields from the documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np

from semsearch.care.check import broken_tables, damaged_rows, fulltext_fits
from semsearch.care.compaction import compact
from semsearch.errors import CollectionDamaged
from semsearch.ingestion import BATCH_DOCUMENTS
from semsearch.store import documents, platform
from semsearch.store.documents import Entry, Record
from semsearch.store.failpoints import failpoint
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
        done += _agree(store)
        with store.read() as view:
            snapshot = view.snapshot
            displaced = snapshot.rows_of(np.intersect1d(documents.damaged_passages(view.connection), snapshot.keys))
            broken = damaged_rows(snapshot)
            docs = np.unique(snapshot.docs[np.union1d(broken, displaced)])
        if len(docs) and encode is not None:
            _put_back(store, snapshot.keys[displaced].tolist(), snapshot.docs[displaced].tolist())
            compact(store, without=docs)
            done.append(f"took out {len(broken):,} damaged vectors and {len(displaced):,} damaged passages")
        elif len(docs):
            done.append(
                f"{len(docs):,} documents have damaged passages or vectors that were given and can't be made again: "
                f"add them again with their vectors ({', '.join(repr(i) for i in _ids(store, docs.tolist()))})"
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


def _agree(store: Store) -> list[str]:
    """Take out vectors without a passage and passages without a vector."""
    with store.read() as view:
        passages = view.connection.exec_driver_sql("SELECT key FROM passages ORDER BY key").scalars().all()
        live = view.snapshot.keys[view.snapshot.live]
    stored = np.asarray(passages, dtype=np.int64)
    stray, lost = np.setdiff1d(live, stored), np.setdiff1d(stored, live)
    if not len(stray) and not len(lost):
        return []
    with store.database.write() as connection:
        version = store.advance(connection)
        connection.exec_driver_sql(
            "INSERT OR IGNORE INTO removed SELECT ?, value FROM json_each(?)", (version, json.dumps(stray.tolist()))
        )
        of_lost = connection.exec_driver_sql(
            "SELECT DISTINCT doc FROM passages WHERE key IN (SELECT value FROM json_each(?))",
            (json.dumps(lost.tolist()),),
        )
        documents.remove_passages(connection, list(of_lost.scalars()), version)
    return [f"took out {len(stray):,} vectors without a passage and {len(lost):,} passages without a vector"]


def _put_back(store: Store, keys: list[int], docs: list[int]) -> None:
    """Give damaged passages to their documents again, to be taken out with them; their words go from the full text."""
    if keys:
        with store.database.write() as connection:
            connection.exec_driver_sql("INSERT INTO fulltext (fulltext) VALUES ('delete-all')")
            connection.exec_driver_sql("UPDATE passages SET doc = ? WHERE key = ?", list(zip(docs, keys, strict=True)))
            failpoint("put passages back")
            connection.exec_driver_sql("INSERT INTO fulltext (fulltext) VALUES ('rebuild')")


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
