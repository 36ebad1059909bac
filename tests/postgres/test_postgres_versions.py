"""Two versions of semsearch at one database: the newer one brings a collection forward when somebody says so."""

from contextlib import ExitStack, contextmanager
from unittest import mock

import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

from support.command_line import run

import semsearch
from semsearch import versions
from semsearch.errors import CollectionError, StorageError
from semsearch.postgres import forward_steps, tables
from semsearch.search import analysis
from semsearch.testing.encoder import HashEncoder
from semsearch.types import Document

pytestmark = pytest.mark.postgres
FILMS = [Document(str(number), f"{number} films about foxes", title="Films") for number in range(4)]
WRITES = {
    "add": lambda collection: collection.add([Document("new", "a new film")]),
    "remove": lambda collection: collection.remove(["1"]),
    "update_metadata": lambda collection: collection.update_metadata(["1"], {"year": 2000}),
    "set": lambda collection: collection.engine.set("mine", 1),
    "change_language": lambda collection: collection.change_language("de"),
    "repair": lambda collection: collection.repair(),
    "reencode": lambda collection: collection.reencode(HashEncoder(dim=8, salt=1)),
}
READS = {
    "search": lambda collection: collection.search("films"),
    "documents": lambda collection: list(collection.documents()),
    "info": lambda collection: collection.info(),
}


@contextmanager
def tomorrow(what):
    """The semsearch of tomorrow: another schema, or another analysis of words."""
    with ExitStack() as stack:
        if what == "schema":
            step = {
                tables.POSTGRES_SCHEMA: lambda session: session.execute("ALTER TABLE questions ADD COLUMN asked int")
            }
            stack.enter_context(mock.patch.dict(forward_steps.FORWARD_STEPS, step))
            stack.enter_context(mock.patch.object(tables, "POSTGRES_SCHEMA", tables.POSTGRES_SCHEMA + 1))
        else:
            stack.enter_context(mock.patch.object(versions, "ANALYSIS", versions.ANALYSIS + 1))
            stack.enter_context(mock.patch.object(analysis, "_stems", return_value=analysis._FORMS))
        yield


@pytest.fixture
def films(url):
    with semsearch.create("films", home=url, encoder=HashEncoder()) as collection:
        collection.add(FILMS)
        yield collection


def contents(url):
    """All rows of all tables."""
    with (
        semsearch.open("films", home=url, encoder=HashEncoder()) as collection,
        collection.engine._connections.session() as session,
    ):
        names = session.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
        return {name: sorted(map(str, session.execute(f'SELECT * FROM "{name}"').fetchall())) for (name,) in names}


@pytest.mark.parametrize("what", ["schema", "analysis"])
def test_an_older_one_is_refused_before_it_reads_or_writes(url, films, what):
    with tomorrow(what):
        with semsearch.open("films", home=url, encoder=HashEncoder()) as newer:
            assert newer.migrate() != []
            assert newer.migrate() == []
        before = contents(url)
    for name, ask in (WRITES | READS).items():
        with pytest.raises(CollectionError, match=r"by a newer semsearch: its (schema|analysis of words) is") as told:
            ask(films)
        assert "nothing was changed" in str(told.value), name
    with tomorrow(what):
        assert contents(url) == before


def test_a_newer_one_reads_what_an_older_one_made_and_writes_nothing_until_it_is_brought_forward(url, films):
    before = contents(url)
    with tomorrow("schema"), semsearch.open("films", home=url, encoder=HashEncoder()) as newer:
        for ask in READS.values():
            ask(newer)
        for ask in WRITES.values():
            with pytest.raises(CollectionError, match=r"made by an older semsearch.*'semsearch migrate films'"):
                ask(newer)
        assert contents(url) == before
    assert films.add([Document("meanwhile", "the older one goes on")]).added == 1
    with tomorrow("schema"), semsearch.open("films", home=url, encoder=HashEncoder()) as newer:
        assert newer.migrate() == [
            f"brought the tables forward from version {tables.POSTGRES_SCHEMA - 1} to {tables.POSTGRES_SCHEMA}"
        ]
        WRITES["add"](newer)
        assert {*newer.ids()} == {"0", "1", "2", "3", "meanwhile", "new"}
        assert newer.check(deep=True) == []


def test_words_of_an_older_analysis_wait_to_be_found_anew(url, films):
    with tomorrow("analysis"), semsearch.open("films", home=url, encoder=HashEncoder()) as newer:
        assert newer.search("films")  # by meaning
        for ask in (WRITES["add"], lambda collection: collection.search("film", mode="lexical")):
            with pytest.raises(CollectionError, match="'semsearch migrate' makes them anew"):
                ask(newer)
        (problem,) = newer.check(deep=True)
        assert (problem.part, problem.fix) == ("words", "semsearch migrate films")
        assert newer.repair() == []
        newer.migrate()
        assert newer.search("film", mode="lexical") == []  # it has no stems
        assert len(newer.search("films", mode="lexical")) == 4
        assert newer.check(deep=True) == []


def test_a_step_that_fails_leaves_nothing_and_is_taken_again(url, films):
    with tomorrow("schema"), semsearch.open("films", home=url, encoder=HashEncoder()) as newer:
        before = contents(url)

        def fails(session):
            session.execute("ALTER TABLE questions ADD COLUMN half int")
            session.execute("SELECT 1 / 0")

        broken = mock.patch.dict(forward_steps.FORWARD_STEPS, {tables.POSTGRES_SCHEMA - 1: fails})
        with broken, pytest.raises(StorageError, match="division by zero"):
            newer.migrate()
        assert contents(url) == before
        assert len(newer.migrate()) == 1


def test_through_a_server(url, films):
    pytest.importorskip("starlette", reason="the extra 'server' is not installed")
    from support.serving import served

    with tomorrow("schema"), served(url) as server:
        with semsearch.open("films", home=server.url) as newer:
            with pytest.raises(CollectionError, match=r"made by an older semsearch.*'semsearch migrate films'"):
                newer.describe("films of the town")
            assert newer.migrate() == [
                f"brought the tables forward from version {tables.POSTGRES_SCHEMA - 1} to {tables.POSTGRES_SCHEMA}"
            ]
            newer.describe("films of the town")
            assert newer.engine.versions["schema"] == tables.POSTGRES_SCHEMA
        assert "needed nothing" in run("migrate", "films", "--home", server.url).err


def test_on_the_command_line(url, films, tmp_path):
    with tomorrow("schema"):
        assert "brought the tables forward" in run("migrate", "films", "--home", url).out
        assert "needed nothing" in run("migrate", "films", "--home", url).err
    films.close()
    refused = run("info", "films", "--home", url)
    assert (refused.code, refused.err.count("by a newer semsearch")) == (4, 1)
    semsearch.create("here", home=tmp_path, encoder=HashEncoder()).close()
    assert "needed nothing" in run("migrate", "here", "--home", tmp_path).err
