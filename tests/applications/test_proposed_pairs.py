"""Pairs of an index's candidates: scored as all are, and what the index missed is told."""

import numpy as np
import pytest

import semsearch
from semsearch.applications.proposed_pairs import PairRecall
from semsearch.errors import UsageError
from semsearch.testing.encoder import HashEncoder
from semsearch.vectors import normalise

DIM = 12


class Narrow(HashEncoder):
    """It reads sixteen words of a text, so that longer ones are split."""

    window = 16

    def __init__(self):
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import Whitespace

        super().__init__(8)
        self.tokenizer = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
        self.tokenizer.pre_tokenizer = Whitespace()


def collection(tmp_path, name, count, seed, passages=1, index="exact"):
    """Documents in twos that are alike."""
    rng = np.random.default_rng(seed)
    whole = rng.standard_normal((count // 2, DIM)).repeat(2, axis=0)
    whole = normalise((whole + 0.1 * rng.standard_normal(whole.shape)).astype(np.float32))
    made = semsearch.create(name, home=tmp_path, encoder=None, dim=DIM, index=index)
    made.add([semsearch.Document(f"{name}{row}", f"text {row}") for row in range(count)], vectors=whole)
    return made


def ids(found):
    return [(round(pair.score, 6), pair.first.id, pair.second.id) for pair in found]


@pytest.mark.parametrize("asked", [{"limit": 30}, {"min_score": 0.9, "limit": None}, {"k": 2, "limit": None}])
def test_of_an_index_that_misses_nothing_they_are_all(tmp_path, asked):
    with collection(tmp_path, "a", 120, 0) as made:
        exact, found = made.pairs(**asked), made.pairs(**asked, approximate=True)
        assert ids(found) == ids(exact)
        assert exact.recall is None
        assert found.recall.mean == 1.0
        assert found.recall.at_least > 0.7
        assert found.recall.looked_at == 120
        assert "with 95 % confidence" in found.notes[0]


@pytest.mark.parametrize("asked", [{"limit": 30}, {"k": 2, "limit": None}])
def test_between_two(tmp_path, asked):
    with collection(tmp_path, "a", 80, 0) as one, collection(tmp_path, "b", 60, 0) as other:
        assert ids(one.pairs(other, **asked, approximate=True)) == ids(one.pairs(other, **asked))


def test_what_the_index_misses_is_told(tmp_path, monkeypatch):
    with collection(tmp_path, "a", 120, 0) as made, made.engine.view() as view:
        dense = type(view).dense

        def forgetful(self, queries, k, **how):
            """Nothing for each second question, and for the others only what has an even key."""
            answers = dense(self, queries, k, **how)
            return [
                answer._replace(keys=answer.keys[keep], docs=answer.docs[keep], scores=answer.scores[keep])
                for at, answer in enumerate(answers)
                for keep in [(answer.keys % 4 < 2) & (at % 2 == 0) & (not how["exact"])]
            ]

        monkeypatch.setattr(type(view), "dense", forgetful)
        exact, found = made.pairs(min_score=0.9, limit=None), made.pairs(min_score=0.9, limit=None, approximate=True)
        share = len(found) / len(exact)
        assert 0.2 < share < 0.8
        assert found.recall.mean == pytest.approx(share, abs=0.05)  # of all documents
        assert found.recall.at_least < found.recall.mean
        assert set(ids(found)) < set(ids(exact))


def test_documents_of_several_passages(tmp_path):
    rng = np.random.default_rng(1)
    texts = [" ".join(f"word{number}." for number in rng.integers(0, 40, 60)) for _ in range(40)]
    with semsearch.create("long", home=tmp_path, encoder=Narrow()) as made:
        made.add(texts)
        assert made.count_passages() > 100
        assert ids(made.pairs(limit=25, approximate=True)) == ids(made.pairs(limit=25))


def test_what_makes_no_sense_is_said(tmp_path):
    with collection(tmp_path, "a", 20, 0) as made:
        with pytest.raises(UsageError, match="ask for a score, k or a limit"):
            made.pairs(limit=None, approximate=True)
        with pytest.raises(UsageError, match="not kept for later"):
            made.pairs(approximate=True, folder=tmp_path / "kept")


def test_of_nothing(tmp_path):
    with semsearch.create("empty", home=tmp_path, encoder=None, dim=4) as made:
        found = made.pairs(approximate=True)
        assert len(found) == 0
        assert "none of 0 documents" in found.notes[0]


def test_a_recall_is_a_sentence():
    assert str(PairRecall(0.987, 0.981, 400, 2048)) == (
        "of the pairs of 400 documents that were compared with all others it found 98.7%; "
        "with 95 % confidence it finds 98.1% at least."
    )
