"""`close()` is final: whatever is asked of a closed collection is one clear error."""

import inspect
import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from support.descriptors import open_files, told
from support.fakes import HashEncoder

import semsearch
from semsearch.applications.duplicates import Duplicates
from semsearch.collection import Collection
from semsearch.errors import CollectionClosed
from semsearch.types import Document

DIM = 8
DOCUMENTS = [Document(str(number), f"film {number} word{number % 3}", metadata={"n": number}) for number in range(60)]

KNOWN = {"close", "name", "path", "location", "metric"}  # what it is called and where it lies; see below


def public():
    """Every public method and property of a collection."""
    return sorted(
        name
        for name, _ in inspect.getmembers(Collection)
        if (not name.startswith("_") or name in ("__len__", "__enter__")) and name not in KNOWN
    )


@pytest.fixture
def arguments(tmp_path):
    """An argument for each name of a parameter that must be given."""
    (tmp_path / "more.jsonl").write_text('{"_id": "m", "text": "whale"}\n')
    return {
        "documents": DOCUMENTS[:2],
        "source": tmp_path / "more.jsonl",
        "ids": ["1"],
        "id": "1",
        "name": "n",
        "where": {"n": 1},
        "metadata": {"n": 2},
        "encoder": HashEncoder(DIM, salt=1),
        "recall": 0.9,
        "file": tmp_path / "backup",
        "folder": tmp_path / "export",
        "query": "word1",
        "queries": ["word1"],
        "k": 3,
        "text": "word1",
        "pattern": "word1",
        "description": "a few films",
        "texts": ["word1"],
        "field": "n",
        "found": Duplicates([], 0, [], {}),
    }


@pytest.fixture
def collection(tmp_path):
    made = semsearch.create("films", encoder=HashEncoder(DIM), home=tmp_path / "home", index="hnsw")
    made.add(DOCUMENTS)
    made.reindex()
    yield made
    made.close()


def ask(collection, name, arguments):
    """Call a method with what it needs, or read a property; a generator is begun."""
    member = inspect.getattr_static(type(collection), name)
    if isinstance(member, property):
        return getattr(collection, name)
    method = getattr(collection, name)
    parameters = inspect.signature(method).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    given = {p.name: arguments[p.name] for p in needed if p.name in arguments}
    if name in ("search", "search_many", "similar"):
        first = {"search": "query", "search_many": "queries", "similar": "ids"}[name]
        given[first] = arguments[first]
    if name == "remember":
        given["source"] = {"kind": "text"}
    if missing := [p.name for p in needed if p.name not in given]:
        pytest.fail(f"this test knows no value for {name}({', '.join(missing)}): give it one")
    answer = method(**given)
    return next(answer) if isinstance(answer, Iterator) else answer


@pytest.mark.parametrize("name", public())
def test_whatever_is_asked_is_one_clear_error(collection, arguments, name):
    if name == "take":
        pytest.skip("takes a reading that was begun: `add_from` is its public way")
    collection.close()
    with pytest.raises(CollectionClosed, match=r"^collection 'films' is closed: open it again"):
        ask(collection, name, arguments)


def test_closing_twice_is_fine_and_what_it_is_called_is_still_known(collection, tmp_path):
    collection.close()
    collection.close()
    assert (collection.name, collection.path.parent) == ("films", tmp_path / "home")
    assert "films" in repr(collection)


def test_an_iterator_that_was_open_ends_in_the_error(collection):
    iterator = collection.documents()
    assert next(iterator).id == "0"
    collection.close()
    with pytest.raises(CollectionClosed, match="'films' was closed meanwhile"):
        next(iterator)


def test_an_iterator_that_was_open_can_be_let_go(collection, recwarn):
    iterator = collection.documents()
    next(iterator)
    collection.close()
    iterator.close()
    assert not recwarn.list


@told
def test_no_file_of_it_stays_open(collection):
    iterator = collection.documents()
    next(iterator)
    collection.search("word1")
    collection.close()
    iterator.close()
    assert open_files(collection.path) == []


def test_an_index_that_is_loaded_behind_it_ends_quietly(collection, monkeypatch):
    """The thread comes to the collection only after it was closed."""
    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    collection.close()
    opened = semsearch.open("films", home=collection.path.parent, encoder=HashEncoder(DIM))
    with opened.engine.store.read() as view:
        snapshot = view.snapshot
    opened.close()
    loader = opened.engine._loader
    loader._load_behind(snapshot.index, snapshot)
    loader._loading.join(60)
    assert failed == []
    assert loader.state(snapshot) == "on disk"


def test_closing_waits_for_an_index_that_is_being_loaded(collection):
    collection.close()
    with semsearch.open("films", home=collection.path.parent, encoder=HashEncoder(DIM)) as opened:
        for _ in range(3):
            opened.search("word1")
    assert not any(thread.name == "semsearch-index" for thread in threading.enumerate())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("first", ["parent", "child"])
def test_a_fork_closes_for_itself(collection, first):
    """A child of a closed collection is closed; one that closes its own leaves the parent's open."""
    if first == "parent":
        collection.close()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if first == "child":
                assert len(collection.search("word1", 3)) == 3
                collection.close()
            try:
                collection.search("word1")
            except CollectionClosed:
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    if first == "child":
        assert len(collection.search("word1", 3)) == 3


def test_searching_by_a_vector_too(collection):
    collection.close()
    with pytest.raises(CollectionClosed):
        collection.search(vector=np.ones(DIM))
