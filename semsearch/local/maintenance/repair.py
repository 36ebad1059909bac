"""Repair what `check` finds from what is whole: vectors from the stored text, words and fields from the documents."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from semsearch.engine import SPARSE, Encode
from semsearch.errors import CollectionDamaged
from semsearch.ingest.ingestion import BATCH_DOCUMENTS
from semsearch.local.maintenance.check import (
    broken_tables,
    damaged_rows,
    damaged_sparse,
    interrupted,
    wrong_rows,
)
from semsearch.local.maintenance.compaction import compact
from semsearch.local.maintenance.reencoding import forget
from semsearch.local.store import document_rows as documents
from semsearch.local.store import generations, platform, segments, sparse_rows, terms, vector_file
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store
from semsearch.local.store.vector_file import vector_path
from semsearch.plain_files import is_file
from semsearch.records import Record
from semsearch.types import Metric


def repair(store: Store, encode: Encode | None) -> list[str]:
    """Mend vectors, full text and the index of fields; what was done, in sentences.

    Args:
        store: The collection's.
        encode: Makes entries of records; None where vectors were given and can't be made again.

    Raises:
        CollectionDamaged: SQLite finds its tables broken: repairing by what can be read of them would lose the rest.
    """
    done = []
    with store.write():
        _refuse_unsound(store)
        done += _forget_interrupted(store)
        _lengthen(store)
        if done:
            store.sweep()
        with store.read() as view:
            snapshot = view.snapshot
        broken = damaged_rows(snapshot)
        done += _agree(store, snapshot, broken, again=encode is not None)
        wrong, _ = wrong_rows(snapshot, Metric(snapshot.settings["metric"]), broken)
        unfit = np.union1d(broken, wrong)  # committed so by an encoder or a version that did not look at them
        if len(unfit):
            docs = _documents_of(store, snapshot, unfit)
            if encode is not None:
                compact(store, without=np.union1d(docs, _beside(snapshot, broken)))
                done.append(f"took out {len(unfit):,} damaged vectors")
            else:
                done.append(
                    f"{len(docs):,} documents have damaged vectors that were given and can't be made again: add them "
                    f"again with their vectors ({', '.join(repr(i) for i in _ids(store, docs.tolist()))})"
                )
        with store.database.write() as connection:
            if not terms.fit(connection):
                failpoint("rebuild full text")
                terms.rebuild(connection)
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


def mend_sparse(store: Store) -> list[str]:
    """Take damaged sparse vectors out, whose passages then wait for new ones; what was done, in sentences."""
    done: list[str] = []
    with store.write():
        with store.read() as view:
            settings = view.snapshot.settings
            if SPARSE not in settings:
                return done
            lost = not sparse_rows.usable(view.connection)
            damaged = [] if lost else damaged_sparse(view.connection, int(settings[SPARSE]["dim"]))
        if lost:
            with store.database.write() as connection:
                store.advance(connection)
                sparse_rows.end(connection)
                sparse_rows.begin(connection, settings[SPARSE])
            done.append("made the table of sparse vectors anew, which are all encoded again")
        elif len(damaged):
            with store.database.write() as connection:
                store.advance(connection)
                sparse_rows.remove(connection, np.array(damaged, dtype=np.int64))
            done.append(f"took out {len(damaged):,} damaged sparse vectors, which are encoded again")
    return done


def _refuse_unsound(store: Store) -> None:
    with store.database.read() as connection:
        broken = broken_tables(connection)  # only they: a broken full text can be built anew
    if broken:
        raise CollectionDamaged(
            f"the database of collection '{store.name}' is damaged ({broken[0]}), which can't be repaired "
            "from the rest. Restore it from a backup with 'semsearch restore', or index the sources anew under another "
            "name; nothing was changed."
        )


def _forget_interrupted(store: Store) -> list[str]:
    """Take out what a change of model left that can't be gone on with."""
    with store.database.write() as connection:
        found = list(interrupted(connection, store.folder))
        if not found:
            return []
        store.advance(connection)
        generations.reserve(connection)  # so that the numbers of what is forgotten are not given again
        forget(connection)
        failpoint("forget reencoded")
        connection.exec_driver_sql(
            "DELETE FROM segments WHERE (generation, 1) IN (SELECT generation, first >= rows FROM state)"
        )
    return [
        "took out what a change of model had left, which can't be gone on with: 'semsearch reencode' begins it anew"
    ]


def _lengthen(store: Store) -> None:
    """Give a vector file that was cut short its committed length again; the new bytes fail their checksums."""
    with store.database.read() as connection:
        generation, rows, dim = connection.exec_driver_sql("SELECT generation, rows, dim FROM state").one()
    path = vector_path(store.folder, generation)
    if rows and (not is_file(path) or path.stat().st_size < rows * dim * 4):
        with vector_file.opened(path, store.check_location) as file:
            file.truncate(rows * dim * 4)
            platform.fsync_file(file)


def _agree(store: Store, snapshot: Snapshot, broken: NDArray[np.intp], again: bool) -> list[str]:
    """Passages as the rows of the vector file have them, and no others: a row that is not `broken` is as committed.

    Where the list of removed rows is damaged, the passages tell it; but they may have lost some, too, so documents that
    seem to have removed rows are encoded `again`: they lose their passages and vectors here.
    """
    with store.read() as view:
        stored = documents.places(view.connection)
        there = view.connection.exec_driver_sql("SELECT doc FROM documents ORDER BY doc").scalars().all()
    live, whole = snapshot.keys[snapshot.live], snapshot.masked is not None
    sound = snapshot.places(np.setdiff1d(np.flatnonzero(snapshot.live), broken, assume_unique=True))
    owned = np.isin(sound["doc"], there)
    displaced, stray = sound[owned & ~segments.among(sound, stored)], sound["key"][~owned]
    surplus = stored[~np.isin(stored["key"], live)]
    withdrawn = stray
    if again and not whole:
        doubtful = np.union1d(snapshot.docs[~snapshot.live], surplus["doc"])
        withdrawn = np.union1d(stray, live[np.isin(snapshot.docs[snapshot.live], doubtful)])
    if whole and not len(displaced) and not len(stray) and not len(surplus):
        return []
    with store.database.write() as connection:
        version = store.advance(connection)
        terms.empty(connection)
        if len(displaced):
            connection.exec_driver_sql("INSERT OR REPLACE INTO passages VALUES (?, ?, ?, ?)", displaced.tolist())
        connection.exec_driver_sql(
            "DELETE FROM passages WHERE key IN (SELECT value FROM json_each(?))",
            (json.dumps(np.union1d(surplus["key"], withdrawn).tolist()),),
        )
        if not whole:
            segments.unmask_all(connection)
            segments.mask(connection, version, snapshot.keys[~snapshot.live].tolist())
        segments.mask(connection, version, withdrawn.tolist())
        failpoint("put passages back")
        terms.rebuild(connection)
    said = (
        (len(displaced), "put {:,} passages back"),
        (len(surplus), "took out {:,} passages without a vector"),
        (len(withdrawn), "took out {:,} vectors of documents that are gone or in doubt"),
        (not whole, "made the list of removed passages anew"),
    )
    return [sentence.format(count) for count, sentence in said if count]


def _documents_of(store: Store, snapshot: Snapshot, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """The documents of damaged rows, by the rows and by the passages: either may be wrong."""
    with store.read() as view:
        stored = documents.places(view.connection)
    return np.union1d(snapshot.docs[rows], stored["doc"][np.isin(stored["key"], snapshot.keys[rows])])


def _beside(snapshot: Snapshot, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """The documents of the rows beside: with more rows than the one that tells a wrong document, its own is there."""
    near = np.concatenate([rows - 1, rows + 1])
    return np.unique(snapshot.docs[near[(near >= 0) & (near < len(snapshot))]])


def _without_passages(store: Store) -> list[Record]:
    """Some of the documents that lost their passages, as records."""
    with store.read() as view:
        ids = view.connection.exec_driver_sql(
            "SELECT id FROM documents WHERE doc NOT IN (SELECT doc FROM passages) ORDER BY doc LIMIT ?",
            (BATCH_DOCUMENTS,),
        ).scalars()
        return [Record.of(document) for document in documents.get(view.connection, list(ids)).values()]


def _ids(store: Store, docs: list[int]) -> list[str]:
    """The ids of the first of `docs`."""
    with store.read() as view:
        found = view.connection.exec_driver_sql(
            "SELECT id FROM documents WHERE doc IN (SELECT value FROM json_each(?)) LIMIT 10", (json.dumps(docs),)
        )
        return list(found.scalars())
