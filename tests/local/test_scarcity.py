"""Memory and files that run out: a sentence each time, nothing taken for damage, and nothing left behind."""

import errno
import os

import numpy as np
import pytest
from support.fakes import HashEncoder

import semsearch
from indexes.hnsw import HNSWIndex
from semsearch import arrays, plain_files
from semsearch.errors import CollectionError, StorageError
from semsearch.local.index import generation
from semsearch.local.index.build import Indexing
from semsearch.local.store import segments, vector_file
from semsearch.types import Document

DIM = 8
SCARCE = [errno.ENOMEM, errno.EMFILE, errno.ENFILE]


@pytest.fixture
def collection(tmp_path):
    with semsearch.create("films", encoder=HashEncoder(DIM), home=tmp_path) as made:
        made.add([Document(f"f{number}", f"film {number}") for number in range(30)])
        made.remove(["f3"])
        made.reindex("hnsw")
    with semsearch.open("films", encoder=HashEncoder(DIM), home=tmp_path) as opened:
        yield opened


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def refusal(number):
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", SCARCE)
def test_vectors_that_can_not_be_mapped(collection, monkeypatch, number):
    with monkeypatch.context() as scarce:
        scarce.setattr(vector_file.np, "memmap", failing(refusal(number)))
        with pytest.raises(StorageError, match=r"reading .*vectors-.*f32 failed: .*nothing is lost"):
            collection.search("film 1")
    assert collection.search("film 1", k=1)[0].document.id == "f1"


def test_arrays_that_can_not_be_allocated_are_no_damage(collection, monkeypatch):
    with monkeypatch.context() as scarce:
        scarce.setattr(segments.np, "frombuffer", failing(MemoryError("Unable to allocate 3 GiB")))
        with pytest.raises(StorageError, match=r"not enough memory to read collection 'films'.*3 GiB.*nothing is lost"):
            collection.search("film 1")
    assert collection.search("film 1", k=1)[0].document.id == "f1"


@pytest.mark.parametrize(
    ("place", "name", "fail"),
    [
        *((generation, "_digest", failing(refusal(number))) for number in SCARCE),
        *((HNSWIndex, "load", classmethod(failing(error))) for error in (*map(refusal, SCARCE), MemoryError())),
    ],
)
def test_an_index_that_can_not_be_loaded_now_is_not_damaged(collection, monkeypatch, caplog, place, name, fail):
    with monkeypatch.context() as scarce:
        scarce.setattr(place, name, fail)
        collection.load_index()
        assert collection.search("film 1", k=1)[0].document.id == "f1"
    assert "failed: " in caplog.text
    collection.load_index()
    assert collection.info()["index"]["state"] == "ready"


@pytest.mark.parametrize("error", [refusal(errno.ENOSPC), MemoryError(), KeyboardInterrupt()])
@pytest.mark.parametrize("place", ["checksums", "write"])
def test_a_compaction_that_fails_leaves_no_file(collection, monkeypatch, error, place):
    before = sorted(path.name for path in collection.path.glob("vectors-*"))
    with monkeypatch.context() as scarce:
        scarce.setattr(segments, place, failing(error))
        with pytest.raises((StorageError, MemoryError, KeyboardInterrupt, OSError)):
            collection.compact()
    assert sorted(path.name for path in collection.path.glob("vectors-*")) == before
    assert collection.check(deep=True) == []
    collection.compact()
    assert collection.check(deep=True) == []
    assert np.isclose(collection.search("film 1", k=1)[0].score, 1)


@pytest.mark.skipif(os.name == "nt", reason="has no such limit")
def test_descriptors_that_run_out(collection):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    least = os.open(os.devnull, os.O_RDONLY)
    os.close(least)
    resource.setrlimit(resource.RLIMIT_NOFILE, (least, hard))
    try:
        with pytest.raises((CollectionError, StorageError), match="ulimit -n"):
            semsearch.open("films", encoder=HashEncoder(DIM), home=collection.path.parent)
        with pytest.raises((CollectionError, StorageError), match="ulimit -n"):
            collection.add([Document("later", "later film")])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert collection.add([Document("later", "later film")]).added == 1
    assert collection.check(deep=True) == []


def test_what_was_written_stays_where_memory_is_too_short_for_its_index(collection, monkeypatch, caplog):
    with monkeypatch.context() as scarce:
        scarce.setattr(HNSWIndex, "build", classmethod(failing(MemoryError("building needs 238 MB"))))
        scarce.setattr(Indexing, "needs_rebuild", lambda self, snapshot: True)
        done = collection.add([Document(f"more{i}", f"more {i}") for i in range(20)])
    assert done.added == 20
    assert "could not be built: memory is short (building needs 238 MB)." in caplog.text
    assert collection.search("more 7", k=1)[0].document.id == "more7"


def test_words_that_can_not_be_loaded_now_are_found_without_their_index(collection, monkeypatch, caplog):
    collection.engine._lexical_indexing.rebuild()
    with monkeypatch.context() as scarce:
        scarce.setattr(generation, "_digest", failing(refusal(errno.EMFILE)))
        assert collection.search("film", k=50, mode="lexical")
        assert collection.add([Document("new", "a film more")]).added == 1, "committed, and no error says otherwise"
    assert "Words are found without their index meanwhile" in caplog.text
    assert "damaged" not in caplog.text
    assert len(collection.search("film", k=50, mode="lexical")) == 30
    assert collection.info()["index"]["words"]["state"] == "ready"


@pytest.mark.parametrize("error", [refusal(errno.EMFILE), MemoryError()], ids=["files", "memory"])
def test_arrays_of_words_that_can_not_be_opened_now_are_not_damaged(collection, monkeypatch, caplog, error):
    collection.engine._lexical_indexing.rebuild()
    with monkeypatch.context() as scarce:
        scarce.setattr(arrays, "read_header", failing(error))
        assert len(collection.search("film", k=50, mode="lexical")) == 29
    assert "damaged" not in caplog.text
    collection.add([Document("new", "a film more")])
    assert len(collection.search("film", k=50, mode="lexical")) == 30
    assert collection.info()["index"]["words"]["state"] == "ready"


def test_folders_that_can_not_be_listed_now_are_a_sentence(collection, monkeypatch):
    with monkeypatch.context() as scarce:
        scarce.setattr(plain_files.Path, "iterdir", failing(refusal(errno.EMFILE)))
        collection.load_index()
        assert not collection.compact().erased, "old files of the index wait"
        with pytest.raises(StorageError, match="ulimit -n"):
            semsearch.open("films", encoder=HashEncoder(DIM), home=collection.path.parent)
        with pytest.raises(StorageError, match="ulimit -n"):
            collection.reindex("hnsw")
    collection.reindex("hnsw")
    collection.load_index()
    assert collection.info()["index"]["state"] == "ready"
    assert collection.check(deep=True) == []
