"""A collection that was dropped, or replaced by another of its name, while somebody had it open: nothing is written."""

import os
import threading

import pytest
from support.fakes import HashEncoder

import semsearch
from indexes.hnsw import HNSWIndex
from semsearch.errors import CollectionLocked, CollectionNotFound
from semsearch.local.store import failpoints, lock, platform, snapshot, vector_file
from semsearch.types import Document

DIM = 8

WRITING = {
    "add": lambda collection: collection.add([Document("lost", "precious")]),
    "remove": lambda collection: collection.remove(["old1"]),
    "update_metadata": lambda collection: collection.update_metadata(["old1"], {"n": 1}),
    "compact": lambda collection: collection.compact(),
    "reindex": lambda collection: collection.reindex("exact"),
    "repair": lambda collection: collection.repair(),
}


def films(home, name, count):
    """A collection 'films' of `count` documents."""
    collection = semsearch.create("films", encoder=HashEncoder(DIM), home=home)
    collection.add([Document(f"{name}{number}", f"{name} film {number}") for number in range(count)])
    return collection


@pytest.mark.parametrize("new", [None, 3, 10])
@pytest.mark.parametrize("write", WRITING)
def test_nothing_is_written(tmp_path, write, new):
    with films(tmp_path, "old", 5) as old:
        old.remove(["old0"])
        semsearch.drop("films", home=tmp_path)
        if new is not None:
            films(tmp_path, "new", new).close()
        with pytest.raises(CollectionNotFound, match=TOLD):
            WRITING[write](old)
    if new is None:
        assert semsearch.list_collections(home=tmp_path) == []
        return
    with semsearch.open("films", encoder=HashEncoder(DIM), home=tmp_path) as collection:
        assert collection.check(deep=True) == []
        assert len(collection) == new
        assert collection.search("new film 1", k=1)[0].document.id == "new1"


READING = {
    "search": lambda collection, _: collection.search("old film 1"),
    "words": lambda collection, _: collection.search("film", mode="lexical"),
    "similar": lambda collection, _: collection.similar(["old1"]),
    "get": lambda collection, _: collection.get(["old1"]),
    "ids": lambda collection, _: list(collection.ids()),
    "documents": lambda collection, _: list(collection.documents()),
    "count": lambda collection, _: len(collection),
    "arrays": lambda collection, _: collection.arrays(),
    "info": lambda collection, _: collection.info(),
    "settings": lambda collection, _: collection.settings["metric"],
    "sources": lambda collection, _: collection.sources,
    "load_index": lambda collection, _: collection.load_index(),
    "check": lambda collection, _: collection.check(),
    "backup": lambda collection, folder: collection.backup(folder / "backup"),
    "bytes": lambda collection, _: collection.engine.bytes(),
}
TOLD = r"collection 'films' was dropped, or replaced.*Open it again with semsearch.open\('films'\)"


def dropped(home):
    semsearch.drop("films", home=home)


def dropped_and_made_anew(home):
    dropped(home)
    films(home, "new", 7).close()


def moved(home):
    (home / "films").rename(home / "elsewhere")


def restored_over(home):
    """The same collection, by its uuid, as it once was."""
    semsearch.restore(home / "kept", "again", home=home)
    moved(home)
    (home / "again").rename(home / "films")


def overwritten(home):
    """Its database alone."""
    semsearch.restore(home / "kept", "again", home=home)
    (home / "again" / "collection.sqlite").replace(home / "films" / "collection.sqlite")


REPLACED = [dropped, dropped_and_made_anew, moved, restored_over, overwritten]
renames_what_is_open = pytest.mark.skipif(os.name == "nt", reason="the system refuses to move what is open")


@renames_what_is_open
@pytest.mark.parametrize("searched", [True, False])
@pytest.mark.parametrize("replace", REPLACED)
def test_a_reader_is_told(tmp_path, replace, searched):
    with films(tmp_path, "old", 5) as old:
        old.backup(tmp_path / "kept")
        old.add([Document("later", "later film")])
        if searched:
            old.search("film", mode="hybrid")
        replace(tmp_path)
        for read in READING.values():
            with pytest.raises(CollectionNotFound, match=TOLD):
                read(old, tmp_path)
    assert not (tmp_path / "backup").exists()


@renames_what_is_open
def test_what_was_moved_back_is_the_same(tmp_path):
    with films(tmp_path, "old", 5) as old:
        moved(tmp_path)
        with pytest.raises(CollectionNotFound, match=TOLD):
            old.search("film")
        (tmp_path / "elsewhere").rename(tmp_path / "films")
        assert old.search("old film 1", k=1)[0].document.id == "old1"
        assert old.add([Document("later", "later film")]).added == 1


def at_the_moment(monkeypatch, module, name, happen):
    """Let `happen` once, right before `module.name` is called."""
    whole, left = getattr(module, name), [happen]

    def late(*arguments, **options):
        if left:
            left.pop()()
        return whole(*arguments, **options)

    monkeypatch.setattr(module, name, late)


@renames_what_is_open
@pytest.mark.parametrize("replace", [dropped_and_made_anew, moved])
def test_a_vector_file_is_not_mapped_out_of_another_collection(tmp_path, monkeypatch, replace):
    """Replaced in a read transaction, between the look at the database and that at the vectors."""
    films(tmp_path, "old", 5).close()
    with semsearch.open("films", encoder=HashEncoder(DIM), home=tmp_path) as old:
        at_the_moment(monkeypatch, snapshot, "map_rows", lambda: replace(tmp_path))
        with pytest.raises(CollectionNotFound, match=TOLD):
            old.search("old film 1")


@renames_what_is_open
def test_an_index_is_not_loaded_out_of_another_collection(tmp_path, monkeypatch):
    films(tmp_path, "old", 30).close()
    with semsearch.open("films", encoder=HashEncoder(DIM), home=tmp_path) as old:
        old.reindex("hnsw")
    with semsearch.open("films", encoder=HashEncoder(DIM), home=tmp_path) as old:
        old.search("film")

        def replace():
            dropped(tmp_path)
            films(tmp_path, "new", 30).close()

        load = HNSWIndex.load.__func__

        def late(kind, *arguments):
            loaded = load(kind, *arguments)
            replace()
            return loaded

        monkeypatch.setattr(HNSWIndex, "load", classmethod(late))
        with pytest.raises(CollectionNotFound, match=TOLD):
            old.load_index()


@renames_what_is_open
def test_what_is_not_committed_yet_is_refused_where_it_was_moved_meanwhile(tmp_path):
    with films(tmp_path, "old", 5) as old:
        failpoints.arm(lambda name: moved(tmp_path) if name == "write segment" else None)
        try:
            with pytest.raises(CollectionNotFound, match=TOLD):
                old.add([Document("later", "later film")])
        finally:
            failpoints.arm(None)
    with semsearch.open("elsewhere", encoder=HashEncoder(DIM), home=tmp_path) as there:
        assert len(there) == 5
        assert there.check(deep=True) == []


@renames_what_is_open
def test_vectors_are_not_written_into_another_collection(tmp_path, monkeypatch):
    """Replaced, by hand, while the writer's lock is held."""
    with films(tmp_path, "old", 5) as old:

        def replace():
            moved(tmp_path)
            films(tmp_path, "new", 9).close()

        at_the_moment(monkeypatch, vector_file, "append", replace)
        with pytest.raises(CollectionNotFound, match=TOLD):
            old.add([Document("later", "later film")])
    with semsearch.open("films", encoder=HashEncoder(DIM), home=tmp_path) as new:
        assert new.check(deep=True) == []
        assert new.search("new film 1", k=1)[0].document.id == "new1"


def test_it_is_not_dropped_while_somebody_writes(tmp_path, monkeypatch):
    with films(tmp_path, "old", 5) as old:
        monkeypatch.setattr(lock.WriterLock.__init__, "__defaults__", (0.05, "lock"))
        refused = []

        def drop(name):
            if name == "write segment":
                thread = threading.Thread(target=lambda: refused.append(catch(lambda: dropped(tmp_path))))
                thread.start()
                thread.join()

        failpoints.arm(drop)
        try:
            assert old.add([Document("later", "later film")]).added == 1
        finally:
            failpoints.arm(None)
        assert isinstance(refused[0], CollectionLocked)
        assert len(old) == 6


def test_who_holds_it_may_drop_it(tmp_path):
    """As `index` does with a new collection of which nothing came."""
    with films(tmp_path, "old", 5) as old:
        with old.engine.hold():
            dropped(tmp_path)
        assert semsearch.list_collections(home=tmp_path) == []


def catch(action):
    """The error that `action` ends in."""
    try:
        action()
    except Exception as error:
        return error
    return None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_too(tmp_path):
    with films(tmp_path, "old", 5) as old:
        old.search("film")
        child = os.fork()
        if not child:
            dropped_and_made_anew(tmp_path)
            os._exit(0 if isinstance(catch(lambda: old.search("film")), CollectionNotFound) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with pytest.raises(CollectionNotFound, match=TOLD):
            old.search("film")


@renames_what_is_open
def test_a_database_of_the_same_number_is_known_by_its_uuid(tmp_path, monkeypatch):
    """File systems give the number of a file that is gone to the next one."""
    monkeypatch.setattr(platform, "identity", lambda path: (1, 1))
    films(tmp_path, "old", 5).close()
    with semsearch.open("films", encoder=HashEncoder(DIM), home=tmp_path) as old:
        dropped_and_made_anew(tmp_path)
        database = old.engine.store.database
        with database.read() as first:  # the connection that is there already
            assert first.exec_driver_sql("SELECT count(*) FROM documents").scalar() == 5
            with pytest.raises(CollectionNotFound, match=TOLD), database.read():
                pass
