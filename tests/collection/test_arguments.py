"""Wrong arguments are sentences: what was wrong, and what to write instead."""

import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import UsageError
from semsearch.types import Document


@pytest.fixture
def notes():
    with semsearch.create("notes", encoder=HashEncoder()) as collection:
        collection.add([Document("a", "the cat sleeps"), Document("b", "the dog runs")])
        yield collection


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["text"], r"list of semsearch.Document, not the text 'text': write Document\(id, text"),
        ([{"id": 1}], "list of semsearch.Document, not an object"),
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
    monkeypatch.setattr(type(notes), "maintain", lambda self: calls.append(1))
    notes.add([Document("c", "new")], maintain=False)
    notes.remove(["c"], maintain=False)
    notes.sync(maintain=False)
    assert calls == []
    notes.add([Document("c", "new")])
    notes.remove(["c"])
    assert calls == [1, 1]
