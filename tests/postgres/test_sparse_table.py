"""Sparse vectors in PostgreSQL: the scores of a folder, to the last digit, whatever comes and goes."""

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

import semsearch
from semsearch import models
from semsearch.errors import ModelMismatch
from semsearch.postgres import sparse_table
from semsearch.sparse_vectors import SparseVectors
from semsearch.testing.encoder import HashEncoder, SparseWords
from semsearch.types import Document

pytestmark = pytest.mark.postgres
DIM = 50


@pytest.fixture(autouse=True)
def words(monkeypatch):
    monkeypatch.setattr(models, "_sparse_encoders", lambda name, revision, compute: SparseWords(name))


def some(generator, count, greatest=1.0):
    """Vectors of a few components; two of them are alike, and some values are below 0."""
    dense = generator.standard_normal((count, DIM)).astype(np.float32) * greatest
    dense[generator.random(dense.shape) < 0.8] = 0
    dense[1] = dense[0]
    return SparseVectors.of_dense(dense)


def filled(home, vectors):
    """A collection whose passages have these vectors."""
    collection = semsearch.create("notes", home=home, encoder=HashEncoder())
    collection.add([Document(str(n), f"text {n}", metadata={"n": n}) for n in range(len(vectors))])
    collection.engine.begin_sparse({"name": "x", "revision": None, "fingerprint": "x", "dim": DIM})
    with collection.engine.view() as view:
        keys = view.without_sparse(-1, len(vectors))
    assert collection.engine.put_sparse(keys, vectors, "x") == len(vectors)
    return collection


@pytest.mark.parametrize("greatest", [1.0, 1e30])
def test_scores_and_their_order_are_those_of_a_folder(url, tmp_path, greatest):
    generator = np.random.default_rng(5)
    vectors, queries = some(generator, 200, greatest), some(generator, 12)
    with filled(url, vectors) as there, filled(tmp_path, vectors) as here:
        for query in range(len(queries)):
            for k, where in ((3, None), (50, None), (500, None), (20, {"n": {"$gte": 150}})):
                found = []
                for collection in (there, here):
                    with collection.engine.view() as view:
                        parsed = semsearch.search.where_mapping.parse(where, view.fields()) if where else None
                        allowed = None if where is None else view.allowed(parsed)
                        found.append(view.sparse(queries[[query]], k, allowed=allowed, grouped=True))
                ours, theirs = found
                assert ours.keys.tolist() == theirs.keys.tolist()
                assert ours.scores.tolist() == theirs.scores.tolist()
                assert list(ours.found) == list(theirs.found)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 9), st.floats(width=32, allow_nan=False, allow_infinity=False)),
            unique_by=lambda pair: pair[0],
        ),
        max_size=5,
    )
)
def test_vectors_come_back_as_they_were(rows):
    vectors = SparseVectors.of_rows(
        [
            (np.array([i for i, _ in sorted(row)], np.int32), np.array([v for _, v in sorted(row)], np.float32))
            for row in rows
        ],
        10,
    )
    packed = [sparse_table.packed(*row, 10) for row in vectors.rows()]
    assert sparse_table.unpacked(packed, 10).dense().tolist() == vectors.dense().tolist()


def test_they_go_with_their_passages_and_come_with_the_next_write(url):
    with semsearch.create("notes", home=url, encoder=HashEncoder(), sparse="words") as notes:
        notes.add([Document("a", "the cat sleeps"), Document("b", "the dog runs")])
        assert [hit.id for hit in notes.search("cat", mode="sparse")] == ["a"]
        notes.add([Document("a", "the zebra sleeps")])
        assert notes.search("cat", mode="sparse") == []
        assert [hit.id for hit in notes.search("zebra", mode="sparse")] == ["a"]
        notes.remove(["a"])
        assert notes.search("zebra", mode="sparse") == []
        assert notes.check(deep=True) == []
        notes.reencode(HashEncoder(dim=8, salt=1))
        assert [hit.id for hit in notes.search("dog", mode="sparse")] == ["b"]
        assert notes.info()["index"]["sparse"] == {"state": "ready", "rows": 1, "fresh": 0, "lacking": 0}
        notes.compact()


def test_what_lacks_one_is_said_and_mended(url):
    with semsearch.create("notes", home=url, encoder=HashEncoder(), sparse="words") as notes:
        notes.add([Document("a", "the cat sleeps"), Document("b", "the dog runs")])
        with notes.engine._writing() as session:
            session.execute("DELETE FROM sparse_vectors; UPDATE state SET version = version + 1")
        (problem,) = notes.check()
        assert "2 passages have no sparse vector yet" in problem.what
        notes.repair()
        assert notes.check() == []
        with notes.engine._writing() as session:
            session.execute("DROP TABLE sparse_vectors")
        (problem,) = notes.check()
        assert "their table is missing" in problem.what
        assert notes.repair() != []
        assert [hit.id for hit in notes.search("cat", mode="sparse")] == ["a"]


def test_vectors_of_a_model_that_is_not_the_collections_any_more(url):
    vectors = some(np.random.default_rng(0), 3)
    with filled(url, vectors) as notes:
        notes.engine.begin_sparse({"name": "y", "revision": None, "fingerprint": "y", "dim": DIM})
        with notes.engine.view() as view:
            keys = view.without_sparse(-1, 10)
            assert (len(keys), view.lacking_sparse) == (3, 3)
        with pytest.raises(ModelMismatch, match="another sparse model"):
            notes.engine.put_sparse(keys, vectors, "x")
        assert notes.engine.put_sparse(np.array([10**9]), vectors[[0]], "y") == 0


def test_a_copy_takes_them_along(url, tmp_path):
    with semsearch.create("notes", home=tmp_path, encoder=HashEncoder(), sparse="words") as notes:
        notes.add([Document(str(n), f"text of number {n}") for n in range(5)])
        ours = notes.search("number 3", mode="sparse")
    semsearch.copy("notes", url, home=tmp_path)
    semsearch.copy("notes", tmp_path / "back", home=url)
    for home in (url, tmp_path / "back"):
        with semsearch.open("notes", home=home, encoder=HashEncoder()) as copied:
            assert copied.check(deep=True) == []
            assert [(hit.id, hit.score) for hit in copied.search("number 3", mode="sparse")] == [
                (hit.id, hit.score) for hit in ours
            ]


def test_a_sparse_model_that_somebody_else_brings_in_counts_in_the_next_hybrid_search(url):
    """What is known of the settings is held against what they are, whichever mode was asked for before."""
    with (
        semsearch.create("notes", home=url, encoder=HashEncoder()) as notes,
        semsearch.open("notes", home=url, encoder=HashEncoder()) as other,
    ):
        notes.add([Document("a", "a cat"), Document("b", "a dog")])
        for _ in range(2):
            assert "sparse" not in notes.search("cat dog", mode="hybrid")[0].scores
        other.add_sparse("words")
        assert "sparse" in notes.search("cat dog", mode="hybrid")[0].scores
        assert "sparse" in notes.search("cat dog", mode="hybrid")[0].scores
