"""The tables of a home and of a collection: one description that the DDL, the checks and the migrations share.

A home is a schema with the list of its collections; each collection has a schema of its own, whose name is a number, so
that no name of a person's ever becomes SQL.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateSequence, CreateTable
from sqlalchemy.types import UserDefinedType

POSTGRES_SCHEMA = 1  # the version of all below
PLAIN_COMPONENTS = 1900  # vectors of more do not fit into a page, and lie outside of their row
KEPT_LETTERS = 200  # of a text in an index, which takes no long ones


class VectorType(UserDefinedType[Any]):
    """pgvector's, of any number of components."""

    cache_ok = True

    def __init__(self, name: str = "vector") -> None:
        """`name`: as pgvector calls it."""
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        """As DDL has it."""
        return self.name


def _of(column: str) -> ForeignKey:
    return ForeignKey(column, ondelete="CASCADE")


def _plain() -> Text:
    """A text that is compared by code points, whatever the database's language."""
    return Text(collation="C")


home = MetaData()

collections = Table(
    "collections",
    home,
    Column("number", BigInteger, primary_key=True),  # names the schema
    Column("name", _plain(), nullable=False, unique=True),
    Column("created", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

collection = MetaData()

doc_numbers = Sequence("doc_numbers", metadata=collection, data_type=BigInteger)
keys = Sequence("keys", metadata=collection, data_type=BigInteger)  # never given twice, whatever is taken back

# One row. `version` counts commits: who knows it knows all below.
state = Table(
    "state",
    collection,
    Column("version", BigInteger, nullable=False),
    Column("schema", Integer, nullable=False),
    Column("analysis", Integer, nullable=False),  # `semsearch.versions` of what made the words …
    Column("encoding", Integer, nullable=False),  # … and the vectors
    Column("dim", Integer),  # NULL until the first vector of a collection without an encoder
    Column("documents", BigInteger, nullable=False),
    Column("passages", BigInteger, nullable=False),
    Column("words", BigInteger, nullable=False),  # of all passages, the title's with each
    Column("whole_words", BigInteger, nullable=False),  # of all documents
    Column("longest", Double, nullable=False),  # the length of the longest vector there ever was
)

settings = Table(
    "settings",
    collection,
    Column("name", _plain(), primary_key=True),
    Column("value", Text, nullable=False),  # JSON
)

sources = Table(
    "sources",
    collection,
    Column("source", BigInteger, primary_key=True, autoincrement=True),
    Column("spec", Text, nullable=False),  # JSON
)

files = Table(
    "files",
    collection,
    Column("file", BigInteger, primary_key=True, autoincrement=True),
    Column("source", BigInteger, _of("sources.source"), nullable=False),
    Column("name", _plain(), nullable=False),
    Column("size", BigInteger, nullable=False),  # below 0: not read to its end
    Column("mtime", BigInteger, nullable=False),  # nanoseconds
    Column("hash", LargeBinary, nullable=False),
    Index("files_of", "source"),
)

documents = Table(
    "documents",
    collection,
    Column("doc", BigInteger, primary_key=True, autoincrement=False),
    Column("id", _plain(), nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),  # of the id, which may be longer than an index takes
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("metadata", Text, nullable=False),  # JSON as it was given: jsonb would write its numbers anew
    Column("hash", LargeBinary, nullable=False),  # of title and text: equal hash, nothing to encode
    Column("words", BigInteger, nullable=False),
)

origins = Table(
    "origins",
    collection,
    Column("doc", BigInteger, _of("documents.doc"), nullable=False),
    Column("source", BigInteger, _of("sources.source"), nullable=False),
    Column("file", BigInteger, _of("files.file"), nullable=False),
    Column("position", Text, nullable=False),  # JSON
    PrimaryKeyConstraint("doc", "source"),
    Index("origins_in", "file"),
)

passages = Table(
    "passages",
    collection,
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    Column("doc", BigInteger, _of("documents.doc"), nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("words", Integer, nullable=False),  # with those of its title
    Column("vector", VectorType(), nullable=False),
    Index("passages_of", "doc"),
)

# Metadata by value, for filters: see `semsearch.search.fields`.
field_names = Table(
    "field_names",
    collection,
    Column("field", Integer, primary_key=True, autoincrement=True),
    Column("name", _plain(), nullable=False),
    Column("element", Boolean, nullable=False),
    Column("type", Text, nullable=False),
    Index("field_names_by", text(f"left(name, {KEPT_LETTERS})")),
)

fields = Table(
    "fields",
    collection,
    Column("doc", BigInteger, _of("documents.doc"), nullable=False),
    Column("field", Integer, nullable=False),
    Column("number", Numeric),  # exactly, as Python compares; of booleans 0 and 1, of dates the microsecond
    Column("value", _plain()),
    Index("fields_by_number", "field", "number", "doc"),
    Index("fields_by_value", "field", text(f"left(value, {KEPT_LETTERS})"), postgresql_where=text("value IS NOT NULL")),
    Index("fields_of", "doc"),
)

# Words: BM25's postings, and in how many documents each word is.
terms = Table(
    "terms",
    collection,
    Column("term", Integer, primary_key=True, autoincrement=True),
    Column("word", _plain(), nullable=False, unique=True),
    Column("documents", BigInteger, nullable=False),
)

postings = Table(
    "postings",
    collection,
    Column("key", BigInteger, nullable=False),
    Column("doc", BigInteger, nullable=False),
    Column("term", Integer, nullable=False),
    Column("titles", Integer, nullable=False),  # how often it is in the title …
    Column("texts", Integer, nullable=False),  # … and in the passage
    Column("whole_texts", Integer, nullable=False),  # … and in all passages: with the first that has it; else -1
    Column("words", Integer, nullable=False),  # of the passage …
    Column("whole_words", Integer, nullable=False),  # … and of its document
    Index(
        "postings_by_term",
        "term",
        "key",
        unique=True,
        postgresql_include=["doc", "titles", "texts", "whole_texts", "words", "whole_words"],
    ),
    Index("postings_of", "doc"),
)

# The questions that the recall was certified on.
questions = Table("questions", collection, Column("question", Text, nullable=False))

# Passages of a change of model that is under way, which take the place of the others in one commit at the end.
reencoded = Table(
    "reencoded",
    collection,
    Column("doc", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),  # of the document when it was encoded
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("vector", VectorType(), nullable=False),
    Index("reencoded_of", "doc"),
)

# There only where a collection has a sparse model.
sparse = MetaData()

sparse_vectors = Table(
    "sparse_vectors",
    sparse,
    Column("key", BigInteger, ForeignKey(passages.c.key, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("doc", BigInteger, nullable=False),
    Column("length", Double, nullable=False),  # no less than the vector's
    Column("vector", VectorType("sparsevec"), nullable=False),
)


def statements(of: MetaData) -> list[bytes]:
    """The DDL of all tables, to be run with the schema in the search path."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    made: list[Any] = [CreateSequence(sequence) for sequence in of._sequences.values()]
    for table in of.sorted_tables:
        made.append(CreateTable(table))
        made += [CreateIndex(index) for index in sorted(table.indexes, key=lambda index: str(index.name))]
    return [str(statement.compile(dialect=dialect)).encode() for statement in made]
