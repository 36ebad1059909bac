"""Two versions of semsearch use one collection: the newer one brings it forward, the older one lets it alone."""

import hashlib
import shutil
import sqlite3
from contextlib import ExitStack, closing, contextmanager
from unittest import mock

import pytest
from support.fakes import HashEncoder
from support.forking import server

import semsearch
from semsearch import versions
from semsearch.errors import CollectionError, ModelMismatch
from semsearch.local.store import migrations, schema
from semsearch.search import analysis
from semsearch.types import Document

DIM = 8
DOCUMENTS = [Document(str(number), f"{number} films about foxes", title="Films") for number in range(30)]
PATIENCE = 60


@contextmanager
def semsearch_of_tomorrow(what):
    """Another schema, analysis of words or encoding."""
    with ExitStack() as held:
        if what == "schema":
            step = {
                schema.SCHEMA_VERSION: lambda connection: connection.exec_driver_sql(
                    "ALTER TABLE state RENAME rows TO n"
                )
            }
            held.enter_context(mock.patch.object(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1))
            held.enter_context(mock.patch.dict(migrations.MIGRATIONS, step))
        elif what == "analysis":
            held.enter_context(mock.patch.object(versions, "ANALYSIS", versions.ANALYSIS + 1))
            unstemmed = mock.patch.object(analysis, "_stems", return_value=analysis._FORMS)
            held.enter_context(unstemmed)
        else:
            held.enter_context(mock.patch.object(versions, "ENCODING", versions.ENCODING + 1))
        yield


def bring_forward(what, home):
    """In a child, which has another version."""
    with semsearch_of_tomorrow(what):
        if what == "schema":  # its statements are not ours, so it does no more than open
            from semsearch.local.store.store import Store

            with mock.patch.object(Store, "settings", {"uuid": (home / "films" / "marker").read_text()}):
                Store(home / "films").close()
            return
        with semsearch.open("films", home=home, encoder=HashEncoder(DIM)) as collection:
            if what == "encoding":
                collection.reencode(HashEncoder(DIM))


def in_a_child(target, *arguments):
    process = server().Process(target=target, args=arguments)
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0


@pytest.fixture
def collection(tmp_path):
    with semsearch.create("films", encoder=HashEncoder(DIM), home=tmp_path) as made:
        made.add(DOCUMENTS)
        yield made


def contents(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("lock", "collection.sqlite-shm")  # who waits for whom
    }


NUMBERS = {"schema": schema.SCHEMA_VERSION, "analysis": versions.ANALYSIS, "encoding": versions.ENCODING}
CALLED = {"schema": "schema", "analysis": "analysis of words", "encoding": "encoding"}

ASKED = {
    "add": lambda collection: collection.add([Document("new", "a new film")]),
    "remove": lambda collection: collection.remove(["1"]),
    "update_metadata": lambda collection: collection.update_metadata(["1"], {"year": 2000}),
    "reindex": lambda collection: collection.reindex("hnsw"),
    "compact": lambda collection: collection.compact(),
    "repair": lambda collection: collection.repair(),
    "search": lambda collection: collection.search("films"),
    "documents": lambda collection: list(collection.documents()),
    "info": lambda collection: collection.info(),
    "open": lambda collection: semsearch.open("films", home=collection.path.parent, encoder=HashEncoder(DIM)),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", NUMBERS)
def test_an_older_one_that_has_it_open_lets_alone_what_a_newer_one_brought_forward(collection, what):
    assert collection.search("films", 1)
    in_a_child(bring_forward, what, collection.path.parent)
    before = contents(collection.path)
    for name, ask in ASKED.items():
        with pytest.raises(CollectionError) as caught:
            ask(collection)
        number = NUMBERS[what]
        assert (
            f"'films' was written by a newer semsearch ({CALLED[what]} {number + 1}, this one knows {number})"
            in str(caught.value)
        ), name
        assert "pip install -U semsearch" in str(caught.value)
        assert contents(collection.path) == before, name


def test_what_it_was_about_to_write_is_not_written(collection, monkeypatch):
    """The newer one comes between the reading and the writing of one `add`."""
    store = collection.engine.store
    stacked = store._stacked

    def late(*arguments):
        with closing(sqlite3.connect(collection.path / "collection.sqlite")) as direct, direct:
            direct.execute("UPDATE state SET analysis = analysis + 1")
        return stacked(*arguments)

    monkeypatch.setattr(store, "_stacked", late)
    with pytest.raises(CollectionError, match=rf"newer semsearch \(analysis of words {versions.ANALYSIS + 1}"):
        collection.add([Document("new", "a new film")])
    with closing(sqlite3.connect(collection.path / "collection.sqlite")) as direct:
        assert direct.execute("SELECT count(*) FROM documents").fetchone() == (30,)


def test_a_newer_analysis_of_words_is_brought_forward(collection):
    """Full text and postings are those of the newer one's words; nothing else is touched."""
    collection.engine._lexical_indexing.rebuild()
    assert len(collection.search("film", 30, mode="lexical")) == 30, "stems"
    vectors = next(collection.path.glob("vectors-*")).read_bytes()
    collection.close()
    with (
        semsearch_of_tomorrow("analysis"),
        semsearch.open("films", home=collection.path.parent, encoder=HashEncoder(DIM)) as newer,
    ):
        assert newer.search("film", 30, mode="lexical") == []
        assert newer.search('"film"', 30, mode="lexical") == []
        assert len(newer.search("films", 30, mode="lexical")) == 30
        assert newer.info()["versions"]["analysis"] == versions.ANALYSIS
        newer.repair()
        newer.engine._lexical_indexing.rebuild()
        assert newer.search("film", 30, mode="lexical") == []
        newer.add([Document("new", "one film")])
        assert [hit.document.id for hit in newer.search("film", mode="lexical")] == ["new"]
        assert newer.check(deep=True) == []
    assert next(collection.path.glob("vectors-*")).read_bytes()[: len(vectors)] == vectors


def test_bringing_forward_that_was_interrupted_is_done_again(collection):
    collection.close()
    with semsearch_of_tomorrow("analysis"):
        broken = mock.patch.object(migrations.registry, "retire", side_effect=RuntimeError)
        with broken, pytest.raises(RuntimeError):
            semsearch.open("films", home=collection.path.parent, encoder=HashEncoder(DIM))
        with semsearch.open("films", home=collection.path.parent, encoder=HashEncoder(DIM)) as newer:
            assert len(newer.search("films", 30, mode="lexical")) == 30
            assert newer.check(deep=True) == []


def test_vectors_of_an_older_encoding_are_not_mixed_with_newer_ones(collection):
    collection.close()
    with (
        semsearch_of_tomorrow("encoding"),
        semsearch.open("films", home=collection.path.parent, encoder=HashEncoder(DIM)) as newer,
    ):
        with pytest.raises(ModelMismatch, match=r"older semsearch encoded collection 'films'.*semsearch reencode"):
            newer.add([Document("new", "a new film")])
        assert newer.update_metadata(["1"], {"year": 2000}) == 1
        newer.reencode(HashEncoder(DIM))
        assert newer.add([Document("new", "a new film")]).added == 1
        assert newer.info()["versions"]["encoding"] == versions.ENCODING
        assert newer.check(deep=True) == []


@pytest.mark.slow
def test_a_copy_and_a_backup_say_what_made_them(collection, tmp_path):
    collection.backup(tmp_path / "backup")
    shutil.copytree(collection.path, tmp_path / "copies" / "films")
    semsearch.restore(tmp_path / "backup", home=tmp_path / "restored")
    for home in ("copies", "restored"):
        in_a_child(bring_forward, "analysis", tmp_path / home)
        with pytest.raises(CollectionError, match="newer semsearch"):
            semsearch.open("films", home=tmp_path / home, encoder=HashEncoder(DIM))
