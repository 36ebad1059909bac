"""Metadata of stored documents, changed without encoding anything, and documents chosen by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from semsearch.local.store import document_rows as documents
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.store import Store
from semsearch.records import Known, Record

COMMIT_DOCUMENTS = 4096  # documents of a commit


def update(store: Store, ids: Iterable[str], change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> int:
    """Commit the metadata that `change` makes of each document's; how many of `ids` were there.

    Raises:
        DataError: What metadata can't hold; names the document. Batches before it are committed.
    """
    pending = iter(dict.fromkeys(ids))
    found = 0
    while batch := list(islice(pending, COMMIT_DOCUMENTS)):
        with store.write(), store.database.write() as connection:
            stored = documents.get(connection, batch)
            known = documents.known(connection, list(stored))
            records = [
                (_with(document.id, Record.of(replace(document, metadata=change(document.metadata))), known))
                for document in stored.values()
            ]
            changed = [(record, old) for record, old in records if record.metadata != old.metadata]
            if changed:
                store.advance(connection)
                failpoint("update metadata")
                documents.update_metadata(connection, changed)
            found += len(stored)
    return found


def _with(identity: str, record: Record, known: Mapping[str, Known]) -> tuple[Record, Known]:
    """The record under the hash that is stored: that of a given vector is not the text's alone."""
    return record._replace(hash=known[identity].hash), known[identity]
