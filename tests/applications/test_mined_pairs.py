"""Pairs of arrays and of documents, in the engines that there are."""

import numpy as np
import pytest

import semsearch
from semsearch.applications import pairs as pairs_module
from semsearch.errors import DataError, DimensionMismatch, ModelMismatch, UsageError
from semsearch.local.view import LocalView
from semsearch.testing.encoder import HashEncoder

TEXTS = {
    "a": "the cat sleeps on the mat",
    "b": "the cat sleeps on a mat",
    "c": "stocks fell sharply in Tokyo",
    "d": "in Tokyo stocks fell sharply",
    "e": "a recipe for soup",
}


@pytest.fixture(params=["file", "memory"])
def home(request, tmp_path, monkeypatch):
    if request.param == "file":
        return tmp_path / "collections"
    from semsearch.testing.memory import MemoryHome

    monkeypatch.setattr(MemoryHome, "_engines", {})
    return "memory://"


def collection(home, name="texts", texts=TEXTS, **options):
    made = semsearch.create(name, home=home, encoder=HashEncoder(32), **options)
    made.add([semsearch.Document(identity, text) for identity, text in texts.items()])
    return made


def test_arrays():
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [1, 0]])
    found = semsearch.pairs(vectors, limit=3)
    assert found.first.tolist() == [0, 0, 1]
    assert found.second.tolist() == [3, 1, 2 + 1]
    assert found.scores.tolist() == pytest.approx([1, 0.8, 0.8])
    assert semsearch.pairs(vectors, min_score=0.9, limit=None).second.tolist() == [3]
    assert len(semsearch.pairs(vectors, min_score=2.0).first) == 0
    assert semsearch.pairs(vectors, vectors[2:3], limit=1).first.tolist() == [2]
    assert len(semsearch.pairs(vectors, limit=None).first) == 6
    far = semsearch.pairs(vectors, metric="l2", limit=1)
    assert (far.first.tolist(), far.second.tolist(), far.scores.tolist()) == ([0], [3], [0.0])


def test_k_counts_neighbours_of_either():
    line = np.array([[0.0], [1.0], [2.1], [10.0]])
    found = semsearch.pairs(line, metric="l2", k=1)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(0, 1), (1, 2), (2, 3)]
    both = semsearch.pairs(line[:2], line[2:], metric="l2", k=1)
    assert list(zip(both.first.tolist(), both.second.tolist(), strict=True)) == [(1, 0), (0, 0), (1, 1)]


def test_percentiles_are_of_random_pairs():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((400, 8))
    found = semsearch.pairs(vectors, min_percentile=0.99, limit=None)
    assert len(found.first) == pytest.approx(0.01 * 400 * 399 / 2, rel=0.02)


def test_a_limit_that_is_reached_is_said_and_what_has_none_is_refused(monkeypatch):
    vectors = np.tile(np.ones((1, 3)), (60, 1))
    assert "others may score 0.0000" in semsearch.pairs(vectors, min_score=0.0, limit=5).notes[0]
    monkeypatch.setattr(pairs_module, "MOST_PAIRS_KEPT", 100)
    with pytest.raises(UsageError, match=r"about 1,770 pairs reach a score of 0.0000.*or give a limit"):
        semsearch.pairs(vectors, min_score=0.0, limit=None)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"limit": 0}, "limit must be at least 1"),
        ({"k": 0}, "k must be at least 1"),
        ({"min_percentile": 99}, "between 0 and 1"),
        ({"min_score": float("nan")}, "min_score"),
        ({"k": 2, "folder": "kept"}, "not kept"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, what):
    with pytest.raises(UsageError, match=what):
        semsearch.pairs(np.eye(3), **wrong)


def test_what_is_no_array_of_vectors_is_refused():
    with pytest.raises(DataError, match="NaN"):
        semsearch.pairs([[1.0, float("nan")], [0.0, 1.0]])
    with pytest.raises(DataError, match="shape"):
        semsearch.pairs([1.0, 2.0])
    with pytest.raises(DimensionMismatch, match="2 components"):
        semsearch.pairs(np.eye(2), np.eye(3))


def test_documents(home):
    with collection(home) as texts:
        found = texts.pairs(limit=2)
        assert [(pair.first.id, pair.second.id) for pair in found] == [("c", "d"), ("a", "b")]
        assert len(found) == 2
        assert next(pair.score for pair in found) == pytest.approx(1)
        assert [pair.first.text for pair in found] == [TEXTS["c"], TEXTS["a"]]


def test_passages_of_one_document_are_no_pair(home, monkeypatch):
    with semsearch.create("long", home=home, encoder=None, dim=2) as long:
        long.add([semsearch.Document(name, name) for name in "ab"], vectors=np.eye(2))
        assert len(long.pairs()) == 1


def test_between_two_collections(home):
    with collection(home) as texts, collection(home, "more", {"x": "a cat on the mat sleeps", "y": "rain"}) as more:
        (best,) = texts.pairs(more, limit=1)
        assert (best.first.id, best.second.id) == ("b", "x")
        with pytest.raises(UsageError, match="with itself"):
            texts.pairs(texts)
    with (
        collection(home, "other") as mine,
        semsearch.create("salted", home=home, encoder=HashEncoder(32, salt=1)) as salted,
        pytest.raises(ModelMismatch, match="different models"),
    ):
        mine.pairs(salted)


def test_what_changed_since_is_left_out(home, monkeypatch):
    with collection(home) as texts:
        found = texts.pairs(limit=2)
        texts.remove(["d"])
        texts.add([semsearch.Document("b", "something else")])
        monkeypatch.setattr(LocalView, "arrays", None)  # all vectors are not copied for it
        assert list(found) == []


def test_an_empty_collection_and_one_document(home):
    with semsearch.create("empty", home=home, encoder=HashEncoder(8)) as empty:
        assert list(empty.pairs()) == []
        empty.add([semsearch.Document("1", "alone")])
        assert list(empty.pairs(k=3)) == []


def test_a_folder_is_gone_when_all_is_done(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((50, 4))
    kept = semsearch.pairs(vectors, limit=5, folder=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    assert kept.scores.tobytes() == semsearch.pairs(vectors, limit=5).scores.tobytes()
