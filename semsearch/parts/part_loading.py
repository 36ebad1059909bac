"""Parts into a collection, whatever its engine: nothing is encoded, and what is there already is not written again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from semsearch.engine import Engine
from semsearch.engine import fingerprint as fingerprint_of
from semsearch.errors import ModelMismatch
from semsearch.ingest.identification import find_languages
from semsearch.ingest.ingestion import BATCH_CHARACTERS, BATCH_DOCUMENTS, IngestResult, Progress, check_splitting
from semsearch.ingest.label_fields import label_fields, note_values, with_labels
from semsearch.ingest.model_doubt import ModelDoubt
from semsearch.parts.part_folder import PartFolder
from semsearch.records import Entry, Record


def check_model(folder: PartFolder, made: str, called: str) -> None:
    """Raise where the parts are of another model than that of the fingerprint `made`, which is `called` something.

    Raises:
        ModelMismatch: They are; says which it is.
    """
    if folder.header.fingerprint != made:
        raise ModelMismatch(
            f"the parts were made with the model {folder.header.model!r:.100} (fingerprint "
            f"{folder.header.fingerprint[:16]}), not with {called} ({made[:16]}): their vectors don't compare. Name "
            "the model that made them (--encoder)."
        )


def load_parts(folder: PartFolder, engine: Engine, progress: Callable[[Progress], None] | None = None) -> IngestResult:
    """Commit all documents of the parts, in the order of their source.

    Raises:
        ModelMismatch: The collection has another model, or splits otherwise.
        DataError: A part is not what was written.
    """
    settings = engine.settings
    check_model(folder, fingerprint_of(settings), f"that of collection '{engine.name}'")
    check_splitting(engine, folder.header.splitting)
    folder.check()
    changes, read = IngestResult(skipped=folder.skipped, truncated=folder.truncated), 0
    doubt = ModelDoubt(engine, engine.settings)
    for batch in _batches(folder):
        find_languages(engine, [entry.record.document for entry in batch])
        new, relabelled = _sorted(engine, batch)
        read += len(batch)
        if new or relabelled:
            written = engine.put(new, relabelled, model=folder.header.fingerprint)
            changes += IngestResult(written.added, written.changed, 0, 0, written.passages)
            doubt.see([entry.record.document for entry in new])
        total = read - changes.added - changes.changed
        changes = replace(changes, unchanged=total)
        if progress is not None:
            progress(Progress(read, changes.passages, changes.unchanged))
    doubt.tell()
    return changes


def _batches(folder: PartFolder) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    characters = 0
    for _, entry in folder.entries():
        batch.append(entry)
        characters += len(entry.record.document.text)
        if len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS[1]:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _sorted(engine: Engine, batch: list[Entry]) -> tuple[list[Entry], list[Record]]:
    """Those whose content is not stored, and those of which the metadata alone is other than what is stored."""
    known = engine.known([entry.record.document.id for entry in batch])
    records = {entry.record.document.id: entry.record for entry in batch}
    fields = label_fields(engine.settings)
    note_values(engine, fields, records, known)
    records = with_labels(fields, records, known)
    new: list[Entry] = []
    relabelled: list[Record] = []
    for entry in batch:
        record = records[entry.record.document.id]
        old = known.get(record.document.id)
        if old is None or old.hash != record.hash:
            new.append(entry)
        elif old.metadata != record.metadata:
            relabelled.append(record)
    return new, relabelled
