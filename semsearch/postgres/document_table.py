"""Documents, passages and fields as rows: how they are written, changed, removed in the caller's transaction.

Several writers may be at it at once. Each locks the documents that it knows before it looks at what is stored of them;
two that write the same new one collide at its digest, and the later begins again. In both places digests ascend, so
that nobody waits for one that waits. What all of them change comes last: the counts of the collection and of its words.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from semsearch.engine import Origin, Written
from semsearch.errors import DimensionMismatch
from semsearch.postgres import word_rows
from semsearch.postgres.array_format import bytes_of, int4, int8, written
from semsearch.postgres.connections import DatabaseSession, one
from semsearch.records import Entry, Known, Record
from semsearch.search.document_words import CountedWords
from semsearch.search.fields import fields_of
from semsearch.search.languages import Languages
from semsearch.types import Document, Metadata

_COPY_DOCUMENTS = b"COPY documents (doc, id, digest, title, text, metadata, hash, words) FROM STDIN (FORMAT binary)"
DIGEST_COLUMN = 2  # its place among them
_COPY_PASSAGES = b'COPY passages (key, doc, start, "end", words, vector) FROM STDIN (FORMAT binary)'
_COPY_FIELDS = b"COPY fields (doc, field, number, value) FROM STDIN (FORMAT binary)"
_KNOWN = b"SELECT id, doc, hash, metadata FROM documents WHERE digest = ANY(%s)"
_LOCKED = b" ORDER BY digest FOR UPDATE"
_UPDATE = b"""
UPDATE documents AS old SET title = new.title, text = new.text, metadata = new.metadata, hash = new.hash,
    words = new.words
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::bigint[])
    AS new (doc, title, text, metadata, hash, words) WHERE old.doc = new.doc
"""
_UPDATE_METADATA = b"""
UPDATE documents AS old SET metadata = new.metadata
FROM unnest(%s::bigint[], %s::text[]) AS new (doc, metadata) WHERE old.doc = new.doc
"""
_DIM = b"SELECT dim FROM state"
_REMOVE_PASSAGES = b"""
WITH gone AS (DELETE FROM passages WHERE doc = ANY(%s) RETURNING words)
SELECT count(*), coalesce(sum(words), 0) FROM gone
"""
_NAME_FIELDS = b"SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' field names', 0))"
_COUNT = b"""
UPDATE state SET version = version + 1, documents = documents + %s, passages = passages + %s, words = words + %s,
    whole_words = whole_words + %s, longest = greatest(longest, %s), dim = coalesce(dim, %s)
"""
_GIVE_ORIGIN = b"""
INSERT INTO origins (doc, source, file, position) SELECT doc, given.source, given.file, given.position
FROM unnest(%s::bytea[], %s::bigint[], %s::bigint[], %s::text[]) AS given (digest, source, file, position)
JOIN documents USING (digest)
ON CONFLICT (doc, source) DO UPDATE SET file = excluded.file, position = excluded.position
"""


class CountChange(NamedTuple):
    """By how much the counts of a collection change, and those of its terms, each the documents that hold it."""

    documents: int = 0
    passages: int = 0
    words: int = 0
    whole_words: int = 0
    terms: Mapping[int, int] = {}

    def __add__(self, other: tuple[Any, ...]) -> CountChange:
        more = CountChange(*other)
        terms = Counter(self.terms)
        terms.update(more.terms)  # `+` would leave out what is below 0
        return CountChange(
            self.documents + more.documents,
            self.passages + more.passages,
            self.words + more.words,
            self.whole_words + more.whole_words,
            terms,
        )


def digests(ids: Iterable[str]) -> list[bytes]:
    """What documents are looked up by."""
    return [_digest(identity) for identity in ids if isinstance(identity, str)]


def _digest(identity: str) -> bytes:
    return hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def known(session: DatabaseSession, ids: Iterable[str], *, locked: bool = False) -> dict[str, Known]:
    """What is stored of each of `ids` that is stored at all; `locked`: kept from other writers."""
    rows = session.execute(_KNOWN + (_LOCKED if locked else b""), (digests(ids),)).fetchall()
    return {identity: Known(doc, content, metadata) for identity, doc, content, metadata in rows}


def put(
    session: DatabaseSession,
    name: str,
    entries: Sequence[Entry],
    metadata_only: Sequence[Record],
    again: bool,
    origin: Callable[[str], Origin] | None,
    counted: Callable[[Entry], CountedWords],
) -> Written:
    """See `semsearch.engine.Engine.put`; `name` is the collection's, `counted` gives the words of a document."""
    records = [*(entry.record for entry in entries), *metadata_only]
    stored = known(session, [record.document.id for record in records], locked=True)
    fresh = [entry for entry in entries if again or not _same(entry.record, stored)]
    rewritten = {entry.record.document.id for entry in fresh}
    changes = [
        (record, old.doc)
        for record in records
        if record.document.id not in rewritten
        and (old := stored.get(record.document.id)) is not None
        and old.hash == record.hash
        and old.metadata != record.metadata
    ]
    if not fresh and not changes:
        return Written(0, 0, 0)
    dim = one(session, _DIM)
    first = dim is None
    dim = _fitting(name, fresh, dim)
    replaced = [stored[identity].doc for identity in rewritten if identity in stored]
    change = remove_passages(session, replaced)
    change_metadata(session, changes)
    change += insert(session, fresh, stored, counted)
    if origin is not None:
        note(session, {identity: origin(identity) for identity in rewritten})
    longest = max((_longest(entry) for entry in fresh), default=0.0)
    count(session, change, longest, dim)
    if first:  # or another writer's vectors were, just now
        _fitting(name, fresh, one(session, _DIM))
    return Written(len(fresh) - len(replaced), len(replaced) + len(changes), sum(len(entry.spans) for entry in fresh))


def counter(languages: Languages) -> Callable[[Entry], CountedWords]:
    """What counts the words of a document by languages."""

    def counted(entry: Entry) -> CountedWords:
        document = entry.record.document
        return CountedWords.of(document.title, (document.text[a:b] for a, b in entry.spans), languages)

    return counted


def _same(record: Record, stored: Mapping[str, Known]) -> bool:
    old = stored.get(record.document.id)
    return old is not None and old.hash == record.hash


def _longest(entry: Entry) -> float:
    return float(np.sqrt(np.einsum("nd,nd->n", entry.vectors, entry.vectors, dtype=np.float64)).max(initial=0))


def _fitting(name: str, entries: Sequence[Entry], dim: int | None) -> int | None:
    """The components of the collection's vectors, which those of `entries` must have; `dim` where there are some."""
    for entry in entries:
        dim = entry.vectors.shape[1] if dim is None else dim
        if entry.vectors.shape[1] != dim:
            raise DimensionMismatch(
                f"document {entry.record.document.id!r}: its vector has {entry.vectors.shape[1]} components, those of "
                f"collection '{name}' have {dim}."
            )
    return dim


def count(session: DatabaseSession, change: CountChange, longest: float = 0.0, dim: int | None = None) -> None:
    """Note a commit and what it changes of the counts; other writers wait from here to the end of the transaction."""
    *counts, terms = change
    session.execute(_COUNT, (*counts, longest, dim))
    word_rows.count(session, terms)


def insert(
    session: DatabaseSession,
    entries: Sequence[Entry],
    stored: Mapping[str, Known],
    counted: Callable[[Entry], CountedWords],
) -> CountChange:
    """Write documents, new or changed, with their passages; those of a changed one must have been removed."""
    new = [entry for entry in entries if entry.record.document.id not in stored]
    numbers = dict(
        zip((entry.record.document.id for entry in new), reserved(session, "doc_numbers", len(new)), strict=True)
    )
    numbers |= {identity: old.doc for identity, old in stored.items()}
    own_keys = iter(reserved(session, "keys", sum(len(entry.spans) for entry in entries)))
    worded, rows = [], []
    for entry in entries:
        doc = numbers[entry.record.document.id]
        spans = [(next(own_keys), span.start, span.end) for span in entry.spans]
        words = counted(entry).keyed(doc, (key for key, _, _ in spans))
        worded.append(words)
        rows += [
            (int8(key), int8(doc), int4(start), int4(end), int4(length), vector)
            for (key, start, end), length, vector in zip(spans, words.words, bytes_of(entry.vectors), strict=True)
        ]
    whole = {words.doc: words.whole_words for words in worded}
    old = [entry for entry in entries if entry.record.document.id in stored]
    if old:
        docs = [stored[entry.record.document.id].doc for entry in old]
        columns = [
            docs,
            [entry.record.document.title for entry in old],
            [entry.record.document.text for entry in old],
            [entry.record.metadata for entry in old],
            [entry.record.hash for entry in old],
            [whole[doc] for doc in docs],
        ]
        session.execute(_UPDATE, columns)
        session.execute("DELETE FROM fields WHERE doc = ANY(%s)", (docs,))
    _copy(
        session,
        _COPY_DOCUMENTS,
        sorted((_row(entry.record, numbers, whole) for entry in new), key=itemgetter(DIGEST_COLUMN)),
    )
    _copy(session, _COPY_PASSAGES, rows)
    _write_fields(session, [(numbers[entry.record.document.id], entry.record.document.metadata) for entry in entries])
    terms = word_rows.write(session, worded)
    words_of_passages = sum(sum(words.words) for words in worded)
    return CountChange(len(new), len(rows), words_of_passages, sum(whole.values()), terms)


def _row(record: Record, numbers: Mapping[str, int], whole: Mapping[int, int]) -> Sequence[bytes]:
    document, doc = record.document, numbers[record.document.id]
    texts = (document.title.encode(), document.text.encode(), record.metadata.encode())
    return (int8(doc), document.id.encode(), _digest(document.id), *texts, record.hash, int8(whole[doc]))


def _copy(session: DatabaseSession, statement: bytes, rows: Iterable[Sequence[bytes]]) -> None:
    with session.cursor().copy(statement) as copy:
        for piece in written(rows):
            copy.write(piece)


def reserved(session: DatabaseSession, sequence: str, number: int) -> list[int]:
    """So many numbers that were never given, ascending."""
    if not number:
        return []
    statement = f"SELECT nextval('{sequence}') FROM generate_series(1, %s)".encode()
    return sorted(row[0] for row in session.execute(statement, (number,)))


def _write_fields(session: DatabaseSession, given: Iterable[tuple[int, Metadata]]) -> None:
    rows: list[tuple[int, tuple[str, bool, str], Decimal | None, str | None]] = []
    for doc, metadata in given:
        for name, element, kind, value in {*fields_of(metadata)} if metadata else ():
            if kind in ("number", "bool", "date"):
                rows.append((doc, (name, element, kind), Decimal(value), None))
            else:
                rows.append((doc, (name, element, kind), None, value if kind == "text" else None))
    if not rows:
        return
    numbers = _field_numbers(session, {name for _, name, _, _ in rows})
    with session.cursor().copy(_COPY_FIELDS) as copy:
        copy.set_types(["int8", "int4", "numeric", "text"])
        for row in sorted({(doc, numbers[name], number, value) for doc, name, number, value in rows}, key=_field_order):
            copy.write_row(row)


def _field_order(row: tuple[int, int, Decimal | None, str | None]) -> tuple[int, int]:
    return row[:2]


def _field_numbers(session: DatabaseSession, names: set[tuple[str, bool, str]]) -> dict[tuple[str, bool, str], int]:
    found = _numbered_fields(session, names)
    if lacking := sorted(names - found.keys()):
        session.execute(_NAME_FIELDS)  # until the end of the transaction: a new name is rare
        found |= _numbered_fields(session, set(lacking))
        for name, element, kind in lacking:
            if (name, element, kind) not in found:
                statement = b"INSERT INTO field_names (name, element, type) VALUES (%s, %s, %s) RETURNING field"
                found[name, element, kind] = one(session, statement, (name, element, kind))
    return found


def _numbered_fields(session: DatabaseSession, names: set[tuple[str, bool, str]]) -> dict[tuple[str, bool, str], int]:
    wanted = list(names)
    columns = ([name for name, _, _ in wanted], [element for _, element, _ in wanted], [kind for _, _, kind in wanted])
    rows = session.execute(
        "SELECT f.name, f.element, f.type, f.field FROM unnest(%s::text[], %s::boolean[], %s::text[]) "
        "AS asked (name, element, type) JOIN field_names AS f ON left(f.name, 200) = left(asked.name, 200) "
        "AND f.name = asked.name AND f.element = asked.element AND f.type = asked.type",
        columns,
    )
    return {(name, element, kind): number for name, element, kind, number in rows}


def change_metadata(session: DatabaseSession, changes: Sequence[tuple[Record, int]]) -> None:
    """Replace the metadata of documents, by their numbers."""
    if changes:
        docs = [doc for _, doc in changes]
        session.execute(_UPDATE_METADATA, (docs, [record.metadata for record, _ in changes]))
        session.execute("DELETE FROM fields WHERE doc = ANY(%s)", (docs,))
        _write_fields(session, [(doc, record.document.metadata) for record, doc in changes])


def remove_passages(session: DatabaseSession, docs: Sequence[int]) -> CountChange:
    """Take away the passages of documents, which stay, and their words."""
    if not docs:
        return CountChange()
    terms = word_rows.forget(session, docs)
    row = session.execute(_REMOVE_PASSAGES, (list(docs),)).fetchone()
    assert row is not None
    whole = one(session, b"SELECT coalesce(sum(words), 0) FROM documents WHERE doc = ANY(%s)", (list(docs),))
    gone = {term: -documents for term, documents in terms.items()}
    return CountChange(0, -int(row[0]), -int(row[1]), -int(whole), gone)


def remove(session: DatabaseSession, ids: Sequence[str]) -> int:
    """Take away documents with all that belongs to them; how many were there."""
    docs = [old.doc for old in known(session, ids, locked=True).values()]
    if docs:
        change = remove_passages(session, docs)
        session.execute("DELETE FROM documents WHERE doc = ANY(%s)", (docs,))
        count(session, change + CountChange(-len(docs)))
    return len(docs)


def note(session: DatabaseSession, given: Mapping[str, Origin]) -> None:
    """Which file of which source gave documents, by id, and no other file of that source."""
    if given:
        origins = list(given.values())
        columns = (
            digests(given),
            [origin.source for origin in origins],
            [origin.file for origin in origins],
            [origin.position for origin in origins],
        )
        session.execute(_GIVE_ORIGIN, columns)


def documents_of(session: DatabaseSession, condition: bytes, values: Sequence[Any]) -> list[tuple[int, Document]]:
    """The documents that a condition on `documents` allows, with their numbers."""
    rows = session.execute(b"SELECT doc, id, text, title, metadata FROM documents WHERE " + condition, values)
    return [
        (doc, Document(identity, text, title, json.loads(metadata))) for doc, identity, text, title, metadata in rows
    ]
