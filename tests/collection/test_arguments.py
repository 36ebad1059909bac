"""Wrong arguments are sentences: what was wrong, and what to write instead."""

import numpy as np
import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import DataError, UsageError
from semsearch.types import Document


@pytest.fixture
def notes():
    with semsearch.create("notes", encoder=HashEncoder()) as collection:
        collection.add([Document("a", "the cat sleeps"), Document("b", "the dog runs")])
        yield collection


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([3], r"list of semsearch.Document, of mappings or of texts, not a number: write Document\(id, text"),
        ([b"text"], "of texts, not of type bytes"),
        ([None], "not null"),
        ([["id", "text"]], "not a list"),
        (Document("x", "text"), r"a list of its own: add\(\[document\]\)"),
        ("text", "takes a list of documents"),
        ({"id": "x"}, "takes a list of documents"),
    ],
)
def test_what_is_no_list_of_documents(notes, given, message):
    with pytest.raises(UsageError, match=message):
        notes.add(given)
    if isinstance(given, list):
        with pytest.raises(UsageError, match=message):
            notes.add(given, on_error=lambda error: None)  # the program's mistake, not a bad record
        with semsearch.create("given", encoder=None, dim=2) as vectors, pytest.raises(UsageError, match=message):
            vectors.add(given, vectors=[[1, 0]])
    assert len(notes) == 2


def test_a_metric_that_is_none():
    with pytest.raises(UsageError, match="'cos' is no metric; they are cosine, dot, l2"):
        semsearch.create("wrong", encoder=None, dim=2, metric="cos")
    with pytest.raises(UsageError, match="'cos' is no metric"):
        semsearch.create("wrong", encoder=HashEncoder(), metric="cos")
    with pytest.raises(UsageError, match="compared by cosine, not by dot"):
        semsearch.create("wrong", encoder=HashEncoder(), metric="dot")
    assert semsearch.list_collections() == []


def test_options_of_an_index_that_is_not_named():
    with pytest.raises(UsageError, match="index 'auto' chooses its own options, so nonsense can't be set"):
        semsearch.create("wrong", encoder=HashEncoder(), options={"nonsense": 1})
    with pytest.raises(UsageError, match="no option 'nonsense'"):
        semsearch.create("wrong", encoder=HashEncoder(), index="hnsw", options={"nonsense": 1})
    assert semsearch.list_collections() == []


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("limit", "k"), ("top_k", "k"), ("filter", "where"), ("filters", "where"), ("explian", "explain")],
)
def test_the_names_that_other_libraries_have(notes, wrong, meant):
    for search in (notes.search, lambda query, **how: notes.search_many([query], **how)):
        with pytest.raises(UsageError, match=f"no option '{wrong}'. Did you mean '{meant}'"):
            search("cat", **{wrong: 5})


def test_what_a_user_reaches_for_is_there(notes):
    hit = notes.search("cat sleeps", k=1)[0]
    assert (hit.id, hit.title, dict(hit.metadata), hit.text) == ("a", "", {}, "the cat sleeps")
    assert "a" in notes
    assert "z" not in notes
    assert 1 not in notes
    assert [document.id for document in notes] == ["a", "b"] == list(notes.ids())
    assert semsearch.list_collections() == ["notes"]


def test_writing_without_looking_after_the_index(notes, monkeypatch):
    calls = []
    monkeypatch.setattr("semsearch.upkeep.Upkeep.maintain", lambda self: calls.append(1))
    notes.add([Document("c", "new")], maintain=False)
    notes.remove(["c"], maintain=False)
    notes.sync(maintain=False)
    assert calls == []
    notes.add([Document("c", "new")])
    notes.remove(["c"])
    assert calls == [1, 1]


NAN = float("nan")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda notes: notes.add(None), "add takes a list of semsearch.Document, not null"),
        (lambda notes: notes.add(3), "add takes a list of semsearch.Document, not a number"),
        (lambda notes: notes.add(3, vectors=[[1]]), "add takes a list of semsearch.Document, not a number"),
        (lambda notes: notes.estimate(None), "estimate takes a list of semsearch.Document, not null"),
        (lambda notes: notes.get(None), "get takes a list of ids, not null"),
        (lambda notes: notes.get("a"), r"get takes a list of ids, not the text 'a': write \['a'\]"),
        (lambda notes: notes.remove(None), "remove takes a list of ids, not null"),
        (lambda notes: notes.update_metadata(None, {}), "update_metadata takes a list of ids, not null"),
        (lambda notes: notes.update_metadata(["a"], None), "metadata must be a mapping of names to values, not null"),
        (lambda notes: notes.update_metadata(["a"], [1]), "metadata must be a mapping of names to values, not a list"),
        (lambda notes: notes.update_metadata(["a"], {1: 2}), "metadata must be a mapping .*, and 1 is no name"),
        (
            lambda notes: notes.add([Document("x", "text", metadata=[1])]),
            "'x': the metadata must be a mapping .* a list",
        ),
        (lambda notes: notes.add([Document("x", "text", metadata={"a": object()})]), "holds an object"),
        (lambda notes: notes.add_from(None), "the source must be a path, as text or a pathlib.Path, not null"),
        (lambda notes: notes.add_from(4), "the source must be a path, .* not a number"),
        (lambda notes: notes.backup(None), "the backup must be a path, .* not null"),
        (lambda notes: notes.export(None), "the folder must be a path, .* not null"),
        (lambda notes: notes.similar(3), "similar takes lists of ids and queries, not a number"),
        (lambda notes: notes.search_many(3), "search_many takes a list of queries, not a number"),
        (lambda notes: notes.search("cat", min_score="0.4"), "min_score must be a number, not '0.4'"),
        (lambda notes: notes.search("cat", min_score=NAN), "min_score must be a number, not nan"),
        (lambda notes: notes.search("cat", mmr_lambda="x"), "mmr_lambda must be a number, not 'x'"),
        (lambda notes: notes.search("cat", min_percentile=True), "min_percentile must be a number, not True"),
        (lambda notes: notes.calibrate("x"), "judgements must be a mapping of names to values, not the text 'x'"),
        (lambda notes: notes.calibrate({"cat": 1}), "the judgements of 'cat' must be a mapping .*, not a number"),
        (lambda notes: notes.calibrate({"cat": {"a": "x"}}), "the grade of 'a' must be a number, not 'x'"),
        (lambda notes: notes.reindex("hnsw", [1]), "options must be a mapping of names to values, not a list"),
        (lambda notes: notes.reindex("auto", {"M": 3}), "index 'auto' chooses its own options, so M can't be set"),
        (lambda notes: notes.reindex(options={"M": 3}), "index 'auto' chooses its own options, so M can't be set"),
        (lambda notes: notes.reindex(queries=[1]), "a query must be a text that is not empty, not 1"),
        (lambda notes: notes.reindex(queries="cat"), "reindex takes a list of queries, not the text 'cat'"),
        (lambda notes: notes.tune(0.9, queries=3), "tune takes a list of queries, not a number"),
        (lambda notes: notes.tune("x"), "the recall to keep must be a number, not 'x'"),
        (lambda notes: notes.tune(True), "the recall to keep must be a number, not True"),
        (lambda notes: notes.reindex(recall="x"), "the recall to keep must be a number, not 'x'"),
        (lambda notes: notes.reindex(recall=95), "over 0 and at most 1, not 95"),
        (lambda notes: notes.reindex(recall=NAN), "the recall to keep must be a number, not nan"),
    ],
)
def test_what_is_of_the_wrong_kind(notes, call, message):
    settings = dict(notes.settings)
    with pytest.raises((UsageError, DataError), match=message):
        call(notes)
    assert dict(notes.settings) == settings
    assert len(notes) == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": 5}, "the name of a collection must be text, not a number"),
        ({"name": None}, "the name of a collection must be text, not null"),
        ({"dim": "5"}, "dim must be a whole number, not '5'"),
        ({"dim": True}, "dim must be a whole number, not True"),
        ({"dim": 0}, "dim must be at least 1, not 0"),
        ({"options": [1]}, "options must be a mapping of names to values, not a list"),
        ({"index": "hnsw", "options": {1: 2}}, "options must be a mapping .*, and 1 is no name"),
        ({"home": 5}, "home must be a path, as text or a pathlib.Path, not a number"),
        ({"home": 0}, "home must be a path, as text or a pathlib.Path, not a number"),
        ({"recall": 2}, "the recall to keep must be over 0 and at most 1, not 2"),
        ({"recall": 95}, "the recall to keep must be over 0 and at most 1, not 95"),
        ({"recall": NAN}, "the recall to keep must be a number, not nan"),
        ({"recall": "x"}, "the recall to keep must be a number, not 'x'"),
    ],
)
def test_a_collection_that_can_not_be_made(wrong, message):
    arguments = {"name": "wrong", "encoder": None, "dim": 2, **wrong}
    with pytest.raises(UsageError, match=message):
        semsearch.create(arguments.pop("name"), **arguments)
    assert semsearch.list_collections() == []


@pytest.mark.parametrize("call", [semsearch.open, semsearch.drop, lambda name: semsearch.open(name, create=True)])
@pytest.mark.parametrize("name", [5, None])
def test_a_name_that_is_no_text(call, name):
    with pytest.raises(UsageError, match="the name of a collection must be text, not"):
        call(name)


def test_a_backup_that_is_no_path():
    with pytest.raises(UsageError, match=r"the backup must be a path, .* not null"):
        semsearch.restore(None)


def test_ids_may_come_from_a_generator(notes):
    assert [document.id for document in notes.get(identity for identity in "ba")] == ["b", "a"]


def test_exact_search_is_certified_by_definition(notes):
    certificate = notes.reindex("exact", recall=0.9, queries=["cat", "dog", "sleep", "run"])
    assert (certificate.met, certificate.recall, certificate.certified) == (True, 1.0, 1.0)


ODD = [
    np.array(["cosine", "dot"]),
    np.array(["cosine"]),
    np.array([1.0, 2.0]),
    ["cosine"],
    {"cosine"},
    {"cosine": 1},
    3,
    True,
    b"cosine",
    object(),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (lambda notes, odd: semsearch.pairs(np.eye(3), metric=odd), "is no metric; they are cosine, dot, l2"),
        (lambda notes, odd: semsearch.communities(np.eye(3), metric=odd), "is no metric"),
        (lambda notes, odd: semsearch.clusters(np.eye(3), metric=odd), "is no metric"),
        (lambda notes, odd: semsearch.layout(np.eye(3), metric=odd), "is no metric"),
        (lambda notes, odd: semsearch.classify(np.eye(2), np.eye(2), ["a", "b"], metric=odd), "is no metric"),
        (lambda notes, odd: semsearch.similarity(np.eye(3), np.eye(3), metric=odd), "is no metric"),
        (lambda notes, odd: semsearch.create("odd", encoder=None, dim=2, metric=odd), "is no metric"),
        (lambda notes, odd: semsearch.clusters(np.eye(3), odd), "method must be one of communities, kmeans"),
        (lambda notes, odd: notes.clusters(odd), "method must be one of"),
        (lambda notes, odd: notes.topics(odd), "method must be one of"),
        (lambda notes, odd: notes.map(method=odd), "method must be one of"),
        (lambda notes, odd: notes.clusters(device=odd), "device must be auto, cpu"),
        (lambda notes, odd: notes.search("cat", mode=odd), "mode must be one of"),
        (lambda notes, odd: notes.search("cat", group_by=odd), "group_by must be 'document' or None"),
        (lambda notes, odd: semsearch.create("odd", encoder=HashEncoder(), index=odd), "indexes have names"),
        (lambda notes, odd: notes.reindex(odd), "indexes have names"),
        (lambda notes, odd: semsearch.create("odd", encoder=HashEncoder(), device=odd), "device must be a name"),
        (lambda notes, odd: semsearch.open("notes", device=odd), "device must be a name"),
        (lambda notes, odd: semsearch.open("notes", dtype=odd), "dtype must be a name"),
        (lambda notes, odd: semsearch.create("odd", encoder=HashEncoder(), language=odd), "language"),
        (lambda notes, odd: semsearch.list_collections(home=odd), "home must be a path"),
    ],
)
def test_a_choice_is_a_text(notes, asked, message, odd):
    """An array would be compared item by item, and what has no hash can't be looked up."""
    with pytest.raises(UsageError, match=message):
        asked(notes, odd)
    assert semsearch.list_collections() == ["notes"]


@pytest.mark.parametrize("name", ["exact", "explain"])
def test_a_truth_value_is_one(notes, name):
    for odd in (np.array([True, False]), "no", [True], 1):
        with pytest.raises(UsageError, match=f"{name} must be True or False"):
            notes.search("cat", **{name: odd})
    assert notes.search("cat", **{name: np.bool_(True)})


def test_what_there_is_to_undo(notes):
    with pytest.raises(
        UsageError, match=r"is its first: there is none to change back to\. Vectors that documents came"
    ):
        notes.undo_reencode()
    with semsearch.create("bare", encoder=None, dim=2) as bare:
        bare.add([Document("a", "the cat sleeps")], vectors=[[1, 0]])
        with pytest.raises(UsageError, match="has no model, and had none: there is nothing to undo"):
            bare.undo_reencode()
        bare.reencode(HashEncoder())
        with pytest.raises(UsageError, match="'bare' is its first: there is none to change back to"):
            bare.undo_reencode()
