"""Documents and passages as rows: how they are written, looked up and joined to hits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, Connection, Row, case, delete, func, select

from semsearch.errors import CollectionDamaged
from semsearch.local.store import pieces, segments, terms
from semsearch.local.store.checksum import crc32
from semsearch.local.store.database import driver
from semsearch.local.store.database_errors import decoding
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.schema import PIECE, documents, passages
from semsearch.local.store.segments import PLACE_DTYPE, Places
from semsearch.records import Entry, Known, Record
from semsearch.search.fields import fields_of
from semsearch.types import Document, Metadata


@decoding()
def known(connection: Connection, ids: Sequence[str]) -> dict[str, Known]:
    """What is stored of each of `ids` that is stored at all."""
    rows = connection.exec_driver_sql(
        "SELECT id, doc, hash, metadata FROM documents WHERE id IN (SELECT value FROM json_each(?))", (_as_ids(ids),)
    )
    return {identity: Known(*rest) for identity, *rest in rows.all()}


def _as_ids(ids: Sequence[str]) -> str:
    """Ids for `json_each`."""
    return json.dumps(_possible(ids))


def _possible(ids: Sequence[str]) -> list[str]:
    """Without ids that no document has: SQLite would end them at a NUL."""
    return [identity for identity in ids if isinstance(identity, str) and "\0" not in identity]


def among(column: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Whether a column is one of `values`: one parameter, whatever their number."""
    return column.in_(select(func.json_each(json.dumps(values)).table_valued("value").c.value))


# As text: the expressions of SQLAlchemy take twice the time for the 4,096 documents of a commit.
_INSERT_DOCUMENT = (
    "INSERT INTO documents (id, title, text, metadata, hash, crc, size, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_DOCUMENT = "UPDATE documents SET title = ?, text = ?, metadata = ?, hash = ?, crc = ?, size = ? WHERE doc = ?"
_INSERT_PASSAGE = "INSERT INTO passages VALUES (?, ?, ?, ?)"
_INSERT_FIELD = "INSERT OR IGNORE INTO fields VALUES (?, ?, ?, ?, ?)"


def insert(connection: Connection, entries: Sequence[Entry], stored: Mapping[str, Known]) -> Places:
    """Write documents, new or changed, with their passages; the places of the passages.

    The old passages of a changed document must have been removed before.
    """
    next_doc = _next(connection, "documents")
    first_key = next_key = _next(connection, "passages")
    new: list[tuple[Any, ...]] = []
    changes: list[tuple[Any, ...]] = []
    spans: list[tuple[int, int, int, int]] = []
    titles: list[str] = []  # of each passage, and its text
    passage_texts: list[str] = []
    fields: list[tuple[Any, ...]] = []
    long_texts: list[tuple[int, str]] = []
    for record, own_spans, _ in entries:
        document = record.document
        text = document.text
        if (old := stored.get(document.id)) is not None:
            doc = old.doc
            changes.append((*_row(record), doc))
        else:
            doc = next_doc
            next_doc += 1
            new.append((document.id, *_row(record), doc))
        if len(text) > PIECE:
            long_texts.append((doc, text))
        if document.metadata:
            fields += _field_rows(doc, document.metadata)
        for start, end in own_spans:
            spans.append((next_key, doc, start, end))
            titles.append(document.title)
            passage_texts.append(text[start:end])
            next_key += 1
    _many(connection, "DELETE FROM fields WHERE doc = ?", [(change[-1],) for change in changes])
    _many(connection, _INSERT_DOCUMENT, new)
    if changes:
        _many(connection, _UPDATE_DOCUMENT, changes)
        pieces.erase(connection, [change[-1] for change in changes])
    if long_texts:
        failpoint("put pieces")
        pieces.write(connection, long_texts)
    _many(connection, _INSERT_PASSAGE, spans)
    terms.insert(connection, range(first_key, next_key), titles, passage_texts)
    _many(connection, _INSERT_FIELD, fields)
    return np.array(spans, dtype=PLACE_DTYPE)


def update_metadata(connection: Connection, records: Sequence[tuple[Record, Known]]) -> None:
    """Replace the metadata of documents whose text stays."""
    docs = [(known.doc,) for _, known in records]
    _many(connection, "DELETE FROM fields WHERE doc = ?", docs)
    _many(
        connection,
        "UPDATE documents SET metadata = ?, crc = ? WHERE doc = ?",
        [(record.metadata, _crc_of(record), known.doc) for record, known in records],
    )
    fields = [row for record, known in records for row in _field_rows(known.doc, record.document.metadata)]
    _many(connection, _INSERT_FIELD, fields)


def remove_passages(connection: Connection, docs: Iterable[int], version: int) -> None:
    """Take away the passages of `docs`, from the full text too, and mask their rows as of commit `version`."""
    of_these = among(passages.c.doc, list(docs))
    keys = connection.execute(select(passages.c.key).where(of_these)).scalars().all()
    terms.remove(connection, as_json(keys))
    segments.mask(connection, version, keys)
    connection.execute(delete(passages).where(of_these))


def remove_documents(connection: Connection, docs: Iterable[int], version: int) -> None:
    """Take away `docs` with all that belongs to them."""
    these = list(docs)
    remove_passages(connection, these, version)
    connection.exec_driver_sql(
        "DELETE FROM documents WHERE doc IN (SELECT value FROM json_each(?))", (json.dumps(these),)
    )


class Long(NamedTuple):
    """A document without its text, which lies in pieces."""

    doc: int
    id: str
    title: str
    metadata: Metadata
    size: int  # of the text, in characters
    hash: bytes


class Stored(NamedTuple):
    """What there is of some documents, each by its number, in one of the three."""

    documents: dict[int, Document]
    long: dict[int, Long]
    torn: dict[int, str]  # ids of those that are not what was stored

    @property
    def ids(self) -> dict[int, str]:
        """The ids of all of them."""
        whole = {doc: document.id for doc, document in self.documents.items()}
        return whole | {doc: long.id for doc, long in self.long.items()} | self.torn


@decoding()
def read(connection: Connection, docs: Sequence[int]) -> Stored:
    """What is stored under the numbers `docs`; one that is gone is left out.

    Every hit of every search comes through here, so it goes past SQLAlchemy: 20 documents take 40 microseconds, and ten
    times that by a `select`.
    """
    rows = driver(connection).execute(
        "SELECT doc, documents.id, text, title, metadata, crc FROM json_each(?) CROSS JOIN documents ON doc = value",
        (json.dumps(docs),),
    )
    found: dict[int, Document] = {}
    packed: dict[int, str] = {}
    torn: dict[int, str] = {}
    for doc, identity, text, title, metadata, crc in rows.fetchall():
        if crc == _crc(identity, title, text, metadata):
            found[doc] = _document(identity, text, title)
            packed[doc] = metadata
        else:
            torn[doc] = identity
    for document, of_document in zip(found.values(), _unpacked([*packed.values()]), strict=True):
        _SET_METADATA(document, of_document)
    return Stored(found, _long(connection, torn) if torn else {}, torn)


def _unpacked(packed: Sequence[str]) -> list[Metadata]:
    """The metadata of several documents: as one list, which takes half the time, where nobody has put lists in them."""
    metadata: list[Metadata] = json.loads(f"[{','.join(packed)}]")
    return metadata if len(metadata) == len(packed) else [json.loads(one) for one in packed]


def _long(connection: Connection, torn: dict[int, str]) -> dict[int, Long]:
    """Those of `torn` documents that are only long; they are taken out of it."""
    rows = driver(connection).execute(
        "SELECT doc, title, metadata, crc, size, hash FROM json_each(?) CROSS JOIN documents ON doc = value "
        "WHERE text = ''",
        (json.dumps(list(torn)),),
    )
    found = {}
    for doc, title, metadata, crc, size, content in rows.fetchall():
        if crc == _crc_of_long(torn[doc], title, metadata, size):
            found[doc] = Long(doc, torn.pop(doc), title, json.loads(metadata), size, content)
    return found


_SET_ID, _SET_TEXT, _SET_TITLE, _SET_METADATA = (
    getattr(Document, name).__set__ for name in ("id", "text", "title", "metadata")
)


def _document(identity: str, text: str, title: str) -> Document:
    """A document still without metadata: in half the time of `Document(…)`, which looks up how to set each field."""
    document = object.__new__(Document)
    _SET_ID(document, identity)
    _SET_TEXT(document, text)
    _SET_TITLE(document, title)
    return document


@decoding()
def keys_of(connection: Connection, ids: Sequence[str]) -> dict[str, list[int]]:
    """The keys of the passages of the documents of `ids`."""
    found: dict[str, list[int]] = {}
    for identity, key in connection.exec_driver_sql(
        "SELECT id, key FROM documents JOIN passages USING (doc) WHERE id IN (SELECT value FROM json_each(?)) "
        "ORDER BY key",
        (_as_ids(ids),),
    ):
        found.setdefault(identity, []).append(key)
    return found


@decoding()
def get(connection: Connection, ids: Sequence[str]) -> dict[str, Document]:
    """The documents of `ids` that are stored."""
    rows = connection.execute(_STORED.where(among(documents.c.id, _possible(ids)))).all()
    return {row.id: _checked(connection, row) for row in rows}


@decoding()
def text_of(connection: Connection, long: Long) -> str | None:
    """The whole text of a long document as it was when `long` was read; None if it was changed or removed since.

    Raises:
        CollectionDamaged: It is not what was stored.
    """
    row = connection.execute(_STORED.where(documents.c.id == long.id)).one_or_none()
    return None if row is None or row.hash != long.hash else _checked(connection, row).text


def all_ids(connection: Connection) -> list[str]:
    """The ids of all documents, in the order they were first added."""
    return list(connection.exec_driver_sql("SELECT id FROM documents ORDER BY doc").scalars())


def ids_of(connection: Connection, docs: Sequence[int]) -> list[str]:
    """The ids of the documents of the numbers `docs`, in the order they were first added."""
    found = connection.exec_driver_sql(
        "SELECT id FROM documents WHERE doc IN (SELECT value FROM json_each(?)) ORDER BY doc", (as_json(docs),)
    )
    return list(found.scalars())


def everything(connection: Connection) -> Iterator[Document]:
    """All documents in the order they were first added, streamed."""
    for row in connection.execute(_STORED.order_by(documents.c.doc)):
        with decoding():
            document = _checked(connection, row)
        yield document


@decoding()
def places(connection: Connection) -> Places:
    """All passages, in the order of their keys; -1 stands for what can only be damage."""
    most = {passages.c.doc: (1 << 63) - 1, passages.c.start: (1 << 31) - 1, passages.c.end: (1 << 31) - 1}
    columns = [case((column.between(0, limit), column), else_=-1) for column, limit in most.items()]
    rows = connection.execute(select(passages.c.key, *columns).order_by(passages.c.key))
    return np.fromiter(map(tuple, rows), PLACE_DTYPE)


@decoding()
def damaged(connection: Connection) -> list[str]:
    """The ids of documents that are not what was stored."""
    rows = connection.execute(_STORED.order_by(documents.c.doc))
    return [row.id for row in rows if _text(connection, row) is None]


_STORED = select(*(documents.c[name] for name in ("doc", "id", "text", "title", "metadata", "crc", "size", "hash")))


def _text(connection: Connection, row: Row[Any]) -> str | None:
    """The text of a row of `_STORED`, wherever it lies; None if row or text are not what was stored."""
    if row.crc == _crc(row.id, row.title, row.text, row.metadata):
        return str(row.text)
    if not row.text and row.crc == _crc_of_long(row.id, row.title, row.metadata, row.size):
        return pieces.whole(connection, row.doc, row.size)
    return None


def _checked(connection: Connection, row: Row[Any]) -> Document:
    text = _text(connection, row)
    if text is None:
        raise CollectionDamaged(
            f"the stored document {row.id!r} is damaged (its checksum differs): remove it and add it again, or "
            "restore the collection from a backup."
        )
    document = _document(row.id, text, row.title)
    _SET_METADATA(document, json.loads(row.metadata))
    return document


def _field_rows(doc: int, metadata: Metadata) -> list[tuple[Any, ...]]:
    """The rows of a document's metadata: with 0 and 1, since Python's `sqlite3` takes four times as long for a bool."""
    return [(name, 1 if element else 0, kind, value, doc) for name, element, kind, value in fields_of(metadata)]


def _row(record: Record) -> tuple[str, str, str, bytes, int, int]:
    """Title, text, metadata, hash, crc and size as they are stored: a long text lies elsewhere."""
    document, metadata, content = record
    if len(document.text) <= PIECE:
        crc = _crc(document.id, document.title, document.text, metadata)
        return document.title, document.text, metadata, content, crc, 0
    return document.title, "", metadata, content, _crc_of(record), len(document.text)


def _crc_of(record: Record) -> int:
    """The checksum that is stored in the row of a document."""
    document, size = record.document, len(record.document.text)
    if size <= PIECE:
        return _crc(document.id, document.title, document.text, record.metadata)
    return _crc_of_long(document.id, document.title, record.metadata, size)


def _crc(identity: str, title: str, text: str, metadata: str) -> int:
    return crc32(f"{identity}\0{title}\0{text}\0{metadata}".encode())


def _crc_of_long(identity: str, title: str, metadata: str, size: int) -> int:
    """With a bit that no crc32 has: an empty text in a row never passes for the text itself."""
    return 1 << 32 | crc32(f"{identity}\0{title}\0{metadata}\0{size}".encode())


@decoding()
def rebuild_fields(connection: Connection) -> bool:
    """Make the index of metadata agree with the documents; whether it did not."""
    wanted: set[tuple[Any, ...]] = set()
    for doc, metadata in connection.exec_driver_sql("SELECT doc, metadata FROM documents WHERE metadata != '{}'"):
        wanted.update(_field_rows(doc, json.loads(metadata)))
    stored = {tuple(row) for row in connection.exec_driver_sql("SELECT name, element, type, value, doc FROM fields")}
    if stored == wanted:
        return False
    connection.exec_driver_sql("DELETE FROM fields")
    _many(connection, _INSERT_FIELD, list(wanted))
    return True


def reserve_keys(connection: Connection, count: int) -> int:
    """The first of `count` keys that nobody else will get, inside the caller's transaction."""
    first = _next(connection, "passages")
    connection.exec_driver_sql(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'passages', 0 "
        "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'passages')"
    )
    connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = ? WHERE name = 'passages'", (first + count - 1,))
    return first


def as_json(numbers: Sequence[int]) -> str:
    """Numbers as one parameter for `json_each`, whose count is not limited."""
    return json.dumps(numbers)


def _next(connection: Connection, table: str) -> int:
    """The number that AUTOINCREMENT would give next: one more than any ever given."""
    last = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).scalar()
    return (last or 0) + 1


def _many(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        connection.exec_driver_sql(statement, list(rows))
