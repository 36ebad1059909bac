"""Another model for a collection, from the stored text: resumable, and the old vectors serve until one commit switches.

What is encoded waits in the table `reencoded`, so that the same call goes on after an interruption and takes in what
writers changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from semsearch import versions
from semsearch.engine import Encode
from semsearch.errors import UsageError
from semsearch.ingest.ingestion import BATCH_DOCUMENTS
from semsearch.postgres import document_table, graph, word_rows
from semsearch.postgres.array_format import bytes_of, int4, int8, written
from semsearch.postgres.connections import DatabaseSession
from semsearch.postgres.state_row import put_setting, read_settings
from semsearch.records import Entry, Record
from semsearch.search.languages import languages_of

MODEL_CHANGE = "reencoding"  # the setting that says which is under way
_NOT_REENCODED = b"""
SELECT d.id FROM documents AS d LEFT JOIN (SELECT DISTINCT doc, hash FROM reencoded) AS done USING (doc)
WHERE done.hash IS NULL OR done.hash <> d.hash ORDER BY d.doc LIMIT %s
"""
_COPY_REENCODED = b'COPY reencoded (doc, hash, start, "end", vector) FROM STDIN (FORMAT binary)'


def reencode(
    session: DatabaseSession,
    writing: Callable[[], AbstractContextManager[DatabaseSession]],
    target: Mapping[str, Any],
    dim: int,
    encode: Encode,
    progress: Callable[[int], None] | None,
) -> int:
    """See `semsearch.engine.Maintained.reencode`; `session` has the turn of building."""
    wanted = {"target": dict(target), "dim": dim, "encoding": versions.ENCODING}
    with writing() as own:
        if read_settings(own).get(MODEL_CHANGE) != wanted:  # another change, or none: begin
            own.execute(b"DELETE FROM reencoded")
            put_setting(own, MODEL_CHANGE, wanted)
            document_table.count(own, document_table.CountChange())
    count = 0
    while True:
        records = _waiting(session)
        if records:
            entries = encode(records)
            if not entries:
                raise UsageError("the new model gave no vectors; nothing was changed.")
            with writing() as own:
                _append(own, entries)
            count += len(records)
            if progress is not None:
                progress(count)
            continue
        if read_settings(session).get(graph.GRAPH) is not None:  # which takes no vectors of another length
            with writing() as own:
                put_setting(own, graph.GRAPH, None)
                document_table.count(own, document_table.CountChange())
        graph.drop(session, graph.graphs(session))
        with writing() as own:
            if own.execute(_NOT_REENCODED, (1,)).fetchone() is None:
                _switch(own, target, dim)
                return count


def _waiting(session: DatabaseSession) -> list[Record]:
    """Some of the documents that are not yet encoded as they are now, under the hash that is stored."""
    ids = [identity for (identity,) in session.execute(_NOT_REENCODED, (BATCH_DOCUMENTS,))]
    found = document_table.documents_of(session, b"digest = ANY(%s)", (document_table.digests(ids),))
    known = document_table.known(session, ids)
    return [Record(document, known[document.id].metadata, known[document.id].hash) for _, document in found]


def _append(session: DatabaseSession, entries: Sequence[Entry]) -> None:
    known = document_table.known(session, [entry.record.document.id for entry in entries])
    there = [entry for entry in entries if entry.record.document.id in known]  # the others were removed meanwhile
    docs = {entry.record.document.id: known[entry.record.document.id].doc for entry in there}
    session.execute(b"DELETE FROM reencoded WHERE doc = ANY(%s)", (list(docs.values()),))
    rows = (
        (int8(docs[entry.record.document.id]), entry.record.hash, int4(span.start), int4(span.end), vector)
        for entry in there
        for span, vector in zip(entry.spans, bytes_of(entry.vectors), strict=True)
    )
    with session.cursor().copy(_COPY_REENCODED) as copy:
        for piece in written(rows):
            copy.write(piece)


def _switch(session: DatabaseSession, target: Mapping[str, Any], dim: int) -> None:
    """Put the new passages, vectors and model in place, under keys that no passage ever had."""
    session.execute(b"DELETE FROM passages")
    session.execute(
        b'INSERT INTO passages (key, doc, start, "end", words, vector) '
        b"SELECT nextval('keys'), doc, start, \"end\", 0, vector FROM ("
        b'SELECT doc, start, "end", vector FROM reencoded WHERE doc IN (SELECT doc FROM documents) ORDER BY doc, start'
        b") AS made"
    )
    session.execute(b"DELETE FROM reencoded")
    for name, value in target.items():
        put_setting(session, name, value)
    session.execute(b"DELETE FROM settings WHERE name IN (%s, 'calibration')", (MODEL_CHANGE,))
    word_rows.rebuild(session, languages_of(read_settings(session)))
    session.execute(
        b"UPDATE state SET version = version + 1, dim = %s, encoding = %s, longest = coalesce("
        b"(SELECT max(vector_norm(vector)) FROM passages), 0)",
        (dim, versions.ENCODING),
    )
