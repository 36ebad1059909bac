"""Counting, removing and changing documents by their metadata."""

import numpy as np
import pytest
from support.command_line import corpus, run, tiny_model
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import DataError, FilterError, UsageError
from semsearch.types import Document

DOCUMENTS = [
    Document(f"d{n}", f"word{n} text", metadata={"n": n, "tags": ["odd" if n % 2 else "even"]}) for n in range(30)
]


@pytest.fixture
def collection():
    with semsearch.create("notes", encoder=HashEncoder(8)) as made:
        made.add(DOCUMENTS)
        yield made


def test_counts_are_those_of_a_loop(collection):
    assert collection.count() == 30
    for where, truth in (
        ({"n": {"$lt": 7}}, lambda n: n < 7),
        ({"tags": {"$contains": "odd"}, "n": {"$gte": 10}}, lambda n: n % 2 == 1 and n >= 10),
        ({"n": {"$gt": 100}}, lambda n: False),
    ):
        wanted = [document.id for document in DOCUMENTS if truth(document.metadata["n"])]
        assert collection.count(where) == len(wanted)
        assert collection.ids(where) == wanted
    with pytest.raises(FilterError, match="no document has the field 'year'"):
        collection.count({"year": 1})


def test_metadata_changes_without_encoding(collection):
    encoded = collection.encoder.calls
    assert collection.update_metadata(["d1", "d2", "d1", "gone"], {"n": 100, "new": {"deep": True}}) == 2
    assert collection.encoder.calls == encoded
    assert collection.ids({"new.deep": True}) == ["d1", "d2"]
    assert collection.count({"n": 1}) == 0
    assert collection.get(["d1"])[0].metadata == {"n": 100, "new": {"deep": True}, "tags": ["odd"]}
    assert collection.search("word1", k=1, where={"n": 100})[0].document.id == "d1"
    assert collection.update_metadata(["d1"], {"only": None}, replace=True) == 1
    assert collection.get(["d1"])[0].metadata == {"only": None}
    assert collection.add([Document("d1", "word1 text", metadata={"only": None})]).unchanged == 1
    assert collection.check(deep=True) == []
    with pytest.raises(DataError, match="document 'd3'"):
        collection.update_metadata(["d3"], {"x": object()})
    with pytest.raises(UsageError, match="takes a list of ids"):
        collection.update_metadata("d3", {})


def test_given_vectors_stay_what_they_are(tmp_path):
    vectors = np.eye(4, dtype=np.float32)
    with semsearch.create("own", encoder=None, dim=4) as collection:
        documents = [Document(str(n), "text") for n in range(4)]
        collection.add(documents, vectors)
        collection.update_metadata(["2"], {"x": 1})
        assert collection.search(vector=vectors[2], k=1)[0].document == Document("2", "text", metadata={"x": 1})
        assert collection.add([Document("2", "text", metadata={"x": 1})], vectors[2:3]).unchanged == 1


def test_remove_by_a_filter_asks_before_it_removes_much(tmp_path):
    run("index", corpus(tmp_path, count=40), "-m", tiny_model(tmp_path / "tiny"))
    ended = run("remove", "notes", "--where", "year < 2005")
    assert (ended.code, ended.out) == (0, "removed 5, unknown 0\n")
    ended = run("remove", "notes", "--where", "year < 2020")
    assert (ended.code, ended.out) == (2, "")
    assert "would remove 15 of the 35 documents" in ended.err
    assert run("remove", "notes", "--where", "year < 2020", "--yes").out == "removed 15, unknown 0\n"
    assert run("remove", "notes", "--where", "year < 2020").code == 1
    assert run("remove", "notes").code == 2
    assert run("remove", "notes", "d30", "--where", "year < 2020").code == 2
    with semsearch.open("notes") as collection:
        assert collection.ids({"year": {"$gte": 0}}) == [f"d{n}" for n in range(20, 40)]
