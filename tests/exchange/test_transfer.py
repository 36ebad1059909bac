"""A collection copied into another home is the same there: whatever it holds, and however often it was interrupted."""

import json

import numpy as np
import pytest

import semsearch
from semsearch.engine import Origin
from semsearch.errors import CollectionDamaged, CollectionExists, ModelMismatch
from semsearch.exchange import transfer
from semsearch.home import Home
from semsearch.testing.encoder import HashEncoder
from semsearch.testing.engines import ANIMALS, in_passages
from semsearch.types import Document

BOOK = Document("book", "cat cat sofa dog dog dog bird bird bird", title="Book", metadata={"ü": ["é", 1, None]})


@pytest.fixture
def animals():
    """A collection with a document that was changed and one of three passages."""
    with semsearch.create("animals", encoder=HashEncoder()) as collection:
        collection.add(ANIMALS)
        collection.engine.put([in_passages(BOOK, 3, 3, 3)])
        collection.add([Document("cat", "the cat is another", metadata={"legs": 3})])
        collection.remove(["dog"])
        collection.describe("some animals")
        yield collection


@pytest.fixture(params=["folder", ":memory:"])
def there(request, tmp_path):
    """An empty home."""
    return Home.of(tmp_path / "there" if request.param == "folder" else request.param)


def everything(collection):
    with collection.engine.view() as view:
        return [
            (passage.id, passage.title, passage.metadata, passage.text, passage.start, vector.tobytes())
            for passages, vectors in view.stored()
            for passage, vector in zip(passages, vectors, strict=True)
        ]


def test_all_of_it_is_there(animals, there):
    told = []
    assert semsearch.copy("animals", there, progress=told.append) == 3
    assert told == [3]
    with semsearch.open("animals", home=there, encoder=HashEncoder()) as copied:
        assert everything(copied) == everything(animals)
        assert copied.description == "some animals"
        assert copied.settings["uuid"] != animals.settings["uuid"]
        for mode in ("dense", "hybrid"):
            hits, same = (one.search("the cat", k=10, mode=mode) for one in (animals, copied))
            assert [hit.id for hit in same] == [hit.id for hit in hits]
        assert copied.add([BOOK, *ANIMALS[2:]]).unchanged == 2, "nothing is encoded again"


def test_under_another_name_and_not_over_another(animals, there):
    assert semsearch.copy("animals", there, new_name="zoo") == 3
    assert list(there) == ["zoo"]
    with pytest.raises(CollectionExists, match="no copy of 'animals' that was begun"):
        semsearch.copy("animals", there, new_name="zoo")


def test_sources_come_along(animals, there, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "one", "text": "first"}\n{"id": "two", "text": "second"}\n')
    animals.add_from(tmp_path / "a.jsonl")
    semsearch.copy("animals", there)
    with semsearch.open("animals", home=there, encoder=HashEncoder()) as copied:
        assert copied.sources == animals.sources
        assert copied.engine.origins.of(["one", "two", "cat"]) == animals.engine.origins.of(["one", "two", "cat"])
        (tmp_path / "a.jsonl").write_text('{"id": "two", "text": "second"}\n')
        synced = copied.sync(most=1)
        assert (synced.removed, synced.changes.unchanged) == (1, 1)


def test_a_document_is_written_once_together_with_where_it_is_from(animals, there, tmp_path, monkeypatch):
    """In an engine that keeps both together, an origin that comes later writes all of the document again."""
    (tmp_path / "a.jsonl").write_text('{"id": "one", "text": "first"}\n{"id": "two", "text": "second"}\n')
    animals.add_from(tmp_path / "a.jsonl")
    animals.add([Document("last", "in no file")])
    kept, send = [], transfer._send

    def noted(view, source, target, *more):
        send(view, source, target, *more)
        kept.append(target.origins.of(["one", "two", "cat", "last"]))

    monkeypatch.setattr(transfer, "_send", noted)
    semsearch.copy("animals", there)
    assert kept == [animals.engine.origins.of(["one", "two", "cat", "last"])]
    assert set(kept[0]) == {"one", "two"}
    with semsearch.open("animals", home=there, encoder=HashEncoder()) as copied:
        assert everything(copied) == everything(animals)


def test_vectors_that_were_given_keep_their_hash(there):
    with semsearch.create("given", encoder=None, dim=4, metric="dot") as given:
        documents = [Document(str(number), f"text {number}") for number in range(9)]
        given.add(documents, vectors=np.eye(9, 4) * 3)
        assert semsearch.copy("given", there) == 9
        with semsearch.open("given", home=there) as copied:
            assert copied.add(documents, vectors=np.eye(9, 4) * 3).unchanged == 9


def test_an_interrupted_one_goes_on(animals, there, monkeypatch):
    monkeypatch.setattr(transfer, "COPIED_DOCUMENTS", 1)
    sent = []

    def stop(done):
        sent.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        semsearch.copy("animals", there, progress=stop)
    with semsearch.open("animals", home=there, encoder=HashEncoder()) as half:
        for mode in ("dense", "lexical", "hybrid"):
            assert any("a copy that was begun and is not done" in note for note in half.search("cat", mode=mode).notes)
    animals.remove(["bird"])
    animals.update_metadata(["cat", "book"], {"seen": True})  # one is there, and one is not
    animals.add([Document("fish", "fish swim")])
    assert semsearch.copy("animals", there) == 3
    with semsearch.open("animals", home=there, encoder=HashEncoder()) as copied:
        assert sorted(everything(copied), key=str) == sorted(everything(animals), key=str)
        assert copied.search("cat").notes == ()
    with pytest.raises(CollectionExists):
        semsearch.copy("animals", there)


def test_one_that_was_begun_with_another_model_is_not_gone_on_with(animals, there):
    semsearch.copy("animals", there)
    with semsearch.open("animals", home=there, encoder=HashEncoder()) as copied:
        copied.engine.set(transfer.COPIED_FROM, animals.settings["uuid"])
    animals.reencode(HashEncoder(dim=8, salt=1))
    with pytest.raises(ModelMismatch, match="drop it there"):
        semsearch.copy("animals", there)


def test_what_is_not_the_same_in_the_end_is_told(animals, there, monkeypatch):
    send = transfer._send

    def altered(view, source, target, *more):
        send(view, source, target, *more)
        target.put([in_passages(Document("book", "another book"), 2)])

    monkeypatch.setattr(transfer, "_send", altered)
    with pytest.raises(CollectionDamaged, match="document 'book' differs"):
        semsearch.copy("animals", there)


def test_a_place_is_that_of_its_own_source(animals, there, tmp_path):
    """Of a document that two sources give, the place in the other one is not known: none is better than a wrong one."""
    origins = animals.engine.origins
    for name in ("x", "y"):
        spec = json.dumps({"path": str(tmp_path / name), "format": "jsonl"}, sort_keys=True)
        number, files = origins.register(spec, [name])
        origin = Origin(number, files[name].number, json.dumps([1]))
        animals.engine.put([in_passages(Document("both", "in both"), 2)], origin=lambda _, own=origin: own, again=True)
    semsearch.copy("animals", there)
    with semsearch.open("animals", home=there, encoder=HashEncoder()) as copied:
        assert copied.engine.origins.of(["both"]) == origins.of(["both"])
        assert len(copied.engine.origins.sources()) == 2
