"""Another model for a collection, from the stored text: resumable, and the old vectors serve until one commit switches.

Documents are split and encoded batch by batch into a vector generation of their own; the table `reencoded` says what is
done, so that the same call resumes after an interruption and takes in what writers changed meanwhile. When nothing is
left, one transaction puts the new passages, vectors and model in place of the old.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection

from semsearch import versions
from semsearch.errors import UsageError
from semsearch.ingest.ingestion import BATCH_DOCUMENTS
from semsearch.local.store import document_rows as documents
from semsearch.local.store import registry, segments, vector_file
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.schema import state
from semsearch.local.store.settings import put_setting
from semsearch.local.store.store import Store
from semsearch.local.store.vector_file import vector_path
from semsearch.records import Entry, Record

_WAITING = """
    SELECT id FROM documents LEFT JOIN (SELECT DISTINCT doc, hash FROM reencoded) AS done USING (doc)
    WHERE done.hash IS NULL OR done.hash != documents.hash ORDER BY documents.doc LIMIT ?
"""


def reencode(
    store: Store,
    target: dict[str, Any],
    dim: int,
    encode: Callable[[Sequence[Record]], list[Entry]],
    progress: Callable[[int], None] | None = None,
) -> int:
    """Encode every document anew and switch over; how many were encoded by this call.

    Args:
        store: The collection's.
        target: The settings that the new model brings: encoder, metric, passages, splitting.
        dim: Components of the new vectors.
        encode: Splits and encodes records with the new model.
        progress: Called with the number of documents encoded so far.
    """
    generation = _begin(store, target)
    count = 0
    while True:
        records = _waiting(store)
        if records:
            _append(store, generation, encode(records))
            count += len(records)
            if progress is not None:
                progress(count)
        elif _switch(store, generation, target, dim):
            store.sweep()
            return count


def _begin(store: Store, target: dict[str, Any]) -> int:
    """The generation to encode into: that of an interrupted call with the same model, or a new one."""
    with store.write():
        under_way = store.settings.get("reencoding")
        if under_way is not None and under_way["target"] == target:
            return int(under_way["generation"])
        generation = store.next_generation()
        with store.database.write() as connection:
            store.advance(connection)
            if under_way is not None:
                _forget(connection)
            put_setting(connection, "reencoding", {"generation": generation, "target": target})
        return generation


def _forget(connection: Connection) -> None:
    connection.exec_driver_sql("DELETE FROM segments WHERE generation != (SELECT generation FROM state)")
    connection.exec_driver_sql("DELETE FROM reencoded")
    connection.exec_driver_sql("DELETE FROM settings WHERE name = 'reencoding'")


def _waiting(store: Store) -> list[Record]:
    """Some of the documents that are not yet encoded as they are now."""
    with store.read() as view:
        ids = view.connection.exec_driver_sql(_WAITING, (BATCH_DOCUMENTS,)).scalars().all()
        found = documents.get(view.connection, ids)
        hashes = documents.known(view.connection, ids)
    # the stored hash, since that of a document with a given vector is not of its text alone
    return [Record(found[i], hashes[i].metadata, hashes[i].hash) for i in ids]


def _append(store: Store, generation: int, entries: Sequence[Entry]) -> None:
    """Commit encoded documents to the generation that is being made."""
    if not entries:
        raise UsageError("the new model gave no vectors; nothing was changed.")
    vectors = np.concatenate([entry.vectors for entry in entries])
    with store.write():
        with store.database.read() as connection:
            rows = segments.count(connection, generation)
            known = documents.known(connection, [entry.record.document.id for entry in entries])
        vector_file.append(vector_path(store.folder, generation), rows, vectors, store.check_place)
        with store.database.write() as connection:
            key = documents.reserve_keys(connection, len(vectors))
            staged: list[tuple[Any, ...]] = []
            for entry in entries:
                old = known.get(entry.record.document.id)
                doc = -1 if old is None else old.doc  # removed meanwhile: its rows will be masked
                for span in entry.spans:
                    staged.append((key + len(staged), doc, entry.record.hash, *span))
            failpoint("write reencoded")
            connection.exec_driver_sql(
                "DELETE FROM reencoded WHERE doc IN (SELECT value FROM json_each(?))",
                (documents.as_json([doc for _, doc, *_ in staged]),),
            )
            connection.exec_driver_sql("INSERT INTO reencoded VALUES (?, ?, ?, ?, ?)", staged)
            places = np.array([(key, doc, *span) for key, doc, _, *span in staged], dtype=segments.PLACE_DTYPE)
            segments.write(connection, generation, rows, places, segments.checksums(vectors, places))


def _switch(store: Store, generation: int, target: dict[str, Any], dim: int) -> bool:
    """Put the new passages, vectors and model in place; False if a document came or changed meanwhile."""
    with store.write(), store.database.write() as connection:
        if connection.exec_driver_sql(_WAITING, (1,)).first() is not None:
            return False
        keys = segments.read(connection, generation)[0]["key"]
        version = store.advance(connection)
        failpoint("switch passages")
        connection.exec_driver_sql("INSERT INTO fulltext (fulltext) VALUES ('delete-all')")
        connection.exec_driver_sql("DELETE FROM passages")
        segments.unmask_all(connection)
        connection.exec_driver_sql(
            'INSERT INTO passages SELECT key, doc, "start", "end" FROM reencoded '
            "WHERE doc IN (SELECT doc FROM documents)"
        )
        kept = connection.exec_driver_sql("SELECT key FROM passages").scalars().all()
        segments.mask(connection, version, np.setdiff1d(keys, kept).tolist())
        failpoint("switch full text")
        connection.exec_driver_sql("INSERT INTO fulltext (fulltext) VALUES ('rebuild')")
        registry.retire_all(connection)
        connection.execute(
            state.update().values(generation=generation, rows=len(keys), dim=dim, encoding=versions.ENCODING)
        )
        _forget(connection)
        for name, value in target.items():
            put_setting(connection, name, value)
    return True
