"""One round trip a search: what is taken for granted is held against the answer, and never believed otherwise."""

import numpy as np
import pytest

import semsearch
from semsearch.engine import StateMoved
from semsearch.errors import CollectionError, DimensionMismatch
from semsearch.postgres.connections import DatabaseConnections
from semsearch.testing.encoder import HashEncoder
from semsearch.types import Document

pytestmark = pytest.mark.postgres
CATS = [Document(f"c{number}", f"cat number {number}", metadata={"n": number}) for number in range(50)]


@pytest.fixture
def cats(url):
    with semsearch.create("cats", home=url, encoder=HashEncoder()) as collection:
        collection.add(CATS)
        yield collection


@pytest.fixture
def trips(monkeypatch):
    """The names of the ways that were taken to the server."""
    taken = []
    for name in ("at_once", "reading"):
        way = getattr(DatabaseConnections, name)

        def noted(self, *given, way=way, name=name):
            taken.append(name)
            return way(self, *given)

        monkeypatch.setattr(DatabaseConnections, name, noted)
    return taken


def other(url):
    return semsearch.open("cats", home=url, encoder=HashEncoder())


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("graph", [True, False])
def test_a_search_is_one_round_trip_and_answers_as_ever(url, cats, trips, exact, graph):
    if graph:
        cats.reindex("hnsw")
    cats.search("cat number 3")
    for query in ("cat number 3", "number", "dog"):
        with cats.engine.view() as view:
            vectors = HashEncoder().encode_queries([query])
            (expected,) = view.dense(vectors, 7, allowed=None, exact=exact, grouped=True)
            passages = view.passages_of(expected.keys)
        trips.clear()
        hits = cats.search(query, k=7, exact=exact)
        assert trips == ["at_once"]
        assert [hit.key for hit in hits] == expected.keys.tolist()
        assert [hit.score for hit in hits] == expected.scores.tolist()
        assert [hit.passage for hit in hits] == passages
        assert {hit.found for hit in hits} == {("index",) if graph and not exact else ("exact",)}


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize(
    ("asked", "most"),
    [
        ({"mode": "lexical"}, 1),
        ({"where": "n >= 10"}, 1),
        ({"where": "n < 3"}, 1),
        ({"mode": "lexical", "where": "n < 20"}, 1),
        ({"mode": "hybrid"}, 4),
        ({"mode": "hybrid", "where": "n < 20"}, 4),
        ({"mode": "lexical", "k": 300}, 2),
    ],
    ids=str,
)
def test_other_searches_begin_no_transaction(url, cats, trips, graph, asked, most, monkeypatch):
    if graph:  # which gives as many as hybrid search asks for only where there are so many
        cats.add([Document(f"p{number}", f"pig number {number}") for number in range(150)], maintain=False)
        cats.reindex("hnsw")
    cats.search("cat number 3", **asked)
    found = {}
    for query in ("cat number 3", "number of dogs", "unheard"):
        trips.clear()
        found[query] = cats.search(query, **asked)
        assert trips in [["at_once"] * times for times in range(most + 1)], query
    monkeypatch.setattr(cats.engine, "prompt_view", cats.engine.view)
    for query, hits in found.items():
        assert [(hit.key, hit.score, hit.passage) for hit in hits] == [
            (hit.key, hit.score, hit.passage) for hit in cats.search(query, **asked)
        ]


def test_what_is_asked_statement_by_statement_is_of_one_state(url, cats):
    cats.search("cat")
    with cats.engine.prompt_view() as view:
        (key,) = view.keys_of(["c7"])["c7"]
        assert view.passages_of(np.array([key]))[0].document.id == "c7"
        assert view.keys_of(["nobody"]) == {}
        with other(url) as writer:
            writer.remove(["c7"])
        with pytest.raises(StateMoved):
            view.passages_of(np.array([key]))
    assert "c7" not in {hit.id for hit in cats.search("cat number 7", k=50, where="n < 20")}
    with other(url) as writer:
        writer.update_metadata(["c8"], {"n": 1000})
    assert "c8" not in {hit.id for hit in cats.search("cat number 8", k=50, where="n < 20")}
    assert cats.search("cat number 8", where="n = 1000")[0].id == "c8"


def test_documents_of_several_passages(url, trips):
    from semsearch.records import Entry, Record
    from semsearch.types import Span

    generator = np.random.default_rng(1)
    with semsearch.create("cats", home=url, encoder=HashEncoder()) as collection:
        entries = []
        for number in range(40):
            text = f"first part {number}. second part {number}. third part {number}."
            spans = [Span(0, 13), Span(13, 28), Span(28, len(text))]
            vectors = generator.standard_normal((3, 16)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            entries.append(Entry(Record.of(Document(f"d{number}", text, metadata={"n": 0})), spans, vectors))
        collection.engine.put(entries)
        for vector in generator.standard_normal((10, 16)).astype(np.float32):
            for by in ("document", None):
                hits = collection.search(vector=vector, k=5, group_by=by)
                filtered = collection.search(vector=vector, k=5, group_by=by, where="not (n = 1)")
                assert [(hit.key, hit.score, hit.id) for hit in hits] == [
                    (hit.key, hit.score, hit.id) for hit in filtered
                ]
    assert "at_once" in trips


def test_what_others_wrote_is_found_at_once(url, cats, trips):
    cats.search("cat")
    with other(url) as writer:
        writer.add([Document("new", "cat number new", metadata={"n": 1})])
        assert cats.search("cat number new", k=1)[0].id == "new"
        writer.remove(["new"])
        assert "new" not in {hit.id for hit in cats.search("cat number new", k=50)}
        writer.update_metadata(["c1"], {"n": 77})
        assert {hit.document.metadata["n"] for hit in cats.search("cat number 1", k=50)} >= {77}
        assert cats.search("cat", where={"n": 77})[0].id == "c1"
        writer.remove([document.id for document in CATS])
        assert cats.search("cat") == []
        writer.add(CATS[:1])
        assert [hit.id for hit in cats.search("cat", mode="hybrid")] == ["c0"]


def test_a_view_of_an_older_state_says_so(url, cats):
    cats.search("cat")
    with other(url) as writer:
        writer.add([Document("new", "cat number new")])
    with cats.engine.prompt_view() as view:
        assert view.allowed(None, None) is None, "which asks nobody"
        with pytest.raises(StateMoved):
            view.present(np.array([1]))
    cats.search("cat")
    with cats.engine.prompt_view() as view:
        assert view.present(np.array([1, 10**9])).tolist() == [True, False]


def test_vectors_of_another_length_are_held_against_the_newest_state(url, cats):
    cats.search("cat")
    with pytest.raises(DimensionMismatch):
        cats.search(vector=np.ones(3))
    with other(url) as writer:
        writer.reencode(HashEncoder(dim=8, salt=3))
    assert len(cats.search(vector=np.ones(8))) == 10


def test_another_model_meanwhile(url, cats):
    cats.search("cat")
    with other(url) as writer:
        writer.reencode(HashEncoder(salt=3))
    with pytest.raises(CollectionError, match="was made with"):
        cats.search("cat number 4")


def test_a_newer_semsearch_is_noticed(server, cats):
    cats.search("cat")
    with server.connect("semsearch") as connection:
        connection.execute(f"UPDATE {cats.engine._schema}.state SET analysis = analysis + 1")
    with pytest.raises(CollectionError, match="newer semsearch"):
        cats.search("cat")


def test_what_a_search_sets_up_is_not_left_to_writers(cats):
    cats.reindex("hnsw")
    cats.search("cat")
    with cats.engine._writing() as session:
        assert session.execute("SHOW enable_sort").fetchone() == ("on",)
        assert session.execute("SHOW lock_timeout").fetchone() == ("10s",)
    cats.search("cat")
    with cats.engine._connections.session() as session:
        assert session.execute("SHOW enable_sort").fetchone() == ("on",)
