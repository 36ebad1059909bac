"""Another model for a collection, from the stored text: resumable, and the old vectors serve until one commit switches.

Documents are split and encoded batch by batch into a vector generation of their own; the table `reencoded` says what is
done, so that the same call resumes after an interruption and takes in what writers changed meanwhile. When nothing is
left, one transaction puts the new passages, vectors and model in place of the old.

A setting says which change is under way, and one process at a time is at it. Its generation is never given again, so
each step knows by it, in its own transaction, whether the change is still the one that it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection

from semsearch import versions
from semsearch.errors import ModelMismatch, UsageError
from semsearch.ingest.ingestion import BATCH_DOCUMENTS
from semsearch.local.store import document_rows as documents
from semsearch.local.store import generations, registry, segments, terms, vector_file
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.lock import WriterLock
from semsearch.local.store.schema import state
from semsearch.local.store.settings import REENCODING, put_setting, read_settings
from semsearch.local.store.store import Store
from semsearch.local.store.vector_file import vector_path
from semsearch.plain_files import is_file
from semsearch.records import Entry, Record

_WAITING = """
    SELECT id FROM documents LEFT JOIN (SELECT DISTINCT doc, hash FROM reencoded) AS done USING (doc)
    WHERE done.hash IS NULL OR done.hash != documents.hash ORDER BY documents.doc LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of model: where its vectors go, the settings that it brings, and how it encodes."""

    generation: int
    target: dict[str, Any]
    dim: int | None  # None: an older semsearch began it
    encoding: int  # `semsearch.versions.ENCODING` of what began it

    def same(self, other: Change) -> bool:
        """Whether it comes to the same vectors, wherever they go."""
        return self.target == other.target and self.encoding == other.encoding and self.dim in (None, other.dim)


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
    with WriterLock(store.folder, name="reencode").hold():
        change = _begin(store, Change(0, target, dim, versions.ENCODING))
        count = 0
        while True:
            records = _waiting(store)
            if records:
                _append(store, change, encode(records))
                count += len(records)
                if progress is not None:
                    progress(count)
            elif _switch(store, change):
                store.sweep()
                return count


def under_way(connection: Connection) -> Change | None:
    """The change that was begun and not ended."""
    begun = read_settings(connection).get(REENCODING)
    if begun is None:
        return None
    return Change(begun["generation"], begun["target"], begun.get("dim"), begun.get("encoding", 1))


def obstacle(connection: Connection, folder: Path) -> str | None:
    """Why what a change of model left can't be resumed, and must be forgotten; None if it can, or nothing was left."""
    change = under_way(connection)
    live = int(connection.exec_driver_sql("SELECT generation FROM state").scalar_one())
    if change is None:
        left = "SELECT (SELECT count(*) FROM segments WHERE generation != ?) + (SELECT count(*) FROM reencoded)"
        return (
            "parts of it are there, and it is not" if connection.exec_driver_sql(left, (live,)).scalar_one() else None
        )
    if change.generation == live:
        return "it was about to be written among the vectors that serve"
    path, rows = vector_path(folder, change.generation), segments.count(connection, change.generation)
    size = path.stat().st_size if is_file(path) else 0
    return f"its vectors in {path} are missing, or cut short" if size < rows * (change.dim or 1) * 4 else None


def forget(connection: Connection) -> None:
    """Leave the collection as if no change of model had been begun, inside the caller's transaction."""
    connection.exec_driver_sql("DELETE FROM segments WHERE generation != (SELECT generation FROM state)")
    connection.exec_driver_sql("DELETE FROM reencoded")
    connection.exec_driver_sql("DELETE FROM settings WHERE name = ?", (REENCODING,))


def _begin(store: Store, wanted: Change) -> Change:
    """The change to go on with: that of an interrupted call with the same model, or a new one."""
    with store.write(), store.database.write() as connection:
        begun = under_way(connection)
        if begun is not None and begun.same(wanted) and obstacle(connection, store.folder) is None:
            change = replace(wanted, generation=begun.generation)
        else:
            change = replace(wanted, generation=generations.reserve(connection))  # while it is seen what was given
            forget(connection)
        store.advance(connection)
        put_setting(connection, REENCODING, asdict(change))
        return change


def _check_own(connection: Connection, store: Store, change: Change) -> None:
    if under_way(connection) != change:
        raise ModelMismatch(
            f"another process began to change the model of collection '{store.name}', or ended it, while this one was "
            "at it, whose work was left out. Run the same command again if it is still wanted."
        )


def _waiting(store: Store) -> list[Record]:
    """Some of the documents that are not yet encoded as they are now."""
    with store.read() as view:
        ids = view.connection.exec_driver_sql(_WAITING, (BATCH_DOCUMENTS,)).scalars().all()
        found = documents.get(view.connection, ids)
        hashes = documents.known(view.connection, ids)
    # the stored hash, since that of a document with a given vector is not of its text alone
    return [Record(found[i], hashes[i].metadata, hashes[i].hash) for i in ids]


def _append(store: Store, change: Change, entries: Sequence[Entry]) -> None:
    """Commit encoded documents to the generation that is being made."""
    if not entries:
        raise UsageError("the new model gave no vectors; nothing was changed.")
    vectors = np.concatenate([entry.vectors for entry in entries])
    generation = change.generation
    with store.write():
        with store.database.read() as connection:
            _check_own(connection, store, change)
            rows = segments.count(connection, generation)
            known = documents.known(connection, [entry.record.document.id for entry in entries])
        vector_file.append(vector_path(store.folder, generation), rows, vectors, store.check_location)
        with store.database.write() as connection:
            _check_own(connection, store, change)
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


def _switch(store: Store, change: Change) -> bool:
    """Put the new passages, vectors and model in place; False if a document came or changed meanwhile."""
    with store.write(), store.database.write() as connection:
        _check_own(connection, store, change)
        if connection.exec_driver_sql(_WAITING, (1,)).first() is not None:
            return False
        keys = segments.read(connection, change.generation)[0]["key"]
        version = store.advance(connection)
        failpoint("switch passages")
        terms.empty(connection)
        connection.exec_driver_sql("DELETE FROM passages")
        segments.unmask_all(connection)
        connection.exec_driver_sql(
            'INSERT INTO passages SELECT key, doc, "start", "end" FROM reencoded '
            "WHERE doc IN (SELECT doc FROM documents)"
        )
        kept = connection.exec_driver_sql("SELECT key FROM passages").scalars().all()
        segments.mask(connection, version, np.setdiff1d(keys, kept).tolist())
        failpoint("switch full text")
        terms.rebuild(connection)
        registry.retire_all(connection)
        connection.execute(
            state.update().values(
                generation=change.generation, rows=len(keys), dim=change.dim, encoding=change.encoding
            )
        )
        forget(connection)
        for name, value in change.target.items():
            put_setting(connection, name, value)
    return True
