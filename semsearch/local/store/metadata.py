"""Metadata of stored documents, changed without encoding anything, and documents chosen by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from semsearch.local.store import document_rows as documents
from semsearch.local.store.document_rows import Known, Record
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.filters import allowed_documents
from semsearch.local.store.store import Store
from semsearch.search.where import Where

BATCH = 4096  # documents of a commit


def update(store: Store, ids: Iterable[str], change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> int:
    """Commit the metadata that `change` makes of each document's; how many of `ids` were there.

    Raises:
        DataError: What metadata can't hold; names the document. Batches before it are committed.
    """
    pending = iter(dict.fromkeys(ids))
    found = 0
    while batch := list(islice(pending, BATCH)):
        with store.write(), store.database.write() as connection:
            stored = documents.get(connection, batch)
            known = documents.known(connection, list(stored))
            records = [
                (_with(document.id, documents.record(replace(document, metadata=change(document.metadata))), known))
                for document in stored.values()
            ]
            changed = [(record, old) for record, old in records if record.metadata != old.metadata]
            if changed:
                store.advance(connection)
                failpoint("update metadata")
                documents.update_metadata(connection, changed)
            found += len(stored)
    return found


def ids_where(store: Store, where: Where) -> Sequence[str]:
    """The ids of the documents that a filter allows, in the order they were first added."""
    with store.read() as view:
        allowed = np.flatnonzero(allowed_documents(view.connection, where)).tolist()
        found = view.connection.exec_driver_sql(
            "SELECT id FROM documents WHERE doc IN (SELECT value FROM json_each(?)) ORDER BY doc",
            (documents.as_json(allowed),),
        )
        return [row[0] for row in found]


def count_where(store: Store, where: Where) -> int:
    """How many documents a filter allows."""
    with store.read() as view:
        return int(np.count_nonzero(allowed_documents(view.connection, where)))


def _with(identity: str, record: Record, known: Mapping[str, Known]) -> tuple[Record, Known]:
    """The record under the hash that is stored: that of a given vector is not the text's alone."""
    return replace(record, hash=known[identity].hash), known[identity]
