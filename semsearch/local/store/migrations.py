"""What brings a collection that an older semsearch made forward, and refuses one that a newer one made.

Each step is one transaction. A step knows the tables as they were in its version, and no others.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable

import numpy as np
from sqlalchemy import Connection

from semsearch import versions
from semsearch.dates import moment
from semsearch.errors import CollectionDamaged
from semsearch.local.store import registry, schema, terms
from semsearch.local.store.checksum import crc32
from semsearch.local.store.database import driver
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.segments import PLACE_DTYPE
from semsearch.local.store.settings import setting_crc
from semsearch.search.fields import composed

log = logging.getLogger("semsearch")


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
            dtype=PLACE_DTYPE,
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


def _who_made_it(connection: Connection) -> None:
    """3 to 4: a collection says what made its words and vectors; questions and long texts have tables of their own."""
    direct = driver(connection)
    for column in ("analysis", "encoding"):
        direct.execute(f"ALTER TABLE state ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
    direct.execute("UPDATE state SET analysis = 1, encoding = 1")
    direct.execute("CREATE TABLE questions (question INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT")
    kept = direct.execute("SELECT value, crc FROM settings WHERE name = 'questions'").fetchone()
    if kept is not None and kept[1] == setting_crc("questions", kept[0]) and (listed := json.loads(kept[0])):
        direct.executemany("INSERT INTO questions (text) VALUES (?)", [(text,) for text in json.loads(listed)])
    direct.execute("DELETE FROM settings WHERE name = 'questions'")
    _long_texts_in_pieces(direct)


def _long_texts_in_pieces(direct: sqlite3.Connection) -> None:
    """3 to 4. A document that is damaged stays as it is, and is known to be."""
    direct.execute("ALTER TABLE documents ADD COLUMN size INTEGER NOT NULL DEFAULT 0")
    direct.execute(
        "CREATE TABLE pieces (doc INTEGER NOT NULL REFERENCES documents (doc) ON DELETE CASCADE, "
        "number INTEGER NOT NULL, text TEXT NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (doc, number)) "
        "STRICT, WITHOUT ROWID"
    )
    direct.execute("DROP VIEW passage_texts")
    direct.execute(
        "CREATE VIEW passage_texts AS SELECT key, title, CASE size "
        """WHEN 0 THEN substr(text, "start" + 1, "end" - "start") ELSE coalesce(substr((
            SELECT group_concat(part, '') FROM (
                SELECT pieces.text AS part FROM pieces WHERE pieces.doc = passages.doc
                AND number BETWEEN "start" / 65536 AND ("end" - 1) / 65536 ORDER BY number
            )
        ), "start" % 65536 + 1, "end" - "start"), '') END AS text """
        "FROM passages JOIN documents USING (doc)"
    )
    for (doc,) in direct.execute("SELECT doc FROM documents WHERE length(text) > 65536").fetchall():
        *content, crc = direct.execute(
            "SELECT CAST(id AS BLOB), CAST(title AS BLOB), CAST(text AS BLOB), CAST(metadata AS BLOB), crc "
            "FROM documents WHERE doc = ?",
            (doc,),
        ).fetchone()
        if crc != crc32(b"\0".join(content)):
            continue
        identity, title, text, metadata = (part.decode() for part in content)
        for number in range((len(text) + 65535) // 65536):
            piece = text[number << 16 : (number + 1) << 16]
            sum_of_piece = crc32(piece.encode(), crc32(b"%d %d " % (doc, number)))
            direct.execute("INSERT INTO pieces VALUES (?, ?, ?, ?)", (doc, number, piece, sum_of_piece))
        head = 1 << 32 | crc32(f"{identity}\0{title}\0{metadata}\0{len(text)}".encode())
        direct.execute("UPDATE documents SET text = '', size = ?, crc = ? WHERE doc = ?", (len(text), head, doc))


def _positions_and_dates(connection: Connection) -> None:
    """4 to 5: it is known where in its file a document stands, of those that are there when they are read again.

    And a text in metadata that is a date has a row by which it compares as one.
    """
    direct = driver(connection)
    direct.execute("ALTER TABLE origins ADD COLUMN position TEXT")
    direct.create_function("moment", 1, lambda text: moment(text) if isinstance(text, str) else None)
    direct.execute(
        "INSERT OR IGNORE INTO fields (name, element, type, value, doc) SELECT name, element, 'date', at, doc FROM "
        "(SELECT name, element, doc, moment(value) AS at FROM fields WHERE type = 'text') WHERE at IS NOT NULL"
    )


MIGRATIONS: dict[int, Callable[[Connection], None]] = {
    1: _more_checksums,
    2: _places_in_segments,
    3: _who_made_it,
    4: _positions_and_dates,
}
"""From version n of the schema to n + 1."""


def check(direct: sqlite3.Connection, name: str) -> None:
    """Refuse what a newer semsearch made, inside a transaction: also if it did so after the collection was opened.

    Every transaction begins with this, but for those that meet the commit that another one has checked; it goes past
    SQLAlchemy: 6 microseconds and not 100.
    """
    (version,) = direct.execute("PRAGMA user_version").fetchone()
    if version > schema.SCHEMA_VERSION:
        raise schema.newer(name, "schema", version, schema.SCHEMA_VERSION)
    if version == schema.SCHEMA_VERSION:
        made = direct.execute("SELECT analysis, encoding FROM state").fetchone()
        if made is not None and made[0] > versions.ANALYSIS:
            raise schema.newer(name, "analysis of words", made[0], versions.ANALYSIS)
        if made is not None and made[1] > versions.ENCODING:
            raise schema.newer(name, "encoding", made[1], versions.ENCODING)


def behind(connection: Connection, name: str) -> bool:
    """Whether an older semsearch made an existing database.

    Raises:
        CollectionDamaged: It is not a collection's.
    """
    return _version(connection, name) < schema.SCHEMA_VERSION or _analysis(connection) < versions.ANALYSIS


def bring_forward(connection: Connection, name: str) -> bool:
    """Take one step towards what this semsearch makes, inside the caller's write transaction; False if none is left."""
    version = _version(connection, name)
    if version < schema.SCHEMA_VERSION:
        failpoint("migrate")
        MIGRATIONS[version](connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {version + 1}")
        connection.execute(schema.state.update().values(version=schema.state.c.version + 1))  # others notice by it
        return True
    if (made := _analysis(connection)) < versions.ANALYSIS:
        if made not in versions.SAME_WORDS:
            log.info("collection '%s': its words are found anew, as this version of semsearch does.", name)
            failpoint("analyse")
            connection.exec_driver_sql("DROP TABLE fulltext")
            connection.execute(schema.FULLTEXT)
            terms.rebuild(connection)
            _compose(driver(connection))
            registry.retire(connection, words=True)
        connection.execute(schema.state.update().values(analysis=versions.ANALYSIS, version=schema.state.c.version + 1))
        return True
    return False


def _compose(direct: sqlite3.Connection) -> None:
    """Names and texts of metadata in the form NFC, as filters compare them since version 3 of the analysis."""
    odd = "GLOB '*[^' || char(1) || '-' || char(127) || ']*'"
    found = direct.execute(f"SELECT name, element, type, value, doc FROM fields WHERE name {odd} OR value {odd}")
    changed = [
        (row, (composed(row[0]), row[1], row[2], composed(row[3]) if row[2] == "text" else row[3], row[4]))
        for row in found
    ]
    changed = [(old, new) for old, new in changed if old != new]
    direct.executemany(
        "DELETE FROM fields WHERE name = ? AND element = ? AND type = ? AND value = ? AND doc = ?",
        [old for old, _ in changed],
    )
    direct.executemany("INSERT OR IGNORE INTO fields VALUES (?, ?, ?, ?, ?)", [new for _, new in changed])


def _version(connection: Connection, name: str) -> int:
    direct = driver(connection)
    if direct.execute("PRAGMA application_id").fetchone() != (schema.APPLICATION_ID,):
        raise CollectionDamaged(
            f"the database of collection '{name}' is empty or not semsearch's, though the collection's marker is "
            "there: it was lost or replaced. Restore it from a backup, or 'semsearch drop' the collection."
        )
    (version,) = direct.execute("PRAGMA user_version").fetchone()
    if not isinstance(version, int) or version < 1:
        raise CollectionDamaged(f"the database of collection '{name}' has the schema version {version!r}.")
    return version


def _analysis(connection: Connection) -> int:
    made = driver(connection).execute("SELECT analysis FROM state").fetchone()
    return versions.ANALYSIS if made is None or made[0] is None else int(made[0])
