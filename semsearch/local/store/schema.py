"""The tables of a collection: one description that the DDL, the migrations, the statements and the checks share.

`PRAGMA user_version` holds the version of it; `semsearch.local.store.migrations` brings older ones forward.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import (
    DDL,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    column,
    create_engine,
    create_mock_engine,
    event,
    table,
    text,
)
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.types import UserDefinedType

from semsearch import versions
from semsearch.errors import CollectionError

SCHEMA_VERSION = 5
APPLICATION_ID = 0x53454D53  # "SEMS", so that `file` and we can tell our databases from others
PIECE = 1 << 16  # characters: longer texts are kept in pieces of so many


class _Any(UserDefinedType[Any]):
    """A column of a STRICT table that takes values of every type."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """As SQLite calls it."""
        return "ANY"


def _number(name: str, *more: Any, **how: Any) -> Column[int]:
    return Column(name, Integer, *more, nullable=False, **how)


def _text(name: str, **how: Any) -> Column[str]:
    return Column(name, Text, nullable=False, **how)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _of(column: str) -> ForeignKey:
    """A row that goes with the one that it belongs to."""
    return ForeignKey(column, ondelete="CASCADE")


def _zero() -> dict[str, Any]:
    return {"server_default": text("0")}


metadata = MetaData()

_STRICT: dict[str, Any] = {"sqlite_strict": True}
_BY_KEY: dict[str, Any] = {**_STRICT, "sqlite_with_rowid": False}  # rows lie in the order of the primary key
_NEVER_REUSED: dict[str, Any] = {**_STRICT, "sqlite_autoincrement": True}

settings = Table(
    "settings",
    metadata,
    _text("name", primary_key=True),
    _text("value"),  # JSON
    _number("crc"),  # crc32 of both
    **_BY_KEY,
)

# One row. `version` counts commits: a reader that knows it knows everything below.
state = Table(
    "state",
    metadata,
    _number("version"),
    _number("generation"),  # of the vector file
    _number("rows"),  # committed rows in it; bytes beyond are an orphan tail
    Column("dim", Integer),  # NULL until the first vector of a collection without an encoder
    _number("masked", **_zero()),  # rows of `removed`
    _number("masked_sum", **_zero()),  # of all that they hold: SQLite does not notice that a page of them is lost
    _number("analysis", **_zero()),  # `semsearch.versions` of what made the words …
    _number("encoding", **_zero()),  # … and the vectors
    **_STRICT,
)

# Where documents came from, as JSON. Its files (one without a name where it has none to tell apart) are listed before
# their documents are stored; a size below 0 says that a file was not read to its end.
sources = Table("sources", metadata, _number("source", primary_key=True), _text("spec", unique=True), **_STRICT)
files = Table(
    "files",
    metadata,
    _number("file", primary_key=True),
    _number("source", _of("sources.source")),
    _text("name"),
    _number("size"),
    _number("mtime"),  # nanoseconds; -1: too fresh to be relied on
    _bytes("hash"),  # of its bytes
    UniqueConstraint("source", "name"),
    **_STRICT,
)

documents = Table(
    "documents",
    metadata,
    _number("doc", primary_key=True),
    _text("id", unique=True),
    _text("title"),
    _text("text"),  # empty where it is long
    _text("metadata"),  # JSON, keys sorted
    _bytes("hash"),  # of title and text: equal hash, nothing to encode
    _number("crc"),  # crc32 of id, title, text and metadata: SQLite does not notice a flipped bit
    _number("size", **_zero()),  # characters of a text that lies in `pieces`; 0: it lies here
    **_NEVER_REUSED,
)

# Long texts, so that a passage is read without the rest of its document.
pieces = Table(
    "pieces",
    metadata,
    _number("doc", _of("documents.doc")),
    _number("number"),
    _text("text"),  # the characters from `PIECE * number` on, `PIECE` of them but in the last
    _number("crc"),  # crc32 of all three
    PrimaryKeyConstraint("doc", "number"),
    **_BY_KEY,
)

# Which source gave a document, in which file, and where in it: what vanishes with it, and what a hit is opened at.
origins = Table(
    "origins",
    metadata,
    _number("doc", _of("documents.doc")),
    _number("source", _of("sources.source")),
    _number("file", _of("files.file")),
    Column("position", Text),  # JSON; NULL where an older version read it
    PrimaryKeyConstraint("doc", "source"),
    Index("origins_in", "file"),
    **_BY_KEY,
)

passages = Table(
    "passages",
    metadata,
    _number("key", primary_key=True),  # never another vector
    _number("doc", _of("documents.doc")),
    _number("start"),
    _number("end"),
    Index("passages_of", "doc"),
    **_NEVER_REUSED,
)

# The rows of the vector file, one entry a commit, keys ascending: packed little-endian arrays. What they say of a
# passage goes before what `passages` says, since it has a checksum.
segments = Table(
    "segments",
    metadata,
    _number("generation"),
    _number("first"),
    _bytes("places"),  # key and doc int64, start and end int32, of each row
    _bytes("crcs"),  # uint32: crc32 of the row's bytes and its place
    PrimaryKeyConstraint("generation", "first"),
    **_BY_KEY,
)

# Keys whose row is in the current vector generation and whose passage is gone.
removed = Table(
    "removed", metadata, _number("version"), _number("key"), PrimaryKeyConstraint("version", "key"), **_BY_KEY
)

# Passages of a change of model that is under way: they and their vectors, in a generation of their own, replace the
# others in one commit at the end.
reencoded = Table(
    "reencoded",
    metadata,
    _number("key", primary_key=True),  # from the same count as those of passages
    _number("doc"),
    _bytes("hash"),  # of the document when it was encoded
    _number("start"),
    _number("end"),
    Index("reencoded_of", "doc"),
    **_STRICT,
)

# Metadata by value, for filters: a row for each scalar field, and for each element of a list (element = 1). A text that
# is a date in ISO form has another row, with the microsecond.
fields = Table(
    "fields",
    metadata,
    _text("name"),
    _number("element"),
    _text("type"),  # 'number', 'text', 'bool', 'null', 'list', 'object', 'date'
    Column("value", _Any),
    _number("doc", _of("documents.doc")),
    PrimaryKeyConstraint("name", "element", "type", "value", "doc"),
    Index("fields_of", "doc"),
    **_STRICT,
)

indexes = Table(
    "indexes",
    metadata,
    _number("number", primary_key=True),  # names the folder
    _text("backend"),
    _text("params"),  # JSON: build and search options as they are now
    _number("generation"),  # of the vectors it was built from
    _number("rows"),  # it covers the first `rows` rows of that generation
    _text("digest"),  # sha256 of its manifest
    Column("contract", Text),  # JSON: the recall that was asked for and measured
    **_NEVER_REUSED,
)

# The questions that a recall is measured on.
questions = Table("questions", metadata, _number("question", primary_key=True), _text("text"), **_STRICT)

# Sparse vectors of passages. Its table is made where a collection gets a sparse model, and is none of those that every
# collection has: older versions need not know it.
sparse_vectors = Table(
    "sparse_vectors",
    MetaData(),
    _number("key", ForeignKey(passages.c.key, ondelete="CASCADE"), primary_key=True),
    _bytes("vector"),  # uint32 components, ascending, and then their values, float32
    _number("crc"),  # crc32 of it and the key
    Index("sparse_vectors_counted", "crc"),  # by which they are counted without reading them
    **_STRICT,
)

fulltext = table(  # for statements; see `FULLTEXT`
    "fulltext", column("rowid", Integer), column("fulltext", Text), column("title", Text), column("text", Text)
)

PASSAGE_TEXTS = DDL(  # type: ignore[no-untyped-call]
    "CREATE VIEW passage_texts AS SELECT key, title, CASE size "
    'WHEN 0 THEN substr(text, "start" + 1, "end" - "start") '
    f"""ELSE coalesce(substr((
        SELECT group_concat(part, '') FROM (
            SELECT pieces.text AS part FROM pieces WHERE pieces.doc = passages.doc
            AND number BETWEEN "start" / {PIECE} AND ("end" - 1) / {PIECE} ORDER BY number
        )
    ), "start" %% {PIECE} + 1, "end" - "start"), '') END AS text """
    "FROM passages JOIN documents USING (doc)"
)
FULLTEXT = DDL(  # type: ignore[no-untyped-call]
    "CREATE VIRTUAL TABLE fulltext USING fts5 (title, text, content = '', tokenize = 'ascii')"
)  # `semsearch.local.store.terms` writes it: finished terms, which this tokenizer parts at the blanks


@event.listens_for(metadata, "after_create")
def _create_full_text(_metadata: MetaData, connection: Connection, **_: Any) -> None:
    for statement in (PASSAGE_TEXTS, FULLTEXT):
        connection.execute(statement)


def newer(name: str, what: str, found: int, known: int) -> CollectionError:
    """The error of what a newer semsearch made."""
    return CollectionError(
        f"collection '{name}' was written by a newer semsearch ({what} {found}, this one knows {known}): upgrade with "
        "'pip install -U semsearch'. Nothing was changed."
    )


def tables() -> list[str]:
    """The names of the ordinary tables."""
    return list(metadata.tables)


@cache
def _ddl() -> list[str]:
    """The statements that lay out a database; compiling them takes longer than running them."""
    statements: list[str] = []
    engine: MockConnection = create_mock_engine(
        "sqlite://", lambda ddl, *_: statements.append(str(ddl.compile(dialect=engine.dialect)))
    )
    metadata.create_all(engine, checkfirst=False)
    return statements


def create(connection: Connection) -> None:
    """Lay out an empty database, inside the caller's transaction."""
    for statement in _ddl():
        connection.exec_driver_sql(statement)
    connection.execute(
        state.insert().values(version=0, generation=1, rows=0, analysis=versions.ANALYSIS, encoding=versions.ENCODING)
    )
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


# What former versions made of passages, which the steps to this one replace.
FORMER = (
    "CREATE VIEW passage_texts AS SELECT key, title, substr(text, "
    '"start" + 1, "end" - "start") AS text FROM passages JOIN documents USING (doc)',
    "CREATE VIRTUAL TABLE fulltext USING fts5 "
    "(title, text, content = 'passage_texts', content_rowid = 'key', tokenize = '')",
)
_PLAIN_TOKENS = re.compile(r"""\s*(?:(\w+)|"(\w+)"|'(\w+)'|([(),]))""", re.ASCII)
_RUN = frozenset(
    {"as", "check", "collate", "generated", "select", "using", "virtual"}
)  # what runs, in any table of ours
_INDEX = re.compile(r"create (unique )?index \w+ on \w+ \( \w+( , \w+)* \)")


@lru_cache(maxsize=64)  # each connection asks, and collections are laid out alike
def strange(statements: frozenset[tuple[object, ...]]) -> str | None:
    """The first of a database's statements that no semsearch wrote and that may run code; None if there is none.

    Ordinary tables and indexes of plain columns run nothing, whatever they are called. Triggers, generated columns,
    checks, defaults and indexes of expressions do, and so do views and virtual tables: of them there are our own.
    """
    own = {_shape(text) for text in (PASSAGE_TEXTS.statement.replace("%%", "%"), FULLTEXT.statement, *FORMER)}
    for (statement,) in statements:
        if statement is not None and not (
            isinstance(statement, str) and (_is_plain(statement) or _shape(statement) in own)
        ):
            return str(statement)
    return None


def _shape(statement: str) -> tuple[str, ...]:
    """Its words and signs; the tokenizer left out, for each of SQLite's own will do."""
    return tuple(re.findall(r"\w+|[^\w\s]", re.sub(r"tokenize = '[\w ]*'", "tokenize = ''", statement)))


def _is_plain(statement: str) -> bool:
    """Whether it makes a table or an index that holds columns and nothing else."""
    if _PLAIN_TOKENS.sub("", statement).strip():
        return False
    tokens = ["".join(found).lower() for found in _PLAIN_TOKENS.findall(statement)]
    if tokens[:2] != ["create", "table"]:
        return _INDEX.fullmatch(" ".join(tokens)) is not None
    defaults = {after for token, after in pairwise(tokens) if token == "default"}
    return _RUN.isdisjoint(tokens) and defaults <= {"0"}


class ObjectLayout(NamedTuple):
    """What a table, view or virtual table is, however its statement was written."""

    columns: tuple[tuple[Any, ...], ...] = ()  # name, type, may not be NULL, place in the primary key
    references: frozenset[tuple[Any, ...]] = frozenset()
    indexes: frozenset[tuple[Any, ...]] = frozenset()  # name where it was given one, unique, columns
    ways: tuple[Any, ...] = ()  # without rowid, strict, autoincrement
    statement: str = ""  # of a view or virtual table


def layouts(connection: Connection) -> dict[str, ObjectLayout]:
    """The layout of everything in a database that is not SQLite's own, by name."""

    def rows(statement: str, *parameters: object) -> list[Any]:
        return list(connection.exec_driver_sql(statement, parameters).all())

    found = {}
    for name, kind, without_rowid, strict in rows(
        "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main' AND type != 'shadow' "
        "AND name NOT LIKE 'sqlite~_%' ESCAPE '~'"
    ):
        (statement,) = rows("SELECT sql FROM sqlite_master WHERE name = ?", name)[0]
        if kind != "table":
            found[name] = ObjectLayout(statement="".join(statement.split()).lower())
            continue
        columns = rows('SELECT name, type, "notnull" OR pk, pk FROM pragma_table_xinfo(?)', name)
        references = rows('SELECT "table", "from", "to", on_delete FROM pragma_foreign_key_list(?)', name)
        indexes = rows('SELECT name, "unique", origin FROM pragma_index_list(?)', name)
        found[name] = ObjectLayout(
            tuple(map(tuple, columns)),
            frozenset(map(tuple, references)),
            frozenset(
                (index if origin == "c" else "", unique, *(column for (column,) in rows(_INDEXED, index)))
                for index, unique, origin in indexes
            ),
            (without_rowid, strict, "AUTOINCREMENT" in statement.upper()),
        )
    return found


_INDEXED = "SELECT name FROM pragma_index_info(?) ORDER BY seqno"


def differences(connection: Connection, *, sparse: bool = False) -> list[str]:
    """What is missing in a database of this version, or laid out otherwise than this semsearch does; by name.

    With `sparse` the table of sparse vectors is to be there, too.
    """
    engine = create_engine("sqlite://")
    with engine.connect() as fresh:
        create(fresh)
        if sparse:
            sparse_vectors.create(fresh, checkfirst=False)
        wanted = layouts(fresh)
    engine.dispose()
    there = layouts(connection)
    return [name for name, layout in wanted.items() if there.get(name) != layout]
