"""A reranker weighed against its first stage: the sum, its two ends, and what is said of it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import run
from support.fakes import HashEncoder

import semsearch
from semsearch import Document, Home, federation, wire
from semsearch.cli.parameters import SearchOptions
from semsearch.errors import UsageError
from semsearch.search.blending import blend, own_weight

SUBJECTS = "flour yeast dough oven crust loaf wheel chain pedal saddle brake gear wave tide salt reef"
WORDS = SUBJECTS.split()
MODES = ("dense", "lexical", "hybrid")
QUERY = "flour dough tide"
scores = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    generator = np.random.default_rng(0)
    with semsearch.create("notes", home=tmp_path_factory.mktemp("home"), encoder=HashEncoder(32)) as made:
        made.add([Document(f"d{i}", " ".join(generator.choice(WORDS, 6))) for i in range(120)])
        yield made


class Hashed:
    """A reranker whose scores have nothing to do with the first stage's, some of them equal."""

    def score(self, query, texts):
        return np.array([hash_of(text) % 7 - 3.25 for text in texts], dtype=np.float32)


def hash_of(text):
    return sum(i * ord(letter) for i, letter in enumerate(text, 1))


class Weighed(Hashed):
    def __init__(self, weight):
        self.weight = weight


def order(hits):
    return [hit.id for hit in hits]


# ---- the sum --------------------------------------------------------------------------------------------------------


@given(scores, st.integers(0, 2**31), st.floats(0, 1))
def test_the_order_is_that_of_weighted_z_scores_on_the_rerankers_scale(values, seed, weight):
    reranked = np.array(values)
    first = np.random.default_rng(seed).standard_normal(len(values))
    blended = blend(reranked, first, weight)
    assert blended.mean() == pytest.approx(reranked.mean(), abs=1e-6 * max(1, np.abs(reranked).max()))
    if len(values) > 1 and reranked.std() > 1e-3:
        z = [(one - one.mean()) / one.std() for one in (reranked, first)]
        expected = weight * z[0] + (1 - weight) * z[1]
        assert (blended - blended.mean()) / reranked.std() == pytest.approx(expected, abs=1e-5)


@given(scores)
def test_each_end_is_one_of_the_two(values):
    reranked, first = np.array(values), -np.arange(len(values), dtype=np.float64)
    assert blend(reranked, first, 1.0) is reranked
    assert np.array_equal(np.argsort(-blend(reranked, first, 0.0), kind="stable"), np.arange(len(values)))


def test_a_side_that_tells_nothing_apart_leaves_the_order_to_the_other():
    some, same = np.array([1.0, 3.0, 2.0]), np.full(3, 5.0)
    assert np.argsort(-blend(some, same, 0.1)).tolist() == [1, 2, 0]
    assert np.argsort(-blend(same, some, 0.9)).tolist() == [1, 2, 0]
    assert blend(same, same, 0.5).tolist() == [5.0] * 3


# ---- in a search ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_weight_one_is_the_rerankers_order_and_score(notes, mode):
    plain = notes.search(QUERY, 30, mode=mode)
    expected = sorted(plain, key=lambda hit: -Hashed().score(QUERY, [hit.text])[0])
    for options in ({}, {"rerank_weight": 1}, {"rerank_weight": 1.0}):
        found = notes.search(QUERY, 30, mode=mode, rerank=Hashed(), candidates=30, **options)
        assert order(found) == order(expected)
        assert all(hit.score == hit.scores["rerank"] for hit in found)


@pytest.mark.parametrize("mode", MODES)
def test_weight_nought_is_the_first_stages_order(notes, mode):
    plain = notes.search(QUERY, 30, mode=mode)
    found = notes.search(QUERY, 30, mode=mode, rerank=Hashed(), candidates=30, rerank_weight=0)
    assert order(found) == order(plain)
    assert found.notes == plain.notes, "that was asked for"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weight", [0.2, 0.5, 0.9])
def test_between_them_both_count_and_of_equals_the_one_ahead_leads(notes, mode, weight):
    plain = notes.search(QUERY, 30, mode=mode)
    found = notes.search(QUERY, 10, mode=mode, rerank=Hashed(), candidates=30, rerank_weight=weight)
    given = np.array([hit.score for hit in plain])
    made = np.array([Hashed().score(QUERY, [hit.text])[0] for hit in plain], dtype=np.float64)
    expected = weight * made + (1 - weight) * (made.mean() + made.std() * (given - given.mean()) / given.std())
    best = np.argsort(-expected, kind="stable")[:10]
    assert order(found) == [plain[place].id for place in best]
    assert [hit.score for hit in found] == pytest.approx(expected[best])
    assert {hit.rerank_weight for hit in found} == {weight}
    again = notes.search(QUERY, 10, mode=mode, rerank=Hashed(), candidates=30, rerank_weight=weight)
    assert [(hit.id, hit.score) for hit in again] == [(hit.id, hit.score) for hit in found]


def test_a_rerankers_own_weight_counts_where_nothing_else_is_said(notes):
    asked = notes.search(QUERY, 30, rerank=Hashed(), candidates=30, rerank_weight=0.3)
    own = notes.search(QUERY, 30, rerank=Weighed(0.3), candidates=30)
    assert [(hit.id, hit.score) for hit in own] == [(hit.id, hit.score) for hit in asked]
    over = notes.search(QUERY, 30, rerank=Weighed(0.3), candidates=30, rerank_weight=1)
    assert order(over) == order(notes.search(QUERY, 30, rerank=Hashed(), candidates=30))


def test_one_that_was_no_better_than_its_first_stage_counts_nothing_and_that_is_said(notes):
    found = notes.search(QUERY, 30, rerank=Weighed(0.0), candidates=30)
    assert order(found) == order(notes.search(QUERY, 30))
    assert any("no better than its first stage on held-out questions" in note for note in found.notes)


def test_explanations_and_json_tell_the_weight(notes):
    (hit,) = notes.search(QUERY, 1, mode="hybrid", rerank=Weighed(0.25), explain=True)
    assert hit.explanation.way.endswith("; the reranker counts 25% and the stage before it 75%")
    told = json.loads(wire.dumps(wire.hit(hit)))
    assert told["explanation"]["rerank_weight"] == 0.25
    (hit,) = notes.search(QUERY, 1, mode="hybrid", explain=True)
    assert "rerank_weight" not in wire.hit(hit)["explanation"]


# ---- what can't be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan"), "half", True])
def test_a_weight_is_a_share(notes, weight):
    with pytest.raises(UsageError, match="rerank_weight must be"):
        notes.search(QUERY, rerank=Hashed(), rerank_weight=weight)
    with pytest.raises(UsageError, match="the weight of the reranker Weighed must be"):
        notes.search(QUERY, rerank=Weighed(weight))


def test_a_weight_needs_a_reranker(notes):
    with pytest.raises(UsageError, match="name a reranker"):
        notes.search(QUERY, rerank_weight=0.5)


def test_what_names_no_weight_has_the_last_word():
    assert own_weight(Hashed()) == 1.0


@pytest.mark.parametrize("score", [np.inf, -np.inf])
def test_infinite_scores_have_an_order_and_no_sum(notes, score):
    class Boundless:
        def score(self, query, texts):
            return [score, *range(len(texts) - 1)]

    assert len(notes.search(QUERY, 5, rerank=Boundless())) == 5
    with pytest.raises(UsageError, match="Boundless gave infinite scores"):
        notes.search(QUERY, 5, rerank=Boundless(), rerank_weight=0.5)


def test_nan_is_refused_whatever_the_weight(notes):
    class Odd:
        def score(self, query, texts):
            return [float("nan")] * len(texts)

    for weight in (0, 0.5, 1):
        with pytest.raises(UsageError, match="the reranker Odd gave NaN"):
            notes.search(QUERY, rerank=Odd(), rerank_weight=weight)


# ---- several collections, and the command line ----------------------------------------------------------------------


def test_blended_scores_of_several_collections_are_merged(tmp_path):
    generator = np.random.default_rng(1)
    home = Home.of(tmp_path)
    for name in ("one", "two"):
        with semsearch.create(name, home=home, encoder=HashEncoder(32)) as made:
            made.add([Document(f"{name}{i}", " ".join(generator.choice(WORDS, 6))) for i in range(40)])
    with (
        semsearch.open("one", home=home, encoder=HashEncoder(32)) as one,
        semsearch.open("two", home=home, encoder=HashEncoder(32)) as two,
    ):
        both = federation.Federation([one, two])
        for mode in MODES:
            options = {"mode": mode, "rerank": Weighed(0.4), "candidates": 40}
            own = [hit for each in (one, two) for hit in each.search(QUERY, 20, **options)]
            best = sorted(own, key=lambda hit: -hit.score)[:20]
            assert order(both.search(QUERY, 20, **options)) == order(best)


def test_the_command_line_takes_a_share_and_a_reranker_with_it():
    ended = run("eval", "notes", "--self", "--rerank-weight", "0.5")
    assert (ended.code, "give --rerank too" in ended.err) == (2, True)
    ended = run("query", "notes", QUERY, "--rerank", "--rerank-weight", "1.5")
    assert (ended.code, "'--rerank-weight'" in ended.err) == (2, True)
    assert SearchOptions(rerank="", rerank_weight=0.5).arguments()["rerank_weight"] == 0.5
