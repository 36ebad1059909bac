"""Compaction gives back what was removed and erases it from every file, beside readers."""

import shutil
import threading

import numpy as np
import pytest
from support.fakes import HashEncoder
from support.probes import traces
from support.workload import (
    BACKENDS,
    DIM,
    NAME,
    documents,
    make_base,
    open_it,
    through_indexes,
    violations,
    wrong_answers,
)

import semsearch
from semsearch.errors import CollectionDamaged, StorageError
from semsearch.local.store import database
from semsearch.types import Document

pytestmark = pytest.mark.trust

SECRET = Document("gone-id", "the unmistakable xyzzyplugh word", metadata={"m": "grue"})


@pytest.fixture(autouse=True)
def _as_large(monkeypatch):
    through_indexes(monkeypatch)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)  # what a compaction waits for readers


@pytest.fixture
def collection():
    with semsearch.create(NAME, encoder=HashEncoder(DIM)) as collection:
        collection.add([*documents(1, "kept", 60), SECRET])
        collection.reindex("hnsw", BACKENDS["hnsw"])
        yield collection


@pytest.fixture
def vector():
    return HashEncoder(DIM).encode_documents([SECRET.text])


@pytest.mark.parametrize("way", ["removed", "replaced", "relabelled"])
def test_what_is_gone_is_in_no_file(collection, vector, way):
    assert len(traces(collection.path, vector)) >= 4
    if way == "removed":
        collection.remove([SECRET.id])
    elif way == "replaced":
        collection.add([Document(SECRET.id, "other words")])
    else:
        collection.add([Document(SECRET.id, SECRET.text, metadata={"m": "lantern"})])
    compacted = collection.compact()
    assert compacted.erased
    left = {found.partition(" is in ")[0] for found in traces(collection.path, vector)}
    expected = {
        "removed": set(),
        "replaced": {repr(b"gone-id")},
        "relabelled": {repr(b"gone-id"), repr(b"xyzzyplugh"), repr(vector.astype("<f4").tobytes()[:12])},
    }
    assert left == expected[way]


def test_says_so_while_a_reader_holds_on(collection, vector):
    collection.remove([SECRET.id])
    with open_it(collection.path.parent) as reader:
        listing = reader.documents()
        next(listing)
        assert not collection.compact().erased
        assert len(list(listing)) == 59  # the reader goes on in the state that it began with
    assert collection.compact().erased
    assert traces(collection.path, vector) == []


def test_gives_bytes_back(collection):
    collection.remove([f"kept{i}" for i in range(40)])
    compacted = collection.compact()
    assert compacted.rows == 40
    assert compacted.bytes_after < compacted.bytes_before
    assert (collection.path / "vectors-2.f32").stat().st_size == 21 * DIM * 4
    assert not (collection.path / "vectors-1.f32").exists()


def test_an_empty_collection_and_one_that_lost_everything(tmp_path):
    with semsearch.create("empty", encoder=HashEncoder(DIM)) as collection:
        collection.compact()
        assert collection.search("nothing") == []
        more = documents(1, "kept", 5)
        collection.add(more)
        collection.remove([entry.id for entry in more])
        collection.compact()
        assert collection.search("nothing") == []
        collection.add(more)
        assert violations(collection, [{entry.id: entry for entry in more}]) == []


def test_keys_stay(collection):
    before = {hit.document.id: hit.key for hit in collection.search("word1", 100)}
    collection.remove(["kept3"])
    collection.compact()
    after = {hit.document.id: hit.key for hit in collection.search("word1", 100)}
    assert after == {identity: key for identity, key in before.items() if identity != "kept3"}


def test_needs_room(collection, monkeypatch):
    usage = shutil.disk_usage(collection.path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2 * collection.engine.store.bytes() - 1))
    with pytest.raises(StorageError, match="Free some space"):
        collection.compact()


def test_does_not_copy_damage(collection):
    path = collection.path / "vectors-1.f32"
    rows = np.fromfile(path, "<f4")
    rows[5] += 1
    collection.close()
    rows.tofile(path)
    with open_it(collection.path.parent) as again:
        with pytest.raises(CollectionDamaged, match="repair"):
            again.compact()
        assert not (again.path / "vectors-2.f32").exists()


def test_readers_and_a_writer_go_on(memory):
    state = make_base(memory)
    wrong, stop = [], threading.Event()

    def read():
        with open_it(memory) as reader:
            while not stop.is_set():
                wrong.extend(wrong_answers(reader, state))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    with open_it(memory) as writer:
        for _ in range(5):
            writer.compact()
            writer.reindex("hnsw", BACKENDS["hnsw"])
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
