"""A database from a stranger: nothing in it runs, and what could is damage that is told before anything is done."""

import sqlite3
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from support.command_line import run
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import CollectionDamaged, CollectionError
from semsearch.local.store import schema
from semsearch.local.store.database import Database, driver
from semsearch.types import Document

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("schema-*.tar.gz"))


@pytest.fixture
def home(tmp_path):
    with semsearch.create("notes", home=tmp_path, encoder=HashEncoder()) as notes:
        notes.add([Document(f"d{number}", f"text {number}") for number in range(3)])
    return tmp_path


def statements(database):
    with closing(sqlite3.connect(database)) as connection:
        return frozenset(connection.execute("SELECT sql FROM sqlite_master"))


def test_a_connection_trusts_nothing_that_the_database_says(home):
    with semsearch.open("notes", home=home, encoder=HashEncoder()) as notes:
        with notes.engine.store.database.read() as connection:
            direct = driver(connection)
            found = {
                name: direct.execute(f"PRAGMA {name}").fetchone()
                for name in ("trusted_schema", "cell_size_check", "mmap_size")
            }
            assert found == {"trusted_schema": (0,), "cell_size_check": (1,), "mmap_size": (0,)}
            if sys.version_info >= (3, 12):
                assert direct.getconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE)
        notes.remove(["d0"])
        notes.compact()
        assert notes.check(deep=True) == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python can't say so before 3.12")
def test_the_tables_of_the_full_text_are_written_by_sqlite_alone(home):
    with (
        semsearch.open("notes", home=home, encoder=HashEncoder()) as notes,
        notes.engine.store.database.plain() as connection,
        pytest.raises(sqlite3.OperationalError, match="may not be modified"),
    ):
        driver(connection).execute("UPDATE fulltext_data SET block = x'00'")


STRANGE = {
    "a trigger": "CREATE TRIGGER later AFTER INSERT ON documents BEGIN DELETE FROM passages; END",
    "a view": "CREATE VIEW more AS SELECT * FROM documents",
    "a virtual table": "CREATE VIRTUAL TABLE more USING fts5 (a)",
    "a generated column": "CREATE TABLE more (a INTEGER, b TEXT AS (hex(a)))",
    "a check": "CREATE TABLE more (a INTEGER CHECK (abs(a) > 0))",
    "a default": "CREATE TABLE more (a INTEGER DEFAULT (random()))",
    "another default": "CREATE TABLE more (a INTEGER DEFAULT 0, b INTEGER DEFAULT (random()))",
    "a default time": "CREATE TABLE more (a INTEGER DEFAULT CURRENT_TIMESTAMP)",
    "an index of an expression": "CREATE INDEX more ON documents (hex(title))",
    "an index of some rows": "CREATE INDEX more ON documents (title) WHERE length(title) > 3",
    "an index in an order of its own": "CREATE INDEX more ON documents (title COLLATE nocase)",
    "a name that hides one": 'CREATE TABLE "more (a CHECK (1))" (a INTEGER)',
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_may_run_is_damage_before_anything_runs(home, what):
    file = home / "notes" / "collection.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(STRANGE[what])
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = file.read_bytes()
    with pytest.raises(CollectionDamaged, match=r"may run .*(more|later)"):
        semsearch.open("notes", home=home, encoder=HashEncoder())
    for words in (["check", "notes"], ["repair", "notes"], ["info", "notes"]):
        ended = run(*words, "--home", home)
        assert (ended.code, ended.out) == (4, "")
        assert "holds what semsearch never puts there" in ended.err
    assert file.read_bytes() == before
    semsearch.drop("notes", home=home)


@pytest.mark.parametrize("name", ["passage_texts", "fulltext"])
def test_our_own_views_and_tables_are_ours_only_as_we_write_them(home, name):
    file = home / "notes" / "collection.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        (text,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        changed = text.replace("key, title", "key, hex(title)").replace("content = ''", "content = 'documents'")
        assert changed != text
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (changed, name))
    with pytest.raises(CollectionDamaged, match="never puts there"):
        semsearch.open("notes", home=home, encoder=HashEncoder())


@pytest.mark.parametrize("archive", GOLDEN, ids=lambda path: path.name)
def test_what_every_version_wrote_is_plain_before_and_after_it_is_brought_forward(tmp_path, archive):
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    file = tmp_path / "golden" / "collection.sqlite"
    assert schema.strange(statements(file)) is None
    with semsearch.open("golden", home=tmp_path, encoder=HashEncoder(4)) as golden:
        assert len(golden) > 20
    assert schema.strange(statements(file)) is None


def test_what_a_newer_semsearch_made_is_told_as_that_and_not_opened(home):
    with closing(sqlite3.connect(home / "notes" / "collection.sqlite")) as connection:
        connection.execute("CREATE VIEW newest AS SELECT hex(title) FROM documents")
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    with pytest.raises(CollectionError, match="written by a newer semsearch"):
        semsearch.open("notes", home=home, encoder=HashEncoder())


def test_what_a_person_s_tools_leave_is_no_harm(home):
    with closing(sqlite3.connect(home / "notes" / "collection.sqlite")) as connection:
        connection.execute("ANALYZE")
        connection.execute("CREATE INDEX quicker ON documents (title, id)")
        connection.execute("CREATE TABLE mine (a TEXT NOT NULL DEFAULT 0)")
    with semsearch.open("notes", home=home, encoder=HashEncoder()) as notes:
        assert len(notes) == 3


def test_a_function_of_ours_is_not_for_the_schema(tmp_path):
    """Were a view to slip through, it could still call none of the functions that connections have."""
    database = Database(tmp_path / "made.sqlite", mode="rwc")
    with database.plain() as connection:
        direct = driver(connection)
        direct.create_function("ours", 0, lambda: "called")
        assert direct.execute("SELECT ours()").fetchone() == ("called",)
        direct.execute("CREATE TEMP TABLE t (a)")
        direct.execute("CREATE VIEW calls AS SELECT ours()")
        with pytest.raises(sqlite3.OperationalError, match="unsafe use of ours"):
            direct.execute("SELECT * FROM calls")
    database.close()


@pytest.mark.parametrize("odd", [b"CREATE TABLE a (b)", 3, "", "CREATE TABLE a (b)\0CREATE", "CREATE TABLE ä (b)"])
def test_what_is_no_statement_is_strange(odd):
    assert schema.strange(frozenset({(odd,)})) == str(odd)
    assert schema.strange(frozenset({(None,), ("CREATE TABLE a (b)",)})) is None


def test_a_byte_in_the_schema_that_is_no_text_is_told_and_costs_itself_alone(home):
    with semsearch.create("whole", home=home, encoder=HashEncoder()):
        pass
    file = home / "notes" / "collection.sqlite"
    content = file.read_bytes()
    place = content.index(b"CREATE TABLE state") + 7
    file.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
    for words in (["query", "notes", "x"], ["check", "notes"]):
        ended = run(*words, "--home", home)
        assert ended.code == 4, ended.err
        assert "Traceback" not in ended.err
    ended = run("list", "--home", home)
    assert any(line.startswith("whole") for line in ended.lines)
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_any_byte_of_the_full_text_may_be_another(home):
    """SQLite may then tell of terms without places: damage, and no traceback."""
    with semsearch.open("notes", home=home, encoder=HashEncoder()) as notes:
        path = notes.path / "collection.sqlite"
        ((segment, block),) = raw(path, "SELECT id, block FROM fulltext_data ORDER BY length(block) DESC LIMIT 1")
        for place in range(len(block)):
            changed = block[:place] + b"\x7f" + block[place + 1 :]
            raw(path, "UPDATE fulltext_data SET block = ? WHERE id = ?", changed, segment)
            assert all(problem.part for problem in notes.check(deep=True))
        assert notes.check(deep=True) != []
        notes.repair()
        assert notes.check(deep=True) == []


def raw(path, statement, *values):
    """Go past semsearch, which forbids it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()
