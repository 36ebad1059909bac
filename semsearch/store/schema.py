"""The tables of a collection, their version, and the steps from older versions.

`PRAGMA user_version` holds the version. A database of a newer version is refused before anything is written; an older
one is brought forward by `MIGRATIONS`, each step one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlalchemy import Connection

from semsearch.errors import CollectionDamaged, CollectionError
from semsearch.store.checksum import crc32
from semsearch.store.database import driver
from semsearch.store.failpoints import failpoint
from semsearch.store.settings import setting_crc

APPLICATION_ID = 0x53454D53  # "SEMS", so that `file` and we can tell our databases from others

TABLES = """
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL,   -- JSON
    crc   INTEGER NOT NULL -- crc32 of both
) STRICT, WITHOUT ROWID;

-- One row. `version` counts commits: a reader that knows it knows everything below.
CREATE TABLE state (
    version    INTEGER NOT NULL,
    generation INTEGER NOT NULL,  -- of the vector file
    rows       INTEGER NOT NULL,  -- committed rows in it; bytes beyond are an orphan tail
    dim        INTEGER            -- NULL until the first vector of a collection without an encoder
) STRICT;

-- Where documents came from, as JSON. Its files (one without a name where it has none to tell apart) are listed before
-- their documents are stored; a size below 0 says that a file was not read to its end.
CREATE TABLE sources (source INTEGER PRIMARY KEY, spec TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE files (
    file   INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES sources (source) ON DELETE CASCADE,
    name   TEXT NOT NULL,
    size   INTEGER NOT NULL,
    mtime  INTEGER NOT NULL,  -- nanoseconds; -1: too fresh to be relied on
    hash   BLOB NOT NULL,     -- of its bytes
    UNIQUE (source, name)
) STRICT;

CREATE TABLE documents (
    doc      INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused
    id       TEXT NOT NULL UNIQUE,
    title    TEXT NOT NULL,
    text     TEXT NOT NULL,
    metadata TEXT NOT NULL,   -- JSON, keys sorted
    hash     BLOB NOT NULL,   -- of title and text: equal hash, nothing to encode
    crc      INTEGER NOT NULL -- crc32 of id, title, text and metadata: SQLite does not notice a flipped bit
) STRICT;

-- Which source gave a document, in which file: what vanishes with it.
CREATE TABLE origins (
    doc    INTEGER NOT NULL REFERENCES documents (doc) ON DELETE CASCADE,
    source INTEGER NOT NULL REFERENCES sources (source) ON DELETE CASCADE,
    file   INTEGER NOT NULL REFERENCES files (file) ON DELETE CASCADE,
    PRIMARY KEY (doc, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX origins_in ON origins (file);

CREATE TABLE passages (
    key     INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused, never another vector
    doc     INTEGER NOT NULL REFERENCES documents (doc) ON DELETE CASCADE,
    "start" INTEGER NOT NULL,
    "end"   INTEGER NOT NULL,
    crc     INTEGER NOT NULL  -- crc32 of the four above
) STRICT;
CREATE INDEX passages_of ON passages (doc);

-- The rows of the vector file, one entry a commit, keys ascending: packed little-endian arrays that a reader
-- takes over whole, since a million rows would take a second to read one by one.
CREATE TABLE segments (
    generation INTEGER NOT NULL,
    first      INTEGER NOT NULL,
    keys       BLOB NOT NULL,  -- int64
    docs       BLOB NOT NULL,  -- int64
    crcs       BLOB NOT NULL,  -- uint32: crc32 of the row's bytes
    PRIMARY KEY (generation, first)
) STRICT, WITHOUT ROWID;

-- Keys whose row is in the current vector generation and whose passage is gone.
CREATE TABLE removed (version INTEGER NOT NULL, key INTEGER NOT NULL, PRIMARY KEY (version, key))
STRICT, WITHOUT ROWID;

-- Passages of a change of model that is under way: they and their vectors, in a generation of their own, replace the
-- others in one commit at the end.
CREATE TABLE reencoded (
    key     INTEGER PRIMARY KEY,  -- from the same count as those of passages
    doc     INTEGER NOT NULL,
    hash    BLOB NOT NULL,        -- of the document when it was encoded
    "start" INTEGER NOT NULL,
    "end"   INTEGER NOT NULL,
    crc     INTEGER NOT NULL
) STRICT;
CREATE INDEX reencoded_of ON reencoded (doc);

-- Metadata by value, for filters: a row for each scalar field, and for each element of a list (element = 1).
CREATE TABLE fields (
    name    TEXT NOT NULL,
    element INTEGER NOT NULL,
    type    TEXT NOT NULL,    -- 'number', 'text', 'bool', 'null', 'list', 'object'
    value   ANY,
    doc     INTEGER NOT NULL REFERENCES documents (doc) ON DELETE CASCADE,
    PRIMARY KEY (name, element, type, value, doc)
) STRICT;
CREATE INDEX fields_of ON fields (doc);

CREATE VIEW passage_texts AS
    SELECT key, title, substr(text, "start" + 1, "end" - "start") AS text FROM passages JOIN documents USING (doc);
CREATE VIRTUAL TABLE fulltext USING fts5 (
    title, text, content = 'passage_texts', content_rowid = 'key', tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TABLE indexes (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,  -- names the folder; never reused
    backend     TEXT NOT NULL,
    params      TEXT NOT NULL,    -- JSON: build and search options as they are now
    generation  INTEGER NOT NULL, -- of the vectors it was built from
    rows        INTEGER NOT NULL, -- it covers the first `rows` rows of that generation
    digest      TEXT NOT NULL,    -- sha256 of its manifest
    contract    TEXT              -- JSON: the recall that was asked for and measured
) STRICT;
"""


def statements() -> list[str]:
    """The statements of `TABLES`, one by one."""
    lines = (line.split("--", 1)[0] for line in TABLES.splitlines())
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


VERSION = 2


def tables() -> list[str]:
    """The names of the ordinary tables."""
    return re.findall(r"CREATE TABLE (\w+)", TABLES)


def passage_crc(key: int, doc: int, start: int, end: int) -> int:
    """The checksum of a passage's row."""
    return crc32(b"%d %d %d %d" % (key, doc, start, end))


def _more_checksums(connection: Connection) -> None:
    """1 to 2: SQLite does not notice a flipped bit in a setting or in a passage's place either."""
    direct = driver(connection)
    direct.create_function("setting_crc", 2, setting_crc, deterministic=True)
    direct.execute("ALTER TABLE settings ADD COLUMN crc INTEGER NOT NULL DEFAULT 0")
    direct.execute("UPDATE settings SET crc = setting_crc(name, value)")
    direct.create_function("passage_crc", 4, passage_crc, deterministic=True)
    for table in ("passages", "reencoded"):
        direct.execute(f"ALTER TABLE {table} ADD COLUMN crc INTEGER NOT NULL DEFAULT 0")
        direct.execute(f'UPDATE {table} SET crc = passage_crc(key, doc, "start", "end")')


MIGRATIONS: dict[int, Callable[[Connection], None]] = {1: _more_checksums}
"""From version n to n + 1: the step that is run inside one transaction."""


def create_tables(connection: Connection) -> None:
    """Lay out an empty database, inside the caller's transaction."""
    for statement in statements():
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql("INSERT INTO state VALUES (0, 1, 0, NULL)")
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def check_version(connection: Connection, name: str) -> int:
    """The schema version of an existing database, if this semsearch can read it."""
    if connection.exec_driver_sql("PRAGMA application_id").scalar() != APPLICATION_ID:
        raise CollectionDamaged(
            f"the database of collection '{name}' is empty or not semsearch's, though the collection's marker is "
            "there: it was lost or replaced. Restore it from a backup, or 'semsearch drop' the collection."
        )
    version = connection.exec_driver_sql("PRAGMA user_version").scalar()
    if not isinstance(version, int) or version < 1:
        raise CollectionDamaged(f"the database of collection '{name}' has the schema version {version!r}.")
    if version > VERSION:
        raise CollectionError(
            f"collection '{name}' was written by a newer semsearch (schema {version}, this one knows {VERSION}): "
            "upgrade with 'pip install -U semsearch'."
        )
    return version


def migrate(connection: Connection, version: int) -> None:
    """Bring a database of `version` one step forward, inside the caller's transaction."""
    failpoint("migrate")
    MIGRATIONS[version](connection)
    connection.exec_driver_sql(f"PRAGMA user_version = {version + 1}")
