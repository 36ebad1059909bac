"""Databases from a stranger: code in them, other layouts, other types, numbers that no writer writes."""

import contextlib
import json
import sqlite3
import zlib

from attack import backups
from attack.commands import type_some

FAMILY = "hostile databases"
SHARE = 22
VALUES = (
    *(
        0,
        1,
        -1,
        2**31,
        -(2**31),
        2**40,
        2**63 - 1,
        -(2**63),
        1.5,
        float("inf"),
        float("-inf"),
        None,
        "",
        "x",
        "1",
        "../../canary",
    ),
    *(b"", b"\xff" * 7, b"\0" * 64, "\x1b]0;x\x07", "\u202e", "{", "[]", "null", '{"a": NaN}', "x" * 100_000),
)


def execute(case, *statements):
    """Run statements on the database of a collection; those that SQLite refuses change nothing."""
    with contextlib.closing(sqlite3.connect(case.database, isolation_level=None)) as database:
        for statement, *values in statements:
            case.note(f"{statement[:110]} {str(values)[:50] if values else ''}".strip())
            with contextlib.suppress(sqlite3.Error):
                database.execute(statement, values)


def tables(case):
    """The columns of each table, and which of them take every type."""
    with contextlib.closing(sqlite3.connect(case.database)) as database:
        names = [
            name
            for (name,) in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        return {name: [row[1] for row in database.execute(f'PRAGMA table_info("{name}")')] for name in sorted(names)}


def values(case):
    """A value of the right or a wrong type in a column."""
    found = tables(case)
    ours = [name for name in found if not name.startswith("fulltext")]
    name = case.rng.choice(ours)
    if case.rng.random() < 0.5:
        loosen(case, name)
    for _ in range(case.rng.choice([1, 1, 3])):
        column = case.rng.choice(found[name])
        where = case.rng.choice(["", f' WHERE rowid IN (SELECT rowid FROM "{name}" LIMIT 1)', ""])
        execute(case, (f'UPDATE OR IGNORE "{name}" SET "{column}" = ?{where}', case.rng.choice(VALUES)))


def loosen(case, name):
    """Take STRICT and the types away, so that every value is taken."""
    execute(
        case,
        ("PRAGMA writable_schema = ON",),
        (
            "UPDATE sqlite_master SET sql = replace(replace(replace(sql, 'STRICT', ''), 'INTEGER NOT NULL', ''), "
            f"'TEXT NOT NULL', '') WHERE name = '{name}' AND sql LIKE '%STRICT'",
        ),
        ("PRAGMA writable_schema = RESET",),
    )


def integers(case):
    """A number that no writer writes, in a column of numbers."""
    columns = [
        *(
            ("state", column)
            for column in ("version", "generation", "rows", "dim", "masked", "masked_sum", "analysis", "encoding")
        ),
        *(("documents", column) for column in ("doc", "crc", "size")),
        *(("passages", column) for column in ("key", "doc", "start", "end")),
        *(("segments", column) for column in ("generation", "first")),
        *(("indexes", column) for column in ("number", "generation", "rows")),
        *(("settings", "crc"), ("removed", "key"), ("fields", "value"), ("fields", "doc"), ("sqlite_sequence", "seq")),
    ]
    name, column = case.rng.choice(columns)
    number = case.rng.choice([0, 1, 2, -1, 39, 41, 1000, 2**31, 2**32, 2**40, 2**53, 2**62, 2**63 - 1, -(2**63)])
    where = case.rng.choice(["", f' WHERE rowid = (SELECT max(rowid) FROM "{name}")'])
    execute(case, (f'UPDATE OR REPLACE "{name}" SET "{column}" = ?{where}', number))


def packed(case):
    """The packed arrays of a segment."""
    column, width = case.rng.choice([("places", 24), ("crcs", 4)])
    with contextlib.closing(sqlite3.connect(case.database)) as database:
        content = database.execute(f"SELECT {column} FROM segments").fetchone()[0]
    place = case.rng.randrange(len(content))
    changed = case.rng.choice(
        [
            content[:place] + case.rng.randbytes(8) + content[place + 8 :],
            content[:place] + b"\xff" * 8 + content[place + 8 :],
            content[:-width],
            content + content[-width:],
            content * 1000,
            content[:-1],
            b"",
        ]
    )
    execute(case, (f"UPDATE segments SET {column} = ?", changed))


def triggers(case):
    """Code that runs with every write."""
    table = case.rng.choice(["documents", "passages", "state", "segments", "settings", "removed", "indexes", "fields"])
    event = case.rng.choice(
        ["AFTER INSERT", "BEFORE INSERT", "AFTER UPDATE", "AFTER DELETE", "BEFORE DELETE", "BEFORE UPDATE"]
    )
    action = case.rng.choice(
        [
            "DELETE FROM documents WHERE doc > 3",
            "UPDATE documents SET text = 'b1 other'",
            "UPDATE state SET version = version - 1",
            "UPDATE state SET rows = 1",
            "SELECT RAISE(ABORT, '\x1b[31mpwned')",
            "SELECT RAISE(IGNORE)",
            "INSERT INTO questions (text) SELECT hex(randomblob(100000)) FROM documents, documents, documents",
            "SELECT load_extension('/nowhere')",
            "INSERT INTO questions (text) VALUES (unknown_function())",
        ]
    )
    execute(case, (f"CREATE TRIGGER t {event} ON {table} BEGIN {action}; END",))


def views(case):
    """A view that is another, or stands where a table belongs."""
    table = case.rng.choice(["settings", "state", "documents", "passages", "segments", "removed", "questions"])
    execute(
        case,
        *case.rng.choice(
            [
                [
                    ("DROP VIEW passage_texts",),
                    ("CREATE VIEW passage_texts AS SELECT 1 AS key, 'x' AS title, 'y' AS text",),
                ],
                [
                    ("DROP VIEW passage_texts",),
                    (
                        "CREATE VIEW passage_texts AS WITH RECURSIVE "
                        "n(key) AS (SELECT 1 UNION ALL SELECT key + 1 FROM n) "
                        "SELECT key, 'a' AS title, 'b' AS text FROM n",
                    ),
                ],
                [("DROP VIEW passage_texts",), ("CREATE VIEW passage_texts AS SELECT * FROM passage_texts",)],
                [(f"ALTER TABLE {table} RENAME TO kept",), (f"CREATE VIEW {table} AS SELECT * FROM kept",)],
                [
                    (f"ALTER TABLE {table} RENAME TO kept",),
                    (f"CREATE VIEW {table} AS SELECT a.* FROM kept a, kept b, kept c, kept d, kept e",),
                ],
            ]
        ),
    )


def virtual_tables(case):
    """A virtual table where an ordinary one belongs, or full text of another kind."""
    table = case.rng.choice(["questions", "removed", "fields", "files"])
    execute(
        case,
        *case.rng.choice(
            [
                [("DROP TABLE fulltext",), ("CREATE VIRTUAL TABLE fulltext USING fts5(title, text)",)],
                [
                    ("DROP TABLE fulltext",),
                    ("CREATE VIRTUAL TABLE fulltext USING fts5(title, text, tokenize = 'trigram')",),
                ],
                [("DROP TABLE fulltext",), ("CREATE TABLE fulltext (title, text, fulltext)",)],
                [("DROP TABLE fulltext",)],
                [("UPDATE fulltext_data SET block = randomblob(100)",)],
                [("UPDATE fulltext_data SET block = zeroblob(1000000)",)],
                [("DELETE FROM fulltext_data",)],
                [("DELETE FROM fulltext_config",)],
                [(f"DROP TABLE {table}",), (f"CREATE VIRTUAL TABLE {table} USING fts5(a, b)",)],
                [(f"DROP TABLE {table}",), (f"CREATE VIRTUAL TABLE {table} USING rtree(a, b, c)",)],
            ]
        ),
    )


def layouts(case):
    """Tables with more, less, generated or checked columns, and keys that go in circles."""
    name = case.rng.choice(["settings", "state", "documents", "passages", "segments", "removed", "fields", "indexes"])
    column = case.rng.choice(tables(case)[name])
    execute(
        case,
        *case.rng.choice(
            [
                [
                    (
                        f"ALTER TABLE {name} ADD COLUMN extra INTEGER "
                        "GENERATED ALWAYS AS (randomblob(1000000000)) VIRTUAL",
                    )
                ],
                [(f"ALTER TABLE {name} ADD COLUMN extra TEXT DEFAULT 'x' CHECK (extra != 'x' OR 1)",)],
                [(f"ALTER TABLE {name} DROP COLUMN {column}",)],
                [(f"ALTER TABLE {name} RENAME COLUMN {column} TO other",)],
                [
                    (f"CREATE TABLE kept AS SELECT * FROM {name}",),
                    ("PRAGMA foreign_keys = OFF",),
                    (f"DROP TABLE {name}",),
                    (f"ALTER TABLE kept RENAME TO {name}",),
                ],
                [("PRAGMA foreign_keys = OFF",), (f"DROP TABLE {name}",)],
                [(f"DELETE FROM {name}",)],
                [
                    ("PRAGMA writable_schema = ON",),
                    (
                        "UPDATE sqlite_master SET sql = replace(sql, 'REFERENCES documents', 'REFERENCES passages') "
                        "WHERE name = 'passages'",
                    ),
                ],
                [
                    ("PRAGMA writable_schema = ON",),
                    (f"UPDATE sqlite_master SET sql = 'CREATE TABLE {name} (' || char(27) WHERE name = '{name}'",),
                ],
                [("PRAGMA writable_schema = ON",), (f"UPDATE sqlite_master SET rootpage = 2 WHERE name = '{name}'",)],
                [(f"CREATE TABLE a{n} (x REFERENCES a{(n + 1) % 9} ON DELETE CASCADE)",) for n in range(9)],
                [(f"INSERT INTO {name} SELECT * FROM {name}",)],
            ]
        ),
    )


def headers(case):
    """Another application's, another version's, another encoding or journal."""
    execute(
        case,
        *case.rng.choice(
            [
                [("PRAGMA application_id = 1",)],
                [("PRAGMA application_id = -1",)],
                [(f"PRAGMA user_version = {case.rng.choice([0, 1, 2, 3, 5, 99, -1, 2**31 - 1])}",)],
                [("PRAGMA journal_mode = DELETE",)],
                [("PRAGMA journal_mode = MEMORY",), ("PRAGMA page_size = 65536",), ("VACUUM",)],
                [("PRAGMA auto_vacuum = FULL",), ("VACUUM",)],
                [("PRAGMA schema_version = 7",)],
            ]
        ),
    )


def another_application(case):
    """The database of a browser, say, with our name."""
    for path in case.database.parent.glob(f"{case.database.name}*"):
        path.unlink()
    execute(
        case,
        ("CREATE TABLE moz_places (id INTEGER PRIMARY KEY, url TEXT)",),
        *case.rng.choice(
            [
                [],
                [("CREATE TABLE settings (name, value, crc)",)],
                [("PRAGMA application_id = 1397050707",), ("PRAGMA user_version = 4",)],
            ]
        ),
    )


def settings(case):
    """The settings of a collection, their checksums right."""
    with contextlib.closing(sqlite3.connect(case.database)) as database:
        found = dict(database.execute("SELECT name, value FROM settings").fetchall())
    name = case.rng.choice(sorted(found))
    value = json.loads(found[name])
    odd = case.rng.choice(
        [None, 0, -1, 10**30, 1e308, "", "x", [], {}, True, {"a": {"b": []}}, [[]] * 1000, "\x1b[31m", "../../canary"]
    )
    if isinstance(value, dict) and value and case.rng.random() < 0.8:
        value[case.rng.choice(sorted(value))] = odd
    else:
        value = odd
    text = json.dumps(value)
    crc = zlib.crc32(f"{name}\0{text}".encode())
    execute(case, ("UPDATE settings SET value = ?, crc = ? WHERE name = ?", text, crc, name))


def restored(case):
    """Any of these in a backup, which is restored."""
    manifest, files = backups.unpack(case.backup)
    case.database = case.work / backups.DATABASE
    case.database.write_bytes(files[backups.DATABASE])
    case.rng.choice(KINDS[:-1])(case)
    backups.pack(case.backup, manifest, files | {backups.DATABASE: case.database.read_bytes()})
    if case.run("restore", case.backup, "--name", "again").code == 0:
        type_some(case, 2, "again")


KINDS = (
    *(values, values, values, integers, integers, packed, triggers, views, virtual_tables, layouts, layouts, headers),
    *(another_application, settings, restored),
)


def attack(case):
    """One of the kinds, and afterwards the other collection is whole."""
    KINDS[case.number % len(KINDS)](case)
    type_some(case, 3, terminal=case.rng.random() < 0.3)
    case.whole("vectors", "v")
