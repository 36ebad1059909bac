"""Generators, maps and arrays are taken wherever a list is, and give what the list gives."""

import numpy as np
import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import UsageError
from semsearch.types import Document

TEXTS = {"a": "the cat sleeps", "b": "the dog runs", "c": "a cat and a dog", "d": "water boils"}
KINDS = [
    pytest.param(lambda values: (value for value in values), id="generator"),
    pytest.param(lambda values: map(str, values), id="map"),
    pytest.param(np.array, id="array"),
    pytest.param(lambda values: dict.fromkeys(values).keys(), id="keys"),
    pytest.param(tuple, id="tuple"),
    pytest.param(
        lambda values: pytest.importorskip("pandas").Series(values, index=[7, 7, 3, 9][: len(values)]), id="pandas"
    ),
    pytest.param(lambda values: pytest.importorskip("polars").Series("x", values), id="polars"),
    pytest.param(lambda values: pytest.importorskip("pyarrow").array(values), id="pyarrow"),
]


@pytest.fixture
def notes():
    with semsearch.create("notes", encoder=HashEncoder()) as collection:
        collection.add(Document(identity, text) for identity, text in TEXTS.items())
        yield collection


def found(answers):
    return [[(hit.id, hit.score) for hit in hits] for hits in answers]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["dense", "hybrid", "lexical"])
def test_many_queries(notes, kind, mode):
    queries = ["cat", "dog runs"]
    wanted = found(notes.search_many(queries, 2, mode=mode))
    assert [len(hits) for hits in wanted] == [2, 2]
    assert found(notes.search_many(kind(queries), 2, mode=mode)) == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_examples(notes, kind):
    assert [document.id for document in notes.get(kind(["c", "a"]))] == ["c", "a"]
    wanted = found([notes.similar(["a"], 2, unlike=["d"], queries=["cat"], against=["dog"])])
    given = notes.similar(kind(["a"]), 2, unlike=kind(["d"]), queries=kind(["cat"]), against=kind(["dog"]))
    assert found([given]) == wanted
    assert notes.update_metadata(kind(["a", "b"]), {"year": 1990}) == 2
    assert notes.count("year = 1990") == 2
    assert notes.remove(kind(["a", "b"])) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_questions_to_measure_on(notes, kind):
    queries = ["cat", "dog", "sleep", "run"]
    certificate = notes.reindex("exact", recall=0.9, queries=kind(queries))
    assert certificate.recall == 1.0
    assert list(notes.engine.kept_queries()) == queries
    notes.tune(0.95, queries=kind(queries[:3]))
    assert list(notes.engine.kept_queries()) == queries[:3]


def test_vectors(notes):
    vectors = notes.encoder.encode_queries(["cat", "dog runs"])
    wanted = found(notes.search_many(vectors=vectors, k=2))
    assert found(notes.search_many(vectors=(vector for vector in vectors), k=2)) == wanted
    assert found([notes.search(vector=(float(part) for part in vectors[0]), k=2)]) == wanted[:1]
    with semsearch.create("given", encoder=None, dim=2) as given:
        given.add([Document("a", "one"), Document("b", "two")], ([1, number] for number in (0, 1)))
        assert given.search(vector=[1, 0], k=1)[0].id == "a"


def test_what_is_no_list_is_told_before_anything_is_taken(notes):
    with pytest.raises(UsageError, match="not empty, not 3"):
        notes.search_many(text for text in ("cat", 3))
    with pytest.raises(UsageError, match="ids and texts come in lists"):
        notes.similar("a")
    with pytest.raises(UsageError, match=r"include takes a list of patterns, not the text .\*.md"):
        semsearch.Source.of(".", include="*.md")


def test_similar_tells_what_search_tells(notes):
    assert notes.similar(["a"], 1).notes == ()


def test_the_vectors_of_documents(notes):
    given = notes.vectors(identity for identity in ("b", "nowhere", "a"))
    assert given[1] is None
    assert [vectors.shape for vectors in (given[0], given[2])] == [(1, notes.encoder.dim)] * 2
    assert np.array_equal(given[2], notes.encoder.encode_documents([TEXTS["a"]]))
    assert notes.vectors([]) == []
    with pytest.raises(UsageError, match=r"vectors takes a list of ids, not the text 'a'"):
        notes.vectors("a")


def test_the_vectors_of_a_long_document(notes):
    notes.add([Document("long", "the cat sleeps on the mat. " * 200)])
    (vectors,) = notes.vectors(["long"])
    with notes.engine.view() as view:
        keys = view.keys_of(["long"])["long"]
        assert np.array_equal(vectors, view.vectors(np.array(keys)))
    vectors[:] = 0  # a copy, not the file
    assert notes.vectors(["long"])[0].any()


def test_an_id_that_is_a_whole_number_is_that_text(tmp_path):
    with semsearch.create("n", encoder=HashEncoder(), home=tmp_path) as notes:
        notes.add([{"id": 4, "text": "ice floats"}, {"id": "x", "text": "bread rises"}])
        assert [document.id for document in notes.get([4, np.int64(4), "4"])] == ["4"] * 3
        assert notes.vectors([4])[0].shape[0] == 1
        assert [hit.id for hit in notes.similar([4])] == ["x"]
        assert notes.update_metadata([4], {"a": 1}) == 1
        for wrong in (4.0, True, None, np.timedelta64(4, "s")):
            with pytest.raises(UsageError, match="an id is a text or a whole number, not"):
                notes.get([wrong])
            with pytest.raises(UsageError, match="an id is a text or a whole number, not"):
                notes.remove([wrong])
        assert notes.remove([4]) == 1
        assert len(notes) == 1


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        ("get", "get takes a list of ids"),
        ("vectors", "vectors takes a list of ids"),
        ("remove", "remove takes a list of ids"),
        ("similar", "similar takes lists of ids and queries"),
        ("search_many", "search_many takes a list of queries"),
        ("add", "add takes a list of"),
        ("estimate", "estimate takes a list of"),
    ],
)
def test_what_would_give_its_names_is_told(notes, ask, what):
    """A mapping gives its keys, a frame the names of its columns: what they hold is meant."""
    before = notes.ids()
    ask = getattr(notes, ask)
    with pytest.raises(UsageError, match=f"{what}.*an object|a single one goes into a list"):
        ask({"a": "the cat sleeps", "text": "x"})
    with pytest.raises(UsageError, match=what):
        ask(np.array("a"))
    if ask not in (notes.add, notes.estimate):
        for frames in ("pandas", "polars"):
            frame = pytest.importorskip(frames).DataFrame({"a": ["b"]})
            with pytest.raises(UsageError, match=f"{what}, not a frame: give one of its columns"):
                ask(frame)
    assert notes.ids() == before


def test_a_document_is_there_by_whatever_names_it(notes):
    notes.add([Document("4", "four")])
    assert 4 in notes
    assert np.int64(4) in notes
    assert "a" in notes
    assert 5 not in notes
    assert None not in notes
    assert 4.0 not in notes
