"""The tables of a collection, their version, and the steps from older versions.

`PRAGMA user_version` holds the version. A database of a newer version is refused before anything is written; an older
one is brought forward by `MIGRATIONS`, each step one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from sqlalchemy import Connection

from semsearch.errors import CollectionDamaged, CollectionError
from semsearch.local.store.checksum import crc32
from semsearch.local.store.database import driver
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.segments import PLACE
from semsearch.local.store.settings import setting_crc

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
    dim        INTEGER,           -- NULL until the first vector of a collection without an encoder
    masked     INTEGER NOT NULL DEFAULT 0,  -- rows of `removed`
    masked_sum INTEGER NOT NULL DEFAULT 0   -- of all that they hold: SQLite does not notice that a page of them is lost
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
    "end"   INTEGER NOT NULL
) STRICT;
CREATE INDEX passages_of ON passages (doc);

-- The rows of the vector file, one entry a commit, keys ascending: packed little-endian arrays. What they say of a
-- passage goes before what `passages` says, since it has a checksum.
CREATE TABLE segments (
    generation INTEGER NOT NULL,
    first      INTEGER NOT NULL,
    places     BLOB NOT NULL,  -- key and doc int64, start and end int32, of each row
    crcs       BLOB NOT NULL,  -- uint32: crc32 of the row's bytes and its place
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
    "end"   INTEGER NOT NULL
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


VERSION = 3


def tables() -> list[str]:
    """The names of the ordinary tables."""
    return re.findall(r"CREATE TABLE (\w+)", TABLES)


def _more_checksums(connection: Connection) -> None:
    """1 to 2: SQLite does not notice a flipped bit in a setting or in a passage's place either."""
    direct = driver(connection)
    direct.create_function("setting_crc", 2, setting_crc, deterministic=True)
    direct.execute("ALTER TABLE settings ADD COLUMN crc INTEGER NOT NULL DEFAULT 0")
    direct.execute("UPDATE settings SET crc = setting_crc(name, value)")
    direct.create_function("passage_crc", 4, _passage_crc, deterministic=True)
    for table in ("passages", "reencoded"):
        direct.execute(f"ALTER TABLE {table} ADD COLUMN crc INTEGER NOT NULL DEFAULT 0")
        direct.execute(f'UPDATE {table} SET crc = passage_crc(key, doc, "start", "end")')


def _passage_crc(key: int, doc: int, start: int, end: int) -> int:
    """The checksum that a passage had in version 2."""
    return crc32(b"%d %d %d %d" % (key, doc, start, end))


def _places_in_segments(connection: Connection) -> None:
    """2 to 3: a hit is read from its segment and its document alone, and one checksum covers its row and its place.

    A row whose passage is damaged gets a checksum that fails: it is left out, and `repair` encodes it again.
    """
    direct = driver(connection)
    old = direct.execute("SELECT generation, first, keys, docs, crcs FROM segments ORDER BY generation, first")
    segments = []
    for generation, first, *columns in old.fetchall():
        if not len(columns[0]) == len(columns[1]) == 2 * len(columns[2]) or len(columns[0]) % 8:
            raise CollectionDamaged(
                f"the segments of vector generation {generation} are damaged in the database. Restore the collection "
                "from a backup."
            )
        keys, docs, crcs = (
            np.frombuffer(data, kind).tolist() for data, kind in zip(columns, ("<i8", "<i8", "<u4"), strict=True)
        )
        spans = {
            key: (doc, start, end)
            for key, doc, start, end, crc in direct.execute(
                'SELECT key, doc, "start", "end", crc FROM passages WHERE key BETWEEN ? AND ? UNION ALL '
                'SELECT key, doc, "start", "end", crc FROM reencoded WHERE key BETWEEN ? AND ?',
                2 * (min(keys, default=0), max(keys, default=0)),
            )
            if crc == _passage_crc(key, doc, start, end)
        }
        known = [key in spans and spans[key][0] == doc for key, doc in zip(keys, docs, strict=True)]
        places = np.array(
            [
                (key, doc, *(spans[key][1:] if sound else (0, 0)))
                for key, doc, sound in zip(keys, docs, known, strict=True)
            ],
            dtype=PLACE,
        )
        sums = [crc32(place, crc) ^ (not sound) for place, crc, sound in zip(places, crcs, known, strict=True)]
        segments.append((generation, first, places.tobytes(), np.array(sums, "<u4").tobytes()))
    for column in ("masked", "masked_sum"):
        direct.execute(f"ALTER TABLE state ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
    direct.execute(
        "UPDATE state SET (masked, masked_sum) = (SELECT count(*), coalesce(sum(key + version), 0) FROM removed)"
    )
    direct.execute("DROP TABLE segments")
    direct.execute(
        "CREATE TABLE segments (generation INTEGER NOT NULL, first INTEGER NOT NULL, places BLOB NOT NULL, "
        "crcs BLOB NOT NULL, PRIMARY KEY (generation, first)) STRICT, WITHOUT ROWID"
    )
    direct.executemany("INSERT INTO segments VALUES (?, ?, ?, ?)", segments)
    for table in ("passages", "reencoded"):
        direct.execute(f"ALTER TABLE {table} DROP COLUMN crc")


MIGRATIONS: dict[int, Callable[[Connection], None]] = {1: _more_checksums, 2: _places_in_segments}
"""From version n to n + 1: the step that is run inside one transaction."""


def create_tables(connection: Connection) -> None:
    """Lay out an empty database, inside the caller's transaction."""
    for statement in statements():
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql("INSERT INTO state (version, generation, rows) VALUES (0, 1, 0)")
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
