"""The tables of a collection: as they always were, whoever laid them out, and whatever is missing is noticed."""

import ast
import json
import sqlite3
import tarfile
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.local.store import questions, schema
from semsearch.local.store.database import Database
from semsearch.types import Document

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = range(1, schema.SCHEMA_VERSION + 1)

# As the statements of version 3 were written, with what version 4 added; the order of columns is that of the rows.
STATEMENTS = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE state (
    version INTEGER NOT NULL, generation INTEGER NOT NULL, rows INTEGER NOT NULL, dim INTEGER,
    masked INTEGER NOT NULL DEFAULT 0, masked_sum INTEGER NOT NULL DEFAULT 0,
    analysis INTEGER NOT NULL DEFAULT 0, encoding INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE sources (source INTEGER PRIMARY KEY, spec TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE files (
    file INTEGER PRIMARY KEY, source INTEGER NOT NULL REFERENCES sources (source) ON DELETE CASCADE,
    name TEXT NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, hash BLOB NOT NULL, UNIQUE (source, name)
) STRICT;
CREATE TABLE documents (
    doc INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL,
    metadata TEXT NOT NULL, hash BLOB NOT NULL, crc INTEGER NOT NULL, size INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE pieces (
    doc INTEGER NOT NULL REFERENCES documents (doc) ON DELETE CASCADE, number INTEGER NOT NULL, text TEXT NOT NULL,
    crc INTEGER NOT NULL, PRIMARY KEY (doc, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE origins (
    doc INTEGER NOT NULL REFERENCES documents (doc) ON DELETE CASCADE,
    source INTEGER NOT NULL REFERENCES sources (source) ON DELETE CASCADE,
    file INTEGER NOT NULL REFERENCES files (file) ON DELETE CASCADE, position TEXT,
    PRIMARY KEY (doc, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX origins_in ON origins (file);
CREATE TABLE passages (
    key INTEGER PRIMARY KEY AUTOINCREMENT, doc INTEGER NOT NULL REFERENCES documents (doc) ON DELETE CASCADE,
    "start" INTEGER NOT NULL, "end" INTEGER NOT NULL
) STRICT;
CREATE INDEX passages_of ON passages (doc);
CREATE TABLE segments (
    generation INTEGER NOT NULL, first INTEGER NOT NULL, places BLOB NOT NULL, crcs BLOB NOT NULL,
    PRIMARY KEY (generation, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE removed (version INTEGER NOT NULL, key INTEGER NOT NULL, PRIMARY KEY (version, key))
STRICT, WITHOUT ROWID;
CREATE TABLE reencoded (
    key INTEGER PRIMARY KEY, doc INTEGER NOT NULL, hash BLOB NOT NULL, "start" INTEGER NOT NULL, "end" INTEGER NOT NULL
) STRICT;
CREATE INDEX reencoded_of ON reencoded (doc);
CREATE TABLE fields (
    name TEXT NOT NULL, element INTEGER NOT NULL, type TEXT NOT NULL, value ANY,
    doc INTEGER NOT NULL REFERENCES documents (doc) ON DELETE CASCADE,
    PRIMARY KEY (name, element, type, value, doc)
) STRICT;
CREATE INDEX fields_of ON fields (doc);
CREATE VIEW passage_texts AS
    SELECT key, title, CASE size
        WHEN 0 THEN substr(text, "start" + 1, "end" - "start")
        ELSE coalesce(substr((
            SELECT group_concat(part, '') FROM (
                SELECT pieces.text AS part FROM pieces WHERE pieces.doc = passages.doc
                AND number BETWEEN "start" / 65536 AND ("end" - 1) / 65536 ORDER BY number
            )
        ), "start" % 65536 + 1, "end" - "start"), '')
    END AS text FROM passages JOIN documents USING (doc);
CREATE VIRTUAL TABLE fulltext USING fts5 (title, text, content = '', tokenize = 'ascii');
CREATE TABLE indexes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, backend TEXT NOT NULL, params TEXT NOT NULL, generation INTEGER NOT NULL,
    rows INTEGER NOT NULL, digest TEXT NOT NULL, contract TEXT
) STRICT;
CREATE TABLE questions (question INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
"""


@pytest.fixture
def laid_out(tmp_path):
    """A database as a new collection has it."""
    database = Database(tmp_path / "collection.sqlite", mode="rwc")
    with database.write() as connection:
        schema.create(connection)
    yield database
    database.close()


def test_the_tables_are_as_they_always_were(laid_out, tmp_path):
    with closing(sqlite3.connect(tmp_path / "by_hand.sqlite")) as direct:
        direct.executescript(STATEMENTS)
    by_hand = Database(tmp_path / "by_hand.sqlite")
    with laid_out.read() as connection, by_hand.read() as other:
        assert schema.layouts(connection) == schema.layouts(other)
        assert schema.differences(other) == []
    by_hand.close()


def old(folder, version):
    with tarfile.open(GOLDEN / f"schema-{version}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "golden" / "collection.sqlite"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_database_of_every_version_ends_up_with_them(tmp_path, version):
    old(tmp_path, version)
    with semsearch.open("golden", home=tmp_path, encoder=HashEncoder(4)) as opened:
        with opened.engine.store.read() as view:
            assert schema.differences(view.connection) == []
        assert opened.info()["versions"] == {"schema": schema.SCHEMA_VERSION, "analysis": 4, "encoding": 1}


@pytest.mark.parametrize(
    ("harm", "part"),
    [
        ("DROP INDEX fields_of", "fields"),
        ("DROP TABLE questions", "questions"),
        ("ALTER TABLE questions ADD COLUMN more TEXT", "questions"),
        ("DROP VIEW passage_texts; " + schema.FORMER[0], "passage_texts"),
        ("DROP TABLE questions; CREATE TABLE questions (question INTEGER PRIMARY KEY, text TEXT NOT NULL)",
         "questions"),
        ("DROP TABLE questions; CREATE TABLE questions (question INTEGER PRIMARY KEY, text BLOB NOT NULL) STRICT",
         "questions"),
        ("DROP TABLE questions; CREATE TABLE questions (question INTEGER PRIMARY KEY AUTOINCREMENT, "
         "text TEXT NOT NULL) STRICT", "questions"),
    ],
)  # fmt: skip
def test_what_is_laid_out_otherwise_is_a_problem(tmp_path, harm, part):
    with semsearch.create("films", encoder=HashEncoder(4), home=tmp_path) as collection:
        collection.add([Document("a", "film")])
    with closing(sqlite3.connect(tmp_path / "films" / "collection.sqlite")) as direct:
        direct.executescript(harm)
    with semsearch.open("films", home=tmp_path, encoder=HashEncoder(4)) as collection:
        problems = [problem.what for problem in collection.check()]
    assert problems == [f"'{part}' is missing, or not laid out as it should be"]


# Statements


def statements():
    """Each call that runs a statement, with what the statement is."""
    for path in Path(semsearch.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
            if called in ("exec_driver_sql", "execute", "executemany") and node.args:
                yield path.relative_to(Path(semsearch.__file__).parent), node.args[0]


@pytest.mark.slow
def test_no_statement_is_put_together_from_pieces_of_text():
    """But pragmas, which take no parameters, and the steps from old versions, whose tables are described no more.

    In PostgreSQL the sets of documents of a filter are put together from pieces that are all constants: that nothing of
    a person's is among them, tests/postgres/test_database_faults.py holds.
    """
    found = list(statements())
    assert len(found) > 50
    pieced = [
        f"{path}:{first.lineno}: {ast.unparse(first)}"
        for path, first in found
        if isinstance(first, ast.JoinedStr | ast.BinOp) and not ast.unparse(first)[2:].startswith("PRAGMA ")
    ]
    allowed = ("local/store/migrations.py", "encoder/cache.py", "postgres/")
    assert [one for one in pieced if not one.startswith(allowed)] == []


# Questions


@pytest.mark.parametrize(
    ("kept", "found"),
    [(json.dumps(["wie viele Füchse?", "twice", "twice"]), ["wie viele Füchse?", "twice", "twice"]), ("", [])],
)
def test_questions_that_were_a_setting_have_a_table_of_their_own(tmp_path, kept, found):
    value = json.dumps(kept)
    with closing(sqlite3.connect(old(tmp_path, 3))) as direct, direct:
        crc = zlib.crc32(f"questions\0{value}".encode())
        direct.execute("INSERT INTO settings VALUES ('questions', ?, ?)", (value, crc))
    with semsearch.open("golden", home=tmp_path, encoder=HashEncoder(4)) as opened:
        with opened.engine.store.read() as view:
            assert questions.read(view.connection) == found
        assert "questions" not in opened.engine.store.settings
        assert opened.check(deep=True) == []


def test_questions_are_read_only_when_they_are_asked_for(tmp_path):
    said = []
    with semsearch.create("films", encoder=HashEncoder(4), home=tmp_path, index="hnsw") as collection:
        collection.add(Document(str(number), f"film {number}") for number in range(50))
        collection.reindex(recall=0.5, queries=["film 1", "film 2"])
    with semsearch.open("films", home=tmp_path, encoder=HashEncoder(4)) as collection:
        with collection.engine.store.read() as view:
            view.connection.connection.driver_connection.set_trace_callback(said.append)
        collection.search("film 1")
        assert said
        assert not any("questions" in statement for statement in said)
        assert collection.tune(0.5).source == "queries"
