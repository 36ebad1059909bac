"""What people hold: adding, replacing, removing, getting and searching, and what goes wrong."""

import multiprocessing
import os
import threading

import numpy as np
import pytest
import torch
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import (
    CollectionDamaged,
    CollectionExists,
    CollectionNotFound,
    DataError,
    DimensionMismatch,
    EncodingFailed,
    ModelMismatch,
    UsageError,
)
from semsearch.records import Record
from semsearch.testing.engines import ANIMALS
from semsearch.types import Document, Metric
from semsearch.vectors import brute_force


@pytest.fixture
def animals():
    with semsearch.create("animals", encoder=HashEncoder()) as collection:
        collection.add(ANIMALS)
        yield collection


def ids(hits):
    return [hit.document.id for hit in hits]


def test_finds_what_was_put_in(animals):
    hits = animals.search("a bird sings", k=2)
    assert ids(hits)[0] == "bird"
    assert hits[0].document == ANIMALS[2]
    assert hits[0].text == ANIMALS[2].text
    assert [hit.rank for hit in hits] == [1, 2]
    assert hits[0].score > hits[1].score
    assert hits[0].scores == {"dense": hits[0].score}


def test_counts_documents_and_passages(animals):
    assert len(animals) == 3
    assert animals.count_passages() == 3


def test_scores_are_the_oracles(animals):
    vectors = HashEncoder().encode_documents([d.text if not d.title else f"{d.title} {d.text}" for d in ANIMALS])
    query = HashEncoder().encode_queries(["the old dog"])
    truth = brute_force(np.arange(3), vectors, query, 3, Metric.COSINE)
    hits = animals.search(vector=query[0], k=3)
    assert [hit.score for hit in hits] == truth.scores[0].tolist()
    assert ids(hits) == [ANIMALS[i].id for i in truth.keys[0]]


def test_says_what_changed_and_encodes_nothing_twice(animals):
    encoder = animals.encoder
    before = encoder.calls
    same = animals.add(ANIMALS)
    assert (same.added, same.changed, same.unchanged) == (0, 0, 3)
    assert encoder.calls == before
    moved = Document("cat", ANIMALS[0].text, metadata={"legs": 3})
    assert animals.add([moved]).changed == 1
    assert encoder.calls == before  # metadata alone encodes nothing
    assert animals.get(["cat"]) == [moved]
    rewritten = Document("cat", "a tiger hunts")
    assert animals.add([rewritten, Document("fish", "fish swim")]).added == 1
    assert encoder.calls == before + 2
    assert ids(animals.search("tiger hunts", k=1)) == ["cat"]
    assert len(animals) == 4


def test_the_last_of_an_id_wins(animals):
    changes = animals.add([Document("x", "first text"), Document("x", "second text")])
    assert changes.added == 1
    assert animals.get(["x"])[0].text == "second text"
    assert len(animals) == 4


def test_removed_documents_are_gone(animals):
    assert animals.remove(["cat", "unknown"]) == 1
    assert len(animals) == 2
    assert "cat" not in ids(animals.search("the cat sleeps on the warm sofa", k=10))
    assert animals.get(["cat", "dog"])[0] is None
    animals.add([ANIMALS[0]])
    assert ids(animals.search("the cat sleeps on the warm sofa", k=1)) == ["cat"]


def test_survives_closing_and_opening(animals):
    expected = animals.search("dog in the park", k=3)
    animals.close()
    with semsearch.open("animals", encoder=HashEncoder()) as again:
        assert again.search("dog in the park", k=3) == expected
        assert [d.id for d in again.documents()] == ["cat", "dog", "bird"]


def test_filters(animals):
    assert set(ids(animals.search("the", where={"legs": 4}))) == {"cat", "dog"}
    assert ids(animals.search("the", where={"tags": {"$contains": "song"}})) == ["bird"]
    assert animals.search("the", where={"legs": {"$gt": 10}}) == []


def test_gives_at_most_what_there_is(animals):
    assert len(animals.search("the", k=1000)) == 3
    with semsearch.create("empty", encoder=HashEncoder()) as empty:
        assert empty.search("anything") == []
        assert empty.search_many(["a", "b"]) == [[], []]


def test_search_many_agrees_with_search(animals):
    queries = ["cat", "dog runs", "old tree"]
    assert animals.search_many(queries, k=2) == [animals.search(query, k=2) for query in queries]


@pytest.mark.parametrize("k", [0, -1, "5", 2.5, True, None])
def test_refuses_a_senseless_k(animals, k):
    with pytest.raises(UsageError, match="k must be"):
        animals.search("the", k=k)


@pytest.mark.parametrize("query", ["", "   ", None])
def test_refuses_an_empty_query(animals, query):
    with pytest.raises(UsageError):
        animals.search(query)


def test_refuses_a_wrong_vector(animals):
    with pytest.raises(DimensionMismatch, match=r"\(n, 16\)"):
        animals.search(vector=np.ones(17))
    with pytest.raises(DataError, match="NaN"):
        animals.search(vector=np.full(16, np.nan))
    with pytest.raises(DataError, match="holds masked values"):
        animals.search(vector=np.ma.masked_array(np.ones(16), mask=[True] + [False] * 15))
    for unread in (torch.ones(16, dtype=torch.bfloat16), object(), ["a"] * 16):
        with pytest.raises(DataError, match="numbers"):
            animals.search(vector=unread)


def test_a_tensor_is_taken_without_its_gradient(animals):
    vector = torch.ones(16, requires_grad=True)
    assert animals.search(vector=vector) == animals.search(vector=np.ones(16, dtype=np.float32))


BAD = [
    Document("", "text"),
    Document("x", ""),
    Document("x", " \n "),
    Document("x", "nul \0 byte"),
    Document("x", "half \ud800 pair"),
    Document("x", "text", metadata={"year": float("nan")}),
    Document("x", "text", metadata={"year": 2**64}),
    Document("x" * 5000, "text"),
]


@pytest.mark.parametrize("document", BAD, ids=range(len(BAD)))
def test_bad_documents_are_refused_or_skipped(animals, document):
    with pytest.raises(DataError):
        animals.add([document])
    skipped = []
    changes = animals.add([Document("good", "good text"), document], on_error=skipped.append)
    assert (changes.added, changes.skipped, len(skipped)) == (1, 1, 1)
    assert len(animals) == 4


def test_a_text_that_the_encoder_chokes_on_is_named():
    class Choking(HashEncoder):
        def encode_documents(self, texts):
            if any("poison" in text for text in texts):
                raise EncodingFailed("a text gave NaN.")
            return super().encode_documents(texts)

    with semsearch.create("choking", encoder=Choking()) as collection:
        with pytest.raises(EncodingFailed, match="'bad'"):
            collection.add([Document("good", "fine"), Document("bad", "poison")])
        skipped = []
        changes = collection.add([Document("good", "fine"), Document("bad", "poison")], on_error=skipped.append)
        assert (changes.added, changes.skipped) == (1, 1)
        assert "'bad'" in str(skipped[0])


def test_vectors_alone():
    vectors = np.eye(4, dtype=np.float32)
    documents = [Document(str(i), f"document {i}") for i in range(4)]
    with semsearch.create("given", encoder=None, dim=4, metric="dot") as collection:
        assert collection.add(documents, vectors=vectors * 3).added == 4
        assert ids(collection.search(vector=[0, 0, 1, 0], k=1)) == ["2"]
        assert collection.search(vector=[0, 0, 1, 0], k=1)[0].score == 3.0
        with pytest.raises(UsageError, match="no encoder"):
            collection.search("text")
        with pytest.raises(UsageError, match="no encoder"):
            collection.add(documents)
        assert collection.add(documents[:2], vectors=vectors[:2]).changed == 2  # other vectors are a change
        assert collection.add(documents[:2], vectors=vectors[:2]).unchanged == 2
        with pytest.raises(DimensionMismatch):
            collection.add(documents, vectors=vectors[:3])
        with pytest.raises(DimensionMismatch):
            collection.add(documents, vectors=np.eye(5))
    with pytest.raises(UsageError, match="dim="):
        semsearch.create("nothing", encoder=None)


def test_a_zero_vector_has_no_cosine():
    with semsearch.create("given", encoder=None, dim=2) as collection, pytest.raises(DataError, match="'z'"):
        collection.add([Document("z", "zero")], vectors=np.zeros((1, 2)))


def test_ids_are_a_list(animals):
    with pytest.raises(UsageError, match="list of ids"):
        animals.remove("cat")
    with pytest.raises(UsageError, match="list of ids"):
        animals.get("cat")


def test_names_and_homes(animals, tmp_path):
    with pytest.raises(CollectionExists):
        semsearch.create("animals", encoder=HashEncoder())
    with pytest.raises(CollectionNotFound, match="animals"):
        semsearch.open("plants")
    for name in ("", "a/b", "..", ".hidden", "a b", "-x"):
        with pytest.raises(UsageError, match="can't name"):
            semsearch.create(name, encoder=HashEncoder())
    with semsearch.create("animals", encoder=HashEncoder(), home=tmp_path / "other"):
        pass


def test_another_model_is_refused(animals):
    with pytest.raises(ModelMismatch, match="fingerprint"):
        semsearch.open("animals", encoder=HashEncoder(salt=1))
    with semsearch.open("animals") as collection, pytest.raises(ModelMismatch, match="encoder="):
        collection.search("text")


def test_readers_see_what_a_writer_commits(animals):
    with semsearch.open("animals", encoder=HashEncoder()) as reader:
        assert len(reader.search("the", k=10)) == 3
        animals.add([Document("new", "the newcomer")])
        animals.remove(["cat"])
        assert set(ids(reader.search("the", k=10))) == {"dog", "bird", "new"}


@pytest.mark.slow
def test_threads_search_while_one_writes(animals):
    errors = []
    stop = threading.Event()

    def search():
        try:
            while not stop.is_set():
                hits = animals.search("the cat sleeps on the warm sofa", k=5)
                assert ids(hits)[0] == "cat"
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(30):
        animals.add([Document(f"n{i}", f"number {i}")])
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_anew(animals):
    animals.search("warm up")
    queue = multiprocessing.get_context("fork").SimpleQueue()

    def child():
        animals.add([Document("child", "from the child")])
        queue.put(ids(animals.search("from the child", k=1)))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert queue.get() == ["child"]
    assert ids(animals.search("from the child", k=1)) == ["child"]


def test_a_damaged_vector_is_left_out_and_told(animals, caplog):
    animals.close()
    path = animals.path / "vectors-1.f32"
    content = bytearray(path.read_bytes())
    content[5] ^= 1  # in the cat's row
    path.write_bytes(content)
    with semsearch.open("animals", encoder=HashEncoder()) as collection:
        hits = collection.search("the cat sleeps on the warm sofa", k=3)
        assert set(ids(hits)) == {"dog", "bird"}
        assert "'cat'" in caplog.text
        assert [hit.rank for hit in hits] == [1, 2]


def test_a_shortened_vector_file_is_noticed(animals):
    animals.close()
    path = animals.path / "vectors-1.f32"
    os.truncate(path, path.stat().st_size - 1)
    with semsearch.open("animals", encoder=HashEncoder()) as collection:
        with pytest.raises(CollectionDamaged, match="cut short"):
            collection.search("the")
        with pytest.raises(CollectionDamaged, match="cut short"):
            collection.add([Document("n", "new")])


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100, None])
def test_a_lost_database_is_never_filled_anew(animals, content):
    animals.close()
    path = animals.path / "collection.sqlite"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CollectionDamaged):
        semsearch.open("animals", encoder=HashEncoder())


def test_drop_takes_everything(animals):
    from semsearch.opening import drop

    animals.close()
    drop("animals")
    assert list(animals.path.parent.iterdir()) == []
    with pytest.raises(CollectionNotFound):
        semsearch.open("animals")


def test_a_vector_is_its_numbers_however_they_lie_in_memory():
    document, apart = Document("a", "text"), np.arange(8, dtype=np.float32)[::2]
    assert Record.of(document, apart).hash == Record.of(document, np.ascontiguousarray(apart)).hash
    assert Record.of(document, apart).hash != Record.of(document, apart + 1).hash
